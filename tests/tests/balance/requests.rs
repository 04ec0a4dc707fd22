//! Requests through the gateway: where they go, and what outlier detection makes of their answers.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tests::bootstrap::{any_chain, bootstrap, cluster, kind, listener};
use tests::compare::each;
use tests::http_peer::client::once;
use tests::http_peer::{Ask, Dial};
use tests::process::{Kind, Proxy, Site};
use tests::wait::until;

use crate::endpoint::Endpoint;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const ERROR: &str = "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n";
const UNAVAILABLE: &str = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
/// `grpc-status: 14`, UNAVAILABLE, in the headers.
const GRPC: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 14\r\ncontent-length: 0\r\n\r\n";
const IN: u16 = 10_000;

fn settings(site: &Site, endpoints: &[SocketAddr], route: Value, more: Value) -> Value {
    let router = json!({"name": "envoy.filters.http.router",
        "typed_config": {"@type": kind("envoy.extensions.filters.http.router.v3.Router")}});
    let manager = json!({
        "@type": kind("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in", "http_filters": [router],
        "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": tests::bootstrap::merged(json!({"cluster": "one"}), route)}]}]}});
    let chain = any_chain(json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}));
    bootstrap(site, &[listener("in", site.at(IN), &[chain])], &[cluster("one", endpoints, more)])
}

/// The statistics that tell of ejections. Those that are 0 are not listed by us before they are used.
async fn ejections(proxy: &Proxy) -> Vec<String> {
    let stats = proxy.stats().await.only(|name| name.starts_with("envoy_cluster_outlier_detection_"));
    stats.lines().into_iter().filter(|line| !line.ends_with(" 0")).collect()
}

async fn flags(proxy: &Proxy, endpoints: &[Endpoint]) -> Vec<String> {
    let (_, text) = proxy.get("/clusters").await;
    let flags = endpoints.iter().map(|endpoint| {
        let start = format!("one::{}::health_flags::", endpoint.address);
        text.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or("none").to_owned()
    });
    flags.collect()
}

#[derive(Debug, PartialEq)]
struct Told {
    statuses: Vec<u16>,
    counts: Vec<usize>,
    flags: Vec<String>,
    ejections: Vec<String>,
}

