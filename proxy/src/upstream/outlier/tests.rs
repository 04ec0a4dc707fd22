//! Tables of ejections and their end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use super::statistics::{failing, low};
use super::*;
use crate::metrics::ClusterStat as S;
use crate::upstream::testing::{self, *};

fn started(config: OutlierDetection, hosts: u32) -> Arc<Cluster> {
    let mut settings = testing::config("a");
    settings.outlier_detection = Some(Box::new(config));
    let clusters = clusters();
    let cluster = apply(&clusters, settings, plain(endpoints(hosts)));
    // Only dropping it would end the tasks.
    std::mem::forget(clusters);
    cluster
}

fn host(cluster: &Cluster, n: usize) -> Arc<Host> {
    Arc::clone(cluster.hosts().hosts().nth(n).unwrap())
}

async fn tell(cluster: &Arc<Cluster>, host: &Arc<Host>, outcomes: &[Outcome]) {
    outcomes.iter().for_each(|o| report(cluster, host, *o));
    // Lets control work run; one host fewer is a matter of microseconds.
    tokio::time::sleep(Duration::from_millis(1)).await;
}

const FAIL: Outcome = Outcome::Failed;
const GOOD: Outcome = Outcome::Connected;

#[tokio::test(start_paused = true)]
async fn runs_of_failures() {
    let cluster = started(outlier_detection(), 3);
    let first = host(&cluster, 0);
    tell(&cluster, &first, &[FAIL, FAIL, FAIL, FAIL, GOOD, FAIL, FAIL, FAIL, FAIL]).await;
    assert!(!first.has(Flag::FailedOutlierCheck), "a success begins the run anew");
    tell(&cluster, &first, &[Outcome::TimedOut]).await;
    assert!(first.has(Flag::FailedOutlierCheck));
    assert_eq!(cluster.hosts().membership().healthy, 2);
    let stats = cluster.stats();
    assert_eq!(stats.gauge(S::OutlierDetectionEjectionsActive), 1);
    // A failed connect is a 503: a gateway failure too, which is detected but not enforced by default.
    assert_eq!(stats.get(S::OutlierDetectionEjectionsDetectedConsecutiveGatewayFailure), 1);
    assert_eq!(stats.get(S::OutlierDetectionEjectionsEnforcedConsecutiveGatewayFailure), 0);
    assert_eq!(stats.get(S::OutlierDetectionEjectionsEnforcedConsecutive5xx), 1);
    assert_eq!(stats.get(S::OutlierDetectionEjectionsEnforcedTotal), 1);
}

#[tokio::test(start_paused = true)]
async fn origins_apart() {
    let cluster = started(OutlierDetection { split_external_local_origin_errors: true, ..outlier_detection() }, 3);
    let first = host(&cluster, 0);
    tell(&cluster, &first, &[FAIL; 5]).await;
    assert!(first.has(Flag::FailedOutlierCheck));
    assert_eq!(cluster.stats().get(S::OutlierDetectionEjectionsEnforcedConsecutiveLocalOriginFailure), 1);
    assert_eq!(cluster.stats().get(S::OutlierDetectionEjectionsDetectedConsecutive5xx), 0);
}

