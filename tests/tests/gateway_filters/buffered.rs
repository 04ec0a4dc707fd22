//! `buffer`.

use serde_json::json;

use crate::stage::{Case, filter, get, route, route_with, send, typed};

#[tokio::test]
async fn up_to_a_size() {
    let off = typed("buffer.v3.BufferPerRoute", json!({"disabled": true}));
    let wider = typed("buffer.v3.BufferPerRoute", json!({"buffer": {"max_request_bytes": 20}}));
    let post = |path, size| send("POST", path, &[]).body(&"x".repeat(size));
    let asks = [
        get("/", &[]),
        post("/", 10),
        post("/", 11),
        post("/", 5).chunked(),
        post("/", 11).chunked(),
        post("/d", 50),
        post("/w", 20),
        post("/w", 21),
    ];
    let outcome = Case::new([filter("buffer.v3.Buffer", json!({"max_request_bytes": 10}))], "")
        .routes([route_with("/d", off), route_with("/w", wider), route("/", json!({}))])
        .compare(asks)
        .await;
    assert_eq!(outcome.statuses(), [200, 200, 413, 200, 413, 200, 200, 413]);
}

#[tokio::test]
async fn methods_without_a_body() {
    let asks =
        ["OPTIONS", "DELETE", "POST", "PUT", "PATCH", "HEAD", "TRACE", "FOO"].map(|method| send(method, "/", &[]));
    Case::new([filter("buffer.v3.Buffer", json!({"max_request_bytes": 10}))], "").compare(asks).await;
}
