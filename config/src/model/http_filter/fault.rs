//! `envoy.filters.http.fault`: delays, refusals and slow answers on purpose.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::common::fault::v3 as common;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3 as pb;
use http::StatusCode;

use super::common::percentage;
use super::proto::{Part, run};
use crate::model::metadata::Fields;
use crate::model::metadata::proto::{Interner, fields};
use crate::model::route::proto::header_matches;
use crate::model::route::{HeaderMatch, RuntimeFraction};
use crate::reject::{Context, Rejection};

/// `HTTPFault`.
#[derive(Clone, Debug)]
pub struct Fault {
    /// `delay` and how often.
    pub delay: Option<(Delay, RuntimeFraction)>,
    /// `abort` and how often.
    pub abort: Option<(Abort, RuntimeFraction)>,
    /// `abort.response_body`; empty: Envoy's `fault filter abort`.
    pub abort_body: Box<str>,
    /// `upstream_cluster`: only on routes to it; empty: on all.
    pub upstream_cluster: Box<str>,
    /// `headers`: all must match.
    pub headers: Box<[HeaderMatch]>,
    /// `downstream_nodes`: values of `x-envoy-downstream-service-node`; empty: all.
    pub downstream_nodes: Box<[Box<str>]>,
    /// `max_active_faults`.
    pub max_active: Option<u32>,
    /// `response_rate_limit` and how often.
    pub rate_limit: Option<(Limit, RuntimeFraction)>,
    /// Where the runtime may say otherwise.
    pub keys: Box<FaultKeys>,
    /// `disable_downstream_cluster_stats`.
    pub no_cluster_stats: bool,
    /// `filter_metadata`: dynamic metadata of a request with a fault, under the filter's name.
    pub metadata: Option<Fields>,
}

/// How often.
type Percentage = RuntimeFraction;

/// `fault_delay_secifier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// `fixed_delay`.
    Fixed(Duration),
    /// `header_delay`: `x-envoy-fault-delay-request`, in ms.
    Header,
}

/// `error_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// `http_status`.
    Http(StatusCode),
    /// `grpc_status`.
    Grpc(u32),
    /// `header_abort`: `x-envoy-fault-abort-request`, `x-envoy-fault-abort-grpc-request`.
    Header,
}

/// `limit_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `fixed_limit.limit_kbps`: KiB a second.
    Fixed(u64),
    /// `header_limit`: `x-envoy-fault-throughput-response`, in KiB a second.
    Header,
}

/// Runtime keys, Envoy's where none is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultKeys {
    /// `delay_duration_runtime`.
    pub delay_duration: Arc<str>,
    /// `abort_http_status_runtime`.
    pub abort_http_status: Arc<str>,
    /// `abort_grpc_status_runtime`.
    pub abort_grpc_status: Arc<str>,
    /// `max_active_faults_runtime`.
    pub max_active: Arc<str>,
}

