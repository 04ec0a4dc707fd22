//! Active HTTP health checks: what an endpoint is asked, and what is made of its answer.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tests::bootstrap::{bootstrap, chain, cluster, listener, merged, tcp_proxy};
use tests::compare::each;
use tests::process::{Kind, Proxy, Site};
use tests::wait::until;

use crate::endpoint::Endpoint;

fn settings(site: &Site, endpoints: &[SocketAddr], probe: Value) -> Value {
    let check = merged(
        json!({"timeout": "1s", "interval": "0.1s", "no_traffic_interval": "0.1s", "unhealthy_threshold": 2,
            "healthy_threshold": 1}),
        probe,
    );
    let cluster = cluster("one", endpoints, json!({"health_checks": [check], "type": "STATIC"}));
    let chains = [chain(&["one.test"], tcp_proxy("one", json!({})))];
    bootstrap(site, &[listener("in", site.at(10_000), &chains)], &[cluster])
}

/// What became of the endpoints.
#[derive(Debug, PartialEq)]
struct Judged {
    flags: Vec<String>,
    gauges: Vec<f64>,
    failures: Vec<bool>,
}

/// The health flags of each endpoint, once every one of them was probed a few times; the gauges; and whether there were
/// failures of each kind.
async fn judged(proxy: &Proxy, endpoints: &[SocketAddr]) -> Judged {
    let stat = |name: &str| format!("envoy_cluster_{name}{{envoy_cluster_name=\"one\"}}");
    until("probes", async || {
        let stats = proxy.stats().await;
        let done = stats.get(&stat("health_check_attempt")).unwrap_or_default();
        (done >= 5.0 * endpoints.len() as f64).then_some(())
    })
    .await;
    let (_, text) = proxy.get("/clusters").await;
    let flags = endpoints.iter().map(|endpoint| {
        let start = format!("one::{endpoint}::health_flags::");
        text.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or("none").to_owned()
    });
    let stats = proxy.stats().await;
    let gauges = ["health_check_healthy", "health_check_degraded", "membership_healthy", "membership_degraded"];
    let failures = ["health_check_failure", "health_check_network_failure", "health_check_verify_cluster"];
    Judged {
        flags: flags.collect(),
        gauges: gauges.iter().map(|name| stats.get(&stat(name)).unwrap_or_default()).collect(),
        failures: failures.iter().map(|name| stats.get(&stat(name)).unwrap_or_default() > 0.0).collect(),
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const DEGRADED: &str = "HTTP/1.1 200 OK\r\nx-envoy-degraded: 1\r\ncontent-length: 0\r\n\r\n";
const FAILING: &str = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
const EXCLUDED: &str = "HTTP/1.1 500 No\r\nx-envoy-immediate-health-check-fail: 1\r\ncontent-length: 0\r\n\r\n";
const ACCEPTED: &str = "HTTP/1.1 202 Yes\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const NAMED: &str = "HTTP/1.1 200 OK\r\nx-envoy-upstream-healthchecked-cluster: back-1\r\ncontent-length: 0\r\n\r\n";

/// What an endpoint with each of these answers counts as, and what the first of them was asked.
async fn told(answers: &[&'static str], probe: Value) -> (Judged, Vec<String>) {
    each(Kind::Ours, async |kind| {
        let mut endpoints = Vec::new();
        for answer in answers {
            endpoints.push(Endpoint::start(answer).await);
        }
        let addresses: Vec<SocketAddr> = endpoints.iter().map(|endpoint| endpoint.address).collect();
        let site = Site::new();
        let bootstrap = settings(&site, &addresses, probe.clone());
        let proxy = Proxy::start(kind, site, &bootstrap).await;
        (judged(&proxy, &addresses).await, endpoints[0].asked())
    })
    .await
}

#[tokio::test]
async fn statuses_and_headers() {
    let probe = json!({"path": "/health?x=1", "expected_statuses": [{"start": 200, "end": 201}], "request_headers_to_add":
        [{"header": {"key": "X-A", "value": "b"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"},
        {"header": {"key": "x-a", "value": "c"}}], "request_headers_to_remove": ["x-b"]});
    let answers = [OK, DEGRADED, FAILING, EXCLUDED, ACCEPTED];
    let (judged, asked) = told(&answers, json!({"http_health_check": probe})).await;
    assert_eq!(judged.flags[0], "healthy");
    assert_eq!(judged.flags[1], "/degraded_active_hc");
    assert_eq!(judged.flags[2], "/failed_active_hc");
    assert_eq!(judged.gauges, [2.0, 1.0, 1.0, 1.0]);
    assert!(asked.iter().any(|line| line == "GET /health?x=1 HTTP/1.1"), "{asked:?}");
}

#[tokio::test]
async fn retriable_bodies_and_names() {
    let retriable = json!({"path": "/", "retriable_statuses": [{"start": 500, "end": 504}]});
    let (judged, _) = told(&[OK, FAILING], json!({"http_health_check": retriable, "unhealthy_threshold": 1000})).await;
    assert!(judged.failures[0], "{judged:?}");
    let receive = json!({"path": "/", "receive": [{"text": "6f"}, {"text": "6b"}]});
    let (judged, _) = told(&[OK, DEGRADED], json!({"http_health_check": receive})).await;
    assert_eq!(judged.flags, ["healthy", "/failed_active_hc"]);
    let named = json!({"path": "/", "host": "h.test", "service_name_matcher": {"prefix": "back"}});
    let (judged, asked) = told(&[NAMED, OK], json!({"http_health_check": named, "reuse_connection": false})).await;
    assert_eq!(judged.flags, ["healthy", "/failed_active_hc"]);
    assert!(judged.failures[2] && asked.iter().any(|line| line == "host: h.test"), "{judged:?} {asked:?}");
}

#[tokio::test]
async fn bodies_of_probes() {
    let probe = json!({"path": "/", "method": "POST", "send": {"text": "0d0a0d0a"}});
    let (judged, _) = told(&[OK], json!({"http_health_check": probe})).await;
    assert_eq!(judged.flags, ["healthy"]);
}
