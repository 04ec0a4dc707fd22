//! `fault`.

use serde_json::{Value, json};
use tests::bootstrap::merged;

use crate::stage::{Case, filter, get, grpc, route, sized};

fn fault(config: Value) -> Value {
    filter("fault.v3.HTTPFault", config)
}

fn percent(config: Value, numerator: u32) -> Value {
    merged(config, json!({"percentage": {"numerator": numerator}}))
}

#[tokio::test]
async fn by_the_clients_headers() {
    let config = json!({
        "abort": percent(json!({"header_abort": {}}), 100),
        "delay": percent(json!({"header_delay": {}}), 100),
        "response_rate_limit": percent(json!({"header_limit": {}}), 100),
    });
    let abort = |status| ("x-envoy-fault-abort-request", status);
    let of_grpc = ("x-envoy-fault-abort-grpc-request", "5");
    let delay = ("x-envoy-fault-delay-request", "400");
    let asks = [
        get("/", &[]),
        get("/", &[abort("418")]),
        get("/", &[abort("700")]),
        get("/", &[of_grpc]),
        grpc(&[of_grpc]),
        get("/", &[delay]).after(390),
        get("/", &[delay, abort("503"), ("x-envoy-downstream-service-cluster", "dc")]).after(390),
        get("/", &[abort("503"), ("x-envoy-fault-abort-request-percentage", "0")]),
        get("/", &[("x-envoy-fault-throughput-response", "1")]).answered(sized(1000)).after(300),
    ];
    let outcome = Case::new([fault(config)], "fault").compare(asks).await;
    assert_eq!(outcome.statuses(), [200, 418, 200, 200, 200, 200, 503, 200, 200]);
    assert_eq!(outcome.forwarded(), [0, 2, 5, 7, 8]);
}

#[tokio::test]
async fn for_some_headers() {
    let config = json!({
        "abort": percent(json!({"http_status": 503, "response_body": "nope"}), 100),
        "headers": [{"name": "x-f", "string_match": {"exact": "1"}}],
        "filter_metadata": {"a": "b"},
    });
    let asks = [get("/", &[]), get("/", &[("x-f", "1")]), get("/", &[("x-f", "2"), ("x-f", "1")])];
    let outcome = Case::new([fault(config)], "fault").compare(asks).await;
    assert_eq!(outcome.statuses(), [200, 503, 503]);
}

#[tokio::test]
async fn no_more_than_so_many() {
    let config = json!({"abort": percent(json!({"http_status": 503}), 100), "max_active_faults": 0});
    let outcome = Case::new([fault(config)], "fault").compare([get("/", &[]), get("/", &[])]).await;
    assert_eq!(outcome.statuses(), [200, 200]);
}

#[tokio::test]
async fn for_one_cluster() {
    let config = json!({
        "abort": percent(json!({"http_status": 503}), 100),
        "delay": percent(json!({"fixed_delay": "0.4s"}), 100),
        "upstream_cluster": "up",
        "filter_metadata": {"a": "b"},
    });
    let direct = json!({"match": {"prefix": "/d"}, "direct_response": {"status": 200}});
    let asks = [get("/", &[]).after(390), get("/d", &[]), grpc(&[]).after(390)];
    let outcome = Case::new([fault(config)], "fault").routes([direct, route("/", json!({}))]).compare(asks).await;
    assert_eq!(outcome.statuses(), [503, 200, 200]);
    assert!(outcome.forwarded().is_empty());
}

#[tokio::test]
async fn of_a_route() {
    let own = crate::stage::typed("fault.v3.HTTPFault", json!({"abort": percent(json!({"http_status": 418}), 100)}));
    let routes = [crate::stage::route_with("/t", own), route("/", json!({}))];
    let asks = [get("/t", &[]), get("/", &[])];
    let outcome = Case::new([fault(json!({}))], "fault").routes(routes).compare(asks).await;
    assert_eq!(outcome.statuses(), [418, 200]);
}
