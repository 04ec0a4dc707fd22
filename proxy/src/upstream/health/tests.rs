//! The state machine in tables, and probes over loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use config::model::cluster::LbCommon;
use config::model::endpoint::HealthCheckOverride;
use config::reject::{FieldPath, Unsupported};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::session::{Change, interval, with_jitter};
use super::*;
use crate::upstream::testing::{self, apply, clusters, endpoint, endpoints, plain};

use Change::{Changed, Pending, Unchanged};
use Verdict::{Network, Passed, Timeout};

/// Runs verdicts from the given state; the changes and the state in the end.
fn run_all(mut failed: bool, verdicts: &[Verdict]) -> (Vec<Change>, bool) {
    let check = testing::check(None, &[]);
    let mut session = Session::default();
    let changes = verdicts.iter().map(|verdict| {
        let change = session.settle(&check, failed, *verdict);
        failed ^= change == Changed;
        change
    });
    (changes.collect(), failed)
}

#[test]
fn thresholds() {
    // Unhealthy after two failures, healthy after three passes; the very first pass counts at once.
    assert_eq!(run_all(true, &[Passed, Passed]), (vec![Changed, Unchanged], false));
    assert_eq!(run_all(true, &[Network, Passed, Passed, Passed]), (vec![Unchanged, Pending, Pending, Changed], false));
    assert!(run_all(true, &[Network, Passed, Network, Passed, Passed]).1);
    assert_eq!(run_all(true, &[Passed, Network, Passed, Network]), (vec![Changed, Pending, Unchanged, Pending], false));
    assert_eq!(run_all(true, &[Passed, Network, Timeout]), (vec![Changed, Pending, Changed], true));
    assert_eq!(run_all(false, &[Network, Network]), (vec![Pending, Changed], true));
}

#[test]
fn intervals() {
    let secs = Duration::from_secs;
    let mut check = testing::check(None, &[]);
    assert_eq!(interval(&check, true, Unchanged, true), secs(10));
    assert_eq!(interval(&check, false, Pending, true), secs(10));
    assert_eq!(interval(&check, true, Changed, false), secs(60));
    check.unhealthy_interval = Some(secs(2));
    assert_eq!(interval(&check, false, Pending, true), secs(2));
    check.unhealthy_edge_interval = Some(secs(3));
    check.healthy_edge_interval = Some(secs(4));
    check.no_traffic_healthy_interval = Some(secs(90));
    assert_eq!([Unchanged, Pending, Changed].map(|c| interval(&check, false, c, true).as_secs()), [2, 3, 2]);
    assert_eq!([Unchanged, Pending, Changed].map(|c| interval(&check, true, c, true).as_secs()), [10, 4, 10]);
    assert_eq!([Unchanged, Pending, Changed].map(|c| interval(&check, true, c, false).as_secs()), [90, 60, 90]);
    assert_eq!(interval(&check, false, Unchanged, false), secs(60));
    for _ in 0..100 {
        let jittered = with_jitter(secs(10), secs(1), 50);
        assert!((secs(10)..=secs(16)).contains(&jittered));
    }
}

