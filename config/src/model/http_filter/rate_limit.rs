//! `route.v3.RateLimit`: which descriptors a request has, by which its rate is limited.
#![allow(deprecated)] // Envoy still reads the fields it deprecates

use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3 as pb;
use envoy_types::pb::envoy::r#type::matcher::v3::AddressMatcher;
use envoy_types::pb::envoy::r#type::metadata::v3::{MetadataKey, metadata_key, metadata_key::path_segment::Segment};
use envoy_types::pb::google::protobuf::UInt32Value;
use http::HeaderName;
use pb::rate_limit::action::{self, ActionSpecifier};

use super::common::query_matches;
use super::proto::{Part, run};
use crate::model::chain::Cidr;
use crate::model::chain::proto::matching::cidr;
use crate::model::matcher::proto::at_least;
use crate::model::metadata::proto::Interner;
use crate::model::route::proto::{header_matches, substitution};
use crate::model::route::{HeaderMatch, QueryMatch, Substitution};
use crate::reject::{Context, Rejection};

/// `RateLimit`: one descriptor, if all actions give an entry.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// `stage`.
    pub stage: u32,
    /// `disable_key` is set, by which Envoy's local limits leave it out.
    pub has_disable_key: bool,
    /// `actions`; never empty.
    pub actions: Box<[RateLimitAction]>,
    /// `hits_addend.number`.
    pub hits: Option<u64>,
    /// `x_ratelimit_option`: whether headers tell of it; `None`: as the filter says.
    pub headers: Option<bool>,
}

/// `RateLimit.Action`: one entry of a descriptor, key and value.
#[derive(Clone, Debug)]
pub enum RateLimitAction {
    /// `source_cluster`: this node's cluster.
    SourceCluster,
    /// `destination_cluster`: the route's.
    DestinationCluster,
    /// `request_headers`.
    Header {
        /// Whose value.
        name: HeaderName,
        /// Key.
        key: Arc<str>,
        /// Without it there is no such entry, instead of no descriptor.
        skip_if_absent: bool,
    },
    /// `query_parameters`.
    Query {
        /// Whose value.
        name: Box<str>,
        /// Key.
        key: Arc<str>,
        /// Without it there is no such entry, instead of no descriptor.
        skip_if_absent: bool,
    },
    /// `remote_address`.
    RemoteAddress,
    /// `masked_remote_address`.
    MaskedRemoteAddress(MaskedAddress),
    /// `generic_key`.
    Fixed {
        /// Key.
        key: Arc<str>,
        /// Value, with operators.
        value: Box<Substitution>,
        /// `default_value`: where that is empty.
        default: Arc<str>,
    },
    /// `header_value_match`.
    Headers {
        /// Key.
        key: Arc<str>,
        /// Value, with operators.
        value: Box<Substitution>,
        /// `default_value`: where that is empty.
        default: Arc<str>,
        /// What must be so.
        headers: Box<[HeaderMatch]>,
        /// `expect_match`.
        expect: bool,
    },
    /// `query_parameter_value_match`.
    Queries {
        /// Key.
        key: Arc<str>,
        /// Value, with operators.
        value: Box<Substitution>,
        /// `default_value`: where that is empty.
        default: Arc<str>,
        /// What must be so.
        queries: Box<[QueryMatch]>,
        /// `expect_match`.
        expect: bool,
    },
    /// `remote_address_match`.
    RemoteAddressMatch {
        /// Key.
        key: Arc<str>,
        /// Value, with operators.
        value: Box<Substitution>,
        /// `default_value`: where that is empty.
        default: Arc<str>,
        /// The client's address is in one of them.
        ranges: Box<[Cidr]>,
        /// The contrary.
        invert: bool,
    },
    /// `metadata`, `dynamic_metadata`.
    Metadata(Box<MetadataEntry>),
}

/// `MaskedRemoteAddress`: lengths of prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskedAddress {
    /// Of IPv4.
    pub v4: u8,
    /// Of IPv6.
    pub v6: u8,
}