pub(super) fn config(cx: &mut Context, interner: &mut Interner, body: &[u8]) -> Part<Fault> {
    let pb::HttpFault {
        delay,
        abort,
        upstream_cluster,
        headers,
        downstream_nodes,
        max_active_faults,
        response_rate_limit,
        delay_percent_runtime,
        abort_percent_runtime,
        delay_duration_runtime,
        abort_http_status_runtime,
        max_active_faults_runtime,
        response_rate_limit_percent_runtime,
        abort_grpc_status_runtime,
        disable_downstream_cluster_stats,
        filter_metadata,
    } = cx.decode(body)?;
    let mut key = |key: String, default: &str| interner.string(if key.is_empty() { default } else { &key });
    let delay_key = key(delay_percent_runtime, "fault.http.delay.fixed_delay_percent");
    let abort_key = key(abort_percent_runtime, "fault.http.abort.abort_percent");
    let rate_key = key(response_rate_limit_percent_runtime, "fault.http.rate_limit.response_percent");
    let keys = Box::new(FaultKeys {
        delay_duration: key(delay_duration_runtime, "fault.http.delay.fixed_duration_ms"),
        abort_http_status: key(abort_http_status_runtime, "fault.http.abort.http_status"),
        abort_grpc_status: key(abort_grpc_status_runtime, "fault.http.abort.grpc_status"),
        max_active: key(max_active_faults_runtime, "fault.http.max_active_faults"),
    });
    let delay = delay.map(|d| cx.at("delay", |cx| self::delay(cx, d, delay_key))).transpose()?;
    let abort_body = abort.as_ref().map_or_else(Box::default, |a| a.response_body.as_str().into());
    let abort = abort.map(|a| cx.at("abort", |cx| self::abort(cx, a, abort_key))).transpose()?;
    let limit = response_rate_limit.map(|l| cx.at("response_rate_limit", |cx| rate_limit(cx, l, rate_key)));
    let headers = run!(header_matches(cx, "headers", headers)?);
    Ok(Ok(Fault {
        delay,
        abort,
        abort_body,
        upstream_cluster: upstream_cluster.into(),
        headers,
        downstream_nodes: downstream_nodes.into_iter().map(Into::into).collect(),
        max_active: max_active_faults.map(|max| max.value),
        rate_limit: limit.transpose()?,
        keys,
        no_cluster_stats: disable_downstream_cluster_stats,
        metadata: filter_metadata
            .map(|metadata| cx.at("filter_metadata", |cx| fields(cx, interner, metadata)))
            .transpose()?,
    }))
}

fn delay(cx: &mut Context, delay: common::FaultDelay, key: Arc<str>) -> Result<(Delay, Percentage), Rejection> {
    use common::fault_delay::FaultDelaySecifier;
    let common::FaultDelay { percentage: value, fault_delay_secifier } = delay;
    let percentage = percentage(cx, value, key)?;
    let delay = match cx.required("fault_delay_secifier", fault_delay_secifier)? {
        FaultDelaySecifier::FixedDelay(delay) => {
            let delay = cx.longer_than("fixed_delay", Some(delay), Duration::ZERO)?;
            Delay::Fixed(delay.unwrap_or_default())
        }
        FaultDelaySecifier::HeaderDelay(common::fault_delay::HeaderDelay {}) => Delay::Header,
    };
    Ok((delay, percentage))
}

fn abort(cx: &mut Context, abort: pb::FaultAbort, key: Arc<str>) -> Result<(Abort, Percentage), Rejection> {
    use pb::fault_abort::ErrorType;
    let pb::FaultAbort { percentage: value, response_body: _, error_type } = abort;
    let percentage = percentage(cx, value, key)?;
    let abort = match cx.required("error_type", error_type)? {
        ErrorType::HttpStatus(status) => {
            let valid = u16::try_from(status).ok().filter(|status| (200..600).contains(status));
            let status = valid.and_then(|status| StatusCode::from_u16(status).ok());
            Abort::Http(status.ok_or_else(|| cx.reject("http_status", "value must be inside range [200, 600)"))?)
        }
        ErrorType::GrpcStatus(status) => Abort::Grpc(status),
        ErrorType::HeaderAbort(pb::fault_abort::HeaderAbort {}) => Abort::Header,
    };
    Ok((abort, percentage))
}

fn rate_limit(
    cx: &mut Context,
    limit: common::FaultRateLimit,
    key: Arc<str>,
) -> Result<(Limit, Percentage), Rejection> {
    use common::fault_rate_limit::{FixedLimit, HeaderLimit, LimitType};
    let common::FaultRateLimit { percentage: value, limit_type } = limit;
    let percentage = percentage(cx, value, key)?;
    let limit = match cx.required("limit_type", limit_type)? {
        LimitType::FixedLimit(FixedLimit { limit_kbps: 0 }) => {
            return Err(cx.reject("fixed_limit.limit_kbps", "value must be greater than or equal to 1"));
        }
        LimitType::FixedLimit(FixedLimit { limit_kbps }) => Limit::Fixed(limit_kbps),
        LimitType::HeaderLimit(HeaderLimit {}) => Limit::Header,
    };
    Ok((limit, percentage))
}
