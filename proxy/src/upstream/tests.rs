//! Clusters as a whole: updates, health, priorities, localities, permits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use config::model::cluster::{CircuitBreakers, Discovery, LbCommon, LbPolicy, Priority, RetryBudget, Thresholds};
use config::model::endpoint::{Assignment, Health};
use config::model::metadata::{Fields, Metadata, Value};
use config::snapshot::{Changes, Snapshot};

use super::cluster::{Pick, PickError, Predicates};
use super::host::{Flag, Host};
use super::testing::*;
use crate::metrics::ClusterStat;

fn common(change: impl FnOnce(&mut LbCommon)) -> Option<Box<LbCommon>> {
    let mut common = LbCommon::default();
    change(&mut common);
    Some(Box::new(common))
}

#[tokio::test]
async fn hosts_keep_their_state_by_address() {
    let clusters = clusters();
    let cluster = apply(&clusters, config("a"), plain(endpoints(3)));
    let before: Vec<Arc<Host>> = cluster.hosts().hosts().cloned().collect();
    let mut changed = endpoints(4);
    changed.remove(0);
    changed[0].weight = 7;
    changed[0].metadata = labels(&[("version", "2")]);
    let same = apply(&clusters, config("a"), plain(changed));
    assert!(Arc::ptr_eq(&cluster, &same), "a cluster outlives its configuration");
    let after: Vec<Arc<Host>> = cluster.hosts().hosts().cloned().collect();
    assert!(Arc::ptr_eq(&before[1], &after[0]) && Arc::ptr_eq(&before[2], &after[1]));
    assert_eq!(after[0].weight(), 7);
    assert_eq!(after[0].detail().metadata, labels(&[("version", "2")]));
    assert!(Arc::ptr_eq(&after[1].detail(), &after[2].detail()), "equal details are shared");
    let stats = cluster.stats();
    assert_eq!((stats.gauge(ClusterStat::MembershipTotal), stats.get(ClusterStat::MembershipChange)), (3, 2));
    assert_eq!(stats.gauge(ClusterStat::MaxHostWeight), 7);
}

#[tokio::test]
async fn removed_clusters_are_gone_and_others_untouched() {
    let clusters = clusters();
    let other = apply(&clusters, config("other"), plain(endpoints(1)));
    let set = other.hosts();
    apply(&clusters, config("a"), plain(endpoints(1)));
    let changes = Changes { clusters: vec!["a".into(), "never there".into()], ..Changes::default() };
    clusters.apply(&Snapshot::default(), &changes);
    assert!(clusters.get("a").is_none());
    assert!(Arc::ptr_eq(&set, &clusters.get("other").unwrap().hosts()));
    assert_eq!(clusters.all().size(), 1);
}

#[tokio::test]
async fn removed_hosts_close_connections_only_where_asked() {
    let clusters = clusters();
    for (closes, name) in [(true, "closing"), (false, "keeping")] {
        let mut config = config(name);
        config.lb_common = common(|c| c.close_connections_on_host_set_change = closes);
        let cluster = apply(&clusters, config.clone(), plain(endpoints(2)));
        let hosts: Vec<Arc<Host>> = cluster.hosts().hosts().cloned().collect();
        apply(&clusters, config, plain(endpoints(1)));
        assert_eq!(hosts[1].removed().is_cancelled(), closes);
        assert!(!hosts[0].removed().is_cancelled());
    }
}

#[tokio::test]
async fn duplicate_addresses_count_in_static_clusters_only() {
    let clusters = clusters();
    let mut twice = endpoints(1);
    twice.extend(endpoints(2));
    let eds = apply(&clusters, config("eds"), plain(twice.clone()));
    assert_eq!(eds.hosts().hosts().count(), 2);
    let mut config = config("static");
    config.discovery = Discovery::Static(Arc::new(Assignment::default()));
    let fixed = apply(&clusters, config, plain(twice));
    assert_eq!(fixed.hosts().hosts().count(), 3);
}