/// `MetaData`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataEntry {
    /// Key of the entry.
    pub key: Arc<str>,
    /// Whose metadata.
    pub from: MetadataFrom,
    /// `metadata_key.key`: the namespace.
    pub namespace: Arc<str>,
    /// `metadata_key.path`.
    pub path: Box<[Box<str>]>,
    /// Without such a text; empty: none.
    pub default: Arc<str>,
    /// Without either there is no such entry, instead of no descriptor.
    pub skip_if_absent: bool,
}

/// `MetaData.Source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataFrom {
    /// Of the request.
    Dynamic,
    /// Of the route.
    Route,
}

/// Converts `rate_limits`.
pub(crate) fn rate_limits(
    cx: &mut Context,
    interner: &mut Interner,
    limits: Vec<pb::RateLimit>,
) -> Part<Box<[RateLimit]>> {
    let limits = cx.each("rate_limits", limits, |cx, limit| rate_limit(cx, interner, limit))?;
    Ok(limits.into_vec().into_iter().collect())
}

fn rate_limit(cx: &mut Context, interner: &mut Interner, limit: pb::RateLimit) -> Part<RateLimit> {
    use pb::rate_limit::XRateLimitOption;
    let pb::RateLimit { stage, disable_key, actions, limit, hits_addend, apply_on_stream_done, x_ratelimit_option } =
        limit;
    let stage = stage.map_or(0, |stage| stage.value);
    if stage > 10 {
        return Err(cx.reject("stage", "value must be less than or equal to 10"));
    }
    at_least(cx, "actions", actions.len(), 1)?;
    let actions = cx.each("actions", actions, |cx, action| self::action(cx, interner, action))?;
    let actions = run!(actions.into_vec().into_iter().collect::<Result<_, _>>());
    cx.ignore(
        "limit",
        &limit,
        "an override is for a rate limit service; local limits are the filter's own, as in Envoy",
    );
    cx.ignore("apply_on_stream_done", &apply_on_stream_done, "for a rate limit service");
    let hits = match hits_addend {
        None => None,
        Some(pb::rate_limit::HitsAddend { number, format, is_negative_hits }) => {
            if !format.is_empty() || is_negative_hits {
                return Ok(Err(cx.unsupported("hits_addend", "hits from a format, or negative ones")));
            }
            let number = number.map(|number| number.value);
            if number.is_some_and(|number| number > 1_000_000_000) {
                return Err(cx.reject("hits_addend.number", "value must be less than or equal to 1000000000"));
            }
            number
        }
    };
    let headers = match cx.variant("x_ratelimit_option", x_ratelimit_option)? {
        XRateLimitOption::Unspecified => None,
        XRateLimitOption::Off => Some(false),
        XRateLimitOption::DraftVersion03 => Some(true),
    };
    Ok(Ok(RateLimit { stage, has_disable_key: !disable_key.is_empty(), actions, hits, headers }))
}

