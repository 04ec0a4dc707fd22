#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::chain::Handler;
use crate::model::http::{Action, HttpManager, PathMatch};
use crate::model::testing::{self, filter, merge, path, paths, with_chains};
use crate::model::tls::Pattern;
use crate::reject::Rejection;
use crate::store::{Parsed, parse_listener};

fn router() -> Value {
    filter("router", "envoy.extensions.filters.http.router.v3.Router", json!({}))
}

fn listener(more: Value) -> Result<Parsed<crate::model::listener::Listener>, Rejection> {
    let mut config = json!({"statPrefix": "s", "httpFilters": [router()],
        "internalAddressConfig": {"cidrRanges": [{"addressPrefix": "127.0.0.1", "prefixLen": 32}]}});
    merge(&mut config, more);
    let kind = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let mut listener = with_chains(json!([{"filters": [filter("hcm", kind, config)]}]));
    merge(&mut listener, json!({"name": "kuma:envoy:admin"}));
    parse_listener(&testing::listener(&listener), None)
}

fn routes(routes: Value) -> Value {
    json!({"routeConfig": {"validateClusters": false,
        "virtualHosts": [{"name": "v", "domains": ["*"], "routes": routes}]}})
}

fn good(more: Value) -> Arc<HttpManager> {
    let parsed = listener(more).unwrap();
    assert_eq!(paths(&parsed.ignored), Vec::<String>::new());
    match &parsed.value.chains[0].handler {
        Handler::System(manager) => Arc::clone(manager),
        other => panic!("{other:?}"),
    }
}

#[test]
fn kumas_admin_routes() {
    let manager = good(routes(json!([
        {"match": {"prefix": "/ready"}, "route": {"cluster": "kuma:readiness", "prefixRewrite": "/ready"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "kuma:envoy:admin", "autoHostRewrite": true, "timeout": "0s"}}])));
    let [ready, all] = &*manager.virtual_hosts[0].routes else { panic!("two routes") };
    assert!(matches!(&ready.path, PathMatch::Prefix(p) if &**p == "/ready"));
    match (&ready.action, &all.action) {
        (
            Action::Cluster { cluster, prefix_rewrite: Some(rewrite), timeout },
            Action::Cluster { prefix_rewrite: None, timeout: Duration::ZERO, .. },
        ) => assert_eq!((&**cluster, &**rewrite, *timeout), ("kuma:readiness", "/ready", Duration::from_secs(15))),
        other => panic!("{other:?}"),
    }
    assert_eq!(&*manager.server_name, "envoy");
}

#[test]
fn dynconf_routes_match_headers_and_answer_directly() {
    let manager = good(routes(json!([{
        "match": {"path": "/meshmetric", "headers": [{"name": "If-None-Match", "stringMatch": {"exact": "e"}}]},
        "directResponse": {"status": 304, "body": {"inlineString": "{}"}},
        "responseHeadersToAdd": [{"header": {"key": "ETag", "value": "e"}}]}])));
    let route = &manager.virtual_hosts[0].routes[0];
    assert!(matches!(&route.path, PathMatch::Exact(p) if &**p == "/meshmetric"));
    assert_eq!(&*route.headers[0].name, "if-none-match");
    assert!(matches!(&route.headers[0].value.as_ref().unwrap().pattern, Pattern::Exact(v) if &**v == "e"));
    assert!(matches!(&route.action, Action::Direct { status: 304, body } if body == "{}"));
    assert_eq!((&*route.response_headers[0].name, route.response_headers[0].overwrite), ("etag", false));
}

#[test]
fn what_cannot_be_run_makes_the_chain_refuse() {
    let why = |more: Value| {
        let parsed = listener(more).unwrap();
        let [(_, why)] = &*parsed.unsupported else { panic!("runs") };
        why.path.to_string().trim_start_matches("filter_chains[0].filters[0].typed_config.").to_owned()
    };
    let one = |route: Value| routes(json!([route]));
    let fault = filter("fault", "envoy.extensions.filters.http.fault.v3.HTTPFault", json!({}));
    let mut with_fault = routes(json!([]));
    merge(&mut with_fault, json!({"httpFilters": [fault, router()]}));
    assert_eq!(why(with_fault), "http_filters[0].typed_config");
    assert_eq!(why(json!({"rds": {"routeConfigName": "r", "configSource": {"ads": {}}}})), "rds");
    let at = |rest: &str| format!("route_config.virtual_hosts[0].routes[0].{rest}");
    assert_eq!(
        why(one(json!({"match": {"safeRegex": {"regex": "a"}}, "route": {"cluster": "c"}}))),
        at("match.path_specifier")
    );
    assert_eq!(
        why(one(
            json!({"match": {"prefix": "/", "queryParameters": [{"name": "q", "presentMatch": true}]}, "route": {"cluster": "c"}})
        )),
        at("match.query_parameters")
    );
    assert_eq!(why(one(json!({"match": {"prefix": "/"}, "redirect": {"httpsRedirect": true}}))), at("redirect"));
}

#[test]
fn what_is_not_honoured_is_named() {
    let mut more = routes(json!([{"match": {"prefix": "/"},
        "route": {"cluster": "c", "retryPolicy": {"retryOn": "5xx"}}}]));
    merge(&mut more, json!({"mergeSlashes": true}));
    let mut found: Vec<String> = paths(&listener(more).unwrap().ignored);
    found.sort();
    let at = "filter_chains[0].filters[0].typed_config";
    assert_eq!(
        found,
        [format!("{at}.merge_slashes"), format!("{at}.route_config.virtual_hosts[0].routes[0].route.retry_policy")]
    );
}

#[test]
fn refusals_name_the_field() {
    let one = |route: Value| routes(json!([route]));
    let at = "route_config.virtual_hosts";
    let table = [
        (json!({"statPrefix": "", "routeConfig": {}}), "stat_prefix".to_owned()),
        (json!({}), "route_specifier".into()),
        (json!({"routeConfig": {}, "httpFilters": [router(), router()]}), "http_filters[0]".into()),
        (one(json!({"match": {"prefix": "/"}})), format!("{at}[0].routes[0].action")),
        (one(json!({"match": {}, "route": {"cluster": "c"}})), format!("{at}[0].routes[0].match.path_specifier")),
        (
            one(json!({"match": {"prefix": "/"}, "directResponse": {"status": 100}})),
            format!("{at}[0].routes[0].direct_response.status"),
        ),
        (
            json!({"routeConfig": {"virtualHosts": [{"name": "a", "domains": ["*"]}, {"name": "b", "domains": ["*"]}]}}),
            at.into(),
        ),
        (json!({"routeConfig": {"virtualHosts": [{"name": "a"}]}}), format!("{at}[0].domains")),
    ];
    for (more, expected) in table {
        let expected = format!("filter_chains[0].filters[0].typed_config.{expected}");
        assert_eq!(path(listener(more.clone())), expected, "{more}");
    }
}

#[test]
fn a_filter_that_counts_is_left_out_and_named() {
    let counts = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig";
    let mut more = routes(json!([{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]));
    merge(&mut more, json!({"httpFilters": [filter("grpc", counts, json!({"emitFilterState": true})), router()]}));
    let parsed = listener(more).unwrap();
    assert!(parsed.unsupported.is_empty());
    let at = "filter_chains[0].filters[0].typed_config.http_filters[0].typed_config";
    assert_eq!(paths(&parsed.ignored), [at]);
}