#[tokio::test]
async fn health_of_the_control_plane() {
    let clusters = clusters();
    let mut list = endpoints(6);
    for (endpoint, health) in list.iter_mut().zip([
        Health::Healthy,
        Health::Unknown,
        Health::Unhealthy,
        Health::Timeout,
        Health::Draining,
        Health::Degraded,
    ]) {
        endpoint.health = health;
    }
    let mut settings = config("a");
    settings.lb_common = common(|c| c.healthy_panic_threshold = 0.0);
    let cluster = apply(&clusters, settings, plain(list));
    let membership = cluster.hosts().membership();
    assert_eq!((membership.total, membership.healthy, membership.degraded), (6, 2, 1));
    // 2 of 6 healthy take 140 % of a third, the degraded one the rest.
    let counts = distribution(&cluster, 6000, &Pick::default());
    assert_eq!(counts[2..5], [0, 0, 0]);
    assert!(counts[0].abs_diff(counts[1]) <= 1 && counts[5] > 1500 && counts[5] < 2500, "{counts:?}");
    let flags: Vec<&str> = cluster.hosts().hosts().flat_map(|h| h.flags()).map(super::host::Flag::as_str).collect();
    assert_eq!(flags, ["failed_eds_health", "failed_eds_health", "eds_status_draining", "degraded_eds_health"]);
}

#[tokio::test]
async fn panic_uses_everybody_unless_told_to_fail() {
    let clusters = clusters();
    let mut list = endpoints(3);
    list[0].health = Health::Unhealthy;
    list[1].health = Health::Unhealthy;
    let cluster = apply(&clusters, config("a"), plain(list.clone()));
    assert!(distribution(&cluster, 30, &Pick::default()).iter().all(|n| *n == 10));
    assert_eq!(cluster.stats().get(ClusterStat::LbHealthyPanic), 30);
    let mut settings = config("a");
    settings.lb_common = common(|c| c.fail_traffic_on_panic = true);
    let cluster = apply(&clusters, settings, plain(list));
    assert_eq!(cluster.pick(&Pick::default()).unwrap_err(), PickError::NoHealthyUpstream);
    assert_eq!(cluster.stats().get(ClusterStat::UpstreamCxNoneHealthy), 1);
    let empty = apply(&clusters, config("empty"), plain(Vec::new()));
    assert_eq!(empty.pick(&Pick::default()).unwrap_err(), PickError::NoHealthyUpstream);
}

#[tokio::test]
async fn priorities_fail_over() {
    let clusters = clusters();
    let mut list = endpoints(4);
    let second = list.split_off(2);
    list[0].health = Health::Unhealthy;
    let two = |first| assignment(vec![locality("r", 0, None, first), locality("r", 1, None, second.clone())]);
    let cluster = apply(&clusters, config("a"), two(list.clone()));
    fastrand::seed(7);
    let counts = distribution(&cluster, 10_000, &Pick::default());
    assert!(counts[0] == 0 && counts[1].abs_diff(7000) < 300, "half of P0 takes 70 %: {counts:?}");
    list[1].health = Health::Unhealthy;
    let cluster = apply(&clusters, config("a"), two(list));
    assert_eq!(distribution(&cluster, 10, &Pick::default()), [0, 0, 5, 5]);
}

#[tokio::test]
async fn localities_by_weight() {
    let clusters = clusters();
    let mut settings = config("a");
    settings.lb_common = common(|c| c.locality_weighted = true);
    let mut list = endpoints(6);
    let (c, b) = (list.split_off(5), list.split_off(2));
    let build = |b| {
        assignment(vec![
            locality("a", 0, Some(1), list.clone()),
            locality("b", 0, Some(3), b),
            locality("c", 0, None, c.clone()),
        ])
    };
    let cluster = apply(&clusters, settings.clone(), build(b.clone()));
    assert_eq!(distribution(&cluster, 2400, &Pick::default()), [300, 300, 600, 600, 600, 0]);
    // A third of b is fit: 140 % of a third of its weight are left.
    let mut weak = b;
    weak[0].health = Health::Unhealthy;
    weak[1].health = Health::Unhealthy;
    let cluster = apply(&clusters, settings, build(weak));
    let counts = distribution(&cluster, 24_000, &Pick::default());
    assert!(counts[4].abs_diff(14_000) < 20 && counts[0].abs_diff(5000) < 20, "{counts:?}");
}

