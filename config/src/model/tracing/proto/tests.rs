#![allow(clippy::unwrap_used, clippy::panic)]

use prost::Message as _;
use serde_json::{Value, json};

use super::*;
use crate::model::testing::{encode, filter, path, paths};
use crate::model::tracing::{CustomTag, Exporter, MetadataOf, Provider, Sampler, TagValue, ZipkinEncoding};

const HCM: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing";

fn parse(value: &Value) -> Result<(Tracing, Vec<String>), Rejection> {
    let message = hcm::http_connection_manager::Tracing::decode(encode(HCM, value)).unwrap();
    let mut cx = Context::default();
    let tracing = tracing(&mut cx, message)?;
    Ok((tracing, paths(&cx.into_ignored())))
}

fn with(name: &str, config: Value) -> Value {
    json!({"provider": filter(name, &format!("envoy.config.trace.v3.{name}"), config)})
}

fn provider(name: &str, config: Value) -> Provider {
    parse(&with(name, config)).unwrap().0.provider.unwrap()
}

fn extension(package: &str, name: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/envoy.extensions.tracers.opentelemetry.{package}.v3.{name}").into();
    json!({"name": "x", "typedConfig": config})
}

#[test]
fn defaults_are_envoys() {
    let (tracing, ignored) = parse(&json!({})).unwrap();
    assert_eq!(ignored, Vec::<String>::new());
    assert_eq!((tracing.sampling, tracing.max_path_length), (Sampling::default(), 256));
    assert!(tracing.propagate && !tracing.spawn_upstream_span && tracing.provider.is_none());
}

#[test]
fn what_is_said_is_kept() {
    let (tracing, ignored) = parse(&json!({
        "clientSampling": {"value": 1.5}, "randomSampling": {"value": 50}, "overallSampling": {"value": 0},
        "verbose": true, "maxPathTagLength": 7, "spawnUpstreamSpan": true, "noContextPropagation": true,
        "operation": "%REQ(:METHOD)%",
    }))
    .unwrap();
    assert_eq!(ignored, ["verbose"]);
    assert_eq!(tracing.sampling, Sampling { client: 1.5, random: 50.0, overall: 0.0 });
    assert!(!tracing.propagate && tracing.spawn_upstream_span && tracing.operation.is_some());
    assert_eq!((tracing.max_path_length, tracing.upstream_operation), (7, None));
    assert_eq!(path(parse(&json!({"randomSampling": {"value": 101}}))), "random_sampling");
    assert_eq!(path(parse(&json!({"operation": "%NO%"}))), "operation");
}

#[test]
fn tags_of_all_kinds() {
    let tags = json!([
        {"tag": "a", "literal": {"value": "first"}},
        {"tag": "b", "environment": {"name": "E", "defaultValue": "d"}},
        {"tag": "c", "requestHeader": {"name": "X-H"}},
        {"tag": "d", "metadata": {"kind": {"host": {}}, "metadataKey": {"key": "envoy.lb", "path": [{"key": "k"}]}}},
        {"tag": "e", "value": "%PROTOCOL%"},
        {"tag": "a", "literal": {"value": "second"}},
    ]);
    let (tracing, _) = parse(&json!({"customTags": tags})).unwrap();
    let [b, c, d, e, a] = &*tracing.custom_tags else { panic!("{:?}", tracing.custom_tags) };
    assert_eq!(*a, CustomTag { tag: "a".into(), value: TagValue::Literal("second".into()) });
    assert_eq!(b.value, TagValue::Environment { name: "E".into(), default: Some("d".into()) });
    assert_eq!(c.value, TagValue::Header { name: "x-h".into(), default: None });
    let path_of = Box::from([Box::from("k")]);
    let expected =
        TagValue::Metadata { of: MetadataOf::Host, namespace: "envoy.lb".into(), path: path_of, default: None };
    assert_eq!(d.value, expected);
    assert!(matches!(e.value, TagValue::Format(_)));
    assert_eq!(path(parse(&json!({"customTags": [{"tag": "a"}]}))), "custom_tags[0].type");
    assert_eq!(path(parse(&json!({"customTags": [{"literal": {"value": "x"}}]}))), "custom_tags[0].tag");
}

