#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::sni::{OTHER, SniSeries, Totals};
use super::*;

#[test]
fn every_worker_counts_and_none_is_lost() {
    let registry = Registry::new(3);
    let cluster = registry.cluster("c");
    thread::scope(|scope| {
        for worker in 0..5 {
            let cluster = &cluster;
            scope.spawn(move || {
                // Two threads never enter: they share the last slot.
                if worker < 3 {
                    enter_worker(worker);
                }
                for _ in 0..10_000 {
                    cluster.inc(ClusterStat::UpstreamCxTotal);
                    cluster.inc(ClusterStat::UpstreamCxActive);
                    cluster.record(ClusterStat::UpstreamCxLengthMs, 3);
                }
            });
        }
        // Reading and resetting meanwhile must not lose an add that comes later.
        assert!(cluster.get(ClusterStat::UpstreamCxTotal) <= 50_000);
    });
    assert_eq!(cluster.get(ClusterStat::UpstreamCxTotal), 50_000);
    assert_eq!(cluster.gauge(ClusterStat::UpstreamCxActive), 50_000);
    let index = ClusterStat::UpstreamCxLengthMs.index();
    assert_eq!((cluster.histogram(index).count(), cluster.histogram(index).sum), (50_000, 150_000));
    cluster.reset_counters();
    assert_eq!(cluster.get(ClusterStat::UpstreamCxTotal), 0);
    assert_eq!(cluster.gauge(ClusterStat::UpstreamCxActive), 50_000, "a gauge is not reset");
    cluster.inc(ClusterStat::UpstreamCxTotal);
    assert_eq!(cluster.get(ClusterStat::UpstreamCxTotal), 1);
}

#[test]
fn a_gauge_may_fall_on_another_worker() {
    let listener: Scope<ListenerStat> = Scope::new("l", 2);
    thread::scope(|scope| {
        scope.spawn(|| {
            enter_worker(0);
            listener.inc(ListenerStat::DownstreamCxActive);
        });
    });
    thread::scope(|scope| {
        scope.spawn(|| {
            enter_worker(1);
            listener.dec(ListenerStat::DownstreamCxActive);
        });
    });
    assert_eq!(listener.gauge(ListenerStat::DownstreamCxActive), 0);
    assert!(listener.stat_used(ListenerStat::DownstreamCxActive.index()));
    assert!(!listener.stat_used(ListenerStat::DownstreamCxTotal.index()));
    assert_eq!(listener.worker_value(0, ListenerStat::DownstreamCxActive.index()), 1);
}

#[test]
fn a_worker_beyond_the_registrys_uses_the_shared_slot() {
    let listener: Scope<ListenerStat> = Scope::new("l", 1);
    thread::scope(|scope| {
        scope.spawn(|| {
            enter_worker(7);
            listener.inc(ListenerStat::DownstreamCxTotal);
        });
    });
    assert_eq!(listener.get(ListenerStat::DownstreamCxTotal), 1);
}

#[test]
fn same_name_same_scope_until_nobody_holds_it() {
    let registry = Registry::new(1);
    let names = || {
        let mut names = Vec::new();
        registry.families(|family| {
            if family.prefix == "cluster." {
                names.extend(family.scopes.iter().map(|scope| scope.name().to_owned()));
            }
        });
        names
    };
    let first = registry.cluster("a:b");
    first.inc(ClusterStat::UpstreamCxTotal);
    assert_eq!(registry.cluster("a:b").get(ClusterStat::UpstreamCxTotal), 1);
    assert_eq!(names(), ["a_b"]);
    drop(first);
    assert_eq!(registry.cluster("a:b").get(ClusterStat::UpstreamCxTotal), 0, "begins anew");
    assert!(names().is_empty());
}

#[test]
fn a_family_that_churns_does_not_grow() {
    let registry = Registry::new(1);
    let kept = registry.cluster("kept");
    for n in 0..10_000 {
        registry.cluster(&format!("c{n}"));
    }
    let mut count = 0;
    registry.families(|family| count += if family.prefix == "cluster." { family.scopes.len() } else { 0 });
    assert_eq!((count, kept.name()), (1, "kept"));
}

