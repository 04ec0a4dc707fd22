#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, StatusCode};
use serde_json::{Value, json};

use crate::model::chain::Handler;
use crate::model::hcm::{
    Codec, EscapedSlashes, ForwardClientCert, LogOptions, Manager, OriginalIp, Routes, SchemeHeader, ServerHeader,
    StripPort, TrustedProxies, Underscores, XfccFormat,
};
use crate::model::http_filter::FilterConfig;
use crate::model::listener::Listener;
use crate::model::testing::{self, filter, merge, path, paths, with_chains};
use crate::reject::Rejection;
use crate::store::{Parsed, parse_listener};

const HCM: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const AT: &str = "filter_chains[0].filters[0].typed_config";

fn router(config: Value) -> Value {
    filter("router", "envoy.extensions.filters.http.router.v3.Router", config)
}

fn parse(more: Value) -> Result<Parsed<Listener>, Rejection> {
    let mut config = json!({"statPrefix": "s", "httpFilters": [router(json!({}))], "routeConfig": {}});
    merge(&mut config, more);
    parse_listener(&testing::listener(&with_chains(json!([{"filters": [filter("hcm", HCM, config)]}]))), None)
}

fn good(more: Value) -> Arc<Manager> {
    let parsed = parse(more.clone()).unwrap();
    assert_eq!(paths(&parsed.ignored), Vec::<String>::new());
    any(more)
}

/// Whatever of it is not honoured.
fn any(more: Value) -> Arc<Manager> {
    let parsed = parse(more).unwrap();
    match &parsed.value.chains[0].handler {
        Handler::Http(manager) => Arc::clone(manager),
        other => panic!("{other:?}"),
    }
}

/// Where it can't be run.
fn unsupported(more: Value) -> String {
    match &parse(more).unwrap().value.chains[0].handler {
        Handler::Unsupported(why) => why.path.to_string().replace(&format!("{AT}."), ""),
        other => panic!("{other:?}"),
    }
}

/// Kuma 2.14's manager of a gateway's listener.
fn kuma() -> Value {
    json!({
        "accessLog": [],
        "commonHttpProtocolOptions": {"headersWithUnderscoresAction": "REJECT_REQUEST", "idleTimeout": "300s"},
        "http2ProtocolOptions": {"allowConnect": true, "initialConnectionWindowSize": 1048576,
            "initialStreamWindowSize": 65536, "maxConcurrentStreams": 100},
        "httpFilters": [
            filter("envoy.filters.http.local_ratelimit",
                "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit", json!({"statPrefix": "rate_limit"})),
            filter("gzip-compress", "envoy.extensions.filters.http.compressor.v3.Compressor", json!({
                "compressorLibrary": {"name": "gzip", "typedConfig": {
                    "@type": "type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip"}},
                "responseDirectionConfig": {"disableOnEtagHeader": true}})),
            router(json!({"startChildSpan": true}))],
        "internalAddressConfig": {"cidrRanges": [{"addressPrefix": "10.1.2.3", "prefixLen": 8}]},
        "mergeSlashes": true, "normalizePath": true, "pathWithEscapedSlashesAction": "UNESCAPE_AND_REDIRECT",
        "rds": {"configSource": {"ads": {}, "resourceApiVersion": "V3"}, "routeConfigName": "gw:HTTP:8080:*"},
        "routeConfig": null,
        "requestHeadersTimeout": "0.500s", "serverName": "Kuma Gateway", "statPrefix": "gw",
        "streamIdleTimeout": "5s", "useRemoteAddress": true})
}

#[test]
fn envoys_defaults() {
    let manager = good(json!({}));
    let Manager { common, http1, http2, .. } = &*manager;
    assert_eq!(manager.codec, Codec::Auto);
    assert_eq!(common.idle_timeout, Some(Duration::from_secs(3600)));
    assert_eq!((common.max_headers_count, common.underscores), (100, Underscores::Allow));
    assert_eq!((http2.max_concurrent_streams, http2.initial_stream_window_size), (1024, 16 << 20));
    assert!(http1.allow_absolute_url && !http1.accept_http_10 && !http1.enable_trailers);
    assert_eq!((manager.max_request_headers_kb, manager.server_name.as_bytes()), (60, &b"envoy"[..]));
    assert_eq!(manager.stream_idle_timeout, Some(Duration::from_secs(300)));
    assert_eq!(manager.stream_flush_timeout, manager.stream_idle_timeout);
    assert_eq!((manager.request_timeout, manager.request_headers_timeout), (None, None));
    assert_eq!((manager.drain_timeout.as_secs(), manager.delayed_close_timeout.as_secs()), (5, 1));
    assert!(manager.generate_request_id && !manager.use_remote_address && !manager.normalize_path);
    assert!(!manager.internal_addresses.contains("10.0.0.1".parse().unwrap()));
    assert!(manager.request_id.pack_trace_reason && manager.router.dynamic_stats);
    assert!(matches!(manager.routes, Routes::Inline(_)));
}

