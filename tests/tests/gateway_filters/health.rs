//! `health_check`.

use serde_json::{Value, json};
use tests::bootstrap::merged;
use tests::http_peer::Step;

use crate::stage::{Case, filter, get, send};

const COUNTED: &str = "health_check";

fn check(more: Value) -> Value {
    let own = json!({"headers": [{"name": ":path", "string_match": {"exact": "/hc"}}]});
    filter("health_check.v3.HealthCheck", merged(own, more))
}

#[tokio::test]
async fn answered_here() {
    let asks = [get("/", &[]), get("/hc", &[]), send("POST", "/hc", &[]).body("x")];
    let outcome = Case::new([check(json!({"pass_through_mode": false}))], COUNTED).compare(asks).await;
    assert_eq!(outcome.statuses(), [200, 200, 200]);
    assert_eq!(outcome.forwarded(), [0]);
}

#[tokio::test]
async fn by_clusters() {
    for (name, percent, expected) in
        [("empty", 10.0, 503), ("empty", 0.0, 200), ("nope", 10.0, 503), ("up", 100.0, 200)]
    {
        let config = json!({
            "pass_through_mode": false,
            "cluster_min_healthy_percentages": {name: {"value": percent}},
        });
        let outcome = Case::new([check(config)], COUNTED).compare([get("/hc", &[])]).await;
        assert_eq!(outcome.statuses(), [expected], "{name} {percent}");
    }
}

#[tokio::test]
async fn remembered() {
    let config = json!({"pass_through_mode": true, "cache_time": "600s"});
    let asks = [get("/hc", &[]).answered(Step::status(503)), get("/hc", &[])];
    let outcome = Case::new([check(config)], COUNTED).compare(asks).await;
    assert_eq!(outcome.statuses(), [503, 503]);
    assert_eq!(outcome.forwarded(), [0]);
}

#[tokio::test]
async fn failed_on_purpose() {
    let configs = [
        json!({"pass_through_mode": false}),
        json!({"pass_through_mode": true}),
        json!({"pass_through_mode": true, "cache_time": "600s"}),
    ];
    for config in configs {
        let outcome = Case::new([check(config)], COUNTED)
            .posting("/healthcheck/fail")
            .compare([get("/hc", &[]), get("/", &[]), get("/hc", &[])])
            .await;
        assert_eq!(outcome.statuses(), [503, 200, 503]);
        assert_eq!(outcome.forwarded(), [1]);
    }
}