fn action(
    cx: &mut Context,
    interner: &mut Interner,
    pb::rate_limit::Action { action_specifier }: pb::rate_limit::Action,
) -> Part<RateLimitAction> {
    Ok(Ok(match cx.required("action_specifier", action_specifier)? {
        ActionSpecifier::SourceCluster(action::SourceCluster {}) => RateLimitAction::SourceCluster,
        ActionSpecifier::DestinationCluster(action::DestinationCluster {}) => RateLimitAction::DestinationCluster,
        ActionSpecifier::RemoteAddress(action::RemoteAddress {}) => RateLimitAction::RemoteAddress,
        ActionSpecifier::RequestHeaders(action::RequestHeaders { header_name, descriptor_key, skip_if_absent }) => {
            cx.not_empty("request_headers.header_name", &header_name)?;
            cx.not_empty("request_headers.descriptor_key", &descriptor_key)?;
            if header_name.starts_with(':') {
                return Ok(Err(cx.unsupported("request_headers.header_name", "a pseudo header as a descriptor")));
            }
            let name = HeaderName::from_bytes(header_name.as_bytes());
            let name = name.map_err(|_| cx.reject("request_headers.header_name", "is no header name"))?;
            RateLimitAction::Header { name, key: interner.string(&descriptor_key), skip_if_absent }
        }
        ActionSpecifier::QueryParameters(action::QueryParameters {
            query_parameter_name,
            descriptor_key,
            skip_if_absent,
        }) => {
            cx.not_empty("query_parameters.query_parameter_name", &query_parameter_name)?;
            cx.not_empty("query_parameters.descriptor_key", &descriptor_key)?;
            let key = interner.string(&descriptor_key);
            RateLimitAction::Query { name: query_parameter_name.into(), key, skip_if_absent }
        }
        ActionSpecifier::MaskedRemoteAddress(masked) => {
            let action::MaskedRemoteAddress { v4_prefix_mask_len, v6_prefix_mask_len } = masked;
            cx.at("masked_remote_address", |cx| {
                let v4 = mask(cx, "v4_prefix_mask_len", v4_prefix_mask_len, 32)?;
                let v6 = mask(cx, "v6_prefix_mask_len", v6_prefix_mask_len, 128)?;
                Ok(RateLimitAction::MaskedRemoteAddress(MaskedAddress { v4, v6 }))
            })?
        }
        ActionSpecifier::GenericKey(action::GenericKey { descriptor_value, default_value, descriptor_key }) => {
            let entry = (descriptor_key, "generic_key", descriptor_value, default_value);
            let (key, value, default) = run!(cx.at("generic_key", |cx| self::entry(cx, interner, entry))?);
            RateLimitAction::Fixed { key, value, default }
        }
        ActionSpecifier::HeaderValueMatch(matcher) => {
            return cx.at("header_value_match", |cx| header_value_match(cx, interner, matcher));
        }
        ActionSpecifier::QueryParameterValueMatch(matcher) => {
            return cx.at("query_parameter_value_match", |cx| query_value_match(cx, interner, matcher));
        }
        ActionSpecifier::RemoteAddressMatch(matcher) => {
            return cx.at("remote_address_match", |cx| remote_address_match(cx, interner, matcher));
        }
        ActionSpecifier::DynamicMetadata(action::DynamicMetaData { descriptor_key, metadata_key, default_value }) => {
            let entry = (descriptor_key, metadata_key, default_value);
            return cx.at("dynamic_metadata", |cx| metadata(cx, interner, entry, MetadataFrom::Dynamic, false));
        }
        ActionSpecifier::Metadata(entry) => {
            return cx.at("metadata", |cx| {
                use action::meta_data::Source;
                let action::MetaData { descriptor_key, metadata_key, default_value, source, skip_if_absent } = entry;
                let from = match cx.variant("source", source)? {
                    Source::Dynamic => MetadataFrom::Dynamic,
                    Source::RouteEntry => MetadataFrom::Route,
                    Source::ClusterEntry | Source::ClusterLocalityEntry => {
                        return Ok(Err(cx.unsupported("source", "metadata of a cluster as a descriptor")));
                    }
                };
                let entry = (descriptor_key, metadata_key, default_value);
                metadata(cx, interner, entry, from, skip_if_absent)
            });
        }
        ActionSpecifier::Extension(config) => {
            return Ok(Err(cx.unsupported("extension", &format!("the descriptor {}", config.name))));
        }
    }))
}

type Entry = (Arc<str>, Box<Substitution>, Arc<str>);

/// Key (or its default), value and default value.
fn entry(
    cx: &mut Context,
    interner: &mut Interner,
    (key, default_key, value, default): (String, &str, String, String),
) -> Part<Entry> {
    cx.not_empty("descriptor_value", &value)?;
    let value = Box::new(substitution(cx, "descriptor_value", &value)?);
    let key = interner.string(if key.is_empty() { default_key } else { &key });
    Ok(Ok((key, value, interner.string(&default))))
}