#[test]
fn kumas_gateway() {
    let manager = good(kuma());
    assert_eq!(manager.common.underscores, Underscores::Reject);
    assert_eq!(manager.common.idle_timeout, Some(Duration::from_secs(300)));
    assert_eq!((manager.http2.max_concurrent_streams, manager.http2.allow_connect), (100, true));
    assert_eq!(manager.http2.initial_connection_window_size, 1 << 20);
    let [limit, gzip] = &*manager.filters else { panic!("not two filters") };
    assert!(matches!(limit.config, FilterConfig::LocalRateLimit(_)));
    assert!(matches!(gzip.config, FilterConfig::Compressor(_)) && &*gzip.name == "gzip-compress");
    assert!(manager.router.start_child_span && manager.use_remote_address);
    let internal = |ip: &str| manager.internal_addresses.contains(ip.parse().unwrap());
    assert!(internal("10.255.0.1") && !internal("11.0.0.1"));
    assert!(manager.merge_slashes && manager.normalize_path);
    assert_eq!(manager.escaped_slashes, EscapedSlashes::UnescapeAndRedirect);
    let Routes::Rds(route) = &manager.routes else { panic!("no RDS") };
    assert_eq!((&*route.name, route.initial_fetch_timeout), ("gw:HTTP:8080:*", Duration::from_secs(15)));
    assert_eq!(manager.request_headers_timeout, Some(Duration::from_millis(500)));
    assert_eq!(manager.server_name.as_bytes(), b"Kuma Gateway");
    assert_eq!(manager.stream_flush_timeout, Some(Duration::from_secs(5)));
}

#[test]
fn zero_is_no_timeout() {
    let manager = good(json!({"streamIdleTimeout": "0s", "requestTimeout": "0s", "requestHeadersTimeout": "0s",
        "delayedCloseTimeout": "0s", "commonHttpProtocolOptions": {"idleTimeout": "0s", "maxStreamDuration": "0s"}}));
    assert_eq!((manager.stream_idle_timeout, manager.stream_flush_timeout), (None, None));
    assert_eq!((manager.request_timeout, manager.request_headers_timeout), (None, None));
    assert_eq!((manager.common.idle_timeout, manager.common.max_stream_duration), (None, None));
    assert_eq!(manager.delayed_close_timeout, Duration::ZERO);
}

#[test]
fn who_the_client_is() {
    let extension = |name: &str, kind: &str, config| {
        filter(name, &format!("envoy.extensions.http.original_ip_detection.{kind}"), config)
    };
    let extensions = json!([
        extension("xff", "xff.v3.XffConfig", json!({"xffNumTrustedHops": 2})),
        extension(
            "xff",
            "xff.v3.XffConfig",
            json!({"skipXffAppend": false,
            "xffTrustedCidrs": {"cidrs": [{"addressPrefix": "10.0.0.0", "prefixLen": 8}]}})
        ),
        extension(
            "header",
            "custom_header.v3.CustomHeaderConfig",
            json!({"headerName": "x-real-ip", "rejectWithStatus": {"code": "OK"}})
        )
    ]);
    let manager = good(json!({"originalIpDetectionExtensions": extensions.clone()}));
    let [hops, networks, header] = &*manager.original_ip else { panic!("not three") };
    assert_eq!(*hops, OriginalIp::Xff { trusted: TrustedProxies::Hops(2), skip_append: true });
    let OriginalIp::Xff { trusted: TrustedProxies::Networks(networks), skip_append: false } = networks else {
        panic!("{networks:?}")
    };
    assert!(networks[0].contains("10.9.9.9".parse().unwrap()));
    let expected = OriginalIp::CustomHeader {
        name: HeaderName::from_static("x-real-ip"),
        trusted: false,
        reject: Some(StatusCode::FORBIDDEN),
    };
    assert_eq!(*header, expected);
    for other in [json!({"useRemoteAddress": true}), json!({"xffNumTrustedHops": 1})] {
        let mut both = json!({"originalIpDetectionExtensions": extensions.clone()});
        merge(&mut both, other);
        assert_eq!(path(parse(both)), format!("{AT}.original_ip_detection_extensions"));
    }
    let geo = json!([extension("x", "geo.v3.Geo", json!({}))]);
    assert!(
        crate::json::Converter::new().unwrap().to_bytes(HCM, &json!({"originalIpDetectionExtensions": geo})).is_err()
    );
}

#[test]
fn what_is_told_of_client_certificates() {
    let manager = good(json!({"forwardClientCertDetails": "SANITIZE_SET",
        "setCurrentClientCertDetails": {"subject": true, "uri": true, "dns": false, "format": "JSON"}}));
    assert_eq!(manager.xfcc, ForwardClientCert::SanitizeSet);
    let details = manager.xfcc_details;
    assert!(details.subject && details.uri && !details.dns && details.format == XfccFormat::Json);
}

