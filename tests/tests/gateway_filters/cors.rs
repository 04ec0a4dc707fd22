//! `cors`.

use serde_json::{Value, json};

use crate::stage::{Case, filter, get, route, route_with, send, typed};

const PREFLIGHT: (&str, &str) = ("access-control-request-method", "PUT");
const PRIVATE: (&str, &str) = ("access-control-request-private-network", "true");

fn policy(config: Value) -> Value {
    typed("cors.v3.CorsPolicy", config)
}

#[tokio::test]
async fn of_a_host_and_of_a_route() {
    let host = policy(json!({
        "allow_origin_string_match": [{"exact": "http://a"}],
        "allow_methods": "GET, PUT",
        "allow_headers": "x-a",
        "expose_headers": "x-b",
        "max_age": "5",
        "allow_credentials": true,
        "allow_private_network_access": true,
    }));
    let own = policy(json!({
        "allow_origin_string_match": [{"exact": "http://c"}],
        "allow_methods": "POST",
        "forward_not_matching_preflights": false,
    }));
    let origin = |of| ("origin", of);
    let asks = [
        get("/", &[]),
        get("/", &[origin("http://a")]),
        get("/", &[origin("http://b")]),
        send("OPTIONS", "/", &[origin("http://a"), PREFLIGHT]),
        send("OPTIONS", "/", &[origin("http://b"), PREFLIGHT]),
        send("OPTIONS", "/", &[origin("http://a")]),
        send("OPTIONS", "/", &[origin("http://a"), PREFLIGHT, PRIVATE]),
        get("/r", &[origin("http://a")]),
        send("OPTIONS", "/r", &[origin("http://a"), PREFLIGHT]),
        send("OPTIONS", "/r", &[origin("http://b"), PREFLIGHT]),
        get("/r", &[origin("http://c")]),
    ];
    let outcome = Case::new([filter("cors.v3.Cors", json!({}))], "cors")
        .host(host)
        .routes([route_with("/r", own), route("/", json!({}))])
        .compare(asks)
        .await;
    assert_eq!(outcome.statuses(), [200; 11]);
    assert_eq!(outcome.forwarded(), [0, 1, 2, 4, 5, 7, 10]);
}
