#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::Write;

use bytes::Bytes;
use prost::Message;
use serde_json::{Value, json};

use super::lines::{Lines, Text, labels, unescape};
use super::otlp::Otlp;
use super::policy::Policy;
use super::profile::Profile;

fn profile(profiles: Value) -> Profile {
    Profile::new(serde_json::from_value(profiles).unwrap())
}

fn policy(profiles: Value, added: &[(&str, &str)]) -> Policy {
    Policy {
        profile: profile(profiles),
        labels: added.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
        include_unused: false,
        pushes: Vec::new(),
        applications: Vec::new(),
    }
}

const RENDERED: &str = "\
# TYPE envoy_cluster_upstream_cx_total counter
envoy_cluster_upstream_cx_total{envoy_cluster_name=\"a\",service=\"x\"} 3
envoy_cluster_upstream_cx_total{envoy_cluster_name=\"_kuma_metrics_hijacker\"} 4
envoy_cluster_upstream_cx_total{envoy_cluster_name=\"ads_cluster\"} 5
# TYPE envoy_cluster_version gauge
envoy_cluster_version{envoy_cluster_name=\"a\"} 9
# TYPE envoy_cluster_warming_failed gauge
envoy_cluster_warming_failed{envoy_cluster_name=\"system_x\"} 1
# TYPE envoy_server_live gauge
envoy_server_live 1
# TYPE envoy_http_downstream_rq_time histogram
envoy_http_downstream_rq_time_bucket{p=\"a \\\" } b\",le=\"0.5\"} 1
envoy_http_downstream_rq_time_bucket{p=\"a \\\" } b\",le=\"+Inf\"} 3
envoy_http_downstream_rq_time_sum{p=\"a \\\" } b\"} 70
envoy_http_downstream_rq_time_count{p=\"a \\\" } b\"} 3
";

fn text(policy: &Policy) -> String {
    let mut lines = Lines::new(policy, Text::new(policy, Vec::new()));
    for piece in RENDERED.as_bytes().chunks(7) {
        lines.write_all(piece).unwrap();
    }
    String::from_utf8(lines.into_series().into_inner()).unwrap()
}

#[test]
fn basic_leaves_out_the_control_planes_own_and_labels_the_rest() {
    let expected = "\
# TYPE envoy_cluster_upstream_cx_total counter
envoy_cluster_upstream_cx_total{envoy_cluster_name=\"a\",kuma_workload=\"w\",service=\"s\\\"\"} 3
# TYPE envoy_server_live gauge
envoy_server_live{kuma_workload=\"w\",service=\"s\\\"\"} 1
# TYPE envoy_http_downstream_rq_time histogram
envoy_http_downstream_rq_time_bucket{p=\"a \\\" } b\",le=\"0.5\",kuma_workload=\"w\",service=\"s\\\"\"} 1
envoy_http_downstream_rq_time_bucket{p=\"a \\\" } b\",le=\"+Inf\",kuma_workload=\"w\",service=\"s\\\"\"} 3
envoy_http_downstream_rq_time_sum{p=\"a \\\" } b\",kuma_workload=\"w\",service=\"s\\\"\"} 70
envoy_http_downstream_rq_time_count{p=\"a \\\" } b\",kuma_workload=\"w\",service=\"s\\\"\"} 3
";
    assert_eq!(text(&policy(json!({}), &[("kuma.workload", "w"), ("service", "s\"")])), expected);
}

#[test]
fn all_is_all() {
    let all = policy(json!({"appendProfiles": [{"name": "None"}, {"name": "All"}, {"name": "Basic"}]}), &[]);
    assert_eq!(text(&all), RENDERED);
    assert_eq!(text(&policy(json!({"appendProfiles": [{"name": "None"}]}), &[])), "");
}

#[test]
fn what_is_included_is_shown_though_excluded() {
    let chosen = profile(json!({
        "appendProfiles": [{"name": "Basic"}],
        "exclude": [{"type": "Regex", "match": "server|rq_(time|total)$"}, {"type": "Contains", "match": "bytes"}],
        "include": [{"type": "Exact", "match": "envoy_server_live"}, {"type": "Prefix", "match": "envoy_cluster_v"}],
    }));
    for (metric, shown) in [
        ("envoy_server_live", true),
        ("envoy_server_uptime", false),
        ("envoy_cluster_version", true),
        ("envoy_cluster_upstream_rq_total", false),
        ("envoy_cluster_upstream_rq_total_x", true),
        ("envoy_http_rx_bytes", false),
        ("envoy_cluster_membership_total", true),
        ("envoy_cluster_membership_change", false),
    ] {
        assert_eq!(chosen.shows(metric), shown, "{metric}");
    }
    // The control plane lets no such expression through.
    let never = profile(json!({"appendProfiles": [{"name": "All"}], "exclude": [{"type": "Regex", "match": "("}]}));
    assert!(never.shows("x"));
}

#[test]
fn labels_are_read_with_their_escapes() {
    let found: Vec<_> = labels(r#"a="1",b="x\"y\\",c="""#).map(|(k, v)| (k, unescape(v).into_owned())).collect();
    assert_eq!(found, [("a", "1".to_owned()), ("b", "x\"y\\".to_owned()), ("c", String::new())]);
    assert_eq!(labels("").count(), 0);
    assert_eq!(labels("a=\"open").count(), 0);
}

/// As much of `ExportMetricsServiceRequest` as is looked at.
#[derive(Clone, PartialEq, Message)]
pub(in crate::admin) struct Request {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::admin) of_resources: Vec<OfResource>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::admin) struct OfResource {
    #[prost(message, repeated, tag = "2")]
    pub(in crate::admin) scopes: Vec<OfScope>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::admin) struct OfScope {
    #[prost(message, repeated, tag = "2")]
    pub(in crate::admin) metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::admin) struct Metric {
    #[prost(string, tag = "1")]
    pub(in crate::admin) name: String,
    #[prost(message, optional, tag = "5")]
    pub(in crate::admin) gauge: Option<Data>,
    #[prost(message, optional, tag = "7")]
    pub(in crate::admin) sum: Option<Data>,
    #[prost(message, optional, tag = "9")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::admin) struct Data {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::admin) points: Vec<Point>,
    #[prost(int32, tag = "2")]
    temporality: i32,
    #[prost(bool, tag = "3")]
    monotonic: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::admin) struct Point {
    #[prost(fixed64, tag = "3")]
    time: u64,
    #[prost(double, tag = "4")]
    pub(in crate::admin) value: f64,
    #[prost(message, repeated, tag = "7")]
    pub(in crate::admin) attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(message, repeated, tag = "1")]
    points: Vec<HistogramPoint>,
    #[prost(int32, tag = "2")]
    temporality: i32,
}

#[derive(Clone, PartialEq, Message)]
struct HistogramPoint {
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, tag = "5")]
    sum: f64,
    #[prost(fixed64, repeated, tag = "6")]
    counts: Vec<u64>,
    #[prost(double, repeated, tag = "7")]
    bounds: Vec<f64>,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::admin) struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Text1>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::admin) struct Text1 {
    #[prost(string, tag = "1")]
    text: String,
}

/// Attributes by key.
pub(in crate::admin) fn by_key(attributes: &[Attribute]) -> BTreeMap<&str, &str> {
    attributes.iter().map(|a| (a.key.as_str(), a.value.as_ref().unwrap().text.as_str())).collect()
}

/// All metrics of requests.
pub(in crate::admin) fn metrics(requests: &[Bytes]) -> Vec<Metric> {
    let requests = requests.iter().map(|request| Request::decode(request.clone()).unwrap());
    let scopes = requests.flat_map(|request| request.of_resources).flat_map(|resource| resource.scopes);
    scopes.flat_map(|scope| scope.metrics).collect()
}

fn pushed(policy: &Policy, rendered: &str) -> Vec<Bytes> {
    let mut requests = Vec::new();
    let send = |request: Bytes| {
        requests.push(request);
        Ok(())
    };
    let mut lines = Lines::new(policy, Otlp::new(policy, send));
    lines.write_all(rendered.as_bytes()).unwrap();
    lines.into_series().finish().unwrap();
    requests
}

#[test]
fn points_have_the_kinds_values_and_labels_of_the_text() {
    let requests = pushed(&policy(json!({}), &[("kuma.workload", "w"), ("service", "s")]), RENDERED);
    let found = metrics(&requests);
    let names: Vec<_> = found.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(names, ["envoy_cluster_upstream_cx_total", "envoy_server_live", "envoy_http_downstream_rq_time"]);
    let sum = found[0].sum.as_ref().unwrap();
    assert_eq!((sum.points.len(), sum.points[0].value, sum.temporality, sum.monotonic), (1, 3.0, 2, true));
    assert!(sum.points[0].time > 0);
    let expected = [("envoy_cluster_name", "a"), ("kuma.workload", "w"), ("service", "s")];
    assert_eq!(by_key(&sum.points[0].attributes), expected.into());
    assert_eq!(found[1].gauge.as_ref().unwrap().points[0].value, 1.0);
    let histogram = found[2].histogram.as_ref().unwrap();
    let point = &histogram.points[0];
    assert_eq!((histogram.temporality, point.count, point.sum), (2, 3, 70.0));
    assert_eq!((&*point.counts, &*point.bounds), (&[1, 2][..], &[0.5][..]));
    assert_eq!(by_key(&point.attributes), [("p", "a \" } b"), ("kuma.workload", "w"), ("service", "s")].into());
}

#[test]
fn requests_are_bounded_and_no_point_is_lost() {
    let mut rendered = "# TYPE a_rq_total counter\n".to_owned();
    for n in 0..20_000 {
        rendered
            .push_str(&format!("a_rq_total{{envoy_cluster_name=\"some-rather-long-name-of-a-cluster-{n}\"}} {n}\n"));
    }
    let requests = pushed(&policy(json!({}), &[]), &rendered);
    assert!(requests.len() > 1 && requests.iter().all(|request| request.len() < 2 << 20), "{}", requests.len());
    let found = metrics(&requests);
    assert_eq!(found.iter().map(|metric| metric.sum.as_ref().unwrap().points.len()).sum::<usize>(), 20_000);
}
