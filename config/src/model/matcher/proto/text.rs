//! `StringMatcher`, of which there are two with the same meaning.

use envoy_types::pb::envoy::r#type::matcher::v3 as envoy;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3 as xds;

use crate::model::extension;
use crate::model::matcher::{TextMatch, TextPattern, regex};
use crate::reject::{Context, Rejection, Unsupported, immaterial};

/// What both have in common.
enum Pattern {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Regex(String),
    Custom(TypedExtensionConfig),
}

/// Converts `xds.type.matcher.v3.StringMatcher`. The inner error: a custom one.
pub(super) fn xds(
    cx: &mut Context,
    xds::StringMatcher { ignore_case, match_pattern }: xds::StringMatcher,
) -> Result<Result<TextMatch, Unsupported>, Rejection> {
    use xds::string_matcher::MatchPattern as Pb;
    let pattern = match cx.required("match_pattern", match_pattern)? {
        Pb::Exact(text) => Pattern::Exact(text),
        Pb::Prefix(text) => Pattern::Prefix(text),
        Pb::Suffix(text) => Pattern::Suffix(text),
        Pb::Contains(text) => Pattern::Contains(text),
        Pb::SafeRegex(xds::RegexMatcher { regex, engine_type }) => {
            cx.at("safe_regex", |cx| cx.required("engine_type", engine_type))?;
            Pattern::Regex(regex)
        }
        Pb::Custom(config) => Pattern::Custom(config),
    };
    convert(cx, pattern, ignore_case)
}

/// Converts `envoy.type.matcher.v3.StringMatcher`. The inner error: a custom one.
pub(crate) fn envoy(
    cx: &mut Context,
    envoy::StringMatcher { ignore_case, match_pattern }: envoy::StringMatcher,
) -> Result<Result<TextMatch, Unsupported>, Rejection> {
    use envoy::string_matcher::MatchPattern as Pb;
    let pattern = match cx.required("match_pattern", match_pattern)? {
        Pb::Exact(text) => Pattern::Exact(text),
        Pb::Prefix(text) => Pattern::Prefix(text),
        Pb::Suffix(text) => Pattern::Suffix(text),
        Pb::Contains(text) => Pattern::Contains(text),
        Pb::SafeRegex(envoy::RegexMatcher { regex, engine_type }) => {
            immaterial(engine_type, "there is one engine; what it compiles to is bounded by itself");
            Pattern::Regex(regex)
        }
        Pb::Custom(config) => Pattern::Custom(config),
    };
    convert(cx, pattern, ignore_case)
}

fn convert(cx: &mut Context, pattern: Pattern, ignore_case: bool) -> Result<Result<TextMatch, Unsupported>, Rejection> {
    let some = |field, text: String| cx.not_empty(field, &text).map(|()| text.into_boxed_str());
    if ignore_case && matches!(pattern, Pattern::Regex(_)) {
        return Err(cx.reject("ignore_case", "ignore_case has no effect for safe_regex"));
    }
    let pattern = match pattern {
        Pattern::Exact(text) => TextPattern::Exact(text.into()),
        Pattern::Prefix(text) => TextPattern::Prefix(some("prefix", text)?),
        Pattern::Suffix(text) => TextPattern::Suffix(some("suffix", text)?),
        Pattern::Contains(text) => TextPattern::Contains(some("contains", text)?),
        Pattern::Regex(text) => TextPattern::Regex(Box::new(cx.at("safe_regex", |cx| {
            cx.not_empty("regex", &text)?;
            regex::full_match(&text).map_err(|e| cx.reject("regex", format!("is not a regular expression: {e}")))
        })?)),
        Pattern::Custom(TypedExtensionConfig { name, typed_config }) => {
            return cx.at("custom", |cx| {
                let (type_name, _body) = extension::required(cx, &name, typed_config)?;
                match type_name.starts_with("envoy.extensions.string_matcher.") {
                    true => Ok(Err(cx.unsupported("typed_config", &type_name))),
                    false => Err(extension::unknown(cx, &name, &type_name)),
                }
            });
        }
    };
    Ok(Ok(TextMatch { pattern, ignore_case }))
}
