//! The socket that MeshMetric's listeners lead to, and the push, with recorded configurations.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use config::json::Converter;
use config::model::http::PathMatch;
use config::snapshot::{Kind, ListenerEntry, Snapshot};
use config::store::{Batch, Resource, Store};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::world::World;
use crate::admin::metrics::tests::{by_key, metrics};
use crate::metrics::ClusterStat;
use crate::system::reply::{self, Body};
use crate::system::testing;

/// What Kuma of that version sent for a gateway with the policy; the collector is at `collector`.
fn recorded(version: &str, collector: &str) -> Snapshot {
    let path = format!("../tests/fixtures/kuma/{version}-gateway/policies.json");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let text = text.replace("\"refreshInterval\\\":\\\"10s", "\"refreshInterval\\\":\\\"50ms");
    let all: Value = serde_json::from_str(&text).unwrap();
    let (converter, mut store) = (Converter::new().unwrap(), Store::default());
    let (ip, port) = collector.rsplit_once(':').unwrap();
    for (kind, message) in
        [(Kind::Cluster, "envoy.config.cluster.v3.Cluster"), (Kind::Listener, "envoy.config.listener.v3.Listener")]
    {
        let own = all[message].as_object().unwrap().iter().filter(|(name, _)| name.starts_with("_kuma:"));
        let resources = own.map(|(name, value)| {
            let mut value = value.clone();
            if kind == Kind::Cluster && name.contains("opentelemetry") {
                value["loadAssignment"]["endpoints"][0]["lbEndpoints"][0]["endpoint"]["address"]["socketAddress"] =
                    json!({"address": ip, "portValue": port.parse::<u16>().unwrap()});
            }
            let body = converter.to_bytes(message, &value).unwrap().into();
            Resource { name: name.as_str().into(), version: "1".into(), body }
        });
        let applied = store.apply(Batch::new(kind, resources.collect()));
        assert!(applied.rejected.is_empty(), "{:?}", applied.rejected);
    }
    (*store.snapshot()).clone()
}

type Sent = Arc<Mutex<Vec<(String, Bytes)>>>;

async fn take(request: Request<Incoming>, to: Sent) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    to.lock().unwrap().push((path, body.slice(5..)));
    let status = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
    let trailers = async { Some(Ok(HeaderMap::from_iter([status]))) };
    Ok(Response::new(reply::full("").with_trailers(trailers).boxed_unsync()))
}

/// A collector, and what it was sent: path and message.
async fn collector() -> (String, Sent) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let sent = Sent::default();
    let to = Arc::clone(&sent);
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let to = Arc::clone(&to);
            let service = service_fn(move |request| take(request, Arc::clone(&to)));
            let builder = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, sent)
}

#[tokio::test]
async fn scrapes_have_the_profile_and_labels_of_the_policy() {
    for (version, extra) in [("2.13", ""), ("2.14", "kuma_proxy_role=\"gateway\",")] {
        let world = World::with(recorded(version, "127.0.0.1:1")).await;
        let stats = ["backend", "_kuma:metrics:hijacker"].map(|name| world.registry.cluster(name));
        for stats in &stats {
            stats.inc(ClusterStat::UpstreamRqTotal);
            stats.inc(ClusterStat::MembershipChange);
        }
        let answer = world.metrics("/meshmetric").await;
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{}", answer.head);
        let line = answer.body.lines().find(|line| line.starts_with("envoy_cluster_upstream_rq_total{")).unwrap();
        let expected = format!(
            "envoy_cluster_upstream_rq_total{{envoy_cluster_name=\"backend\",dataplane=\"gw-edge\",{extra}\
             kuma_io_mesh_gateway=\"edge-5c75xw87847wvc4c\",kuma_io_service=\"edge\",kuma_io_services=\",edge,\",\
             kuma_io_zone=\"zone-1\",kuma_io_zones=\",zone-1,\",mesh=\"default\",service=\"edge\""
        );
        assert!(line.starts_with(&expected), "{line}");
        assert!(!answer.body.contains("membership_change") && !answer.body.contains("_kuma_metrics_hijacker"));
        // Unused ones are not wanted.
        assert!(!answer.body.contains("upstream_rq_timeout"));
        // What Mesh.metrics' listener asks for is Envoy's own answer.
        let plain = world.metrics("/stats").await.body;
        assert!(plain.contains("membership_change") && plain.contains("_kuma_metrics_hijacker"));
        assert!(!plain.contains("kuma_io_service"));
        let asked = world.metrics("/meshmetric?filter=upstream_rq").await.body;
        assert!(asked.contains("upstream_rq_total") && !asked.contains("envoy_server"), "{asked}");
    }
}

#[tokio::test]
async fn metrics_are_pushed_to_the_backend_of_the_policy() {
    let (address, sent) = collector().await;
    let world = World::with(recorded("2.13", &address)).await;
    let stats = world.registry.cluster("backend");
    stats.inc(ClusterStat::UpstreamRqTotal);
    timeout(Duration::from_secs(30), async {
        while sent.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    let sent = sent.lock().unwrap().clone();
    assert_eq!(sent[0].0, "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export");
    let found = metrics(&[sent[0].1.clone()]);
    let metric = found.iter().find(|metric| metric.name == "envoy_cluster_upstream_rq_total").unwrap();
    let points = &metric.sum.as_ref().unwrap().points;
    let point = points.iter().find(|p| by_key(&p.attributes)["envoy_cluster_name"] == "backend").unwrap();
    assert_eq!((point.value, by_key(&point.attributes)["kuma_io_service"]), (1.0, "edge"));
}

#[tokio::test]
async fn without_a_policy_everything_is_shown_and_a_broken_one_is_named() {
    let world = World::new().await;
    assert!(world.metrics("/meshmetric").await.body.contains("envoy_server_live"));
    let mut route = testing::direct_route("/", 200, r#"{"observability": {"metrics": {"backends": 5}}}"#);
    route.path = PathMatch::Exact("/meshmetric".into());
    let chain = testing::plain_chain(1, testing::manager(vec![route]));
    let entry = ListenerEntry {
        listener: Arc::new(testing::listener("_kuma:dynamicconfig", vec![chain])),
        source: testing::source(),
        ignored: Box::default(),
        unsupported: Box::default(),
    };
    let mut snapshot = Snapshot::default();
    snapshot.listeners.insert_mut("_kuma:dynamicconfig".into(), Arc::new(entry));
    let answer = World::with(snapshot).await.metrics("/meshmetric").await;
    assert_eq!(answer.status, 500);
    assert!(
        answer.body.contains("the MeshMetric policy of the dynamic configuration: invalid type"),
        "{}",
        answer.body
    );
}
