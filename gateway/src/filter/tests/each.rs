//! What single filters do with requests and answers.

use std::convert::Infallible;

use config::model::metadata::Value as Meta;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CONTENT_LENGTH,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use proxy::lifecycle::ready::Readiness;
use proxy::report::http::Flag;
use serde_json::{Value, json};

use super::bed::{Bed, typed};
use crate::http::body::Body;
use crate::route::testing::flow;

fn buffer() -> Bed {
    let off = typed("buffer.v3.BufferPerRoute", json!({"disabled": true}));
    Bed::new(typed("buffer.v3.Buffer", json!({"maxRequestBytes": 4})), None, Some(off))
}

/// A body of unknown length, with trailers.
fn streamed(text: &'static str) -> Body {
    let trailers = HeaderMap::from_iter([("t".parse().unwrap(), HeaderValue::from_static("1"))]);
    let body = Full::new(bytes::Bytes::from_static(text.as_bytes()));
    let body = body.with_trailers(std::future::ready(Some(Ok::<_, Infallible>(trailers))));
    Body::boxed(body.map_err(|never| match never {}))
}

#[tokio::test]
async fn a_buffered_request_says_its_length() {
    let bed = buffer();
    let mut request = flow("POST", "h/", &[]);
    let (reply, body) = bed.request(&mut request, Body::full("1234")).await;
    assert_eq!(reply, None);
    assert_eq!(request.request.headers[CONTENT_LENGTH], "4");
    assert_eq!(body.collect().await.unwrap().to_bytes(), "1234");
}

#[tokio::test]
async fn trailers_of_a_buffered_request_stay() {
    let mut request = flow("POST", "h/", &[]);
    let (reply, body) = buffer().request(&mut request, streamed("12")).await;
    assert_eq!((reply, request.request.headers.get(CONTENT_LENGTH)), (None, None));
    let whole = body.collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["t"], "1");
    assert_eq!(whole.to_bytes(), "12");
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused_unless_the_route_does_not_care() {
    let bed = buffer();
    let (reply, _) = bed.request(&mut flow("POST", "h/", &[]), Body::full("12345")).await;
    let reply = reply.unwrap();
    assert_eq!((reply.status, &*reply.details), (StatusCode::PAYLOAD_TOO_LARGE, "request_payload_too_large"));
    let (reply, body) = bed.request(&mut flow("POST", "h/r", &[]), Body::full("12345")).await;
    assert_eq!(reply, None);
    assert_eq!(body.collect().await.unwrap().to_bytes(), "12345");
}

fn cors() -> Bed {
    let policy = |config| Some(typed("cors.v3.CorsPolicy", config));
    let host = json!({"allowOriginStringMatch": [{"exact": "http://a"}], "exposeHeaders": "x-e", "maxAge": "5"});
    let route = json!({"allowOriginStringMatch": [{"exact": "http://b"}], "forwardNotMatchingPreflights": false});
    Bed::new(typed("cors.v3.Cors", json!({})), policy(host), policy(route))
}

#[tokio::test]
async fn an_origin_that_is_allowed_is_told() {
    let ask = async |path: &str, origin: &str| {
        let mut request = flow("GET", &format!("h{path}"), &[("origin", origin)]);
        let (reply, _, response) = cors().exchange(&mut request, Body::Empty, Response::new(Body::Empty)).await;
        assert_eq!(reply, None);
        response.headers().clone()
    };
    let told = ask("/", "http://a").await;
    assert_eq!(
        (&told[ACCESS_CONTROL_ALLOW_ORIGIN], &told[ACCESS_CONTROL_EXPOSE_HEADERS]),
        (&HeaderValue::from_static("http://a"), &HeaderValue::from_static("x-e"))
    );
    assert!(ask("/", "http://b").await.is_empty() && ask("/r", "http://a").await.is_empty());
    // The route says nothing of what may be read: its host does.
    assert_eq!(ask("/r", "http://b").await[ACCESS_CONTROL_EXPOSE_HEADERS], "x-e");
}

