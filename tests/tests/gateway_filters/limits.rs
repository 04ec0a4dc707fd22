//! `local_ratelimit`.

use serde_json::{Value, json};
use tests::bootstrap::merged;

use crate::stage::{Case, always, filter, get, grpc, route, route_with, typed};

const KIND: &str = "local_ratelimit.v3.LocalRateLimit";
const COUNTED: &str = "local_rate";

fn bucket(tokens: u32) -> Value {
    json!({"max_tokens": tokens, "fill_interval": "60s"})
}

fn limit(more: Value) -> Value {
    filter(KIND, merged(json!({"stat_prefix": "a"}), more))
}

/// On, and enforced.
fn enforced(more: Value) -> Value {
    limit(merged(json!({"filter_enabled": always(), "filter_enforced": always()}), more))
}

#[tokio::test]
async fn one_bucket() {
    let config = json!({
        "token_bucket": bucket(2),
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "response_headers_to_add": [{"header": {"key": "x-l", "value": "%REQ(x-test-name)%"}}],
    });
    let outcome =
        Case::new([enforced(config)], COUNTED).compare([get("/", &[]), get("/", &[]), get("/", &[]), grpc(&[])]).await;
    assert_eq!(outcome.statuses(), [200, 200, 429, 200]);
    assert_eq!(outcome.forwarded(), [0, 1]);
}

#[tokio::test]
async fn retry_after() {
    let config = json!({"token_bucket": bucket(1), "enable_retry_after_header": true});
    let outcome = Case::new([enforced(config)], COUNTED).compare([get("/", &[]), get("/", &[])]).await;
    assert_eq!(outcome.statuses(), [200, 429]);
}

#[tokio::test]
async fn not_enforced() {
    let config = json!({
        "token_bucket": bucket(1),
        "filter_enabled": always(),
        "request_headers_to_add_when_not_enforced": [{"header": {"key": "x-over", "value": "1"}}],
    });
    let outcome = Case::new([limit(config)], COUNTED).compare([get("/", &[]), get("/", &[])]).await;
    assert_eq!(outcome.statuses(), [200, 200]);
}

#[tokio::test]
async fn without_a_bucket_everything_passes() {
    let outcome = Case::new([enforced(json!({}))], COUNTED).compare([get("/", &[]), get("/", &[])]).await;
    assert_eq!(outcome.statuses(), [200, 200]);
}

#[tokio::test]
async fn of_a_route() {
    let own = typed(
        KIND,
        json!({
            "stat_prefix": "rt",
            "token_bucket": bucket(1),
            "filter_enabled": always(),
            "filter_enforced": always(),
            "status": {"code": "ServiceUnavailable"},
            "rate_limited_as_resource_exhausted": true,
        }),
    );
    let direct = json!({"match": {"prefix": "/v"}, "direct_response": {"status": 204}});
    let outcome = Case::new([limit(json!({}))], COUNTED)
        .routes([direct, route_with("/", own)])
        .compare([get("/", &[]), get("/", &[]), get("/v", &[]), get("/v", &[])])
        .await;
    assert_eq!(outcome.statuses(), [200, 503, 204, 204]);
}

fn descriptors() -> Value {
    json!([
        {"entries": [{"key": "k", "value": "a"}], "token_bucket": {"max_tokens": 1, "fill_interval": "120s"}},
        {"entries": [{"key": "h", "value": ""}], "token_bucket": bucket(1)},
    ])
}

fn of_header(name: &str, key: &str) -> Value {
    json!({"actions": [{"request_headers": {"header_name": name, "descriptor_key": key}}]})
}

#[tokio::test]
async fn descriptors_of_the_filter() {
    let config = json!({
        "token_bucket": bucket(100),
        "descriptors": descriptors(),
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "rate_limits": [of_header("x-k", "k"), of_header("x-h", "h")],
    });
    let asks = [
        get("/", &[("x-k", "a")]),
        get("/", &[("x-k", "a")]),
        get("/", &[("x-k", "b")]),
        get("/", &[("x-h", "1")]),
        get("/", &[("x-h", "2")]),
        get("/", &[("x-h", "1")]),
        get("/", &[]),
    ];
    let outcome = Case::new([enforced(config)], COUNTED).compare(asks).await;
    assert_eq!(outcome.statuses(), [200, 429, 200, 200, 200, 429, 200]);
}

#[tokio::test]
async fn descriptors_of_the_route() {
    let config = json!({"token_bucket": bucket(100), "descriptors": descriptors()});
    let limited = route("/", json!({"route": {"rate_limits": [of_header("x-k", "k")]}}));
    let asks = [get("/", &[("x-k", "a")]), get("/", &[("x-k", "a")]), get("/", &[])];
    let outcome = Case::new([enforced(config)], COUNTED).routes([limited]).compare(asks).await;
    assert_eq!(outcome.statuses(), [200, 429, 200]);
}