#[tokio::test(start_paused = true)]
async fn never_too_many() {
    let half = OutlierDetection { max_ejection_percent: 50, ..outlier_detection() };
    let cluster = started(half, 4);
    for n in 0..3 {
        tell(&cluster, &host(&cluster, n), &[FAIL; 5]).await;
    }
    assert_eq!(cluster.hosts().membership().healthy, 2);
    assert_eq!(cluster.stats().get(S::OutlierDetectionEjectionsOverflow), 2, "of 5xx and of gateway failures");
    for (always, healthy) in [(false, 4), (true, 3)] {
        let tenth = OutlierDetection { max_ejection_percent: 10, always_eject_one_host: always, ..outlier_detection() };
        let cluster = started(tenth, 4);
        tell(&cluster, &host(&cluster, 0), &[FAIL; 5]).await;
        tell(&cluster, &host(&cluster, 1), &[FAIL; 5]).await;
        assert_eq!(cluster.hosts().membership().healthy, healthy);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_enforced_nothing_ejected() {
    let lenient = OutlierDetection { enforcing_consecutive_5xx: 0, ..outlier_detection() };
    let cluster = started(lenient, 3);
    tell(&cluster, &host(&cluster, 0), &[FAIL; 11]).await;
    assert_eq!(cluster.hosts().membership().healthy, 3);
    assert_eq!(cluster.stats().get(S::OutlierDetectionEjectionsDetectedConsecutive5xx), 1);
}

#[tokio::test(start_paused = true)]
async fn longer_each_time_and_forgiven_later() {
    let config = outlier_detection();
    let cluster = started(config.clone(), 3);
    let first = host(&cluster, 0);
    let mut times = Vec::new();
    for _ in 0..3 {
        tell(&cluster, &first, &[FAIL; 5]).await;
        assert!(first.has(Flag::FailedOutlierCheck));
        let start = Instant::now();
        while first.has(Flag::FailedOutlierCheck) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        times.push(start.elapsed().as_secs());
    }
    // Base time, twice, three times; each up to the next sweep.
    assert!(times.iter().zip([30, 60, 90]).all(|(time, least)| (least..=least + 11).contains(time)), "{times:?}");
    assert_eq!(first.ejections(), 3);
    // Three intervals of good behaviour take the factor down again.
    tokio::time::sleep(Duration::from_secs(45)).await;
    tell(&cluster, &first, &[FAIL; 5]).await;
    let start = Instant::now();
    while first.has(Flag::FailedOutlierCheck) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(start.elapsed() <= Duration::from_secs(41), "{:?}", start.elapsed());
    assert_eq!(cluster.stats().gauge(S::OutlierDetectionEjectionsActive), 0);
}

#[tokio::test(start_paused = true)]
async fn success_rates() {
    let mut config = outlier_detection();
    config.consecutive_5xx = u32::MAX;
    config.consecutive_gateway_failure = u32::MAX;
    let cluster = started(config, 6);
    for n in 0..6 {
        let host = host(&cluster, n);
        for i in 0..100 {
            report(&cluster, &host, if n == 2 && i % 2 == 0 { FAIL } else { GOOD });
        }
    }
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(host(&cluster, 2).has(Flag::FailedOutlierCheck));
    assert_eq!(cluster.hosts().membership().healthy, 5);
    assert_eq!(host(&cluster, 0).success_rates(), [Some(100.0), None]);
    assert_eq!(cluster.stats().get(S::OutlierDetectionEjectionsEnforcedSuccessRate), 1);
}

/// Envoy's own example: {50, 100, 100, 100, 100} has mean 90 and deviation 20; with 1.9 the threshold is 52.
#[test]
fn deviation() {
    let config = outlier_detection();
    let samples = |rates: &[f64]| rates.iter().enumerate().map(|(i, r)| (i, *r, 100)).collect::<Vec<_>>();
    assert_eq!(low(&samples(&[50.0, 100.0, 100.0, 100.0, 100.0]), &config), [0]);
    assert!(low(&samples(&[100.0; 5]), &config).is_empty());
    assert!(low(&samples(&[50.0, 100.0, 100.0, 100.0]), &config).is_empty(), "too few hosts");
    let mut quiet = samples(&[50.0, 100.0, 100.0, 100.0, 100.0]);
    quiet[1].2 = 99;
    assert!(low(&quiet, &config).is_empty(), "too few requests on one");
}

#[test]
fn failure_percentage() {
    let config = outlier_detection();
    let samples: Vec<_> = [14.0, 15.0, 16.0, 100.0, 100.0].into_iter().enumerate().map(|(i, r)| (i, r, 50)).collect();
    assert_eq!(failing(&samples, &config), [0, 1]);
    assert!(failing(&samples[..4], &config).is_empty());
}

#[tokio::test(start_paused = true)]
async fn switched_off() {
    let clusters = clusters();
    let mut settings = testing::config("a");
    settings.outlier_detection = Some(Box::new(outlier_detection()));
    let cluster = apply(&clusters, settings, plain(endpoints(2)));
    tell(&cluster, &host(&cluster, 0), &[FAIL; 5]).await;
    assert_eq!(cluster.hosts().membership().healthy, 1);
    apply(&clusters, testing::config("a"), plain(endpoints(2)));
    assert_eq!(cluster.hosts().membership().healthy, 2, "nobody else would take it back");
}
