//! `rbac`.

use serde_json::{Value, json};
use tests::bootstrap::kind;

use crate::stage::{Case, Sent, filter, get, grpc, route, route_with, send, typed};

fn rbac(config: Value) -> Value {
    filter("rbac.v3.RBAC", config)
}

fn policy(action: &str, permission: Value) -> Value {
    let policy = json!({"permissions": [permission], "principals": [{"any": true}]});
    json!({"action": action, "policies": {"p q": policy}})
}

fn asks() -> [Sent; 8] {
    [
        get("/", &[]),
        get("/a?x=1", &[]),
        get("/a/b", &[]),
        get("/", &[("x-r", "1")]),
        send("PUT", "/a", &[]).body("x"),
        grpc(&[]),
        get("/", &[("x-r", "2"), ("x-r", "1")]),
        get("/", &[("x-r", "2"), ("x-r", "3")]),
    ]
}

#[tokio::test]
async fn rules_and_shadow_rules() {
    let shadow = policy("DENY", json!({"header": {"name": "x-r", "present_match": true}}));
    let config = json!({
        "rules": policy("ALLOW", json!({"url_path": {"path": {"exact": "/a"}}})),
        "shadow_rules": shadow,
        "shadow_rules_stat_prefix": "sh",
        "rules_stat_prefix": "rp.",
        "track_per_rule_stats": true,
    });
    let outcome = Case::new([rbac(config)], "rbac").compare(asks()).await;
    assert_eq!(outcome.statuses(), [403, 200, 403, 403, 200, 200, 403, 403]);
}

#[tokio::test]
async fn methods_and_paths() {
    let get_but_a = json!({"and_rules": {"rules": [
        {"header": {"name": ":method", "string_match": {"exact": "GET"}}},
        {"not_rule": {"header": {"name": ":path", "string_match": {"prefix": "/a"}}}},
    ]}});
    let outcome = Case::new([rbac(json!({"rules": policy("DENY", get_but_a)}))], "rbac").compare(asks()).await;
    assert_eq!(outcome.statuses(), [403, 200, 200, 403, 200, 200, 403, 403]);
}

#[tokio::test]
async fn headers_in_several_lines() {
    for header in [
        json!({"name": "x-r", "string_match": {"exact": "1"}}),
        json!({"name": "x-r", "string_match": {"exact": "2,1"}}),
        json!({"name": "x-r", "string_match": {"exact": "1"}, "invert_match": true}),
        json!({"name": "x-r", "range_match": {"start": 1, "end": 2}}),
        json!({"name": "x-r", "present_match": false}),
        json!({"name": "x-r", "string_match": {"exact": "1"}, "treat_missing_header_as_empty": true,
            "invert_match": true}),
    ] {
        for action in ["ALLOW", "DENY"] {
            let rules = policy(action, json!({"header": header}));
            Case::new([rbac(json!({"rules": rules}))], "rbac").compare(asks()).await;
        }
    }
}

#[tokio::test]
async fn a_matcher() {
    let matcher = json!({"matcher_list": {"matchers": [{
        "predicate": {"single_predicate": {
            "input": {"name": "i", "typed_config": {
                "@type": kind("envoy.type.matcher.v3.HttpRequestHeaderMatchInput"),
                "header_name": "x-r",
            }},
            "value_match": {"exact": "1"},
        }},
        "on_match": {"action": {"name": "a", "typed_config": {
            "@type": kind("envoy.config.rbac.v3.Action"),
            "name": "yes",
        }}},
    }]}});
    let outcome = Case::new([rbac(json!({"matcher": matcher}))], "rbac").compare(asks()).await;
    assert_eq!(outcome.statuses(), [403, 403, 403, 200, 403, 200, 403, 403]);
}

#[tokio::test]
async fn of_a_route() {
    let deny = json!({"rbac": {"rules": policy("DENY", json!({"any": true}))}});
    let off = json!({"@type": kind("envoy.config.route.v3.FilterConfig"), "disabled": true});
    let routes = [route_with("/x", typed("rbac.v3.RBACPerRoute", deny)), route_with("/y", off), route("/", json!({}))];
    let outcome = Case::new([rbac(json!({"rules": policy("ALLOW", json!({"any": true}))}))], "rbac")
        .routes(routes)
        .compare([get("/", &[]), get("/x", &[]), get("/y", &[])])
        .await;
    assert_eq!(outcome.statuses(), [200, 403, 200]);
}

#[tokio::test]
async fn without_a_route() {
    let outcome = Case::new([rbac(json!({"rules": policy("DENY", json!({"any": true}))}))], "rbac")
        .routes([route("/only", json!({}))])
        .compare([get("/zzz", &[])])
        .await;
    assert_eq!(outcome.statuses().len(), 1);
    assert!(outcome.forwarded().is_empty());
}
