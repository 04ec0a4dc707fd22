//! HTTP and gRPC health checks from JSON.
#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};

use crate::model::cluster::{Cluster, Probe, ProbeCodec, ProbeHeaderAction};
use crate::model::testing::{cluster, merge, paths};
use crate::reject::Rejection;
use crate::store::{Parsed, parse_cluster};

fn parse(probe: Value) -> Result<Parsed<Cluster>, Rejection> {
    let mut check = json!({"timeout": "1s", "interval": "2s", "unhealthyThreshold": 1, "healthyThreshold": 1});
    merge(&mut check, probe);
    parse_cluster(&cluster(&json!({"name": "a", "connectTimeout": "1s", "healthChecks": [check]})))
}

fn good(probe: Value) -> Cluster {
    let parsed = parse(probe).unwrap();
    assert_eq!(paths(&parsed.ignored), Vec::<String>::new());
    parsed.value
}

#[test]
fn http_health_checks_as_kuma_sends_them() {
    let cluster = good(json!({"httpHealthCheck": {"path": "/health?x", "expectedStatuses": [
        {"start": 200, "end": 202}], "requestHeadersToAdd": [
        {"header": {"key": "X-A", "value": "1%%"}, "appendAction": "OVERWRITE_IF_EXISTS_OR_ADD"}]}}));
    let Probe::Http(probe) = &cluster.health_checks[0].probe else { panic!("{cluster:?}") };
    assert_eq!((&*probe.path, &probe.method, probe.codec), ("/health?x", &http::Method::GET, ProbeCodec::Http1));
    assert!(matches!(&*probe.expected, [expected] if *expected == (200..202)));
    assert_eq!((probe.add[0].name.as_str(), &probe.add[0].value), ("x-a", &"1%".parse().unwrap()));
    assert_eq!(probe.add[0].action, ProbeHeaderAction::Overwrite);
    let cluster = good(json!({"httpHealthCheck": {"path": "/", "codecClientType": "HTTP2"}}));
    let Probe::Http(probe) = &cluster.health_checks[0].probe else { panic!("{cluster:?}") };
    assert!(matches!(&*probe.expected, [expected] if *expected == (200..201)));
    assert_eq!((probe.response_buffer, probe.codec), (1024, ProbeCodec::Http2));
    let cluster = good(json!({"grpcHealthCheck": {"serviceName": "a.B"}}));
    assert!(matches!(&cluster.health_checks[0].probe, Probe::Grpc(probe) if &*probe.service == "a.B"));
}

#[test]
fn http_health_checks_that_envoy_refuses() {
    for (probe, field) in [
        (json!({"path": ""}), "path"),
        (json!({"path": "/\n"}), "path"),
        (json!({"path": "/", "method": "CONNECT"}), "method"),
        (json!({"path": "/", "send": {"text": "00"}}), "send"),
        (json!({"path": "/", "expectedStatuses": [{"start": 99, "end": 200}]}), "expected_statuses[0]"),
        (json!({"path": "/", "retriableStatuses": [{"start": 300, "end": 300}]}), "retriable_statuses[0]"),
        (json!({"path": "/", "responseBufferSize": 1, "receive": [{"text": "0000"}]}), "receive"),
        (
            json!({"path": "/", "requestHeadersToAdd": [{"header": {"key": "Host", "value": "a"}}]}),
            "request_headers_to_add[0].header.key",
        ),
    ] {
        let error = parse(json!({"httpHealthCheck": probe})).unwrap_err();
        assert_eq!(error.path.to_string(), format!("health_checks[0].http_health_check.{field}"));
    }
}

#[test]
fn a_custom_health_check_is_reported_and_not_run() {
    let parsed = parse(json!({"customHealthCheck": {"name": "redis"}})).unwrap();
    assert_eq!(paths(&parsed.ignored), ["health_checks[0].custom_health_check"]);
    assert!(matches!(parsed.value.health_checks[0].probe, Probe::Unsupported(_)));
}
