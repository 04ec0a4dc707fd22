//! `envoy.extensions.common.matching.v3.ExtensionWithMatcher`: a filter that some requests skip.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

use envoy_types::pb::envoy::extensions::common::matching::v3 as pb;
use envoy_types::pb::xds::r#type::matcher::v3::Matcher as PbMatcher;

use super::FilterConfig;
use super::proto::{Part, run};
use crate::model::extension;
use crate::model::matcher::proto as matcher;
use crate::model::matcher::{HttpInput, Matcher};
use crate::model::metadata::proto::Interner;
use crate::reject::Context;

/// `ExtensionWithMatcher`.
#[derive(Clone, Debug)]
pub struct Matched {
    /// `xds_matcher`: where it leads, the filter is skipped; `None`: always, unless a route has another.
    pub skip: Option<Skip>,
    /// `extension_config`.
    pub filter: FilterConfig,
}

/// A matcher whose only action is to skip the filter.
pub type Skip = Matcher<(), HttpInput>;

const SKIP: &str = "envoy.extensions.filters.common.matcher.action.v3.SkipFilter";

pub(super) fn config(cx: &mut Context, interner: &mut Interner, body: &[u8]) -> Part<Matched> {
    let pb::ExtensionWithMatcher { matcher, xds_matcher, extension_config } = cx.decode(body)?;
    let config = cx.required("extension_config", extension_config)?;
    let filter = cx.at("extension_config", |cx| {
        let (type_name, body) = extension::required(cx, &config.name, config.typed_config)?;
        super::proto::config(cx, interner, (&config.name, &type_name), &body)
    })?;
    let skip = match (xds_matcher, matcher) {
        (Some(matcher), _) => Some(run!(cx.at("xds_matcher", |cx| skip(cx, matcher))?)),
        (None, Some(_)) => return Ok(Err(cx.unsupported("matcher", "envoy.config.common.matcher.v3.Matcher"))),
        (None, None) => None,
    };
    Ok(filter.map(|filter| Matched { skip, filter }))
}

pub(super) fn per_route(cx: &mut Context, body: &[u8]) -> Part<Skip> {
    let pb::ExtensionWithMatcherPerRoute { xds_matcher } = cx.decode(body)?;
    cx.at("xds_matcher", |cx| skip(cx, xds_matcher.unwrap_or_default()))
}

fn skip(cx: &mut Context, matcher: PbMatcher) -> Part<Skip> {
    let mut action = |cx: &mut Context, (type_name, _body): (&str, &[u8]), name: &str| match type_name {
        SKIP => Ok(Ok(())),
        // Composite's ExecuteFilterAction and the like.
        _ if type_name.starts_with("envoy.extensions.filters.http.") => {
            Ok(Err(cx.unsupported("typed_config", type_name)))
        }
        _ => Err(extension::unknown(cx, name, type_name)),
    };
    matcher::http(cx, None, &mut action, matcher)
}
