//! `HttpConnectionManager`.

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use pb::http_connection_manager::RouteSpecifier;
use pb::http_filter::ConfigType;

use super::route;
use crate::model::extension;
use crate::model::http::HttpManager;
use crate::reject::{Context, Rejection, Unsupported, immaterial};

/// Envoy's default `server:` header.
const SERVER: &str = "envoy";
/// Why most settings cannot matter.
const OWN: &str = "a listener of the control plane's own, which talks to it and to scrapers on this host's behalf";

/// Converts an HTTP connection manager of a system listener.
pub(crate) fn manager(
    cx: &mut Context,
    manager: pb::HttpConnectionManager,
) -> Result<Result<HttpManager, Unsupported>, Rejection> {
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
    cx.not_empty("stat_prefix", &stat_prefix)?;
    // Who asks is told by headers that neither our admin server nor an exporter on this host reads.
    immaterial((use_remote_address, xff_num_trusted_hops, internal_address_config, skip_xff_append), OWN);
    immaterial((via, add_user_agent, append_x_forwarded_port, forward_proto_config), OWN);
    immaterial((forward_client_cert_details, set_current_client_cert_details, forward_client_cert_matcher), OWN);
    immaterial((generate_request_id, preserve_external_request_id, always_set_request_id_in_response), OWN);
    immaterial((request_id_extension, represent_ipv4_remote_address_as_ipv4_mapped_ipv6), OWN);
    immaterial((scheme_header_transformation, add_proxy_protocol_connection_state, append_local_overload), OWN);
    // How requests are read: the server of these listeners is stricter than any of these can make it.
    immaterial((codec_type, http_protocol_options, http2_protocol_options, proxy_100_continue), OWN);
    immaterial((http1_safe_max_connection_duration, stream_error_on_invalid_http_message), OWN);
    immaterial((drain_timeout, drain_timeout_jitter, delayed_close_timeout, stream_flush_timeout), OWN);
    immaterial((access_log_flush_interval, flush_access_log_on_new_request, access_log_options), "go with access_log");
    cx.ignore("tracing", &tracing, "no spans are made");
    cx.ignore("http3_protocol_options", &http3_protocol_options, "HTTP/3 is not spoken");
    cx.ignore("server_header_transformation", &server_header_transformation, "the header is overwritten");
    cx.ignore("max_request_headers_kb", &max_request_headers_kb, "request headers are bounded by the server itself");
    cx.ignore("request_timeout", &request_timeout, "the timeouts of headers and streams hold");
    cx.ignore("access_log", &access_log, "requests to the control plane's own listeners are not logged");
    cx.ignore("original_ip_detection_extensions", &original_ip_detection_extensions, NOT_RUN);
    cx.ignore("early_header_mutation_extensions", &early_header_mutation_extensions, NOT_RUN);
    cx.ignore("upgrade_configs", &upgrade_configs, "no upgrade is made");
    cx.ignore("merge_slashes", &merge_slashes, "slashes are taken as they are");
    cx.ignore("path_with_escaped_slashes_action", &path_with_escaped_slashes_action, "slashes are taken as they are");
    cx.ignore("path_normalization_options", &path_normalization_options, "paths are taken as they are");
    cx.ignore("local_reply_config", &local_reply_config, "replies of our own are Envoy's");
    cx.ignore("strip_matching_host_port", &strip_matching_host_port, HOST);
    cx.ignore("strip_port_mode", &strip_port_mode, HOST);
    cx.ignore("strip_trailing_host_dot", &strip_trailing_host_dot, HOST);
    cx.ignore("proxy_status_config", &proxy_status_config, "no Proxy-Status header is written");
    cx.ignore("typed_header_validation_config", &typed_header_validation_config, NOT_RUN);

    if let Some(unsupported) = filters(cx, http_filters)? {
        return Ok(Err(unsupported));
    }
    let virtual_hosts = match cx.required("route_specifier", route_specifier)? {
        RouteSpecifier::RouteConfig(config) => match cx.at("route_config", |cx| route::configuration(cx, config))? {
            Ok(hosts) => hosts,
            Err(unsupported) => return Ok(Err(unsupported)),
        },
        RouteSpecifier::Rds(_) => return Ok(Err(cx.unsupported("rds", "routes by RDS"))),
        RouteSpecifier::ScopedRoutes(_) => return Ok(Err(cx.unsupported("scoped_routes", "scoped routes"))),
    };
    let idle_timeout = match common_http_protocol_options {
        None => None,
        Some(common) => cx.at("common_http_protocol_options", |cx| idle_timeout(cx, common))?,
    };
    Ok(Ok(HttpManager {
        stat_prefix: stat_prefix.into(),
        virtual_hosts,
        server_name: if server_name.is_empty() { SERVER.into() } else { server_name.into() },
        normalize_path: normalize_path.is_some_and(|f| f.value),
        idle_timeout,
        request_headers_timeout: cx.duration("request_headers_timeout", request_headers_timeout)?,
        stream_idle_timeout: cx.duration("stream_idle_timeout", stream_idle_timeout)?,
    }))
}

