//! What Envoy refuses, what can't be run here, what is not honoured, and what comes of the rest.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{BufferPerRoute, FilterConfig, GrpcMethods, PerRoute, QueryMutation};
use crate::model::chain::Handler;
use crate::model::hcm::{Manager, Routes};
use crate::model::listener::Listener;
use crate::model::testing::{self, filter, merge, path, paths, url, with_chains};
use crate::reject::Rejection;
use crate::store::{Parsed, parse_listener};

const AT: &str = "filter_chains[0].filters[0].typed_config.http_filters[0].typed_config";
const ROUTE: &str = "filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0]\
    .typed_per_filter_config[\"x\"]";

fn parse_with(kind: &str, config: Value, per_route: Option<Value>) -> Result<Parsed<Listener>, Rejection> {
    let mut host = json!({"name": "v", "domains": ["*"], "routes": []});
    if let Some(per_route) = per_route {
        merge(&mut host, json!({"typedPerFilterConfig": {"x": per_route}}));
    }
    let package = "envoy.extensions.filters.http";
    let manager = json!({
        "statPrefix": "s",
        "httpFilters": [
            filter("x", &format!("{package}.{kind}"), config),
            filter("router", &format!("{package}.router.v3.Router"), json!({})),
        ],
        "routeConfig": {"virtualHosts": [host]},
    });
    let kind = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    parse_listener(&testing::listener(&with_chains(json!([{"filters": [filter("hcm", kind, manager)]}]))), None)
}

fn parse(kind: &str, config: Value) -> Result<Parsed<Listener>, Rejection> {
    parse_with(kind, config, None)
}

fn manager(parsed: &Parsed<Listener>) -> Arc<Manager> {
    match &parsed.value.chains[0].handler {
        Handler::Http(manager) => Arc::clone(manager),
        other => panic!("{other:?}"),
    }
}

fn good(kind: &str, config: Value) -> FilterConfig {
    let parsed = parse(kind, config).unwrap();
    assert_eq!(paths(&parsed.ignored), Vec::<String>::new());
    manager(&parsed).filters[0].config.clone()
}

/// Where it is refused, from the filter on.
fn refused(kind: &str, config: Value) -> String {
    path(parse(kind, config)).replace(AT, "")
}

/// Where it can't be run, from the filter on.
fn unsupported(kind: &str, config: Value) -> String {
    match &parse(kind, config).unwrap().value.chains[0].handler {
        Handler::Unsupported(why) => why.path.to_string().replace(AT, ""),
        other => panic!("{other:?}"),
    }
}

fn per_route(kind: &str, config: Value, of_route: Value) -> Result<PerRoute, String> {
    let parsed = parse_with(kind, config, Some(of_route)).map_err(|rejection| rejection.path.to_string())?;
    let Routes::Inline(routes) = &manager(&parsed).routes else { panic!("not inline") };
    Ok(routes.virtual_hosts[0].per_filter[0].1.clone())
}

fn of(kind: &str, mut config: Value) -> Value {
    config["@type"] = url(&format!("envoy.extensions.filters.http.{kind}")).into();
    config
}

#[test]
fn buffers() {
    const KIND: &str = "buffer.v3.Buffer";
    const PER_ROUTE: &str = "buffer.v3.BufferPerRoute";
    let FilterConfig::Buffer(buffer) = good(KIND, json!({"maxRequestBytes": 7})) else { panic!("no buffer") };
    assert_eq!(buffer.max_request_bytes, 7);
    for config in [json!({}), json!({"maxRequestBytes": 0})] {
        assert_eq!(refused(KIND, config), ".max_request_bytes");
    }
    let own = || json!({"maxRequestBytes": 7});
    let of_route = |config| per_route(KIND, own(), of(PER_ROUTE, config));
    assert!(matches!(of_route(json!({"disabled": true})), Ok(PerRoute::Buffer(BufferPerRoute::Disabled))));
    assert!(of_route(json!({"disabled": false})).is_err() && of_route(json!({})).is_err());
    assert!(matches!(of_route(json!({"buffer": {"maxRequestBytes": 9}})),
        Ok(PerRoute::Buffer(BufferPerRoute::Buffer(buffer))) if buffer.max_request_bytes == 9));
    // The filter's own message is none of a route's.
    assert_eq!(per_route(KIND, own(), of(KIND, own())).unwrap_err(), ROUTE);
}

#[test]
fn health_checks() {
    const KIND: &str = "health_check.v3.HealthCheck";
    let config = json!({"passThroughMode": true, "cacheTime": "2s", "clusterMinHealthyPercentages": {"b": {"value": 10}, "a": {"value": 0.5}}});
    let FilterConfig::HealthCheck(check) = good(KIND, config) else { panic!("no health check") };
    assert_eq!((check.pass_through, check.cache_time), (true, Some(Duration::from_secs(2))));
    assert_eq!(*check.min_healthy, [("a".into(), 0.5), ("b".into(), 10.0)]);
    assert_eq!(refused(KIND, json!({})), ".pass_through_mode");
    assert_eq!(refused(KIND, json!({"passThroughMode": false, "cacheTime": "2s"})), ".cache_time");
    let too_much = json!({"passThroughMode": false, "clusterMinHealthyPercentages": {"a": {"value": 101}}});
    assert!(refused(KIND, too_much).starts_with(".cluster_min_healthy_percentages"));
}

