//! Answers in a table, and probes over loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Mutex;
use std::time::Duration;

use ::http::{Method, Response};
use config::model::cluster::{GrpcProbe, HealthCheck, Probe};
use config::model::endpoint::HealthCheckOverride;
use config::model::tls::{Pattern, StringMatch};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use super::*;
use crate::metrics::Registry;
use crate::upstream::cluster::Cluster;
use crate::upstream::host::Flag;
use crate::upstream::testing::{self, apply, clusters, endpoint, plain};

fn probe() -> HttpProbe {
    HttpProbe {
        host: None,
        path: "/health?x=1".into(),
        method: Method::GET,
        codec: ProbeCodec::Http1,
        send: Box::default(),
        receive: Box::default(),
        response_buffer: 1024,
        expected: std::iter::once(200..201).collect(),
        retriable: Box::default(),
        service_name: None,
        remove: Box::default(),
        add: Box::default(),
    }
}

fn judged(probe: &HttpProbe, status: u16, headers: &[(&'static str, &str)], body: &str) -> Verdict {
    let mut map = HeaderMap::new();
    headers.iter().for_each(|(name, value)| drop(map.insert(*name, value.parse().unwrap())));
    let answer = Answer { status: status.try_into().unwrap(), headers: map, body: body.into() };
    judge(probe, &answer, &Registry::new(1).cluster("a"))
}

const fn failed(status: u16, retriable: bool, excluded: bool) -> Verdict {
    Verdict::Failed { status, retriable, excluded }
}

#[test]
fn statuses() {
    let probe = HttpProbe {
        expected: Box::new([200..202, 204..205]),
        retriable: std::iter::once(503..504).collect(),
        ..probe()
    };
    assert_eq!([200, 201, 204].map(|status| judged(&probe, status, &[], "")), [Verdict::Passed; 3]);
    assert_eq!(judged(&probe, 202, &[], ""), failed(202, false, false));
    assert_eq!(judged(&probe, 503, &[], ""), failed(503, true, false));
    assert_eq!(judged(&probe, 200, &[("x-envoy-degraded", "")], ""), Verdict::Degraded);
    assert_eq!(judged(&probe, 500, &[("x-envoy-immediate-health-check-fail", "")], ""), failed(500, false, true));
    // Envoy looks at that header only where the probe fails.
    assert_eq!(judged(&probe, 200, &[("x-envoy-immediate-health-check-fail", "")], ""), Verdict::Passed);
}

#[test]
fn bodies_and_names() {
    let body = HttpProbe { receive: Box::new([Box::from(*b"o"), Box::from(*b"k")]), ..probe() };
    assert_eq!(judged(&body, 200, &[], "its ok"), Verdict::Passed);
    assert_eq!(judged(&body, 200, &[], "ko"), failed(200, false, false));
    let service = StringMatch { pattern: Pattern::Prefix("back".into()), ignore_case: false };
    let named = HttpProbe { service_name: Some(service), ..probe() };
    let header = "x-envoy-upstream-healthchecked-cluster";
    assert_eq!(judged(&named, 200, &[(header, "backend")], ""), Verdict::Passed);
    assert_eq!(judged(&named, 200, &[(header, "other")], ""), failed(200, false, false));
    assert_eq!(judged(&named, 200, &[], ""), failed(200, false, false));
}

#[test]
fn headers_by_action() {
    use ProbeHeaderAction as A;
    let edited = |there: bool, action| {
        let mut headers = HeaderMap::new();
        if there {
            headers.insert("a", "1".parse().unwrap());
        }
        edit(&mut headers, &ProbeHeader { name: "a".parse().unwrap(), value: "2".parse().unwrap(), action });
        headers.get_all("a").iter().map(|v| v.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(",")
    };
    let actions = [A::Append, A::AddIfAbsent, A::Overwrite, A::OverwriteIfExists];
    assert_eq!(actions.map(|action| edited(true, action)), ["1,2", "1", "2", "2"]);
    assert_eq!(actions.map(|action| edited(false, action)), ["2", "2", "2", ""]);
}

type Seen = Arc<Mutex<Vec<Request<()>>>>;
type Answerer = fn(&Request<Incoming>) -> Response<Full<Bytes>>;

/// A server of HTTP/1 or HTTP/2; what it was asked.
async fn server(http2: bool, answer: Answerer) -> (String, Seen, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Seen::default();
    let notes = Arc::clone(&seen);
    let task = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let notes = Arc::clone(&notes);
            let service = service_fn(move |request: Request<Incoming>| {
                let response = answer(&request);
                notes.lock().unwrap().push(request.map(drop));
                async move { Ok::<_, std::convert::Infallible>(response) }
            });
            open.spawn(async move {
                let io = TokioIo::new(stream);
                if http2 {
                    drop(
                        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(io, service)
                            .await,
                    );
                } else {
                    drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
                }
            });
        }
    });
    (address, seen, task)
}

