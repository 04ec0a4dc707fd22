//! Shares in tables, and choices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use config::model::cluster::LbCommon;
use config::model::endpoint::LocalityEndpoints;
use config::snapshot::{Changes, Snapshot};

use super::*;
use crate::upstream::cluster::{Cluster, Pick};
use crate::upstream::testing::*;

#[test]
fn ways() {
    assert_eq!(Way::new(&[(5000, 5000), (5000, 5000)], true), Way::Direct);
    // The example in Envoy's source.
    let example = Way::new(&[(4000, 2500), (4000, 5000), (2000, 2500)], true);
    assert_eq!(example, Way::Residual(6250, Box::new([0, 1000, 1500])));
    // Nobody near: nothing goes there.
    assert_eq!(Way::new(&[(0, 5000), (0, 5000)], false), Way::Residual(0, Box::new([5000, 10_000])));
    assert_eq!(Way::new(&[(5000, 0), (5000, 10_000)], true), Way::Residual(0, Box::new([0, 5000])));
}

/// So many endpoints in each of the localities a, b, ….
fn spread(network: u8, counts: &[u32]) -> Vec<LocalityEndpoints> {
    let endpoints = |zone: usize, n: u32| (0..n).map(|i| endpoint(&format!("10.{network}.{zone}.{i}:1"))).collect();
    let names = ["a", "b", "c"];
    counts.iter().enumerate().map(|(at, n)| locality(names[at], 0, None, endpoints(at, *n))).collect()
}

/// The cluster `a` beside the local one, seen from locality a.
fn seen(peers: &[u32], endpoints: &[u32], common: LbCommon) -> (Arc<crate::upstream::Clusters>, Arc<Cluster>) {
    let clusters = clusters();
    let own = Locality { region: "a".into(), ..Locality::default() };
    clusters.set_local("local".into(), own);
    let settings = config::model::cluster::Cluster { lb_common: Some(Box::new(common)), ..config("a") };
    let mut snapshot = Snapshot::default();
    snapshot.clusters.insert_mut("a".into(), entry(settings, assignment(spread(1, endpoints))));
    snapshot.clusters.insert_mut("local".into(), entry(config("local"), assignment(spread(2, peers))));
    let names = vec!["a".into(), "local".into()];
    clusters.apply(&snapshot, &Changes { clusters: names, ..Changes::default() });
    let cluster = clusters.get("a").unwrap();
    (clusters, cluster)
}

/// Choices by locality.
fn by_zone(cluster: &Cluster, zones: usize) -> Vec<usize> {
    let mut counts = vec![0; zones];
    for _ in 0..10_000 {
        let host = cluster.pick(&Pick::default()).unwrap();
        counts[["a", "b", "c"].iter().position(|z| **z == *host.detail().locality.region).unwrap()] += 1;
    }
    counts
}

#[tokio::test]
async fn near_where_capacity_is() {
    let (_clusters, cluster) = seen(&[1, 1], &[3, 3], LbCommon::default());
    assert_eq!(by_zone(&cluster, 2), [10_000, 0]);
    assert_eq!(cluster.stats().get(ClusterStat::LbZoneRoutingAllDirectly), 10_000);
}

#[tokio::test]
async fn as_much_as_it_can_take() {
    fastrand::seed(9);
    // 40 % of the proxies, 25 % of the endpoints: 62.5 % stay; the rest by what is left, 2 to 1.
    let (_clusters, cluster) = seen(&[2, 2, 1], &[2, 4, 2], LbCommon::default());
    let counts = by_zone(&cluster, 3);
    assert!(counts[0].abs_diff(6250) < 200 && counts[1].abs_diff(2500) < 200, "{counts:?}");
    let stats = cluster.stats();
    assert_eq!(stats.get(ClusterStat::LbZoneRoutingSampled), counts[0] as u64);
    assert_eq!(stats.get(ClusterStat::LbZoneRoutingCrossZone), (counts[1] + counts[2]) as u64);
}

#[tokio::test]
async fn not_where_it_would_mislead() {
    let (_clusters, small) = seen(&[1, 1], &[2, 2], LbCommon::default());
    assert!(by_zone(&small, 2)[0].abs_diff(5000) < 2, "fewer than six endpoints");
    assert!(small.stats().get(ClusterStat::LbZoneClusterTooSmall) > 0);
    let (_clusters, alone) = seen(&[0, 2], &[3, 3], LbCommon::default());
    assert!(by_zone(&alone, 2)[0].abs_diff(5000) < 2, "the proxies do not know this one");
    let off = LbCommon { zone_aware: Some((0.0, 6)), ..LbCommon::default() };
    let (_clusters, off) = seen(&[1, 1], &[3, 3], off);
    assert!(by_zone(&off, 2)[0].abs_diff(5000) < 2);
}

#[tokio::test]
async fn proxies_come_and_go() {
    let (clusters, cluster) = seen(&[1, 1], &[3, 3], LbCommon::default());
    assert_eq!(by_zone(&cluster, 2)[1], 0);
    // All proxies are here now: as many requests must leave as endpoints are elsewhere.
    apply(&clusters, config("local"), assignment(spread(2, &[3, 1])));
    let counts = by_zone(&cluster, 2);
    assert!(counts[1].abs_diff(3334) < 200, "{counts:?}");
}
