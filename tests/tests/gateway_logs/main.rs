//! Lines of HTTP access logs beside those of real Envoy, operator by operator.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tests::bootstrap::{access_log, any_chain, bootstrap, cluster, kind, listener};
use tests::compare::compare_as;
use tests::http_peer::script::{Reset, write};
use tests::http_peer::{Ask, Connection, Dial, HttpServer, Journal, NAME, SCRIPT, Step, Version};
use tests::process::{Kind, Proxy, Site};
use tests::story::IN;

/// Compared as they are.
const SAME: &[&str] = &[
    "PROTOCOL",
    "REQ(:METHOD)",
    "REQ(:PATH)",
    "REQ(X-ENVOY-ORIGINAL-PATH?:PATH)",
    "REQ(:AUTHORITY)",
    "REQ(USER-AGENT)",
    "REQ(X-FORWARDED-FOR)",
    "REQ(X-FORWARDED-PROTO)",
    "PATH(NQ:PATH)",
    "QUERY_PARAM(x)",
    "RESP(CONTENT-TYPE)",
    "RESP(SERVER)",
    "RESP(LOCATION)",
    "TRAILER(GRPC-STATUS)",
    "GRPC_STATUS",
    "GRPC_STATUS(SNAKE_STRING)",
    "GRPC_STATUS_NUMBER",
    "RESPONSE_CODE",
    "RESPONSE_CODE_DETAILS",
    "RESPONSE_FLAGS",
    "RESPONSE_FLAGS_LONG",
    "CONNECTION_TERMINATION_DETAILS",
    "BYTES_RECEIVED",
    "BYTES_SENT",
    "ROUTE_NAME",
    "VIRTUAL_CLUSTER_NAME",
    "UPSTREAM_HOST",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_CLUSTER_RAW",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_PROTOCOL",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "UPSTREAM_TRANSPORT_FAILURE_REASON",
    "UPSTREAM_HOSTS_ATTEMPTED",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_PORT",
    "REQUESTED_SERVER_NAME",
    "FILTER_CHAIN_NAME",
    "ACCESS_LOG_TYPE",
    "HOSTNAME",
];

/// Compared by being there, and being numbers or not.
const ALIKE: &[&str] = &[
    "START_TIME",
    "START_TIME(%s)",
    "REQ(X-REQUEST-ID)",
    // The rest of the time, after a retry.
    "REQ(X-ENVOY-EXPECTED-RQ-TIMEOUT-MS)",
    "RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)",
    "DURATION",
    "REQUEST_DURATION",
    "REQUEST_TX_DURATION",
    "RESPONSE_DURATION",
    "RESPONSE_TX_DURATION",
    "COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)",
    "COMMON_DURATION(US_TX_BEG:US_TX_END:us)",
    "COMMON_DURATION(US_RX_BEG:US_RX_END:us)",
    "UPSTREAM_CONNECTION_POOL_READY_DURATION",
    "UPSTREAM_LOCAL_ADDRESS",
    "UPSTREAM_CONNECTION_ID",
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_PORT",
    "CONNECTION_ID",
    "STREAM_ID",
    "REQUEST_HEADERS_BYTES",
    "RESPONSE_HEADERS_BYTES",
];

fn manager(site: &Site) -> Value {
    let format = SAME.iter().chain(ALIKE).map(|operator| format!("%{operator}%")).collect::<Vec<_>>().join("\t");
    let to = |cluster: &str| json!({"cluster": cluster, "timeout": "5s"});
    let route = |name: &str, action: Value| {
        let mut route = json!({"name": name, "match": {"prefix": format!("/{name}")}});
        route.as_object_mut().expect("an object").extend(action.as_object().cloned().unwrap_or_default());
        route
    };
    let retry = json!({"retry_on": "5xx", "num_retries": 2, "retry_back_off": {"base_interval": "0.01s"}});
    let routes = json!([
        route("plain", json!({"route": to("origin")})),
        route("direct", json!({"direct_response": {"status": 418, "body": {"inline_string": "teapot"}}})),
        route("redirect", json!({"redirect": {"path_redirect": "/elsewhere"}})),
        route("retry", json!({"route": {"cluster": "origin", "retry_policy": retry}})),
        route("timeout", json!({"route": {"cluster": "origin", "timeout": "0.3s"}})),
        route("rewrite", json!({"route": {"cluster": "origin", "prefix_rewrite": "/rewritten"}})),
        route("none", json!({"route": to("empty")})),
        route("refused", json!({"route": to("refused")})),
        route("gone", json!({"route": to("nowhere")})),
        route("grpc", json!({"route": to("http2")})),
    ]);
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": kind("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "logs",
            "access_log": access_log(site, &format),
            "route_config": {"name": "routes", "validate_clusters": false, "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "virtual_clusters": [{"name": "some", "headers":
                    [{"name": ":path", "string_match": {"prefix": "/plain"}}]}],
                "routes": routes,
            }]},
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": kind("envoy.extensions.filters.http.router.v3.Router")},
            }],
        },
    })
}

