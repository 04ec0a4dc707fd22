//! `MetadataMatcher`: over what RBAC filters note themselves, as nothing else here writes dynamic metadata.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

use envoy_types::pb::envoy::config::rbac::v3::{MetadataSource, SourcedMetadata};
use envoy_types::pb::envoy::r#type::matcher::v3 as pb;
use pb::metadata_matcher::{PathSegment, path_segment::Segment};
use pb::value_matcher::MatchPattern;

use super::{At, Converted, Layer};
use crate::model::matcher::proto::{at_least, text};
use crate::model::rbac::proto::all;
use crate::model::rbac::{HttpMetadataMatch, MetadataMatch, Rule, ValueMatch};
use crate::reject::{Context, Rejection, immaterial};

/// Namespaces that RBAC filters write to. Any other may be one of a filter that does not run here.
const KNOWN: [&str; 2] = ["envoy.filters.network.rbac", "envoy.common"];
const MAX_DEPTH: usize = 32;

pub(super) fn sourced(
    cx: &mut Context,
    at: At,
    SourcedMetadata { metadata_matcher, metadata_source }: SourcedMetadata,
) -> Converted<Rule> {
    let matcher = cx.required("metadata_matcher", metadata_matcher)?;
    let rule = cx.at("metadata_matcher", |cx| metadata(cx, at, matcher))?;
    Ok(match cx.variant("metadata_source", metadata_source)? {
        MetadataSource::Dynamic => rule,
        // A connection has no route; even inverted it does not match.
        MetadataSource::Route if at.layer == Layer::Network => Ok(Rule::Never),
        MetadataSource::Route => rule.map(|rule| match rule {
            Rule::HttpMetadata(matcher) => {
                Rule::HttpMetadata(Box::new(HttpMetadataMatch { of_route: true, ..*matcher }))
            }
            other => other,
        }),
    })
}

pub(super) fn metadata(
    cx: &mut Context,
    at: At,
    pb::MetadataMatcher { filter, path, value, invert }: pb::MetadataMatcher,
) -> Converted<Rule> {
    cx.not_empty("filter", &filter)?;
    at_least(cx, "path", path.len(), 1)?;
    let path = cx.each("path", path, |cx, PathSegment { segment }| {
        let Segment::Key(key) = cx.required("segment", segment)?;
        cx.not_empty("key", &key)?;
        Ok(key.into_boxed_str())
    })?;
    let value = cx.required("value", value)?;
    if at.layer == Layer::Http && kinds(&value) {
        return Ok(Err(cx.unsupported("value", "metadata that is null, a number or a list")));
    }
    let value = cx.at("value", |cx| self::value(cx, value, MAX_DEPTH))?;
    if at.layer == Layer::Http {
        let rule = |value| HttpMetadataMatch { namespace: filter.into(), path, value, invert, of_route: false };
        return Ok(value.map(|value| Rule::HttpMetadata(Box::new(rule(value)))));
    }
    if !KNOWN.contains(&&*filter) {
        return Ok(Err(cx.unsupported("filter", "metadata of another filter")));
    }
    let key = <[Box<str>; 1]>::try_from(path.into_vec()).ok().map(|[key]| key);
    Ok(value.map(|value| Rule::Metadata(Box::new(MetadataMatch { namespace: filter.into(), key, value, invert }))))
}

/// It asks for a kind of value that no connection's metadata has.
fn kinds(pb::ValueMatcher { match_pattern }: &pb::ValueMatcher) -> bool {
    match match_pattern {
        Some(MatchPattern::NullMatch(_) | MatchPattern::DoubleMatch(_) | MatchPattern::ListMatch(_)) => true,
        Some(MatchPattern::OrMatch(any)) => any.value_matchers.iter().any(kinds),
        _ => false,
    }
}

fn value(
    cx: &mut Context,
    pb::ValueMatcher { match_pattern }: pb::ValueMatcher,
    depth: usize,
) -> Converted<ValueMatch> {
    let depth = depth.checked_sub(1).ok_or_else(|| -> Rejection { cx.reject("", "nested too deep") })?;
    Ok(Ok(match cx.required("match_pattern", match_pattern)? {
        MatchPattern::NullMatch(_) => ValueMatch::Never,
        MatchPattern::DoubleMatch(matcher) => {
            immaterial(matcher, "no number is ever noted");
            ValueMatch::Never
        }
        MatchPattern::ListMatch(matcher) => {
            immaterial(matcher, "no list is ever noted");
            ValueMatch::Never
        }
        MatchPattern::BoolMatch(wanted) => ValueMatch::Bool(wanted),
        MatchPattern::PresentMatch(wanted) => ValueMatch::Present(wanted),
        MatchPattern::StringMatch(matcher) => {
            return Ok(cx.at("string_match", |cx| text::envoy(cx, matcher))?.map(ValueMatch::Text));
        }
        MatchPattern::OrMatch(pb::OrMatcher { value_matchers }) => {
            return cx.at("or_match", |cx| {
                at_least(cx, "value_matchers", value_matchers.len(), 2)?;
                Ok(all(cx.each("value_matchers", value_matchers, |cx, one| value(cx, one, depth))?).map(ValueMatch::Or))
            });
        }
    }))
}
