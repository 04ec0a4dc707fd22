//! Access logs with Envoy's operators, as text and as JSON: the same lines as Envoy's, but for times and ids.

use serde_json::{Value, json};
use tests::backend::Backend;
use tests::bootstrap::{access_log, bootstrap, chain, cluster, kind, listener, merged, tcp_proxy};
use tests::client::visit;
use tests::compare::compare;
use tests::hello::Hello;
use tests::process::Site;

use crate::story::IN;

const NAME: &str = "ae10a8071b8a8eeb8.backend.8080.demo.ms";

fn logging(site: &Site, backend: &Backend, log: &Value) -> Value {
    let chain = merged(chain(&[NAME], tcp_proxy("one", json!({"access_log": log}))), json!({"name": "the-chain"}));
    let clusters = [cluster("one", &[backend.address()], json!({"alt_stat_name": "other"}))];
    bootstrap(site, &[listener("in", site.at(IN), &[chain])], &clusters)
}

/// The log lines of one connection.
async fn lines(log: impl Fn(&Site) -> Value) -> Vec<String> {
    let backend = Backend::echo("one").await;
    compare(
        |site| logging(site, &backend, &log(site)),
        async |proxy| {
            visit(proxy.at(IN), &Hello::to(NAME).alpn(&["kuma", "h2"])).await;
            let site = proxy.site.address.to_string();
            let lines = proxy.access_log(1).await;
            lines.iter().map(|l| l.replace(&site, "SITE")).collect::<Vec<_>>()
        },
    )
    .await
}

#[tokio::test]
async fn operators() {
    let operators = [
        "BYTES_RECEIVED",
        "BYTES_SENT",
        "CONNECTION_TERMINATION_DETAILS",
        "DOWNSTREAM_DIRECT_LOCAL_ADDRESS",
        "DOWNSTREAM_LOCAL_ADDRESS",
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_LOCAL_PORT",
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
        "DOWNSTREAM_PEER_URI_SAN",
        "DOWNSTREAM_TLS_VERSION",
        "DYNAMIC_METADATA(a:b)",
        "EMIT_TIME(%Y)",
        "ACCESS_LOG_TYPE",
        "FILTER_CHAIN_NAME",
        "FILTER_STATE(x)",
        "GRPC_STATUS",
        "PROTOCOL",
        "REQ(:METHOD)",
        "REQUESTED_SERVER_NAME",
        "RESPONSE_CODE",
        "RESPONSE_CODE_DETAILS",
        "RESPONSE_DURATION",
        "RESPONSE_FLAGS",
        "RESPONSE_FLAGS_LONG",
        "ROUTE_NAME",
        "START_TIME(%Y)",
        "UPSTREAM_CLUSTER",
        "UPSTREAM_CLUSTER_RAW",
        "UPSTREAM_HOST",
        "UPSTREAM_HOST_NAME",
        "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        "UPSTREAM_REMOTE_ADDRESS",
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        "UPSTREAM_REMOTE_PORT",
        "UPSTREAM_REQUEST_ATTEMPT_COUNT",
        "UPSTREAM_TRANSPORT_FAILURE_REASON",
        "VIRTUAL_CLUSTER_NAME",
    ];
    // One comparison each would take minutes; in one line each with its name, a difference is as easy to see.
    let format: Vec<String> = operators.iter().map(|o| format!("[{}] %{o}%", o.replace('%', ""))).collect();
    let lines = lines(|site| access_log(site, &format.join(" | "))).await;
    assert!(lines[0].contains(&format!("[REQUESTED_SERVER_NAME] {NAME} |")), "{lines:#?}");
    assert!(lines[0].contains("[FILTER_CHAIN_NAME] the-chain |"), "{lines:#?}");
}

/// Times and ports can't be equal, but their form is.
#[tokio::test]
async fn form_of_times_and_addresses() {
    let format = "%START_TIME% %START_TIME(%s.%3f)% %DURATION% %CONNECTION_ID% %DOWNSTREAM_REMOTE_ADDRESS% \
        %DOWNSTREAM_REMOTE_PORT% %UPSTREAM_LOCAL_ADDRESS% \
        %UPSTREAM_CONNECTION_ID%";
    let backend = Backend::echo("one").await;
    let form = compare(
        |site| logging(site, &backend, &access_log(site, format)),
        async |proxy| {
            visit(proxy.at(IN), &Hello::to(NAME)).await;
            let line = proxy.access_log(1).await.remove(0);
            let mut form: Vec<char> = Vec::new();
            for c in line.chars() {
                let c = if c.is_ascii_digit() { '9' } else { c };
                // A number of any length is one 9.
                if !(c == '9' && form.last() == Some(&'9')) {
                    form.push(c);
                }
            }
            form.into_iter().collect::<String>()
        },
    )
    .await;
    assert!(form.starts_with("9-9-9T9:9:9.9Z 9.9 9 9 9.9.9.9:9 9 9.9.9.9:9 "), "{form}");
}

#[tokio::test]
async fn json() {
    let lines = lines(|site| {
        json!([{
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": kind("envoy.extensions.access_loggers.file.v3.FileAccessLog"),
                "path": site.access_log(),
                "log_format": {"json_format": {
                    "sni": "%REQUESTED_SERVER_NAME%",
                    "rx": "%BYTES_RECEIVED%",
                    "text": "%BYTES_RECEIVED% \"bytes\"",
                    "none": "%ROUTE_NAME%",
                    "flags": "%RESPONSE_FLAGS%",
                    "nested": {"cluster": "%UPSTREAM_CLUSTER%"},
                }},
            },
        }])
    })
    .await;
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["sni"], NAME);
    assert!(line["rx"].is_number() && line["none"].is_null(), "{line}");
    assert_eq!(line["nested"]["cluster"], "other");
}