#[test]
fn names_and_paths() {
    let manager = good(json!({"serverHeaderTransformation": "PASS_THROUGH", "via": "zonegate", "addUserAgent": true,
        "schemeHeaderTransformation": {"schemeToOverwrite": "https"}, "stripAnyHostPort": true,
        "pathWithEscapedSlashesAction": "REJECT_REQUEST"}));
    assert_eq!(
        (manager.server_header, manager.scheme),
        (ServerHeader::PassThrough, SchemeHeader::Overwrite { https: true })
    );
    assert_eq!((manager.via.as_ref().unwrap().as_bytes(), manager.add_user_agent), (&b"zonegate"[..], true));
    assert_eq!((manager.strip_port, manager.escaped_slashes), (StripPort::Any, EscapedSlashes::Reject));
    assert_eq!(good(json!({"stripMatchingHostPort": true})).strip_port, StripPort::Matching);
}

#[test]
fn bad_messages_end_requests_or_connections() {
    let errors = |more| {
        let manager = any(more);
        (manager.http1_stream_error, manager.http2_stream_error)
    };
    let own = json!({"overrideStreamErrorOnInvalidHttpMessage": false});
    assert_eq!(errors(json!({})), (false, false));
    assert_eq!(errors(json!({"streamErrorOnInvalidHttpMessage": true})), (true, true));
    let both = json!({"streamErrorOnInvalidHttpMessage": true, "http2ProtocolOptions": own});
    assert_eq!(errors(both), (true, false));
    assert_eq!(errors(json!({"http2ProtocolOptions": {"streamErrorOnInvalidHttpMessaging": true}})), (false, true));
}

#[test]
fn upgrades_and_logs() {
    let manager =
        any(json!({"upgradeConfigs": [{"upgradeType": "WebSocket"}, {"upgradeType": "CONNECT", "enabled": false}],
        "accessLogOptions": {"accessLogFlushInterval": "1s", "flushLogOnTunnelSuccessfullyEstablished": true}}));
    let upgrades: Vec<_> = manager.upgrades.iter().map(|upgrade| (&*upgrade.kind, upgrade.enabled)).collect();
    assert_eq!(upgrades, [("websocket", true), ("connect", false)]);
    let expected = LogOptions { flush_interval: Some(Duration::from_secs(1)), on_new_request: false, on_tunnel: true };
    assert_eq!(manager.log, expected);
}

#[test]
fn mutations_before_the_route() {
    let kind = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation";
    let with = |mutations: Value| json!({"earlyHeaderMutationExtensions": [filter("m", kind, json!({"mutations": mutations}))]});
    assert_eq!(unsupported(with(json!([{"remove": "x-a"}]))), "early_header_mutation_extensions");
    assert_eq!(
        path(parse(with(json!([])))),
        format!("{AT}.early_header_mutation_extensions[0].typed_config.mutations")
    );
}

/// What is set and not acted upon.
#[test]
fn what_is_not_done_is_said() {
    let parsed = parse(json!({
        "proxyStatusConfig": {}, "streamErrorOnInvalidHttpMessage": true, "flushAccessLogOnNewRequest": true,
        "httpProtocolOptions": {"headerKeyFormat": {"properCaseWords": {}}}, "drainTimeoutJitter": {"value": 5},
        "http2ProtocolOptions": {"streamResetBurst": "5", "maxHeaderFieldSizeKb": 64, "maxOutboundFrames": 7},
        "httpFilters": [router(json!({"strictCheckHeaders": ["x-envoy-max-retries"]}))]}))
    .unwrap();
    let told: Vec<_> = paths(&parsed.ignored).iter().map(|path| path.replace(&format!("{AT}."), "")).collect();
    let expected = [
        "drain_timeout_jitter",
        "proxy_status_config",
        "http_protocol_options.header_key_format",
        "stream_error_on_invalid_http_message",
        "flush_access_log_on_new_request",
        "http_filters[0].typed_config.strict_check_headers",
        "http2_protocol_options.max_outbound_frames",
        "http2_protocol_options.max_header_field_size_kb",
    ];
    assert_eq!(told, expected);
}