const NOT_RUN: &str = "no HTTP extension but the router runs";
const HOST: &str = "the host is matched with and without its port";

fn idle_timeout(
    cx: &mut Context,
    options: core::HttpProtocolOptions,
) -> Result<Option<std::time::Duration>, Rejection> {
    let core::HttpProtocolOptions {
        idle_timeout,
        max_connection_duration,
        max_connection_duration_jitter,
        max_headers_count,
        max_response_headers_kb,
        max_stream_duration,
        headers_with_underscores_action,
        max_requests_per_connection,
    } = options;
    immaterial((max_connection_duration_jitter, max_response_headers_kb), OWN);
    cx.ignore("max_connection_duration", &max_connection_duration, "the idle timeout holds");
    cx.ignore("max_headers_count", &max_headers_count, "request headers are bounded by the server itself");
    cx.ignore("max_stream_duration", &max_stream_duration, "the route's timeout holds");
    cx.ignore("headers_with_underscores_action", &headers_with_underscores_action, "such headers are passed on");
    cx.ignore("max_requests_per_connection", &max_requests_per_connection, "connections serve any number");
    cx.duration("idle_timeout", idle_timeout)
}

/// Only the router runs, and what only counts is left out: any other filter makes the manager unsupported.
fn filters(cx: &mut Context, filters: Vec<pb::HttpFilter>) -> Result<Option<Unsupported>, Rejection> {
    const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
    // On Kuma's listener of metrics for an OpenTelemetry backend.
    const GRPC_STATS: &str = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig";
    let last = filters.len().saturating_sub(1);
    let mut unsupported = None;
    for (i, pb::HttpFilter { name, is_optional, disabled, config_type }) in filters.into_iter().enumerate() {
        cx.item("http_filters", i, |cx| {
            immaterial(is_optional, "only the router is known");
            cx.not_empty("name", &name)?;
            let any = match config_type {
                Some(ConfigType::ConfigDiscovery(_)) => {
                    let why = cx.unsupported("config_discovery", "filter configuration by ECDS");
                    unsupported.get_or_insert(why);
                    return Ok(());
                }
                Some(ConfigType::TypedConfig(any)) => Some(any),
                None => None,
            };
            let (type_name, body) = extension::required(cx, &name, any)?;
            match &*type_name {
                ROUTER if i != last => Err(cx.reject("", "the router must be the last filter")),
                ROUTER => cx.at("typed_config", |cx| router(cx, &body)),
                _ if disabled => Ok(()),
                GRPC_STATS => {
                    cx.note("typed_config", "calls to the control plane's own listeners are not counted");
                    Ok(())
                }
                other => {
                    extension::check_known(cx, extension::Category::Http, &name, other)?;
                    let why = cx.unsupported("typed_config", other);
                    unsupported.get_or_insert(why);
                    Ok(())
                }
            }
        })?;
    }
    Ok(unsupported)
}

fn router(cx: &mut Context, body: &[u8]) -> Result<(), Rejection> {
    let Router {
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
    immaterial((dynamic_stats, start_child_span, upstream_log_options, suppress_envoy_headers), OWN);
    immaterial((suppress_grpc_request_failure_code_stats, reject_connect_request_early_data), OWN);
    immaterial(respect_expected_rq_timeout, OWN);
    cx.ignore("upstream_log", &upstream_log, "requests to the control plane's own listeners are not logged");
    cx.ignore("strict_check_headers", &strict_check_headers, "x-envoy headers are not read");
    cx.ignore("upstream_http_filters", &upstream_http_filters, NOT_RUN);
    Ok(())
}