#[test]
fn open_telemetry() {
    let attributes = json!({"attributes": {"z": "1", "a": "2"}});
    let ratio = json!({"samplingPercentage": {"numerator": 5, "denominator": "HUNDRED"}});
    let wrapped = json!({"wrappedSampler": extension("samplers", "TraceIdRatioBasedSamplerConfig", ratio)});
    let config = json!({"grpcService": {"envoyGrpc": {"clusterName": "c"}}, "serviceName": "s",
        "resourceDetectors": [extension("resource_detectors", "StaticConfigResourceDetectorConfig", attributes)],
        "sampler": extension("samplers", "ParentBasedSamplerConfig", wrapped)});
    let Provider::OpenTelemetry(otel) = provider("OpenTelemetryConfig", config) else { panic!() };
    assert!(matches!(&otel.exporter, Some(Exporter::Grpc(grpc)) if &*grpc.cluster == "c"));
    assert_eq!(*otel.resource, [("a".into(), "2".into()), ("z".into(), "1".into())]);
    assert_eq!(otel.sampler, Some(Sampler::ParentBased(Box::new(Sampler::Ratio(0.05)))));
    let Provider::OpenTelemetry(otel) = provider("OpenTelemetryConfig", json!({})) else { panic!() };
    assert_eq!((&*otel.service_name, otel.exporter, otel.max_cache_size), ("unknown_service:envoy", None, 1024));
    let both = json!({"grpcService": {"envoyGrpc": {"clusterName": "c"}},
        "httpService": {"httpUri": {"uri": "http://a/", "cluster": "c", "timeout": "1s"}}});
    assert_eq!(path(parse(&with("OpenTelemetryConfig", both))), "provider.typed_config");
}

#[test]
fn zipkin_and_datadog() {
    let config = json!({"collectorCluster": "z", "collectorEndpoint": "/api/v2/spans",
        "collectorEndpointVersion": "HTTP_JSON", "traceId128bit": true, "sharedSpanContext": false});
    let Provider::Zipkin(zipkin) = provider("ZipkinConfig", config) else { panic!() };
    assert_eq!((&*zipkin.collector.authority, &*zipkin.collector.path), ("z", "/api/v2/spans"));
    assert_eq!(zipkin.encoding, ZipkinEncoding::Json);
    assert!(zipkin.long_ids && !zipkin.shared_span && !zipkin.w3c);
    let bare = with("ZipkinConfig", json!({"collectorEndpointVersion": "HTTP_JSON"}));
    assert_eq!(path(parse(&bare)), "provider.typed_config.collector_cluster");

    let config = json!({"collectorCluster": "d", "serviceName": "s", "collectorHostname": "h"});
    let Provider::Datadog(datadog) = provider("DatadogConfig", config) else { panic!() };
    assert_eq!((&*datadog.cluster, &*datadog.authority, &*datadog.service_name), ("d", "h", "s"));
}

#[test]
fn others_are_reported_or_refused() {
    let (tracing, ignored) = parse(&with("SkyWalkingConfig", json!({"grpcService": {}}))).unwrap();
    assert_eq!((tracing.provider, &*ignored), (None, &["provider.typed_config".to_owned()][..]));
    let strange = json!({"provider": filter("x", "envoy.config.cluster.v3.Cluster", json!({}))});
    assert_eq!(path(parse(&strange)), "provider.typed_config.typed_config");
}

#[test]
fn routes_have_fractions() {
    let value = json!({"clientSampling": {"numerator": 1, "denominator": "TEN_THOUSAND"},
        "customTags": [{"tag": "a", "literal": {"value": "v"}}]});
    let message = route::Tracing::decode(encode("envoy.config.route.v3.Tracing", &value)).unwrap();
    let tracing = route(&mut Context::default(), message).unwrap();
    assert_eq!(tracing.sampling, Sampling { client: 0.01, random: 100.0, overall: 100.0 });
    assert_eq!(tracing.custom_tags.len(), 1);
}