#[test]
fn an_idle_scope_is_small() {
    assert!(size_of::<Scope<ClusterStat>>() <= 64, "{}", size_of::<Scope<ClusterStat>>());
    let scope: Scope<ClusterStat> = Scope::new("c", 4);
    assert!(!scope.used());
    assert_eq!(scope.get(ClusterStat::UpstreamCxTotal), 0);
    assert!(!scope.used(), "reading makes no memory");
    scope.set(ClusterStat::MembershipTotal, 3);
    assert!(scope.used());
    assert_eq!(scope.gauge(ClusterStat::MembershipTotal), 3);
}

#[test]
fn what_is_written_together_stands_together() {
    let page = |stat: ClusterStat| stat.index() / 8;
    let one = page(ClusterStat::UpstreamCxTotal);
    for stat in [ClusterStat::UpstreamCxActive, ClusterStat::UpstreamCxRxBytesTotal, ClusterStat::UpstreamCxDestroy] {
        assert_eq!(page(stat), one, "{stat:?}");
    }
    let update = page(ClusterStat::MembershipTotal);
    for stat in [ClusterStat::MembershipHealthy, ClusterStat::UpdateSuccess, ClusterStat::Version] {
        assert_eq!(page(stat), update, "{stat:?}");
    }
}

#[test]
fn names_beyond_the_cap_are_one() {
    let series = SniSeries::default();
    series.set_cap(32);
    let one = Totals { connections: 1, received: 10, sent: 20 };
    for n in 0..1000 {
        series.add(format!("n{n}.example").as_bytes(), one);
    }
    assert!(series.len() <= 32, "{}", series.len());
    let kept = series.len() as u64;
    assert_eq!(
        series.get(OTHER),
        Totals { connections: 1000 - kept, received: 10 * (1000 - kept), sent: 20 * (1000 - kept) }
    );
    let series = SniSeries::default();
    series.add(b"A.example", one);
    series.add(b"a.EXAMPLE", one);
    series.add(b"\xff\n", one);
    series.add(&[b'x'; 4000], one);
    assert_eq!(series.get("a.example").connections, 2);
    assert_eq!(series.get("__").connections, 1);
    assert_eq!(series.get(&"x".repeat(255)).connections, 1);
    assert_eq!(series.get(OTHER), Totals::default());
}

#[test]
fn a_name_long_unused_gives_way() {
    let series = SniSeries::default();
    series.set_cap(0);
    let now = Instant::now();
    let one = Totals { connections: 1, received: 0, sent: 0 };
    series.add_at(b"no-room", one, now);
    assert_eq!((series.len(), series.get(OTHER).connections), (0, 1));
    series.set_cap(16);
    // One place per shard: fill all, then come again an hour later.
    (0..500).for_each(|n| series.add_at(format!("old{n}").as_bytes(), one, now));
    assert_eq!(series.len(), 16);
    (0..500).for_each(|n| series.add_at(format!("new{n}").as_bytes(), one, now + Duration::from_secs(3600)));
    assert_eq!(series.len(), 16);
    let mut names = Vec::new();
    let _ = series.each::<()>(|name, _| {
        names.push(name.to_owned());
        Ok(())
    });
    assert_eq!(names.iter().filter(|name| name.starts_with("new")).count(), 16, "{names:?}");
    assert_eq!(series.get(OTHER).connections, 1001 - 16, "what was evicted is counted there");
}

#[test]
fn two_registries_share_nothing() {
    let (one, two) = (Registry::new(1), Registry::new(1));
    let (a, b) = (one.cluster("c"), two.cluster("c"));
    a.inc(ClusterStat::UpstreamCxTotal);
    assert_eq!((a.get(ClusterStat::UpstreamCxTotal), b.get(ClusterStat::UpstreamCxTotal)), (1, 0));
    assert!(!Arc::ptr_eq(&a, &b));
}
