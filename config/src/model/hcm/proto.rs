//! From `HttpConnectionManager`.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

mod forward;
mod not_run;
mod protocol;
mod reply;
mod router;
mod routes;
mod settings;

pub(crate) use protocol::{common, http1, http2};
pub(crate) use router::upstream_filters;

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;

use super::{CommonHttp, Http1Options, Http2Options, Manager};
use crate::model::access_log::proto::access_logs;
use crate::model::tcp_proxy::proto::Shared;
use crate::model::{http_filter, tracing};
use crate::reject::{Context, Rejection, Unsupported, immaterial};
use settings::LogFields;

/// A part, or what in it can't be run: a rule that is not understood must not be passed over.
type Part<T> = Result<Result<T, Unsupported>, Rejection>;

/// Unwraps a part, or returns what can't be run.
macro_rules! run {
    ($part:expr) => {
        match $part {
            Ok(part) => part,
            Err(unsupported) => return Ok(Err(unsupported)),
        }
    };
}
use run;

/// Converts an HTTP connection manager of the data path.
pub(crate) fn manager(cx: &mut Context, shared: &mut Shared, manager: pb::HttpConnectionManager) -> Part<Manager> {
    let not_run = not_run::report(cx, &manager);
    let pb::HttpConnectionManager {
        codec_type,
        stat_prefix,
        http_filters,
        add_user_agent,
        tracing,
        common_http_protocol_options,
        http1_safe_max_connection_duration,
        http_protocol_options,
        http2_protocol_options,
        http3_protocol_options,
        server_name,
        server_header_transformation,
        scheme_header_transformation,
        max_request_headers_kb,
        stream_idle_timeout,
        stream_flush_timeout,
        request_timeout,
        request_headers_timeout,
        drain_timeout,
        drain_timeout_jitter,
        delayed_close_timeout,
        access_log,
        access_log_flush_interval,
        flush_access_log_on_new_request,
        access_log_options,
        use_remote_address,
        xff_num_trusted_hops,
        original_ip_detection_extensions,
        early_header_mutation_extensions,
        internal_address_config,
        skip_xff_append,
        via,
        generate_request_id,
        preserve_external_request_id,
        always_set_request_id_in_response,
        forward_client_cert_details,
        set_current_client_cert_details,
        forward_client_cert_matcher,
        proxy_100_continue,
        represent_ipv4_remote_address_as_ipv4_mapped_ipv6,
        upgrade_configs,
        normalize_path,
        merge_slashes,
        path_with_escaped_slashes_action,
        request_id_extension,
        local_reply_config,
        strip_matching_host_port,
        stream_error_on_invalid_http_message,
        path_normalization_options,
        strip_trailing_host_dot,
        proxy_status_config,
        typed_header_validation_config,
        append_x_forwarded_port,
        append_local_overload,
        add_proxy_protocol_connection_state,
        forward_proto_config,
        route_specifier,
        strip_port_mode,
    } = manager;
    immaterial(path_normalization_options, "not implemented by Envoy either, which hides the field");
    cx.not_empty("stat_prefix", &stat_prefix)?;
    if typed_header_validation_config.is_some() {
        let why = "This Envoy binary does not support header validator configuration.";
        return Err(cx.reject("typed_header_validation_config", why));
    }
    cx.ignore("http3_protocol_options", &http3_protocol_options, "HTTP/3 is not spoken");
    if forward_client_cert_matcher.is_some() {
        return Ok(Err(cx.unsupported("forward_client_cert_matcher", "forward_client_cert_matcher")));
    }
    let use_remote_address = use_remote_address.is_some_and(|f| f.value);
    let original_ip = run!(forward::original_ip(cx, original_ip_detection_extensions)?);
    if !original_ip.is_empty() && (use_remote_address || xff_num_trusted_hops > 0) {
        let other = if use_remote_address { "use_remote_address" } else { "xff_num_trusted_hops" };
        let why = format!("Original IP detection extensions and {other} may not be mixed");
        return Err(cx.reject("original_ip_detection_extensions", why));
    }
    let routes = run!(routes::routes(cx, shared, route_specifier)?);
    let last = http_filters.len().saturating_sub(1);
    let (filters, router) = run!(http_filter::proto::filters(cx, &mut shared.interner, http_filters)?);
    let router =
        run!(cx.item("http_filters", last, |cx| { cx.at("typed_config", |cx| router::router(cx, shared, &router)) })?);
    let stream_error = stream_error_on_invalid_http_message.map(|f| f.value);
    let protocols = Protocols::of(cx, common_http_protocol_options, http_protocol_options, http2_protocol_options)?;
    let defaults = Manager::default();
    let stream_idle_timeout =
        settings::timeout(cx, "stream_idle_timeout", stream_idle_timeout, defaults.stream_idle_timeout)?;
    let log = LogFields {
        options: access_log_options,
        flush_interval: access_log_flush_interval,
        on_new_request: flush_access_log_on_new_request,
    };
    let early_mutations = run!(forward::early_mutations(cx, early_header_mutation_extensions)?);
    if let Some(unsupported) = not_run {
        return Ok(Err(unsupported));
    }
    Ok(Ok(Manager {
        codec: settings::codec(cx, codec_type)?,
        stat_prefix: shared.interner.string(&stat_prefix),
        routes,
        filters,
        router,
        common: protocols.common,
        http1_stream_error: protocols.http1.1.or(stream_error).unwrap_or_default(),
        http2_stream_error: protocols.http2.1.or(stream_error).unwrap_or_default(),
        http1: protocols.http1.0,
        http2: protocols.http2.0,
        http1_safe_max_connection_duration,
        max_request_headers_kb: protocol::within(cx, "max_request_headers_kb", max_request_headers_kb, 1, 8192)?
            .unwrap_or(defaults.max_request_headers_kb),
        server_name: settings::header_value(cx, "server_name", &server_name)?.unwrap_or(defaults.server_name),
        server_header: settings::server_header(cx, server_header_transformation)?,
        scheme: forward::scheme(cx, scheme_header_transformation)?,
        stream_flush_timeout: settings::timeout(cx, "stream_flush_timeout", stream_flush_timeout, stream_idle_timeout)?,
        stream_idle_timeout,
        request_timeout: settings::timeout(cx, "request_timeout", request_timeout, None)?,
        request_headers_timeout: settings::timeout(cx, "request_headers_timeout", request_headers_timeout, None)?,
        drain_timeout: cx.duration("drain_timeout", drain_timeout)?.unwrap_or(defaults.drain_timeout),
        drain_timeout_jitter: protocol::percent(cx, "drain_timeout_jitter", drain_timeout_jitter)?.unwrap_or_default(),
        delayed_close_timeout: cx
            .duration("delayed_close_timeout", delayed_close_timeout)?
            .unwrap_or(defaults.delayed_close_timeout),
        use_remote_address,
        xff_num_trusted_hops,
        original_ip,
        skip_xff_append,
        internal_addresses: forward::internal_addresses(cx, internal_address_config)?,
        represent_ipv4_as_mapped: represent_ipv4_remote_address_as_ipv4_mapped_ipv6,
        append_x_forwarded_port,
        append_local_overload,
        forward_proto: forward::forward_proto(cx, forward_proto_config)?,
        add_proxy_protocol_connection_state: add_proxy_protocol_connection_state.is_none_or(|f| f.value),
        xfcc: forward::forward_client_cert(cx, forward_client_cert_details)?,
        xfcc_details: forward::cert_details(cx, set_current_client_cert_details)?,
        generate_request_id: generate_request_id.is_none_or(|f| f.value),
        preserve_external_request_id,
        always_set_request_id_in_response,
        request_id: forward::request_id(cx, request_id_extension)?,
        add_user_agent: add_user_agent.is_some_and(|f| f.value),
        via: settings::header_value(cx, "via", &via)?,
        normalize_path: normalize_path.is_some_and(|f| f.value),
        merge_slashes,
        escaped_slashes: settings::escaped_slashes(cx, path_with_escaped_slashes_action)?,
        strip_port: settings::strip_port(cx, strip_matching_host_port, strip_port_mode)?,
        strip_trailing_host_dot,
        proxy_100_continue,
        upgrades: run!(settings::upgrades(cx, upgrade_configs)?),
        access_logs: access_logs(cx, &mut shared.access_logs, access_log)?,
        log: log.settle(cx)?,
        local_reply: match local_reply_config {
            None => None,
            Some(config) => Some(Arc::new(run!(cx.at("local_reply_config", |cx| reply::local_reply(cx, config))?))),
        },
        tracing: match tracing {
            None => None,
            Some(tracing) => Some(Arc::new(cx.at("tracing", |cx| tracing::proto::tracing(cx, tracing))?)),
        },
        early_mutations,
        proxy_status: settings::proxy_status(proxy_status_config),
    }))
}

/// Options of the protocols, each with its own say on bad messages.
struct Protocols {
    common: CommonHttp,
    http1: (Http1Options, Option<bool>),
    http2: (Http2Options, Option<bool>),
}

impl Protocols {
    fn of(
        cx: &mut Context,
        common: Option<core::HttpProtocolOptions>,
        http1: Option<core::Http1ProtocolOptions>,
        http2: Option<core::Http2ProtocolOptions>,
    ) -> Result<Self, Rejection> {
        Ok(Self {
            common: cx.at("common_http_protocol_options", |cx| self::common(cx, common.unwrap_or_default()))?,
            http1: cx.at("http_protocol_options", |cx| self::http1(cx, http1.unwrap_or_default()))?,
            http2: cx.at("http2_protocol_options", |cx| self::http2(cx, http2.unwrap_or_default()))?,
        })
    }
}

#[cfg(test)]
mod tests;
