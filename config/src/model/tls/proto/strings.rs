//! From `type.matcher.v3`.

use envoy_types::pb::envoy::r#type::matcher::v3 as pb;
use regex::Regex;

use crate::model::tls::{Pattern, StringMatch};
use crate::reject::{Context, Rejection, immaterial};

/// Converts a StringMatcher.
pub(crate) fn string_match(cx: &mut Context, matcher: pb::StringMatcher) -> Result<StringMatch, Rejection> {
    use pb::string_matcher::MatchPattern;
    let pb::StringMatcher { ignore_case, match_pattern } = matcher;
    let some = |field, text: String| cx.not_empty(field, &text).map(|()| text.into_boxed_str());
    let pattern = match cx.required("match_pattern", match_pattern)? {
        MatchPattern::Exact(text) => Pattern::Exact(text.into()),
        MatchPattern::Prefix(text) => Pattern::Prefix(some("prefix", text)?),
        MatchPattern::Suffix(text) => Pattern::Suffix(some("suffix", text)?),
        MatchPattern::Contains(text) => Pattern::Contains(some("contains", text)?),
        MatchPattern::SafeRegex(matcher) => Pattern::Regex(Box::new(cx.at("safe_regex", |cx| regex(cx, matcher))?)),
        MatchPattern::Custom(_) => return Err(cx.reject("custom", "custom matchers are not supported")),
    };
    Ok(StringMatch { pattern, ignore_case })
}

/// A regex that matches the whole text, as RE2's FullMatch.
pub(crate) fn regex(cx: &Context, matcher: pb::RegexMatcher) -> Result<Regex, Rejection> {
    let pb::RegexMatcher { regex, engine_type } = matcher;
    immaterial(engine_type, "there is one engine; its program size is bounded by itself");
    cx.not_empty("regex", &regex)?;
    Regex::new(&format!(r"\A(?:{regex})\z"))
        .map_err(|e| cx.reject("regex", format!("is not a regular expression: {e}")))
}
