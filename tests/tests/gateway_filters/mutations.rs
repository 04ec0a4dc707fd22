//! `header_mutation`.

use serde_json::{Value, json};
use tests::http_peer::Step;

use crate::stage::{Case, filter, get, route, route_with, typed};

fn per_route(value: &str) -> Value {
    let own = json!({"append": {
        "header": {"key": "x-o", "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }});
    typed("header_mutation.v3.HeaderMutationPerRoute", json!({"mutations": {"request_mutations": [own]}}))
}

#[tokio::test]
async fn of_all_levels() {
    let config = json!({"mutations": {
        "request_mutations": [
            {"remove": "x-a"},
            {"append": {"header": {"key": "x-n", "value": "%REQ(x-test-name)%"}}},
            {"append": {"header": {"key": "x-n", "value": "2"}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}},
        ],
        "response_mutations": [
            {"append": {
                "header": {"key": "x-m", "value": "%RESPONSE_CODE%"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }},
            {"remove_on_match": {"key_matcher": {"prefix": "x-z"}}},
        ],
        "query_parameter_mutations": [{"append": {"record": {"key": "q", "value": "1"}}}, {"remove": "z"}],
    }});
    let asks = [
        get("/", &[("x-a", "1")]).answered(Step::status(200).with("x-z1", "1")),
        get("/p?z=1&b=2", &[]),
        get("/p?q=3", &[]),
        get("/r", &[]),
    ];
    let outcome = Case::new([filter("header_mutation.v3.HeaderMutation", config)], "")
        .host(per_route("vh"))
        .routes([route_with("/r", per_route("route")), route("/", json!({}))])
        .compare(asks)
        .await;
    assert_eq!(outcome.statuses(), [200; 4]);
}
