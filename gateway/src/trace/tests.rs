#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use config::model::address::Address;
use config::model::tracing::{Datadog, OpenTelemetry, Provider, Sampler, Sampling, Zipkin, ZipkinEncoding};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proxy::report::flow::Flow;
use proxy::report::http::{HttpFlow, Protocol, RequestHead, Scheme, TraceReason};

use super::context::Context;
use super::decide::decide;
use super::samples;

const ID: &str = "db9dc041-a715-4329-8a7b-c56261d354b6";

fn headers(list: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn flow(list: &[(&str, &str)]) -> HttpFlow {
    let connection = Flow::new(1, None, Address::Socket("127.0.0.1:80".parse().unwrap()));
    let head = RequestHead {
        method: Method::GET,
        scheme: Scheme::Http,
        authority: HeaderValue::from_static("a.example"),
        path: PathAndQuery::from_static("/"),
        headers: headers(list),
        protocol: None,
    };
    HttpFlow::new(Arc::new(connection), 1, Protocol::Http11, head)
}

fn otel() -> Provider {
    Provider::OpenTelemetry(OpenTelemetry {
        exporter: None,
        service_name: "s".into(),
        resource: Box::default(),
        sampler: None,
        max_cache_size: 1,
        sdk_attributes: true,
        service_attribute: true,
        scope: true,
    })
}

fn zipkin(w3c: bool) -> Provider {
    Provider::Zipkin(Zipkin {
        collector: super::report::testing_service(),
        encoding: ZipkinEncoding::Json,
        long_ids: false,
        timestamp_ids: false,
        shared_span: true,
        split_spans: false,
        w3c,
    })
}

fn datadog() -> Provider {
    Provider::Datadog(Datadog { cluster: "d".into(), authority: "d".into(), service_name: "s".into() })
}

fn told(provider: &Provider, list: &[(&str, &str)]) -> Option<Context> {
    Context::extract(provider, &headers(list)).unwrap()
}

fn injected(provider: &Provider, context: &Context, list: &[(&str, &str)]) -> Vec<String> {
    let mut headers = headers(list);
    context.inject(provider, &mut headers);
    let mut all: Vec<_> = headers.iter().map(|(k, v)| format!("{k}: {}", v.to_str().unwrap())).collect();
    all.sort();
    all
}

#[test]
fn the_request_id_remembers_the_decision() {
    let always = Sampling { client: 100.0, random: 100.0, overall: 100.0 };
    let never = Sampling { random: 0.0, ..always };
    let of = |list: &[(&str, &str)], sampling| {
        let mut flow = flow(list);
        let reason = decide(&mut flow, sampling);
        let id = flow.request.headers.get("x-request-id").map(|id| id.to_str().unwrap().to_owned());
        (reason, id.and_then(|id| id.get(14..15).map(str::to_owned)).unwrap_or_default())
    };
    let id = ("x-request-id", ID);
    assert_eq!(of(&[id], always), (TraceReason::Sampling, "9".into()));
    assert_eq!(of(&[id], never), (TraceReason::NotTraceable, "4".into()));
    assert_eq!(of(&[id, ("x-client-trace-id", "c")], never), (TraceReason::ClientForced, "b".into()));
    assert_eq!(of(&[id, ("x-envoy-force-trace", "true")], never), (TraceReason::ServiceForced, "a".into()));
    let forced = ("x-request-id", "db9dc041-a715-a329-8a7b-c56261d354b6");
    assert_eq!(of(&[forced], never), (TraceReason::ServiceForced, "a".into()), "as those before us decided");
    let none = Sampling { overall: 0.0, ..always };
    assert_eq!(of(&[forced], none), (TraceReason::NotTraceable, "4".into()));
    assert_eq!(of(&[("x-request-id", "not-a-uuid")], always).0, TraceReason::NotTraceable);
    assert_eq!(of(&[], always), (TraceReason::NotTraceable, String::new()));
}

#[test]
fn traceparent() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let found = told(&otel(), &[("traceparent", parent), ("tracestate", "a=b")]).unwrap();
    assert_eq!((found.trace, found.span), (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331));
    assert!(found.sampled);
    let child = Context { span: 1, ..found.child(true) };
    assert_eq!((child.parent, child.remote_parent), (Some(found.span), true));
    let expected = ["traceparent: 00-0af7651916cd43dd8448eb211c80319c-0000000000000001-01", "tracestate: a=b"];
    assert_eq!(injected(&otel(), &child, &[("traceparent", parent)]), expected);
    for bad in ["", "00-0-0-0", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "zz", "00-x"] {
        assert!(Context::extract(&otel(), &headers(&[("traceparent", bad)])).is_err(), "{bad}");
    }
    assert_eq!(told(&otel(), &[("b3", "0")]), None, "not OpenTelemetry's");
}

