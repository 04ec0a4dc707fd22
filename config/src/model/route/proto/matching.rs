//! `RouteMatch`.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::route::v3 as pb;
use envoy_types::pb::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatcher;
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, Int64Range, fractional_percent::DenominatorType};
use pb::header_matcher::HeaderMatchSpecifier;
use pb::query_parameter_matcher::QueryParameterMatchSpecifier;
use pb::route_match::{ConnectMatcher, GrpcRouteMatchOptions, PathSpecifier, TlsContextMatchOptions};
use regex::bytes::Regex;

use super::mutation::header_name;
use super::{Part, first_set, run};
use crate::model::extension;
use crate::model::matcher::proto::text;
use crate::model::matcher::{TextMatch, TextPattern, full_match};
use crate::model::metadata::proto::Interner;
use crate::model::route::{
    CookieMatch, HeaderKey, HeaderMatch, HeaderTest, PathMatch, PathTemplate, QueryMatch, QueryTest, RouteMatch,
    RuntimeFraction, TlsMatch,
};
use crate::reject::{Context, IsSet, Rejection, immaterial};

const URI_TEMPLATE: &str = "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig";
/// The longest name of a query parameter or cookie, and the longest template.
const MAX_NAME: usize = 1024;
const MAX_TEMPLATE: usize = 256;

/// Converts a `RouteMatch`.
pub(super) fn route_match(cx: &mut Context, interner: &mut Interner, matches: pb::RouteMatch) -> Part<RouteMatch> {
    let pb::RouteMatch {
        case_sensitive,
        runtime_fraction,
        headers,
        query_parameters,
        cookies,
        grpc,
        tls_context,
        dynamic_metadata,
        filter_state,
        path_specifier,
    } = matches;
    let refused: [(&str, &dyn IsSet); 2] = [("dynamic_metadata", &dynamic_metadata), ("filter_state", &filter_state)];
    if let Some(unsupported) = first_set(cx, &refused) {
        return Ok(Err(unsupported));
    }
    let path = run!(path(cx, path_specifier)?);
    let headers = run!(header_matches(cx, "headers", headers)?);
    let mut query = Vec::with_capacity(query_parameters.len());
    for (i, parameter) in query_parameters.into_iter().enumerate() {
        query.push(run!(cx.item("query_parameters", i, |cx| query_match(cx, parameter))?));
    }
    let mut converted = Vec::with_capacity(cookies.len());
    for (i, cookie) in cookies.into_iter().enumerate() {
        converted.push(run!(cx.item("cookies", i, |cx| cookie_match(cx, cookie))?));
    }
    Ok(Ok(RouteMatch {
        path,
        case_sensitive: case_sensitive.is_none_or(|w| w.value),
        grpc: grpc.is_some_and(|GrpcRouteMatchOptions {}| true),
        fraction: match runtime_fraction {
            None => None,
            Some(fraction) => Some(Box::new(cx.at("runtime_fraction", |cx| self::fraction(cx, interner, fraction))?)),
        },
        headers,
        query: query.into(),
        cookies: converted.into(),
        tls: tls_context.map(|TlsContextMatchOptions { presented, validated }| TlsMatch {
            presented: presented.map(|w| w.value),
            validated: validated.map(|w| w.value),
        }),
    }))
}