fn cluster_with(probe: Probe, address: &str) -> (Arc<crate::upstream::Clusters>, Arc<Cluster>) {
    let mut check: HealthCheck = testing::check(None, &[]);
    (check.no_traffic_interval, check.timeout) = (Duration::from_millis(20), Duration::from_millis(500));
    check.probe = probe;
    let config = config::model::cluster::Cluster { health_checks: Box::new([check]), ..testing::config("a") };
    let clusters = clusters();
    let cluster = apply(&clusters, config, plain(vec![endpoint(address)]));
    (clusters, cluster)
}

async fn until(what: impl Fn() -> bool) {
    for _ in 0..500 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within five seconds");
}

#[tokio::test]
async fn over_http1_and_http2() {
    for codec in [ProbeCodec::Http1, ProbeCodec::Http2] {
        let http2 = codec == ProbeCodec::Http2;
        let (address, seen, task) = server(http2, |_| Response::new(Full::default())).await;
        let (_clusters, cluster) = cluster_with(Probe::Http(Box::new(HttpProbe { codec, ..probe() })), &address);
        until(|| cluster.hosts().membership().healthy == 1).await;
        until(|| cluster.stats().get(ClusterStat::HealthCheckSuccess) >= 2).await;
        let request = seen.lock().unwrap().remove(0);
        assert_eq!(request.uri().path_and_query().unwrap(), "/health?x=1");
        assert_eq!(request.headers()["user-agent"], "Envoy/HC");
        let host =
            request.uri().authority().map_or_else(|| request.headers()["host"].to_str().unwrap(), |a| a.as_str());
        assert_eq!(host, "a", "the cluster's name");
        task.abort();
        until(|| cluster.hosts().membership().healthy == 0).await;
        assert!(cluster.stats().get(ClusterStat::HealthCheckNetworkFailure) >= 1);
    }
}

#[tokio::test]
async fn one_wrong_status_is_enough_and_degraded_is_degraded() {
    let (address, ..) = server(false, |_| Response::builder().status(500).body(Full::default()).unwrap()).await;
    let (_clusters, cluster) = cluster_with(Probe::Http(Box::new(probe())), &address);
    until(|| cluster.stats().get(ClusterStat::HealthCheckFailure) >= 2).await;
    assert_eq!(cluster.hosts().membership().healthy, 0);
    assert_eq!(cluster.stats().get(ClusterStat::HealthCheckNetworkFailure), 0);
    let degraded =
        |_: &Request<Incoming>| Response::builder().header("x-envoy-degraded", "").body(Full::default()).unwrap();
    let (address, ..) = server(false, degraded).await;
    let (_clusters, cluster) = cluster_with(Probe::Http(Box::new(probe())), &address);
    until(|| cluster.hosts().membership().degraded == 1).await;
    until(|| cluster.stats().gauge(ClusterStat::HealthCheckDegraded) == 1).await;
    let host = Arc::clone(cluster.hosts().hosts().next().unwrap());
    assert!(host.has(Flag::DegradedActiveHc) && !host.has(Flag::FailedActiveHc));
}

#[tokio::test]
async fn an_answer_may_take_a_host_out_at_once() {
    let (address, ..) = server(false, |_| Response::new(Full::default())).await;
    let (_clusters, cluster) = cluster_with(Probe::Http(Box::new(probe())), &address);
    until(|| cluster.hosts().membership().healthy == 1).await;
    let host = Arc::clone(cluster.hosts().hosts().next().unwrap());
    cluster.fail_health_check(&host);
    assert!(host.has(Flag::ExcludedViaImmediateHcFail));
    until(|| cluster.stats().get(ClusterStat::HealthCheckPassiveFailure) == 1).await;
    // Three probes later it is back.
    until(|| cluster.hosts().membership().healthy == 1).await;
    assert!(!host.has(Flag::ExcludedViaImmediateHcFail));
}

#[tokio::test]
async fn grpc_without_trailers_is_no_answer_and_the_endpoint_names_its_authority() {
    let (address, seen, _task) = server(true, |_| {
        let body = Full::new(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]));
        Response::builder().header("content-type", "application/grpc").body(body).unwrap()
    })
    .await;
    let grpc = GrpcProbe { service: "s".into(), authority: Some("b".parse().unwrap()), add: Box::default() };
    let mut endpoint = endpoint(&address);
    let special = HealthCheckOverride { hostname: Some("c".into()), ..HealthCheckOverride::default() };
    endpoint.health_check = Some(Box::new(special));
    let (clusters, cluster) = cluster_with(Probe::Grpc(Box::new(grpc)), &address);
    until(|| cluster.stats().get(ClusterStat::HealthCheckFailure) >= 2).await;
    assert_eq!(cluster.hosts().membership().healthy, 0);
    let request = seen.lock().unwrap().remove(0);
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.uri().authority().unwrap().as_str(), "b");
    assert_eq!(request.headers()["grpc-timeout"], "500m");
    let config = config::model::cluster::Cluster::clone(&cluster.config());
    apply(&clusters, config, plain(vec![endpoint]));
    until(|| seen.lock().unwrap().iter().any(|r| r.uri().authority().is_some_and(|a| a == "c"))).await;
}