#[test]
fn replies_of_our_own() {
    let not_found = json!({"responseFlagFilter": {"flags": ["NR"]}});
    let reply = |mapper: Value| {
        json!({"localReplyConfig": {"mappers": [mapper],
        "bodyFormat": {"jsonFormat": {"message": "%LOCAL_REPLY_BODY%"}}}})
    };
    let manager = good(reply(json!({"filter": not_found, "statusCode": 410, "body": {"inlineString": "gone"},
        "bodyFormatOverride": {"textFormatSource": {"inlineString": "%LOCAL_REPLY_BODY%!"}, "contentType": "text/html"},
        "headersToAdd": [{"header": {"key": "x-a", "value": "b"}}]})));
    let reply_of = manager.local_reply.as_deref().unwrap();
    assert_eq!(reply_of.format.as_ref().unwrap().content_type, "application/json");
    let mapper = &reply_of.mappers[0];
    assert_eq!((mapper.status, mapper.body.as_deref()), (Some(StatusCode::GONE), Some(&b"gone"[..])));
    assert_eq!(mapper.format.as_ref().unwrap().content_type, "text/html");
    assert_eq!(mapper.headers[0].name, "x-a");
    let at = |mapper| path(parse(reply(mapper)));
    assert_eq!(at(json!({})), format!("{AT}.local_reply_config.mappers[0].filter"));
    let early = json!({"filter": not_found, "statusCode": 199});
    assert_eq!(at(early), format!("{AT}.local_reply_config.mappers[0].status_code"));
}

/// Each was tried with Envoy 1.40, which refuses it too.
#[test]
fn refusals_name_the_field() {
    let table = [
        (json!({"statPrefix": ""}), "stat_prefix"),
        (json!({"codecType": "HTTP3"}), "codec_type"),
        (json!({"maxRequestHeadersKb": 0}), "max_request_headers_kb"),
        (json!({"maxRequestHeadersKb": 8193}), "max_request_headers_kb"),
        (json!({"routeConfig": null}), "route_specifier"),
        (json!({"accessLogFlushInterval": "0s"}), "access_log_flush_interval"),
        (json!({"accessLogOptions": {"accessLogFlushInterval": "0s"}}), "access_log_options.access_log_flush_interval"),
        (json!({"accessLogOptions": {}, "flushAccessLogOnNewRequest": true}), "access_log_options"),
        (json!({"stripAnyHostPort": true, "stripMatchingHostPort": true}), "strip_matching_host_port"),
        (
            json!({"schemeHeaderTransformation": {"schemeToOverwrite": "ftp"}}),
            "scheme_header_transformation.scheme_to_overwrite",
        ),
        (json!({"upgradeConfigs": [{"upgradeType": "a"}, {"upgradeType": "A"}]}), "upgrade_configs[1].upgrade_type"),
        (
            json!({"commonHttpProtocolOptions": {"maxHeadersCount": 0}}),
            "common_http_protocol_options.max_headers_count",
        ),
        (
            json!({"httpProtocolOptions": {"headerKeyFormat": {}}}),
            "http_protocol_options.header_key_format.header_format",
        ),
        (json!({"http2ProtocolOptions": {"maxConcurrentStreams": 0}}), "http2_protocol_options.max_concurrent_streams"),
        (
            json!({"internalAddressConfig": {"cidrRanges": [{"addressPrefix": "x"}]}}),
            "internal_address_config.cidr_ranges[0].address_prefix",
        ),
        (json!({"httpFilters": [router(json!({})), router(json!({}))]}), "http_filters[0]"),
        (
            json!({"httpFilters": [router(json!({"strictCheckHeaders": ["x"]}))]}),
            "http_filters[0].typed_config.strict_check_headers[0]",
        ),
        (json!({"drainTimeoutJitter": {"value": 101.0}}), "drain_timeout_jitter"),
    ];
    for (more, field) in table {
        assert_eq!(path(parse(more.clone())), format!("{AT}.{field}"), "{more}");
    }
}

#[test]
fn what_must_not_be_passed_over_is_not_run() {
    assert_eq!(
        unsupported(json!({"routeConfig": null, "scopedRoutes": {"name": "x", "scopeKeyBuilder":
        {"fragments": [{}]}, "scopedRds": {"scopedRdsConfigSource": {"ads": {}}}}})),
        "scoped_routes"
    );
    let lua = filter("lua", "envoy.extensions.filters.http.lua.v3.Lua", json!({}));
    assert_eq!(unsupported(json!({"httpFilters": [lua, router(json!({}))]})), "http_filters[0].typed_config");
    let upstream =
        router(json!({"upstreamHttpFilters": [filter("l", "envoy.extensions.filters.http.lua.v3.Lua", json!({}))]}));
    assert_eq!(
        unsupported(json!({"httpFilters": [upstream]})),
        "http_filters[0].typed_config.upstream_http_filters[0]"
    );
    let grpc = json!({"apiConfigSource": {"apiType": "GRPC", "transportApiVersion": "V3",
        "grpcServices": [{"envoyGrpc": {"clusterName": "c"}}]}});
    let own = json!({"routeConfig": null, "rds": {"routeConfigName": "r", "configSource": grpc}});
    assert_eq!(unsupported(own), "rds.config_source.api_config_source");
}
