//! Chains that speak HTTP: who may ask at all, and where routes lead.

use serde_json::{Value, json};

use super::ask::{Answer, Question, ask};
use super::edge::{Way, ways};
use super::load::load;
use super::print;

fn kind(name: &str) -> String {
    format!("type.googleapis.com/{name}")
}

fn cluster(name: &str) -> Value {
    let at = json!({"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}}}});
    json!({"name": name, "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [at]}]}})
}

/// A listener whose one chain ends TLS and has these HTTP filters and these routes.
fn bootstrap(filters: Vec<Value>, routes: &Value) -> Value {
    let http = "envoy.extensions.filters.http";
    let router = json!({"name": "router", "typed_config": {"@type": kind(&format!("{http}.router.v3.Router"))}});
    let hosts = json!([{"name": "v", "domains": ["*"], "routes": routes}]);
    let manager = json!({"@type": kind("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "s", "http_filters": filters.into_iter().chain([router]).collect::<Vec<_>>(),
        "route_config": {"virtual_hosts": hosts, "validate_clusters": false}});
    let tls = json!({"@type": kind("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"),
        "require_client_certificate": true, "common_tls_context":
            {"tls_certificate_sds_secret_configs": [{"name": "id", "sds_config": {"ads": {}}}]}});
    json!({"static_resources": {"clusters": [cluster("a"), cluster("b")], "listeners": [{"name": "l",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
        "filter_chains": [{"filters": [{"name": "h", "typed_config": manager}],
            "transport_socket": {"name": "tls", "typed_config": tls}}]}]}})
}

fn rbac(config: Value) -> Value {
    let mut config = config;
    config["@type"] = kind("envoy.extensions.filters.http.rbac.v3.RBAC").into();
    json!({"name": "rbac", "typed_config": config})
}

/// As Kuma writes MeshTrafficPermissions: by identity, everybody else is denied.
fn by_identity(prefix: &str) -> Value {
    let action = |name: &str, action: &str| {
        json!({"name": "a", "typed_config":
        {"@type": kind("envoy.config.rbac.v3.Action"), "name": name, "action": action}})
    };
    let input = json!({"name": "i", "typed_config":
        {"@type": kind("envoy.extensions.matching.common_inputs.ssl.v3.UriSanInput")}});
    let predicate = json!({"single_predicate": {"input": input, "value_match": {"prefix": prefix}}});
    rbac(json!({"matcher": {
        "matcher_list": {"matchers": [{"predicate": predicate, "on_match": {"action": action("MeshTrafficPermission", "ALLOW")}}]},
        "on_no_match": {"action": action("default", "DENY")}}}))
}

fn to(cluster: &str) -> Value {
    json!({"match": {"prefix": "/"}, "route": {"cluster": cluster}})
}

fn read(bootstrap: &Value) -> Vec<Way> {
    let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
    std::fs::write(file.path(), bootstrap.to_string()).unwrap();
    let loaded = load(file.path()).unwrap();
    assert!(loaded.refused.is_empty(), "{:?}", loaded.refused);
    ways(&loaded.snapshot)
}

fn answer(ways: &[Way], identity: &str) -> Result<Answer, String> {
    let question = Question { identities: &[identity.into()], name: "", alpn: &[], source: None };
    Ok(ask(ways, &question)?.remove(0))
}

fn listed(ways: &[Way]) -> String {
    let mut out = Vec::new();
    print::text(ways, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn identities_that_requests_are_permitted_for() {
    let weighted = json!({"match": {"prefix": "/w"}, "route": {"weighted_clusters": {"clusters":
        [{"name": "a", "weight": 1}, {"name": "b", "weight": 1}]}}});
    let ways = read(&bootstrap(vec![by_identity("spiffe://a/")], &json!([weighted, to("a")])));
    let yes = answer(&ways, "spiffe://a/x").unwrap();
    assert_eq!(yes.goes.as_deref(), Some("HTTP, by its routes: a -> 10.0.0.1:80 | b -> 10.0.0.1:80"));
    assert!(yes.because.contains("MeshTrafficPermission"), "{yes}");
    let no = answer(&ways, "spiffe://b/x").unwrap();
    assert!(!no.is_yes() && no.because.contains("default"), "{no}");
    let text = listed(&ways);
    assert!(text.contains("allowed   identity begins with spiffe://a/ [MeshTrafficPermission]"), "{text}");
    assert!(text.contains("denied    anyone [default]"), "{text}");
}

#[test]
fn what_depends_on_requests_has_no_answer_and_is_said() {
    let permission = json!({"permissions": [{"url_path": {"path": {"prefix": "/p"}}}], "principals": [{"any": true}]});
    let by_path = rbac(json!({"rules": {"policies": {"p": permission}}}));
    let ways = read(&bootstrap(vec![by_path], &json!([to("a")])));
    let why = answer(&ways, "spiffe://a/x").unwrap_err();
    assert!(why.contains("http_filters[0] (rbac) asks what is requested"), "{why}");
    assert!(listed(&ways).contains("besides   http_filters[0] (rbac)"), "{}", listed(&ways));
    // Whom the filter before denies needs no answer of it.
    let permission = json!({"permissions": [{"url_path": {"path": {"prefix": "/p"}}}], "principals": [{"any": true}]});
    let by_path = rbac(json!({"rules": {"policies": {"p": permission}}}));
    let ways = read(&bootstrap(vec![by_identity("spiffe://a/"), by_path], &json!([to("a")])));
    assert!(!answer(&ways, "spiffe://b/x").unwrap().is_yes());
    assert!(answer(&ways, "spiffe://a/x").is_err());

    let mut route = to("a");
    route["typed_per_filter_config"] =
        json!({"rbac": {"@type": kind("envoy.extensions.filters.http.rbac.v3.RBACPerRoute")}});
    let ways = read(&bootstrap(vec![by_identity("spiffe://a/")], &json!([route])));
    assert!(answer(&ways, "spiffe://b/x").unwrap_err().contains("asks what the route says"));
}

#[test]
fn routes_that_lead_elsewhere() {
    let by_header = json!({"match": {"prefix": "/h"}, "route": {"cluster_header": "x-to"}});
    let mirrored = json!({"match": {"prefix": "/"}, "route":
        {"cluster": "a", "request_mirror_policies": [{"cluster": "b"}]}});
    let ways = read(&bootstrap(vec![], &json!([by_header, mirrored])));
    let goes = answer(&ways, "spiffe://a/x").unwrap().goes.unwrap();
    assert_eq!(
        goes,
        "HTTP, by its routes: a -> 10.0.0.1:80 | b -> 10.0.0.1:80 | any cluster that the request's x-to names"
    );
    let direct = json!({"match": {"prefix": "/"}, "direct_response": {"status": 200}});
    let ways = read(&bootstrap(vec![], &json!([direct])));
    assert_eq!(answer(&ways, "spiffe://a/x").unwrap().goes.as_deref(), Some("an answer of the edge's own"));
    let ways = read(&bootstrap(vec![], &json!([to("nowhere")])));
    assert!(listed(&ways).contains("nowhere -> unknown cluster: refused"));
}

#[test]
fn routes_of_rds_are_read_from_a_dump() {
    let mut whole = bootstrap(vec![], &json!([]));
    let manager = &mut whole["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    manager.as_object_mut().unwrap().remove("route_config");
    manager["rds"] = json!({"route_config_name": "r", "config_source": {"ads": {}, "initial_fetch_timeout": "0s"}});
    let mut listener = whole["static_resources"]["listeners"][0].take();
    listener["@type"] = kind("envoy.config.listener.v3.Listener").into();
    let mut a = cluster("a");
    a["@type"] = kind("envoy.config.cluster.v3.Cluster").into();
    let hosts = json!([{"name": "v", "domains": ["*"], "routes": [to("a")]}]);
    let routes =
        json!({"@type": kind("envoy.config.route.v3.RouteConfiguration"), "name": "r", "virtual_hosts": hosts});
    let dump = json!({"configs": [
        {"static_clusters": [{"cluster": a}]},
        {"dynamic_listeners": [{"active_state": {"listener": listener}}]},
        {"dynamic_route_configs": [{"route_config": routes}]}]});
    let ways = read(&dump);
    assert_eq!(answer(&ways, "spiffe://a/x").unwrap().goes.as_deref(), Some("HTTP, by its routes: a -> 10.0.0.1:80"));
}
