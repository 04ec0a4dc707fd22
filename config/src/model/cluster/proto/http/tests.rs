#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use serde_json::{Value, json};

use crate::model::cluster::{AutoSni, Cluster, HttpOptions, Transport, UpstreamProtocol};
use crate::model::hcm::{HeaderCase, Http2Options};
use crate::model::testing::{self, filter, merge, path, paths, url};
use crate::reject::Rejection;
use crate::store::{Parsed, parse_cluster};

fn parse(more: Value) -> Result<Parsed<Cluster>, Rejection> {
    let mut cluster = json!({"name": "a"});
    merge(&mut cluster, more);
    parse_cluster(&testing::cluster(&cluster))
}

fn typed(mut options: Value) -> Value {
    options["@type"] = url("envoy.extensions.upstreams.http.v3.HttpProtocolOptions").into();
    json!({"typedExtensionProtocolOptions": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}})
}

fn good(more: Value) -> HttpOptions {
    let parsed = parse(more).unwrap();
    assert_eq!(paths(&parsed.ignored), Vec::<String>::new());
    *parsed.value.http.unwrap()
}

fn tls() -> Value {
    filter("t", "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", json!({"sni": "a"}))
}

#[test]
fn without_options_there_are_none() {
    assert!(parse(json!({})).unwrap().value.http.is_none());
}

#[test]
fn kumas_options() {
    let options = good(typed(json!({"explicitHttpConfig": {"http2ProtocolOptions":
            {"initialStreamWindowSize": 65536, "initialConnectionWindowSize": 1048576}},
        "commonHttpProtocolOptions": {"idleTimeout": "0s", "maxConnectionDuration": "0s", "maxStreamDuration": "5s"}})));
    assert_eq!(options.protocol, UpstreamProtocol::Http2);
    let windows = Http2Options {
        initial_stream_window_size: 65_536,
        initial_connection_window_size: 1_048_576,
        ..Http2Options::default()
    };
    assert_eq!(options.http2, windows);
    let common = options.common;
    assert_eq!((common.idle_timeout, common.max_connection_duration), (None, None));
    assert_eq!(common.max_stream_duration, Some(Duration::from_secs(5)));
    let defaults = good(typed(json!({"explicitHttpConfig": {"httpProtocolOptions": {}}})));
    assert_eq!(defaults.protocol, UpstreamProtocol::Http1);
    assert_eq!(defaults.common.idle_timeout, Some(Duration::from_secs(3600)));
}

#[test]
fn the_protocol_is_told_by_the_client_or_the_endpoint() {
    let by_client = |config| good(typed(json!({"useDownstreamProtocolConfig": config}))).protocol;
    assert_eq!(by_client(json!({})), UpstreamProtocol::Downstream { http2: false });
    assert_eq!(by_client(json!({"http2ProtocolOptions": {}})), UpstreamProtocol::Downstream { http2: true });

    let mut auto = typed(json!({"autoConfig": {}}));
    let refused = path(parse(auto.clone()));
    assert_eq!(refused, "typed_extension_protocol_options");
    merge(&mut auto, json!({"transportSocket": tls()}));
    assert_eq!(good(auto.clone()).protocol, UpstreamProtocol::Auto);
    let raw = filter("r", "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", json!({}));
    merge(&mut auto, json!({"transportSocketMatches": [{"name": "m", "transportSocket": raw}]}));
    assert!(parse(auto).unwrap_err().reason.contains("non-ALPN"));
}

#[test]
fn deprecated_fields_count_alone() {
    let http2 = json!({"http2ProtocolOptions": {"maxConcurrentStreams": 7}, "maxRequestsPerConnection": 3,
        "commonHttpProtocolOptions": {"idleTimeout": "1s"}});
    let options = good(http2.clone());
    assert_eq!((options.protocol, options.http2.max_concurrent_streams), (UpstreamProtocol::Http2, 7));
    assert_eq!(options.common.max_requests_per_connection, Some(3));
    assert_eq!(options.common.idle_timeout, Some(Duration::from_secs(1)));
    let by_client = good(json!({"protocolSelection": "USE_DOWNSTREAM_PROTOCOL"}));
    assert_eq!(by_client.protocol, UpstreamProtocol::Downstream { http2: false });

    let mut both = typed(json!({"explicitHttpConfig": {"httpProtocolOptions": {}}}));
    merge(&mut both, http2.clone());
    let options = good(both);
    assert_eq!((options.protocol, options.common.max_requests_per_connection), (UpstreamProtocol::Http1, Some(3)));
    let mut twice = typed(json!({"explicitHttpConfig": {"httpProtocolOptions": {}},
        "commonHttpProtocolOptions": {"maxRequestsPerConnection": 1}}));
    merge(&mut twice, http2);
    assert_eq!(path(parse(twice)), "max_requests_per_connection");
}

