//! `HashPolicy`.

use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3::route_action as pb;
use pb::hash_policy::{
    ConnectionProperties, Cookie, CookieAttribute, FilterState, Header, PolicySpecifier, QueryParameter,
};

use super::matching::header_key;
use super::rewrite;
use crate::model::route::{CookieHash, HashPolicy, HashSource};
use crate::reject::{Context, Rejection};

/// Converts `hash_policy`.
pub(super) fn policies(cx: &mut Context, policies: Vec<pb::HashPolicy>) -> Result<Box<[HashPolicy]>, Rejection> {
    let converted = cx.each("hash_policy", policies, policy)?;
    Ok(converted.into_iter().flatten().collect())
}

/// `None`: one that says nothing.
fn policy(cx: &mut Context, policy: pb::HashPolicy) -> Result<Option<HashPolicy>, Rejection> {
    let pb::HashPolicy { terminal, policy_specifier } = policy;
    let source = match cx.required("policy_specifier", policy_specifier)? {
        PolicySpecifier::Header(Header { header_name, regex_rewrite }) => cx.at("header", |cx| {
            let rewrite = match regex_rewrite {
                None => None,
                Some(rewrite) => Some(Box::new(cx.at("regex_rewrite", |cx| rewrite::regex(cx, rewrite))?)),
            };
            Ok(HashSource::Header { name: header_key(cx, "header_name", &header_name)?, rewrite })
        })?,
        PolicySpecifier::Cookie(cookie) => {
            HashSource::Cookie(Box::new(cx.at("cookie", |cx| self::cookie(cx, cookie))?))
        }
        PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true }) => HashSource::SourceIp,
        PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: false }) => return Ok(None),
        PolicySpecifier::QueryParameter(QueryParameter { name }) => {
            cx.not_empty("query_parameter.name", &name)?;
            HashSource::QueryParameter(name.into())
        }
        PolicySpecifier::FilterState(FilterState { key }) => {
            cx.not_empty("filter_state.key", &key)?;
            HashSource::FilterState(key.into())
        }
    };
    Ok(Some(HashPolicy { source, terminal }))
}

fn cookie(cx: &mut Context, cookie: Cookie) -> Result<CookieHash, Rejection> {
    let Cookie { name, ttl, path, attributes } = cookie;
    cx.not_empty("name", &name)?;
    let attributes = cx.each("attributes", attributes, |cx, CookieAttribute { name, value }| {
        cx.not_empty("name", &name)?;
        let odd = |text: &str| text.contains(['\0', '\n', '\r']) || text.len() > 16_384;
        match odd(&name) || odd(&value) {
            true => Err(cx.reject("", "is no attribute of a cookie")),
            false => Ok((name.into(), value.into())),
        }
    })?;
    // Envoy counts whole seconds.
    let ttl = cx.duration("ttl", ttl)?.map(|ttl| Duration::from_secs(ttl.as_secs()));
    Ok(CookieHash { name: name.into(), ttl, path: path.into(), attributes })
}