/// Sends so many requests one after the other.
async fn told(endpoints: &[Endpoint], (route, more): (Value, Value), asks: &[Ask]) -> Told {
    let by_hash = route.get("hash_policy").is_some();
    let addresses: Vec<SocketAddr> = endpoints.iter().map(|endpoint| endpoint.address).collect();
    each(Kind::Gateway, async |kind| {
        endpoints.iter().for_each(Endpoint::forget);
        let site = Site::new();
        let bootstrap = settings(&site, &addresses, route.clone(), more.clone());
        let proxy = Proxy::start(kind, site, &bootstrap).await;
        let mut statuses = Vec::new();
        for ask in asks {
            let answer = once(&Dial::plain(proxy.at(IN)), ask).await.expect("a connection");
            statuses.push(answer.status);
            // Ejections are decided elsewhere than where answers come in.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        statuses.sort_unstable();
        let mut counts: Vec<usize> = endpoints.iter().map(Endpoint::count).collect();
        if !by_hash {
            // Whose turn it is first is a matter of chance: all that did not fail together.
            counts = vec![counts[0] + counts[2], counts[1]];
        }
        Told { statuses, counts, flags: flags(&proxy, endpoints).await, ejections: ejections(&proxy).await }
    })
    .await
}

fn many(n: usize) -> Vec<Ask> {
    vec![Ask::get("a.test", "/"); n]
}

fn outlier(more: Value) -> Value {
    let detection = json!({"interval": "100s", "base_ejection_time": "100s", "max_ejection_percent": 100});
    json!({"type": "STATIC", "outlier_detection": tests::bootstrap::merged(detection, more)})
}

/// One endpoint that always fails among two that do not.
async fn failing(answer: &'static str) -> Vec<Endpoint> {
    vec![Endpoint::start(OK).await, Endpoint::start(answer).await, Endpoint::start(OK).await]
}

#[tokio::test]
async fn failures_in_a_row() {
    let endpoints = failing(ERROR).await;
    let told = told(&endpoints, (json!({}), outlier(json!({"consecutive_5xx": 3}))), &many(40)).await;
    assert_eq!(told.flags, ["healthy", "/failed_outlier_check", "healthy"]);
    assert_eq!((told.counts[1], told.statuses.iter().filter(|status| **status == 500).count()), (3, 3));
}

#[tokio::test]
async fn gateway_failures_and_what_is_enforced() {
    let endpoints = failing(UNAVAILABLE).await;
    let detection = json!({"consecutive_5xx": 5, "consecutive_gateway_failure": 2, "enforcing_consecutive_gateway_failure": 100,
        "enforcing_consecutive_5xx": 0});
    let told = told(&endpoints, (json!({}), outlier(detection)), &many(30)).await;
    assert_eq!(told.counts[1], 2);
}

#[tokio::test]
async fn grpc_statuses_count_as_http_would_say_them() {
    let endpoints = failing(GRPC).await;
    let ask = Ask::get("a.test", "/a.B/C").by("POST").with("content-type", "application/grpc").with("te", "trailers");
    let told = told(&endpoints, (json!({}), outlier(json!({"consecutive_5xx": 3}))), &vec![ask; 30]).await;
    assert_eq!(told.flags[1], "/failed_outlier_check");
}

#[tokio::test]
async fn unreachable_hosts_with_origins_apart() {
    let mut endpoints = failing(OK).await;
    // Nobody listens there any more.
    endpoints[1] = Endpoint::gone().await;
    let detection = json!({"split_external_local_origin_errors": true, "consecutive_local_origin_failure": 2});
    let told = told(&endpoints, (json!({}), outlier(detection)), &many(30)).await;
    assert_eq!(told.flags[1], "/failed_outlier_check");
    assert_eq!(told.statuses.iter().filter(|status| **status == 503).count(), 2);
}

#[tokio::test]
async fn the_same_header_goes_to_the_same_endpoint() {
    let mut endpoints = Vec::new();
    for _ in 0..5 {
        endpoints.push(Endpoint::start(OK).await);
    }
    let route = json!({"hash_policy": [{"header": {"header_name": "x-user"}}]});
    let asks: Vec<Ask> = (0..60).map(|i| Ask::get("a.test", "/").with("x-user", &format!("user-{i}"))).collect();
    for policy in [
        json!({"lb_policy": "RING_HASH"}),
        json!({"lb_policy": "RING_HASH", "ring_hash_lb_config": {"hash_function": "MURMUR_HASH_2", "minimum_ring_size": 100}}),
        json!({"lb_policy": "MAGLEV"}),
    ] {
        let told =
            told(&endpoints, (route.clone(), tests::bootstrap::merged(json!({"type": "STATIC"}), policy)), &asks).await;
        assert!(told.counts.iter().all(|count| *count > 0), "{told:?}");
    }
}

#[tokio::test]
async fn an_answer_may_end_health() {
    let endpoints = vec![
        Endpoint::start(OK).await,
        Endpoint::start("HTTP/1.1 200 OK\r\nx-envoy-immediate-health-check-fail: 1\r\ncontent-length: 0\r\n\r\n").await,
    ];
    let check = json!({"timeout": "1s", "interval": "100s", "no_traffic_interval": "0.1s", "unhealthy_threshold": 2,
        "healthy_threshold": 1, "http_health_check": {"path": "/"}});
    let addresses: Vec<SocketAddr> = endpoints.iter().map(|endpoint| endpoint.address).collect();
    let flags = each(Kind::Gateway, async |kind| {
        let site = Site::new();
        let more = json!({"type": "STATIC", "health_checks": [check.clone()],
            "common_lb_config": {"healthy_panic_threshold": {"value": 0}}});
        let bootstrap = settings(&site, &addresses, json!({}), more);
        let proxy = Proxy::start(kind, site, &bootstrap).await;
        until("both pass", async || {
            flags(&proxy, &endpoints).await.iter().all(|flags| flags == "healthy").then_some(())
        })
        .await;
        for ask in many(4) {
            once(&Dial::plain(proxy.at(IN)), &ask).await.expect("a connection");
        }
        until("one is out", async || {
            let flags = flags(&proxy, &endpoints).await;
            (flags[1] != "healthy").then_some(flags)
        })
        .await
    })
    .await;
    assert_eq!(flags, ["healthy", "/failed_active_hc/excluded_via_immediate_hc_fail"]);
}