#[test]
fn b3_in_both_forms() {
    let several = [("x-b3-traceid", "463ac35c9f6413ad"), ("x-b3-spanid", "a2fb4a1d1a96d312"), ("x-b3-sampled", "1")];
    let found = told(&zipkin(false), &several).unwrap();
    assert_eq!((found.trace, found.decided), (0x463a_c35c_9f64_13ad, Some(true)));
    let joined = Context { sampled: true, ..found };
    let expected = ["x-b3-sampled: 1", "x-b3-spanid: a2fb4a1d1a96d312", "x-b3-traceid: 463ac35c9f6413ad"];
    assert_eq!(injected(&zipkin(false), &joined, &[]), expected);

    let single = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0-05e3ac9a4f6e3b90";
    let found = told(&zipkin(true), &[("b3", single)]).unwrap();
    assert_eq!((found.decided, found.parent), (Some(false), Some(0x05e3_ac9a_4f6e_3b90)));
    let child = Context { span: 2, ..found.child(true) };
    let expected = [
        "b3: 80f198ee56343ba864fe8b2a57d3eff7-0000000000000002-0-e457b5a2e4d86bd1",
        "traceparent: 00-80f198ee56343ba864fe8b2a57d3eff7-0000000000000002-00",
    ];
    assert_eq!(injected(&zipkin(true), &child, &[]), expected);
    assert!(told(&zipkin(false), &[("b3", "0")]).unwrap().is_bare());
    assert!(Context::extract(&zipkin(false), &headers(&[("b3", "x-y")])).is_err());
    assert_eq!(told(&zipkin(false), &[]), None);
}

#[test]
fn datadogs_headers() {
    let list = [
        ("x-datadog-trace-id", "1234"),
        ("x-datadog-parent-id", "5678"),
        ("x-datadog-sampling-priority", "1"),
        ("tracestate", "a=b"),
    ];
    let found = told(&datadog(), &list).unwrap();
    assert_eq!((found.trace, found.span, found.decided), (1234, 5678, Some(true)));
    let child = Context { span: 0x48ac_4f0b_11e1_02c3, sampled: true, ..found.child(true) };
    let expected = [
        "traceparent: 00-000000000000000000000000000004d2-48ac4f0b11e102c3-01",
        "tracestate: dd=s:1;p:48ac4f0b11e102c3",
        "x-datadog-parent-id: 5236647375688237763",
        "x-datadog-sampling-priority: 1",
        "x-datadog-trace-id: 1234",
    ];
    assert_eq!(injected(&datadog(), &child, &list), expected);
    let root = Context { sampled: true, span: 1, ..Context::datadog_root() };
    let all = injected(&datadog(), &root, &[]);
    assert!(all.iter().any(|h| h.ends_with("dd=s:1;p:0000000000000001;t.dm:-0")), "{all:?}");
    assert!(all.iter().any(|h| h.starts_with("x-datadog-tags: _dd.p.tid=") && h.ends_with(",_dd.p.dm=-0")), "{all:?}");
    let of_w3c = told(&datadog(), &[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")]);
    assert_eq!(of_w3c.unwrap().decided, Some(false));
}

#[test]
fn samplers() {
    let half = Sampler::Ratio(0.5);
    assert!(samples(&half, None, 1) && !samples(&half, None, u128::from(u64::MAX)));
    let by_parent = Sampler::ParentBased(Box::new(Sampler::Ratio(0.0)));
    assert!(samples(&by_parent, Some(true), 1) && !samples(&by_parent, None, 1));
    assert!(samples(&Sampler::AlwaysOn, Some(false), 1));
}