#[test]
fn names_of_tls_by_request() {
    let options = json!({"autoSni": true, "autoSanValidation": true, "overrideAutoSniHeader": "x-name"});
    let options = typed(json!({"explicitHttpConfig": {"httpProtocolOptions": {}},
        "upstreamHttpProtocolOptions": options}));
    let header = Some(http::HeaderName::from_static("x-name"));
    assert_eq!(good(options).auto_sni.as_deref(), Some(&AutoSni { sni: true, san_validation: true, header }));
}

#[test]
fn what_is_out_of_bounds_is_refused_where_it_stands() {
    let explicit = |http2: Value| typed(json!({"explicitHttpConfig": {"http2ProtocolOptions": http2}}));
    let key = "typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"]";
    for (options, field) in [
        (
            explicit(json!({"initialStreamWindowSize": 65534})),
            "explicit_http_config.http2_protocol_options.initial_stream_window_size",
        ),
        (
            explicit(json!({"maxConcurrentStreams": 0})),
            "explicit_http_config.http2_protocol_options.max_concurrent_streams",
        ),
        (
            explicit(json!({"maxHeaderFieldSizeKb": 63})),
            "explicit_http_config.http2_protocol_options.max_header_field_size_kb",
        ),
        (
            explicit(json!({"connectionKeepalive": {"interval": "1s"}})),
            "explicit_http_config.http2_protocol_options.connection_keepalive.timeout",
        ),
        (
            explicit(json!({"customSettingsParameters": [{"identifier": 2, "value": 1}]})),
            "explicit_http_config.http2_protocol_options.custom_settings_parameters[0]",
        ),
        (
            typed(json!({"explicitHttpConfig": {"http3ProtocolOptions": {}}})),
            "explicit_http_config.http3_protocol_options",
        ),
        (typed(json!({"explicitHttpConfig": {}})), "explicit_http_config.protocol_config"),
        (typed(json!({})), "upstream_protocol_options"),
        (
            typed(
                json!({"explicitHttpConfig": {"httpProtocolOptions": {}}, "commonHttpProtocolOptions": {"maxHeadersCount": 0}}),
            ),
            "common_http_protocol_options.max_headers_count",
        ),
        (
            typed(
                json!({"explicitHttpConfig": {"httpProtocolOptions": {}}, "commonHttpProtocolOptions": {"maxResponseHeadersKb": 8193}}),
            ),
            "common_http_protocol_options.max_response_headers_kb",
        ),
    ] {
        assert_eq!(path(parse(options)), format!("{key}.{field}"));
    }
}

#[test]
fn settings_by_number_set_the_fields_they_stand_for() {
    let parameters =
        json!([{"identifier": 1, "value": 0}, {"identifier": 3, "value": 9}, {"identifier": 2, "value": 0}]);
    let options =
        typed(json!({"explicitHttpConfig": {"http2ProtocolOptions": {"customSettingsParameters": parameters}}}));
    let http2 = good(options).http2;
    assert_eq!((http2.hpack_table_size, http2.max_concurrent_streams), (0, 9));
}

#[test]
fn how_headers_are_written() {
    let case = |format: Value| {
        let http1 = json!({"headerKeyFormat": format});
        good(typed(json!({"explicitHttpConfig": {"httpProtocolOptions": http1}}))).http1.header_case
    };
    assert_eq!(case(json!({"properCaseWords": {}})), HeaderCase::ProperWords);
    let kind = "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig";
    assert_eq!(case(json!({"statefulFormatter": filter("p", kind, json!({}))})), HeaderCase::Preserve);
}

#[test]
fn a_filter_towards_endpoints_is_not_passed_over() {
    let with = |kind: &str| {
        let filters = json!([filter("f", kind, json!({}))]);
        parse(typed(json!({"explicitHttpConfig": {"httpProtocolOptions": {}}, "httpFilters": filters}))).unwrap()
    };
    let codec = with("envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec");
    assert_eq!(codec.value.transport, Transport::Raw);
    let lua = with("envoy.extensions.filters.http.lua.v3.Lua");
    assert!(matches!(lua.value.transport, Transport::Unsupported(_)));
    assert_eq!(lua.unsupported.len(), 1);
}