/// A server that answers each line with `answer`, and counts connections.
async fn server(answer: &'static [u8]) -> (String, Arc<AtomicUsize>, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let task = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
            open.spawn(async move {
                let mut chunk = [0; 64];
                while let Ok(1..) = stream.read(&mut chunk).await {
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    (address, count, task)
}

fn fast(send: Option<&str>, receive: &[&str]) -> HealthCheck {
    let mut check = testing::check(send, receive);
    check.no_traffic_interval = Duration::from_millis(20);
    check.timeout = Duration::from_millis(300);
    check.unhealthy_threshold = 1;
    check.healthy_threshold = 1;
    check
}

fn settings(check: HealthCheck) -> Config {
    Config { health_checks: Box::new([check]), ..testing::config("a") }
}

async fn until(what: impl Fn() -> bool) {
    for _ in 0..500 {
        if what() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("not within five seconds");
}

#[tokio::test]
async fn down_up_and_down_again() {
    let clusters = clusters();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("events");
    let mut check = fast(Some("PING\n"), &["PO", "NG"]);
    check.event_logs = Box::new([log.to_str().unwrap().into()]);
    let (address, count, task) = server(b"+PONG\n").await;
    let cluster = apply(&clusters, settings(check), plain(vec![endpoint(&address)]));
    let host = Arc::clone(cluster.hosts().hosts().next().unwrap());
    assert!(host.has(Flag::FailedActiveHc), "until the first probe has passed");
    until(|| cluster.hosts().membership().healthy == 1).await;
    until(|| cluster.stats().get(ClusterStat::HealthCheckSuccess) >= 3).await;
    assert_eq!(count.load(Ordering::Relaxed), 1, "the connection is kept");
    assert_eq!(cluster.stats().gauge(ClusterStat::HealthCheckHealthy), 1);
    task.abort();
    until(|| cluster.hosts().membership().healthy == 0).await;
    assert!(cluster.stats().get(ClusterStat::HealthCheckNetworkFailure) >= 1);
    let text = || std::fs::read_to_string(&log).unwrap_or_default();
    until(|| text().contains("eject_unhealthy_event")).await;
    assert!(text().lines().next().unwrap().contains(r#""add_healthy_event":{"first_check":true}"#), "{}", text());
}

#[tokio::test]
async fn wrong_answers_and_silence_fail() {
    let clusters = clusters();
    let (address, _, _task) = server(b"-ERR\n").await;
    let cluster = apply(&clusters, settings(fast(Some("PING\n"), &["PONG"])), plain(vec![endpoint(&address)]));
    let host = Arc::clone(cluster.hosts().hosts().next().unwrap());
    until(|| host.has(Flag::ActiveHcTimeout)).await;
    assert!(host.has(Flag::FailedActiveHc));
}

#[tokio::test]
async fn connecting_is_enough_where_nothing_is_expected() {
    let clusters = clusters();
    let (address, count, _task) = server(b"").await;
    let mut other = endpoint("127.0.0.1:9");
    let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
    other.health_check = Some(Box::new(HealthCheckOverride { port: Some(port), ..HealthCheckOverride::default() }));
    let mut unprobed = endpoint("127.0.0.2:9");
    unprobed.health_check = Some(Box::new(HealthCheckOverride { disabled: true, ..HealthCheckOverride::default() }));
    let cluster = apply(&clusters, settings(fast(None, &[])), plain(vec![other, unprobed]));
    assert_eq!(cluster.hosts().membership().healthy, 1, "the one that is not probed");
    until(|| cluster.hosts().membership().healthy == 2).await;
    until(|| count.load(Ordering::Relaxed) >= 2).await;
}

#[tokio::test]
async fn new_hosts_wait_outside_where_asked() {
    let clusters = clusters();
    let mut settings = settings(fast(None, &[]));
    let common = LbCommon { ignore_new_hosts_until_first_hc: true, ..LbCommon::default() };
    settings.lb_common = Some(Box::new(common));
    let (address, _, _task) = server(b"").await;
    let cluster = apply(&clusters, settings, plain(vec![endpoint(&address), endpoint("127.0.0.1:9")]));
    assert_eq!(cluster.hosts().membership().excluded, 2);
    until(|| cluster.hosts().membership().excluded == 0).await;
    assert_eq!(cluster.hosts().membership().healthy, 1);
}

#[tokio::test]
async fn what_passes_outlives_its_configuration() {
    let clusters = clusters();
    let (address, _, task) = server(b"").await;
    let cluster = apply(&clusters, settings(fast(None, &[])), plain(vec![endpoint(&address)]));
    until(|| cluster.hosts().membership().healthy == 1).await;
    apply(&clusters, settings(fast(None, &[])), plain(Vec::new()));
    let host = Arc::clone(cluster.hosts().hosts().next().unwrap());
    assert!(host.has(Flag::PendingDynamicRemoval));
    // But not how it was spoken to.
    assert_eq!(host.detail().transport, crate::upstream::transport::Transport::Raw);
    let closed = Unsupported { what: "alts".into(), path: FieldPath::default() };
    let closed =
        Config { transport: config::model::cluster::Transport::Unsupported(closed), ..settings(fast(None, &[])) };
    apply(&clusters, closed, plain(Vec::new()));
    assert_eq!(host.detail().transport, crate::upstream::transport::Transport::Unsupported);
    task.abort();
    until(|| cluster.hosts().membership().total == 0).await;
}

#[tokio::test]
async fn checks_that_can_not_be_run_leave_hosts_healthy() {
    let clusters = clusters();
    let mut check = fast(None, &[]);
    check.probe = Probe::Unsupported(Unsupported { what: "http_health_check".into(), path: FieldPath::default() });
    let cluster = apply(&clusters, settings(check), plain(endpoints(2)));
    assert_eq!(cluster.hosts().membership().healthy, 2);
    // Nor does a check that was taken away leave its verdicts behind.
    let cluster = apply(&clusters, settings(fast(None, &[])), plain(vec![endpoint("127.0.0.1:9")]));
    assert_eq!(cluster.hosts().membership().healthy, 0);
    let cluster = apply(
        &clusters,
        Config { health_checks: Box::default(), ..testing::config("a") },
        plain(vec![endpoint("127.0.0.1:9")]),
    );
    assert_eq!(cluster.hosts().membership().healthy, 1);
}