fn path(cx: &mut Context, specifier: Option<PathSpecifier>) -> Part<PathMatch> {
    Ok(Ok(match cx.required("path_specifier", specifier)? {
        PathSpecifier::Prefix(prefix) => PathMatch::Prefix(prefix.into()),
        PathSpecifier::Path(path) => PathMatch::Exact(path.into()),
        PathSpecifier::SafeRegex(regex) => PathMatch::Regex(Box::new(cx.at("safe_regex", |cx| whole(cx, regex))?)),
        PathSpecifier::ConnectMatcher(ConnectMatcher {}) => PathMatch::Connect,
        PathSpecifier::PathSeparatedPrefix(prefix) => {
            let segment = |b: u8| !matches!(b, b'?' | b'#');
            if prefix.len() < 2 || !prefix.bytes().all(segment) || prefix.ends_with('/') {
                let why = "value does not match regex pattern \"^[^?#]+[^?#/]$\"";
                return Err(cx.reject("path_separated_prefix", why));
            }
            PathMatch::SeparatedPrefix(prefix.into())
        }
        PathSpecifier::PathMatchPolicy(policy) => {
            let template = cx.at("path_match_policy", |cx| template(cx, policy))?;
            return Ok(template.map(|template| PathMatch::Template(Box::new(template))));
        }
    }))
}

/// Converts a URI template.
pub(crate) fn template(cx: &mut Context, policy: core::TypedExtensionConfig) -> Part<PathTemplate> {
    let core::TypedExtensionConfig { name, typed_config } = policy;
    let (type_name, body) = extension::required(cx, &name, typed_config)?;
    if &*type_name != URI_TEMPLATE {
        return match type_name.starts_with("envoy.extensions.path.match.") {
            true => Ok(Err(cx.unsupported("typed_config", &type_name))),
            false => Err(extension::unknown(cx, &name, &type_name)),
        };
    }
    cx.at("typed_config", |cx| {
        let UriTemplateMatchConfig { path_template } = cx.decode(&body)?;
        if path_template.is_empty() || path_template.len() > MAX_TEMPLATE {
            let why = format!("value length must be between 1 and {MAX_TEMPLATE} characters");
            return Err(cx.reject("path_template", why));
        }
        let template = PathTemplate::parse(&path_template);
        let template =
            template.map_err(|e| cx.reject("path_template", format!("path_match_policy.path_template: {e}")));
        template.map(Ok)
    })
}

/// An expression that matches the whole text.
fn whole(cx: &Context, RegexMatcher { regex, engine_type }: RegexMatcher) -> Result<Regex, Rejection> {
    immaterial(engine_type, "there is one engine; what it compiles to is bounded by itself");
    cx.not_empty("regex", &regex)?;
    full_match(&regex).map_err(|e| cx.reject("regex", format!("is not a regular expression: {e}")))
}

/// Converts a `RuntimeFractionalPercent`.
pub(crate) fn fraction(
    cx: &mut Context,
    interner: &mut Interner,
    fraction: core::RuntimeFractionalPercent,
) -> Result<RuntimeFraction, Rejection> {
    let core::RuntimeFractionalPercent { default_value, runtime_key } = fraction;
    let FractionalPercent { numerator, denominator } = cx.required("default_value", default_value)?;
    let denominator = match cx.variant("default_value.denominator", denominator)? {
        DenominatorType::Hundred => 100,
        DenominatorType::TenThousand => 10_000,
        DenominatorType::Million => 1_000_000,
    };
    let key: Arc<str> = interner.string(&runtime_key);
    Ok(RuntimeFraction { key, numerator, denominator })
}

/// Converts `HeaderMatcher`s.
pub(crate) fn header_matches(
    cx: &mut Context,
    field: &'static str,
    headers: Vec<pb::HeaderMatcher>,
) -> Part<Box<[HeaderMatch]>> {
    let mut converted = Vec::with_capacity(headers.len());
    for (i, header) in headers.into_iter().enumerate() {
        converted.push(run!(cx.item(field, i, |cx| header_match(cx, header))?));
    }
    Ok(Ok(converted.into()))
}

/// A name as it may stand in a `HeaderMatcher`.
pub(crate) fn header_key(cx: &Context, field: &str, name: &str) -> Result<HeaderKey, Rejection> {
    Ok(match name.to_ascii_lowercase().as_str() {
        ":method" => HeaderKey::Method,
        ":path" => HeaderKey::Path,
        ":authority" | "host" => HeaderKey::Authority,
        ":scheme" => HeaderKey::Scheme,
        ":protocol" => HeaderKey::Protocol,
        ":status" => HeaderKey::Status,
        other => HeaderKey::Name(header_name(cx, field, other)?),
    })
}