#[tokio::test]
async fn preflights_are_answered_here() {
    let ask = async |path: &str, origin: &str| {
        let asks = [("origin", origin), ("access-control-request-method", "PUT")];
        cors().request(&mut flow("OPTIONS", &format!("h{path}"), &asks), Body::Empty).await.0
    };
    let reply = ask("/", "http://a").await.unwrap();
    assert_eq!((reply.status, &*reply.details), (StatusCode::OK, "cors_response"));
    assert_eq!(
        (&reply.headers[ACCESS_CONTROL_ALLOW_ORIGIN], &reply.headers[ACCESS_CONTROL_MAX_AGE]),
        (&HeaderValue::from_static("http://a"), &HeaderValue::from_static("5"))
    );
    // Of others: sent on, unless the route will not have it.
    assert_eq!(ask("/", "http://b").await, None);
    assert!(!ask("/r", "http://a").await.unwrap().headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
}

fn rules(action: &str, permission: &Value) -> Value {
    json!({"action": action, "policies": {"p": {"permissions": [permission], "principals": [{"any": true}]}}})
}

#[tokio::test]
async fn permissions_are_noted() {
    const NAMESPACE: &str = "envoy.filters.http.rbac";
    let header = json!({"header": {"name": "x-r", "stringMatch": {"exact": "1"}}});
    let config = json!({"rules": rules("ALLOW", &header), "shadowRules": rules("DENY", &json!({"any": true})),
        "shadowRulesStatPrefix": "sh."});
    let off = json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true});
    let bed = Bed::new(typed("rbac.v3.RBAC", config), None, Some(off));
    let text = |text: &str| Meta::String(text.into());

    let mut request = flow("GET", "h/", &[("x-r", "2"), ("x-r", "1")]);
    assert_eq!(bed.request(&mut request, Body::Empty).await.0, None);
    assert_eq!(request.metadata.get(NAMESPACE, "enforced_engine_result"), Some(&text("allowed")));
    assert_eq!(request.metadata.get(NAMESPACE, "enforced_effective_policy_id"), Some(&text("p")));
    assert_eq!(request.metadata.get(NAMESPACE, "sh.shadow_engine_result"), Some(&text("denied")));

    let mut request = flow("GET", "h/", &[]);
    let reply = bed.request(&mut request, Body::Empty).await.0.unwrap();
    assert_eq!((reply.status, &*reply.body), (StatusCode::FORBIDDEN, "RBAC: access denied"));
    assert_eq!(reply.details, "rbac_access_denied_matched_policy[none]");
    assert_eq!(request.metadata.get(NAMESPACE, "enforced_engine_result"), Some(&text("denied")));

    let mut request = flow("GET", "h/r", &[]);
    assert_eq!(bed.request(&mut request, Body::Empty).await.0, None);
    assert!(request.metadata.is_empty());
}

fn health_check(config: Value) -> Bed {
    let mut config = typed("health_check.v3.HealthCheck", config);
    config["headers"] = json!([{"name": ":path", "stringMatch": {"exact": "/hc"}}]);
    Bed::new(config, None, None)
}

#[tokio::test]
async fn health_checks_are_answered_here() {
    let bed = health_check(json!({"passThroughMode": false}));
    let mut check = flow("GET", "h/hc", &[]);
    let reply = bed.request(&mut check, Body::Empty).await.0.unwrap();
    assert_eq!((reply.status, &*reply.details, check.health_check), (StatusCode::OK, "health_check_ok", true));
    assert_eq!(bed.request(&mut flow("GET", "h/", &[]), Body::Empty).await.0, None);

    let bed = health_check(json!({"passThroughMode": false, "clusterMinHealthyPercentages": {"none": {"value": 1}}}));
    let reply = bed.request(&mut flow("GET", "h/hc", &[]), Body::Empty).await.0.unwrap();
    assert_eq!(
        (reply.status, &*reply.details),
        (StatusCode::SERVICE_UNAVAILABLE, "health_check_failed_no_cluster_found")
    );
    assert!(reply.flags.has(Flag::FailedLocalHealthCheck));
}