#[test]
fn grpc_statistics() {
    const KIND: &str = "grpc_stats.v3.FilterConfig";
    let listed = json!({"individualMethodStatsAllowlist": {"services": [{"name": "a.B", "methodNames": ["C"]}]}});
    let FilterConfig::GrpcStats(stats) = good(KIND, listed) else { panic!("no statistics") };
    assert_eq!(stats.methods, GrpcMethods::Some([("a.B".into(), "C".into())].into()));
    for (all, expected) in [(true, GrpcMethods::All), (false, GrpcMethods::None)] {
        let FilterConfig::GrpcStats(stats) = good(KIND, json!({"statsForAllMethods": all})) else { panic!() };
        assert_eq!(stats.methods, expected);
    }
    let parsed = parse(KIND, json!({"emitFilterState": true})).unwrap();
    assert_eq!(paths(&parsed.ignored), [format!("{AT}.emit_filter_state")]);
}

#[test]
fn cors_is_configured_by_routes() {
    const KIND: &str = "cors.v3.Cors";
    let policy = json!({
        "allowOriginStringMatch": [{"exact": "http://a"}], "allowMethods": "GET", "maxAge": "5",
        "allowCredentials": true, "forwardNotMatchingPreflights": false,
    });
    let Ok(PerRoute::Cors(policy)) = per_route(KIND, json!({}), of("cors.v3.CorsPolicy", policy)) else { panic!() };
    assert!(policy.origins[0].matches(b"http://a") && !policy.origins[0].matches(b"http://b"));
    assert_eq!((&*policy.methods, &*policy.headers, &*policy.max_age), ("GET", "", "5"));
    assert_eq!(
        (policy.credentials, policy.forward_not_matching, policy.private_network),
        (Some(true), Some(false), None)
    );
    assert_eq!(per_route(KIND, json!({}), of(KIND, json!({}))).unwrap_err(), ROUTE);
}

#[test]
fn header_mutations() {
    const KIND: &str = "header_mutation.v3.HeaderMutation";
    let of_query = |query| json!({"mutations": {"queryParameterMutations": [query]}});
    let add = json!({"append": {"record": {"key": "q", "value": "1"}, "action": "ADD_IF_ABSENT"}});
    let FilterConfig::HeaderMutation(mutator) = good(KIND, of_query(add)) else { panic!("no mutations") };
    assert!(matches!(&*mutator.mutations.query, [QueryMutation::Add { key, .. }] if &**key == "q"));
    let both = json!({"append": {"record": {"key": "q", "value": "1"}}, "remove": "q"});
    let number = json!({"append": {"record": {"key": "q", "value": 1}}});
    for (query, at) in [(both, ""), (number, ".append.record.value"), (json!({}), ".remove")] {
        let found = refused(KIND, of_query(query));
        assert_eq!(found, format!(".mutations.query_parameter_mutations[0]{at}"));
    }
    let bad = json!({"mutations": {"requestMutations": [{"remove": ":path"}]}});
    assert!(refused(KIND, bad).starts_with(".mutations.request_mutations[0]"));
}

#[test]
fn permissions() {
    const KIND: &str = "rbac.v3.RBAC";
    let rules = |principal| json!({"policies": {"p": {"permissions": [{"any": true}], "principals": [principal]}}});
    let config = json!({"rules": rules(json!({"any": true})), "rulesStatPrefix": "r.", "trackPerRuleStats": true});
    let FilterConfig::Rbac(rbac) = good(KIND, config) else { panic!("no permissions") };
    assert!(rbac.enforced.is_some() && rbac.shadow.is_none() && rbac.per_policy);
    assert_eq!((&*rbac.rules_prefix, &*rbac.shadow_prefix), ("r.", ""));
    let state = json!({"filterState": {"key": "k", "stringMatch": {"exact": "v"}}});
    assert!(unsupported(KIND, json!({"rules": rules(state)})).starts_with(".rules.policies"));
    let empty = json!({"rules": {"policies": {"p": {"permissions": [], "principals": [{"any": true}]}}}});
    assert!(refused(KIND, empty).contains("permissions"));
}

#[test]
fn faults() {
    const KIND: &str = "fault.v3.HTTPFault";
    let status = |status: u32| json!({"abort": {"httpStatus": status, "percentage": {"numerator": 1}}});
    assert!(matches!(good(KIND, status(503)), FilterConfig::Fault(fault) if fault.abort.is_some()));
    for bad in [199, 600] {
        assert!(refused(KIND, status(bad)).starts_with(".abort"), "{bad}");
    }
    assert!(refused(KIND, json!({"abort": {"percentage": {"numerator": 1}}})).starts_with(".abort"));
}