#[tokio::test]
async fn circuit_breakers() {
    let clusters = clusters();
    let mut settings = config("a");
    let default = Thresholds { max_connections: 2, max_pending: 1, track_remaining: true, ..Thresholds::default() };
    settings.circuit_breakers = Some(Box::new(CircuitBreakers { default, ..CircuitBreakers::default() }));
    let cluster = apply(&clusters, settings, plain(endpoints(1)));
    let stats = Arc::clone(cluster.stats());
    let first = cluster.admit().unwrap();
    assert_eq!(stats.gauge(ClusterStat::CircuitBreakersDefaultRqPendingOpen), 1);
    assert_eq!(cluster.admit().unwrap_err(), PickError::Overflow);
    assert_eq!(stats.get(ClusterStat::UpstreamRqPendingOverflow), 1);
    assert_eq!((cluster.circuit().connections(), cluster.circuit().pending()), (1, 1));
    assert_eq!(stats.gauge(ClusterStat::CircuitBreakersDefaultRemainingCx), 1);
    drop(first);
    assert_eq!((cluster.circuit().connections(), cluster.circuit().pending()), (0, 0));
    assert_eq!(stats.gauge(ClusterStat::CircuitBreakersDefaultRqPendingOpen), 0);
    assert_eq!(stats.gauge(ClusterStat::CircuitBreakersDefaultRemainingCx), 2);
}

#[tokio::test]
async fn per_host_limit() {
    let clusters = clusters();
    let mut settings = config("a");
    let default = Thresholds { per_host_max_connections: Some(1), ..Thresholds::default() };
    settings.circuit_breakers = Some(Box::new(CircuitBreakers { default, ..CircuitBreakers::default() }));
    let cluster = apply(&clusters, settings, plain(endpoints(1)));
    cluster.pick(&Pick::default()).unwrap().connecting();
    assert_eq!(cluster.pick(&Pick::default()).unwrap_err(), PickError::Overflow);
    assert_eq!(cluster.stats().get(ClusterStat::UpstreamCxOverflow), 1);
}

#[tokio::test]
async fn retries_prefer_others() {
    let clusters = clusters();
    let cluster = apply(&clusters, config("a"), plain(endpoints(3)));
    let hosts: Vec<Arc<Host>> = cluster.hosts().hosts().cloned().collect();
    for _ in 0..20 {
        let host = cluster.pick(&Pick { tried: &hosts[..2], ..Pick::default() }).unwrap();
        assert!(Arc::ptr_eq(&host, &hosts[2]));
    }
    assert!(cluster.pick(&Pick { tried: &hosts, ..Pick::default() }).is_ok(), "tried ones are better than none");
}

#[tokio::test(start_paused = true)]
async fn slow_start_ramps_up() {
    let clusters = clusters();
    let mut settings = config("a");
    let window = std::time::Duration::from_secs(60);
    settings.lb_common = common(|c| c.slow_start = Some((window, 1.0, 10.0)));
    apply(&clusters, settings.clone(), plain(endpoints(1)));
    tokio::time::sleep(window * 2).await;
    let cluster = apply(&clusters, settings, plain(endpoints(2)));
    let counts = distribution(&cluster, 1100, &Pick::default());
    assert!(counts[1].abs_diff(100) <= 2, "a tenth of the weight at first: {counts:?}");
    tokio::time::sleep(window / 2).await;
    let counts = distribution(&cluster, 1500, &Pick::default());
    assert!(counts[1].abs_diff(500) < 60, "half way: {counts:?}");
    tokio::time::sleep(window).await;
    assert_eq!(distribution(&cluster, 1000, &Pick::default()), [500, 500]);
}

#[tokio::test(start_paused = true)]
async fn slow_start_of_least_request() {
    fastrand::seed(7);
    let clusters = clusters();
    let mut settings = config("a");
    let window = std::time::Duration::from_secs(60);
    settings.lb = LbPolicy::LeastRequest { choices: 2, bias: 1.0 };
    settings.lb_common = common(|c| c.slow_start = Some((window, 1.0, 10.0)));
    apply(&clusters, settings.clone(), plain(endpoints(1)));
    tokio::time::sleep(window * 2).await;
    let cluster = apply(&clusters, settings, plain(endpoints(2)));
    let counts = distribution(&cluster, 11_000, &Pick::default());
    assert!(counts[1].abs_diff(1000) < 150, "a tenth of the weight at first: {counts:?}");
}

#[tokio::test]
async fn retries_by_predicates_and_priorities() {
    let clusters = clusters();
    let mut list = endpoints(2);
    list[0].metadata = labels(&[("zone", "a")]);
    let canary = Value::Bool(true);
    let marked: Fields = Box::new([("canary".into(), canary)]);
    list[1].metadata = Some(Arc::new(Metadata(Box::new([(Metadata::LB.into(), marked)]))));
    let localities = vec![locality("x", 0, None, list), locality("y", 1, None, vec![endpoint("10.9.0.1:1")])];
    let cluster = apply(&clusters, config("a"), assignment(localities));
    let hosts: Vec<Arc<Host>> = cluster.hosts().hosts().cloned().collect();
    assert!(hosts[1].is_canary() && !hosts[0].is_canary());
    let avoiding = |predicates| distribution(&cluster, 100, &Pick { predicates, ..Pick::default() });
    let attempts = Some(5);
    assert_eq!(avoiding(Predicates { canary: true, attempts, ..Predicates::default() }), [100, 0, 0]);
    let metadata = [fields(&[("zone", "a")])];
    assert_eq!(avoiding(Predicates { metadata: &metadata, attempts, ..Predicates::default() }), [0, 100, 0]);
    let retry = Pick { retry_priority: Some((1, &hosts[..1])), ..Pick::default() };
    assert_eq!(distribution(&cluster, 100, &retry), [0, 0, 100]);
}