#[tokio::test]
async fn answers_to_health_checks_are_remembered() {
    let bed = health_check(json!({"passThroughMode": true, "cacheTime": "600s"}));
    let mut answer = Response::new(Body::Empty);
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    let (reply, _, answer) = bed.exchange(&mut flow("GET", "h/hc", &[]), Body::Empty, answer).await;
    assert_eq!(reply, None);
    assert!(answer.headers().contains_key("x-envoy-upstream-healthchecked-cluster"));
    let reply = bed.request(&mut flow("GET", "h/hc", &[]), Body::Empty).await.0.unwrap();
    assert_eq!((reply.status, &*reply.details), (StatusCode::BAD_GATEWAY, "health_check_cached"));
}

#[tokio::test]
async fn health_checks_fail_on_purpose() {
    const FAIL: &str = "x-envoy-immediate-health-check-fail";
    let (readiness, _start) = Readiness::new();
    let bed = health_check(json!({"passThroughMode": true}));
    bed.shared.attach_readiness(readiness.clone());
    let ask = async |path: &str| {
        let mut request = flow("GET", &format!("h{path}"), &[]);
        let (reply, _, response) = bed.exchange(&mut request, Body::Empty, Response::new(Body::Empty)).await;
        (reply.map(|reply| reply.status), response.headers().contains_key(FAIL))
    };
    assert_eq!((ask("/hc").await, ask("/").await), ((None, false), (None, false)));
    readiness.fail_health_check(true);
    assert_eq!((ask("/hc").await, ask("/").await), ((Some(StatusCode::SERVICE_UNAVAILABLE), true), (None, true)));
    readiness.fail_health_check(false);
    assert_eq!((ask("/hc").await, ask("/").await), ((None, false), (None, false)));
}

fn adds(value: &str, action: &str) -> Value {
    json!({"append": {"header": {"key": "x-a", "value": value}, "appendAction": action}})
}

#[tokio::test]
async fn headers_are_changed_level_by_level() {
    const ADD: &str = "APPEND_IF_EXISTS_OR_ADD";
    let per_route = |value| {
        let mutations = json!({"requestMutations": [adds(value, ADD)]});
        Some(typed("header_mutation.v3.HeaderMutationPerRoute", json!({"mutations": mutations})))
    };
    let values = async |wins: bool| {
        let config =
            json!({"mutations": {"requestMutations": [adds("own", ADD)]}, "mostSpecificHeaderMutationsWins": wins});
        let bed = Bed::new(typed("header_mutation.v3.HeaderMutation", config), per_route("host"), per_route("route"));
        let mut request = flow("GET", "h/r", &[]);
        bed.request(&mut request, Body::Empty).await;
        let all = request.request.headers.get_all("x-a").iter();
        all.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(values(false).await, ["own", "route", "host"]);
    assert_eq!(values(true).await, ["own", "host", "route"]);
}

#[tokio::test]
async fn queries_answers_and_trailers_are_changed() {
    let config = json!({"mutations": {
        "queryParameterMutations": [{"remove": "z"}, {"append": {"record": {"key": "q", "value": "1"}}}],
        "responseMutations": [adds("%RESPONSE_CODE%", "OVERWRITE_IF_EXISTS"), {"removeOnMatch": {"keyMatcher": {"prefix": "x-z"}}}],
        "responseTrailersMutations": [{"remove": "t"}],
    }});
    let bed = Bed::new(typed("header_mutation.v3.HeaderMutation", config), None, None);
    let mut request = flow("GET", "h/p?z=1&b=2&q=0", &[]);
    let mut answer = Response::new(streamed("body"));
    for (name, value) in [("x-a", "0"), ("x-z1", "1"), ("y", "1")] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let (_, _, answer) = bed.exchange(&mut request, Body::Empty, answer).await;
    assert_eq!(request.request.path, "/p?b=2&q=0&q=1");
    assert_eq!((answer.headers()["x-a"].to_str().unwrap(), answer.headers().len()), ("200", 2));
    let whole = answer.into_body().collect().await.unwrap();
    assert!(whole.trailers().is_none_or(HeaderMap::is_empty));
}