/// What is asked, by name, and what the server is to do.
fn asks() -> Vec<(&'static str, Ask)> {
    let get = |path: &str| Ask::get("a.test", path);
    let with = |path: &str, steps: &[Step]| get(path).with(SCRIPT, &write(steps));
    let grpc = |path: &str, steps: &[Step]| {
        let ask = with(path, steps).by("POST").over(Version::Http2);
        ask.with("content-type", "application/grpc").with("te", "trailers").carrying([0, 0, 0, 0, 0])
    };
    let answer = |status: &str| {
        let trailers = vec![("grpc-status".into(), status.into())];
        Step { trailers, size: 5, ..Step::status(200).with("content-type", "application/grpc") }
    };
    let reset = |reset| Step { reset: Some(reset), ..Step::default() };
    vec![
        ("HTTP/1", get("/plain?x=1&y=2").with("user-agent", "test")),
        ("a body", get("/plain/post").by("POST").carrying("some body")),
        ("HTTP/2", get("/plain").over(Version::Http2)),
        ("HTTP/2 with a body", get("/plain").over(Version::Http2).by("PUT").carrying("another body")),
        ("HEAD", get("/plain").by("HEAD")),
        ("204", with("/plain", &[Step { size: 0, ..Step::status(204) }])),
        ("direct", get("/direct")),
        ("redirect", get("/redirect").over(Version::Http2)),
        ("a retry", with("/retry", &[Step::status(503), Step::status(200)])),
        ("retries in vain", with("/retry", &[Step::status(503)])),
        ("too late", with("/timeout", &[Step { wait: 2000, ..Step::default() }])),
        ("no route", get("/")),
        ("rewritten", get("/rewrite/it?x=3")),
        ("no endpoint", get("/none")),
        ("a closed port", get("/refused")),
        ("no cluster", get("/gone")),
        ("gRPC", grpc("/grpc.S/Fine", &[answer("0")])),
        ("gRPC that fails", grpc("/grpc.S/NotFound", &[answer("5")])),
        ("gRPC without endpoint", Ask { body: Vec::new(), ..grpc("/none", &[]) }),
        ("reset before the answer", with("/plain", &[reset(Reset::Before)])),
        ("reset within the answer", with("/plain", &[reset(Reset::Within)])),
    ]
}

/// One line as it is compared.
fn told(line: &str, site: &Site, called: &str) -> Vec<String> {
    let line = line.replace(&site.address.to_string(), "SITE");
    let values: Vec<_> = line.split('\t').collect();
    assert_eq!(values.len(), SAME.len() + ALIKE.len(), "{line}");
    let alike = |value: &str| match value {
        "-" => "nothing",
        value if value.bytes().all(|byte| byte.is_ascii_digit()) => "a number",
        _ => "a text",
    };
    let same = SAME.iter().zip(&values).map(|(name, value)| format!("{called}: {name}={value}"));
    let rest = ALIKE.iter().zip(&values[SAME.len()..]);
    same.chain(rest.map(|(name, value)| format!("{called}: {name}: {}", alike(value)))).collect()
}

/// Asks one thing after the other; each has one line.
async fn ask_all(proxy: &Proxy) -> Vec<Vec<String>> {
    let dial = Dial::plain(proxy.at(IN));
    let mut told_of = Vec::new();
    for (called, ask) in asks() {
        // The server counts attempts by name.
        let ask = ask.with(NAME, &format!("{called} {:?}", proxy.kind));
        let mut connection = Connection::open(&dial, ask.version).await.expect("a connection");
        connection.ask(&ask).await;
        let lines = proxy.access_log(told_of.len() + 1).await;
        assert_eq!(lines.len(), told_of.len() + 1, "{called}: {lines:#?}");
        told_of.push(told(&lines[told_of.len()], &proxy.site, called));
    }
    told_of
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operator_of_requests() {
    let origin = HttpServer::start("origin", &Journal::default(), None).await;
    let h2 = json!({"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": kind("envoy.extensions.upstreams.http.v3.HttpProtocolOptions"),
        "explicit_http_config": {"http2_protocol_options": {}},
    }}});
    let closed: SocketAddr = ([127, 0, 0, 1], 1).into();
    compare_as(
        Kind::Gateway,
        |site| {
            let clusters = [
                cluster("origin", &[origin.address()], json!({})),
                cluster("http2", &[origin.address()], h2.clone()),
                cluster("empty", &[], json!({})),
                cluster("refused", &[closed], json!({})),
            ];
            bootstrap(site, &[listener("gateway", site.at(IN), &[any_chain(manager(site))])], &clusters)
        },
        async |proxy| ask_all(proxy).await,
    )
    .await;
}
