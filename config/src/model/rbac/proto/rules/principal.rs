//! `Principal`.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

use envoy_types::pb::envoy::config::rbac::v3 as pb;
use envoy_types::pb::envoy::extensions::rbac::principals::mtls_authenticated::v3 as mtls;
use pb::principal::{Authenticated, Identifier};

use super::{At, Converted, any_rule, deeper, header, metadata, url_path};
use crate::model::chain::proto::matching::cidr;
use crate::model::extension;
use crate::model::matcher::proto::{at_least, text};
use crate::model::rbac::Rule;
use crate::model::rbac::proto::all;
use crate::reject::Context;

pub(super) fn principal(cx: &mut Context, pb::Principal { identifier }: pb::Principal, at: At) -> Converted<Rule> {
    let at = deeper(cx, at)?;
    let set = |cx: &mut Context, pb::principal::Set { ids }: pb::principal::Set| {
        at_least(cx, "ids", ids.len(), 1)?;
        Ok(all(cx.each("ids", ids, |cx, one| principal(cx, one, at))?))
    };
    Ok(Ok(match cx.required("identifier", identifier)? {
        Identifier::AndIds(ids) => return Ok(cx.at("and_ids", |cx| set(cx, ids))?.map(Rule::And)),
        Identifier::OrIds(ids) => return Ok(cx.at("or_ids", |cx| set(cx, ids))?.map(Rule::Or)),
        Identifier::NotId(id) => {
            let id = cx.at("not_id", |cx| principal(cx, *id, at))?;
            return Ok(id.map(|id| Rule::Not(Box::new(id))));
        }
        Identifier::Any(any) => any_rule(cx, any)?,
        Identifier::Authenticated(Authenticated { principal_name }) => match principal_name {
            None => Rule::Authenticated(None),
            Some(name) => {
                let name = cx.at("authenticated", |cx| cx.at("principal_name", |cx| text::envoy(cx, name)))?;
                return Ok(name.map(|name| Rule::Authenticated(Some(name))));
            }
        },
        Identifier::SourceIp(range) => Rule::RemoteIp(cx.at("source_ip", |cx| cidr(cx, range))?),
        Identifier::RemoteIp(range) => Rule::RemoteIp(cx.at("remote_ip", |cx| cidr(cx, range))?),
        Identifier::DirectRemoteIp(range) => Rule::DirectRemoteIp(cx.at("direct_remote_ip", |cx| cidr(cx, range))?),
        Identifier::Header(matcher) => return header(cx, at, matcher),
        Identifier::UrlPath(path) => return cx.at("url_path", |cx| url_path(cx, at, path)),
        Identifier::Metadata(matcher) => return cx.at("metadata", |cx| metadata::metadata(cx, at, matcher)),
        Identifier::SourcedMetadata(matcher) => {
            return cx.at("sourced_metadata", |cx| metadata::sourced(cx, at, matcher));
        }
        Identifier::FilterState(_) => return Ok(Err(cx.unsupported("filter_state", "filter state"))),
        Identifier::Custom(config) => {
            return cx.at("custom", |cx| {
                let (type_name, body) = extension::required(cx, &config.name, config.typed_config)?;
                match &*type_name {
                    "envoy.extensions.rbac.principals.mtls_authenticated.v3.Config" => {
                        cx.at("typed_config", |cx| authenticated(cx, &body))
                    }
                    _ => Err(extension::unknown(cx, &config.name, &type_name)),
                }
            });
        }
    }))
}

/// `mtls_authenticated`, with any certificate that was verified; names are not matched here.
fn authenticated(cx: &mut Context, body: &[u8]) -> Converted<Rule> {
    let mtls::Config { san_matcher, any_validated_client_certificate } = cx.decode(body)?;
    match (san_matcher, any_validated_client_certificate) {
        (Some(_), _) => Ok(Err(cx.unsupported("san_matcher", "a principal by SAN matcher"))),
        (None, true) => Ok(Ok(Rule::Verified)),
        (None, false) => Err(cx.reject(
            "",
            "envoy.rbac.principals.mtls_authenticated did not have any configured validation. At least one \
             configuration field must be set.",
        )),
    }
}