#[tokio::test]
async fn requests_retries_and_high_priority() {
    let clusters = clusters();
    let mut settings = config("a");
    let default =
        Thresholds { max_requests: 1, max_retries: 1, max_connection_pools: Some(1), ..Thresholds::default() };
    let budget = RetryBudget { percent: 50.0, min_concurrency: 1 };
    let high = Thresholds { retry_budget: Some(budget), track_remaining: true, ..Thresholds::default() };
    settings.circuit_breakers = Some(Box::new(CircuitBreakers { default, high }));
    let cluster = apply(&clusters, settings, plain(endpoints(1)));
    let (stats, host) = (Arc::clone(cluster.stats()), cluster.pick(&Pick::default()).unwrap());
    let request = cluster.start_request(&host, Priority::Default).unwrap();
    assert_eq!(stats.gauge(ClusterStat::CircuitBreakersDefaultRqOpen), 1);
    assert_eq!(cluster.start_request(&host, Priority::Default).unwrap_err(), PickError::Overflow);
    assert_eq!(stats.get(ClusterStat::UpstreamRqPendingOverflow), 1);
    assert_eq!((host.requests(), host.requests_total(), stats.gauge(ClusterStat::UpstreamRqActive)), (1, 1, 1));
    let retry = cluster.admit_retry(Priority::Default).unwrap();
    assert!(cluster.admit_retry(Priority::Default).is_err());
    assert_eq!(stats.get(ClusterStat::UpstreamRqRetryOverflow), 1);
    let pool = cluster.admit_pool(Priority::Default).unwrap();
    assert!(cluster.admit_pool(Priority::Default).is_err());
    assert_eq!(stats.get(ClusterStat::UpstreamCxPoolOverflow), 1);
    drop((request, retry, pool));
    assert_eq!((host.requests(), stats.gauge(ClusterStat::CircuitBreakersDefaultRqOpen)), (0, 0));
    // The other priority has its own counts, and a budget that grows with the requests.
    let many: Vec<_> = (0..4).map(|_| cluster.start_request(&host, Priority::High).unwrap()).collect();
    let retries: Vec<_> = (0..2).map(|_| cluster.admit_retry(Priority::High).unwrap()).collect();
    assert!(cluster.admit_retry(Priority::High).is_err());
    assert_eq!(stats.gauge(ClusterStat::CircuitBreakersHighRemainingRq), 1020);
    assert_eq!(stats.gauge(ClusterStat::CircuitBreakersHighRemainingRetries), 0);
    drop((many, retries));
    assert_eq!(cluster.circuit().requests(), 0);
}

#[test]
fn flags_are_independent() {
    let detail = Arc::default();
    let host = Host::new(config::model::address::Address::Socket("10.0.0.1:1".parse().unwrap()), 0, detail);
    assert_eq!(host.weight(), 1);
    assert!(host.mark(Flag::FailedOutlierCheck, true) && !host.mark(Flag::FailedOutlierCheck, true));
    host.mark_eds(Health::Draining);
    host.mark_eds(Health::Degraded);
    assert_eq!(host.flags().collect::<Vec<_>>(), [Flag::FailedOutlierCheck, Flag::DegradedEdsHealth]);
    host.mark_eds(Health::Healthy);
    assert!(host.mark(Flag::FailedOutlierCheck, false));
    assert_eq!(host.flags().count(), 0);
}

/// Run-time state must stay small: ten thousand clusters are normal.
#[test]
fn sizes() {
    assert!(size_of::<Host>() <= 144, "{}", size_of::<Host>());
    assert!(size_of::<super::cluster::Cluster>() <= 80, "{}", size_of::<super::cluster::Cluster>());
    assert!(size_of::<super::host_set::HostSet>() <= 48, "{}", size_of::<super::host_set::HostSet>());
}
