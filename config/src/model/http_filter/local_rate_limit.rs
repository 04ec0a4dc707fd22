//! `envoy.filters.http.local_ratelimit`: so many requests in a time, counted in this process.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3 as common;
use envoy_types::pb::envoy::extensions::filters::http::local_ratelimit::v3 as pb;
use envoy_types::pb::envoy::r#type::v3 as types;
use http::StatusCode;

use super::common::{fraction, header_adds};
use super::proto::{Part, run};
use super::rate_limit::{RateLimit, rate_limits};
use crate::model::matcher::proto::at_least;
use crate::model::metadata::proto::Interner;
use crate::model::route::{HeaderAdd, RuntimeFraction};
use crate::reject::{Context, Rejection};

/// `LocalRateLimit`.
#[derive(Clone, Debug)]
pub struct LocalRateLimit {
    /// Prefix of its statistics: `<stat_prefix>.http_local_rate_limit.…`.
    pub stat_prefix: Arc<str>,
    /// `status`: at least 400; Envoy's default is 429.
    pub status: StatusCode,
    /// `token_bucket`, of requests that match no descriptor, or of all; `None`: those are not limited.
    pub bucket: Option<TokenBucket>,
    /// `filter_enabled`; `None`: never.
    pub enabled: Option<RuntimeFraction>,
    /// `filter_enforced`; `None`: never.
    pub enforced: Option<RuntimeFraction>,
    /// `request_headers_to_add_when_not_enforced`.
    pub request_headers: Box<[HeaderAdd]>,
    /// `response_headers_to_add`, of refusals.
    pub response_headers: Box<[HeaderAdd]>,
    /// `descriptors`: buckets of their own.
    pub descriptors: Box<[Descriptor]>,
    /// `stage`: of the routes' rate limits.
    pub stage: u32,
    /// `local_rate_limit_per_downstream_connection`.
    pub per_connection: bool,
    /// `enable_x_ratelimit_headers`.
    pub headers: bool,
    /// `vh_rate_limits`.
    pub virtual_host_limits: VirtualHostLimits,
    /// `always_consume_default_token_bucket`; Envoy's default is true.
    pub always_consume_default: bool,
    /// `rate_limited_as_resource_exhausted`: gRPC's status 8 instead of 14.
    pub resource_exhausted: bool,
    /// `rate_limits`: which descriptors a request has; empty: those of its route.
    pub rate_limits: Box<[RateLimit]>,
    /// `max_dynamic_descriptors`: so many values of a descriptor without a value have a bucket; Envoy's default is 20.
    pub max_dynamic: u32,
    /// `enable_retry_after_header`.
    pub retry_after: bool,
}

/// `TokenBucket`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    /// Tokens at the start and at most.
    pub max_tokens: u32,
    /// Tokens that are added in each interval, evenly.
    pub tokens_per_fill: u32,
    /// The interval; at least 50 ms.
    pub fill_interval: Duration,
}

/// `LocalRateLimitDescriptor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// All must be those of the request, in order; never empty.
    pub entries: Box<[DescriptorEntry]>,
    /// Its bucket.
    pub bucket: TokenBucket,
    /// `shadow_mode`: only counted.
    pub shadow: bool,
}

/// `RateLimitDescriptor.Entry`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DescriptorEntry {
    /// Key.
    pub key: Arc<str>,
    /// Value; empty: any, and each has a bucket.
    pub value: Arc<str>,
}

/// `VhRateLimitsOptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VirtualHostLimits {
    /// The virtual host's hold where the route has none.
    #[default]
    Override,
    /// They hold too.
    Include,
    /// They do not hold.
    Ignore,
}