fn header_value_match(
    cx: &mut Context,
    interner: &mut Interner,
    matcher: action::HeaderValueMatch,
) -> Part<RateLimitAction> {
    let action::HeaderValueMatch { descriptor_value, default_value, descriptor_key, expect_match, headers } = matcher;
    at_least(cx, "headers", headers.len(), 1)?;
    let entry = (descriptor_key, "header_match", descriptor_value, default_value);
    let (key, value, default) = run!(self::entry(cx, interner, entry)?);
    let headers = run!(header_matches(cx, "headers", headers)?);
    let expect = expect_match.is_none_or(|flag| flag.value);
    Ok(Ok(RateLimitAction::Headers { key, value, default, headers, expect }))
}

fn query_value_match(
    cx: &mut Context,
    interner: &mut Interner,
    matcher: action::QueryParameterValueMatch,
) -> Part<RateLimitAction> {
    let action::QueryParameterValueMatch {
        descriptor_value,
        default_value,
        descriptor_key,
        expect_match,
        query_parameters,
    } = matcher;
    at_least(cx, "query_parameters", query_parameters.len(), 1)?;
    let entry = (descriptor_key, "query_match", descriptor_value, default_value);
    let (key, value, default) = run!(self::entry(cx, interner, entry)?);
    let queries = run!(query_matches(cx, "query_parameters", query_parameters)?);
    let expect = expect_match.is_none_or(|flag| flag.value);
    Ok(Ok(RateLimitAction::Queries { key, value, default, queries, expect }))
}

fn remote_address_match(
    cx: &mut Context,
    interner: &mut Interner,
    matcher: action::RemoteAddressMatch,
) -> Part<RateLimitAction> {
    let action::RemoteAddressMatch { descriptor_value, descriptor_key, default_value, address_matcher } = matcher;
    let entry = (descriptor_key, "remote_address_match", descriptor_value, default_value);
    let (key, value, default) = run!(self::entry(cx, interner, entry)?);
    let AddressMatcher { ranges, invert_match } = cx.required("address_matcher", address_matcher)?;
    let ranges = cx.at("address_matcher", |cx| {
        cx.each("ranges", ranges, |cx, range| {
            let envoy_types::pb::xds::core::v3::CidrRange { address_prefix, prefix_len } = range;
            cidr(cx, envoy_types::pb::envoy::config::core::v3::CidrRange { address_prefix, prefix_len })
        })
    })?;
    Ok(Ok(RateLimitAction::RemoteAddressMatch { key, value, default, ranges, invert: invert_match }))
}

fn metadata(
    cx: &mut Context,
    interner: &mut Interner,
    (key, metadata_key, default): (String, Option<MetadataKey>, String),
    from: MetadataFrom,
    skip_if_absent: bool,
) -> Part<RateLimitAction> {
    cx.not_empty("descriptor_key", &key)?;
    let MetadataKey { key: namespace, path } = cx.required("metadata_key", metadata_key)?;
    cx.not_empty("metadata_key.key", &namespace)?;
    at_least(cx, "metadata_key.path", path.len(), 1)?;
    let path =
        cx.each("path", path, |cx, metadata_key::PathSegment { segment }| match cx.required("segment", segment)? {
            Segment::Key(key) => {
                cx.not_empty("key", &key)?;
                Ok(Ok(key.into_boxed_str()))
            }
            Segment::Index(_) => Ok(Err(cx.unsupported("index", "an index into metadata"))),
        })?;
    let path = run!(path.into_vec().into_iter().collect::<Result<_, _>>());
    Ok(Ok(RateLimitAction::Metadata(Box::new(MetadataEntry {
        key: interner.string(&key),
        from,
        namespace: interner.string(&namespace),
        path,
        default: interner.string(&default),
        skip_if_absent,
    }))))
}

fn mask(cx: &Context, field: &str, value: Option<UInt32Value>, max: u8) -> Result<u8, Rejection> {
    let value = value.map_or(u32::from(max), |value| value.value);
    let found = u8::try_from(value).ok().filter(|value| *value <= max);
    found.ok_or_else(|| cx.reject(field, format!("value must be less than or equal to {max}")))
}