/// Converts a `HeaderMatcher`.
pub(crate) fn header_match(cx: &mut Context, header: pb::HeaderMatcher) -> Part<HeaderMatch> {
    let pb::HeaderMatcher { name, invert_match, treat_missing_header_as_empty, header_match_specifier } = header;
    let plain = |pattern| HeaderTest::Text(Box::new(TextMatch { pattern, ignore_case: false }));
    let test = match header_match_specifier {
        None => HeaderTest::Present(true),
        Some(HeaderMatchSpecifier::PresentMatch(present)) => HeaderTest::Present(present),
        // An empty `exact_match` takes any value.
        Some(HeaderMatchSpecifier::ExactMatch(text)) if text.is_empty() => plain(TextPattern::Prefix(text.into())),
        Some(HeaderMatchSpecifier::ExactMatch(text)) => plain(TextPattern::Exact(text.into())),
        Some(HeaderMatchSpecifier::PrefixMatch(text)) => {
            cx.not_empty("prefix_match", &text)?;
            plain(TextPattern::Prefix(text.into()))
        }
        Some(HeaderMatchSpecifier::SuffixMatch(text)) => {
            cx.not_empty("suffix_match", &text)?;
            plain(TextPattern::Suffix(text.into()))
        }
        Some(HeaderMatchSpecifier::ContainsMatch(text)) => {
            cx.not_empty("contains_match", &text)?;
            plain(TextPattern::Contains(text.into()))
        }
        Some(HeaderMatchSpecifier::SafeRegexMatch(regex)) => {
            plain(TextPattern::Regex(Box::new(cx.at("safe_regex_match", |cx| whole(cx, regex))?)))
        }
        Some(HeaderMatchSpecifier::StringMatch(matcher)) => {
            HeaderTest::Text(Box::new(run!(cx.at("string_match", |cx| text::envoy(cx, matcher))?)))
        }
        Some(HeaderMatchSpecifier::RangeMatch(Int64Range { start, end })) => HeaderTest::Range(start, end),
    };
    Ok(Ok(HeaderMatch {
        name: header_key(cx, "name", &name)?,
        test,
        invert: invert_match,
        missing_is_empty: treat_missing_header_as_empty,
    }))
}

fn some_name(cx: &Context, name: &str) -> Result<(), Rejection> {
    cx.not_empty("name", name)?;
    match name.len() > MAX_NAME {
        true => Err(cx.reject("name", format!("value length must be at most {MAX_NAME} bytes"))),
        false => Ok(()),
    }
}

/// Converts a `QueryParameterMatcher`.
pub(crate) fn query_match(cx: &mut Context, parameter: pb::QueryParameterMatcher) -> Part<QueryMatch> {
    let pb::QueryParameterMatcher { name, query_parameter_match_specifier } = parameter;
    some_name(cx, &name)?;
    let test = match query_parameter_match_specifier {
        None => QueryTest::Present(true),
        Some(QueryParameterMatchSpecifier::PresentMatch(present)) => QueryTest::Present(present),
        Some(QueryParameterMatchSpecifier::StringMatch(matcher)) => {
            QueryTest::Text(Box::new(run!(cx.at("string_match", |cx| text::envoy(cx, matcher))?)))
        }
    };
    Ok(Ok(QueryMatch { name: name.into(), test }))
}

fn cookie_match(cx: &mut Context, cookie: pb::CookieMatcher) -> Part<CookieMatch> {
    let pb::CookieMatcher { name, string_match, invert_match } = cookie;
    some_name(cx, &name)?;
    let matcher = cx.required("string_match", string_match)?;
    let text = run!(cx.at("string_match", |cx| text::envoy(cx, matcher))?);
    Ok(Ok(CookieMatch { name: name.into(), text: Box::new(text), invert: invert_match }))
}