/// Converts the filter's configuration, or a route's, which must have a bucket.
pub(super) fn config(cx: &mut Context, interner: &mut Interner, body: &[u8], per_route: bool) -> Part<LocalRateLimit> {
    let pb::LocalRateLimit {
        stat_prefix,
        status,
        token_bucket,
        filter_enabled,
        filter_enforced,
        request_headers_to_add_when_not_enforced,
        response_headers_to_add,
        descriptors,
        stage,
        local_rate_limit_per_downstream_connection,
        local_cluster_rate_limit,
        enable_x_ratelimit_headers,
        vh_rate_limits,
        always_consume_default_token_bucket,
        rate_limited_as_resource_exhausted,
        rate_limits,
        max_dynamic_descriptors,
        enable_retry_after_header,
    } = cx.decode(body)?;
    cx.not_empty("stat_prefix", &stat_prefix)?;
    if stage > 10 {
        return Err(cx.reject("stage", "value must be less than or equal to 10"));
    }
    if per_route && token_bucket.is_none() {
        return Err(cx.reject("token_bucket", "local rate limit token bucket must be set for per filter configs"));
    }
    if local_cluster_rate_limit.is_some() {
        // Each instance would let through as much as all of them may.
        return Ok(Err(cx.unsupported("local_cluster_rate_limit", "a rate limit that instances share")));
    }
    let bucket = token_bucket.map(|bucket| cx.at("token_bucket", |cx| self::bucket(cx, bucket))).transpose()?;
    let descriptors = self::descriptors(cx, interner, descriptors)?;
    let max_dynamic = max_dynamic_descriptors.map_or(20, |max| max.value);
    if max_dynamic == 0 {
        return Err(cx.reject("max_dynamic_descriptors", "value must be greater than or equal to 1"));
    }
    let added = |cx: &mut Context, field, headers: Vec<_>| {
        if headers.len() > 10 {
            return Err(cx.reject(field, "value must contain no more than 10 item(s)"));
        }
        header_adds(cx, field, headers)
    };
    let request_headers =
        added(cx, "request_headers_to_add_when_not_enforced", request_headers_to_add_when_not_enforced)?;
    let response_headers = added(cx, "response_headers_to_add", response_headers_to_add)?;
    Ok(Ok(LocalRateLimit {
        stat_prefix: interner.string(&stat_prefix),
        status: self::status(cx, status)?,
        bucket,
        enabled: fraction(cx, interner, "filter_enabled", filter_enabled)?,
        enforced: fraction(cx, interner, "filter_enforced", filter_enforced)?,
        request_headers,
        response_headers,
        descriptors,
        stage,
        per_connection: local_rate_limit_per_downstream_connection,
        headers: cx
            .variant::<common::XRateLimitHeadersRfcVersion>("enable_x_ratelimit_headers", enable_x_ratelimit_headers)?
            == common::XRateLimitHeadersRfcVersion::DraftVersion03,
        virtual_host_limits: match cx.variant("vh_rate_limits", vh_rate_limits)? {
            common::VhRateLimitsOptions::Override => VirtualHostLimits::Override,
            common::VhRateLimitsOptions::Include => VirtualHostLimits::Include,
            common::VhRateLimitsOptions::Ignore => VirtualHostLimits::Ignore,
        },
        always_consume_default: always_consume_default_token_bucket.is_none_or(|flag| flag.value),
        resource_exhausted: rate_limited_as_resource_exhausted,
        rate_limits: run!(self::rate_limits(cx, interner, rate_limits)?),
        max_dynamic,
        retry_after: enable_retry_after_header,
    }))
}

/// Envoy refuses with 429 where what is configured is no refusal.
fn status(cx: &Context, status: Option<types::HttpStatus>) -> Result<StatusCode, Rejection> {
    let Some(types::HttpStatus { code }) = status else { return Ok(StatusCode::TOO_MANY_REQUESTS) };
    match cx.variant("status.code", code)? {
        types::StatusCode::Empty => Err(cx.reject("status.code", "value must not be in list [0]")),
        known => {
            let code = u16::try_from(known as i32).ok().filter(|code| *code >= 400);
            let code = code.and_then(|code| StatusCode::from_u16(code).ok());
            Ok(code.unwrap_or(StatusCode::TOO_MANY_REQUESTS))
        }
    }
}

fn bucket(cx: &Context, bucket: types::TokenBucket) -> Result<TokenBucket, Rejection> {
    let types::TokenBucket { max_tokens, tokens_per_fill, fill_interval } = bucket;
    if max_tokens == 0 {
        return Err(cx.reject("max_tokens", "value must be greater than 0"));
    }
    let tokens_per_fill = tokens_per_fill.map_or(1, |tokens| tokens.value);
    if tokens_per_fill == 0 {
        return Err(cx.reject("tokens_per_fill", "value must be greater than 0"));
    }
    let interval = cx.longer_than("fill_interval", fill_interval, Duration::ZERO)?;
    let fill_interval = cx.required("fill_interval", interval)?;
    if fill_interval < Duration::from_millis(50) {
        return Err(cx.reject("fill_interval", "local rate limit token bucket fill timer must be >= 50ms"));
    }
    Ok(TokenBucket { max_tokens, tokens_per_fill, fill_interval })
}

fn descriptors(
    cx: &mut Context,
    interner: &mut Interner,
    descriptors: Vec<common::LocalRateLimitDescriptor>,
) -> Result<Box<[Descriptor]>, Rejection> {
    let mut seen = HashSet::new();
    cx.each("descriptors", descriptors, |cx, descriptor| {
        let common::LocalRateLimitDescriptor { entries, token_bucket, shadow_mode } = descriptor;
        at_least(cx, "entries", entries.len(), 1)?;
        let entries = cx.each("entries", entries, |cx, common::rate_limit_descriptor::Entry { key, value }| {
            cx.not_empty("key", &key)?;
            Ok(DescriptorEntry { key: interner.string(&key), value: interner.string(&value) })
        })?;
        if !seen.insert(entries.clone()) {
            return Err(cx.reject("entries", "duplicate descriptor in the local rate descriptor"));
        }
        let bucket = cx.required("token_bucket", token_bucket)?;
        let bucket = cx.at("token_bucket", |cx| self::bucket(cx, bucket))?;
        Ok(Descriptor { entries, bucket, shadow: shadow_mode })
    })
}
