//! `envoy.extensions.filters.http.router.v3.Router`, always the last filter.

use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::http::router::v3 as pb;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;

use super::Part;
use crate::model::access_log::proto::access_logs;
use crate::model::hcm::{Router, UpstreamLogOptions};
use crate::model::tcp_proxy::proto::Shared;
use crate::reject::{Context, Rejection, Unsupported, immaterial};

/// Headers that can be checked strictly.
const CHECKED: [&str; 5] = [
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-max-retries",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
];

/// The filter of the upstream chain that stands in every one, and does nothing but send.
const CODEC: &str = "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";

pub(super) fn router(cx: &mut Context, shared: &mut Shared, body: &[u8]) -> Part<Router> {
    let pb::Router {
        dynamic_stats,
        start_child_span,
        upstream_log,
        upstream_log_options,
        suppress_envoy_headers,
        strict_check_headers,
        respect_expected_rq_timeout,
        suppress_grpc_request_failure_code_stats,
        upstream_http_filters,
        reject_connect_request_early_data,
    } = cx.decode(body)?;
    cx.ignore("dynamic_stats", &dynamic_stats.filter(|f| !f.value), "clusters count by answer all the same");
    let grpc = &suppress_grpc_request_failure_code_stats;
    cx.ignore("suppress_grpc_request_failure_code_stats", grpc, "failures of gRPC are counted");
    cx.ignore("strict_check_headers", &strict_check_headers, "a bad header of these is passed over");
    cx.ignore("upstream_log", &upstream_log, "no lines are written for attempts");
    immaterial(reject_connect_request_early_data, "TCP: no data goes ahead of the answer to a CONNECT here");
    if let Some(unsupported) = upstream_filters(cx, "upstream_http_filters", upstream_http_filters)? {
        return Ok(Err(unsupported));
    }
    Ok(Ok(Router {
        dynamic_stats: dynamic_stats.is_none_or(|f| f.value),
        start_child_span,
        upstream_logs: cx.at("upstream_log", |cx| access_logs(cx, &mut shared.access_logs, upstream_log))?,
        upstream_log: options(cx, upstream_log_options)?,
        suppress_envoy_headers,
        strict_check_headers: cx.each("strict_check_headers", strict_check_headers, |cx, name| {
            match CHECKED.iter().find(|known| **known == name) {
                Some(known) => Ok(*known),
                None => Err(cx.reject("", format!("value must be in list [{}]", CHECKED.join(" ")))),
            }
        })?,
        respect_expected_rq_timeout,
        suppress_grpc_request_failure_code_stats,
    }))
}

/// Only the codec, which every chain towards upstreams ends with.
pub(crate) fn upstream_filters(
    cx: &mut Context,
    field: &'static str,
    filters: Vec<hcm::HttpFilter>,
) -> Result<Option<Unsupported>, Rejection> {
    for (i, hcm::HttpFilter { name, is_optional, disabled, config_type }) in filters.into_iter().enumerate() {
        immaterial((is_optional, disabled), "only the codec is known");
        let any = match config_type {
            Some(hcm::http_filter::ConfigType::TypedConfig(any)) => Some(any),
            Some(hcm::http_filter::ConfigType::ConfigDiscovery(_)) | None => None,
        };
        let found = cx.item(field, i, |cx| {
            cx.not_empty("name", &name)?;
            let what = any.map_or("filter configuration by ECDS".into(), |any| any.type_url);
            Ok((what != CODEC).then(|| cx.unsupported("", &what)))
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn options(
    cx: &mut Context,
    options: Option<pb::router::UpstreamAccessLogOptions>,
) -> Result<UpstreamLogOptions, Rejection> {
    let Some(options) = options else { return Ok(UpstreamLogOptions::default()) };
    let pb::router::UpstreamAccessLogOptions { flush_upstream_log_on_upstream_stream, upstream_log_flush_interval } =
        options;
    let interval = cx.at("upstream_log_options", |cx| {
        cx.at_least("upstream_log_flush_interval", upstream_log_flush_interval, Duration::from_millis(1))
    })?;
    Ok(UpstreamLogOptions { on_stream: flush_upstream_log_on_upstream_stream, flush_interval: interval })
}
