//! Distributions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::sync::Arc;

use config::model::cluster::{HashFunction, LbPolicy, RingHash};
use config::model::endpoint::Health;

use crate::upstream::cluster::{Cluster, Pick};
use crate::upstream::host::Host;
use crate::upstream::testing::*;

fn cluster(lb: LbPolicy, weights: &[u32]) -> Arc<Cluster> {
    let mut list = endpoints(weights.len() as u32);
    for (endpoint, weight) in list.iter_mut().zip(weights) {
        endpoint.weight = *weight;
    }
    let mut settings = config("a");
    settings.lb = lb;
    apply(&clusters(), settings, plain(list))
}

#[tokio::test]
async fn round_robin_takes_turns() {
    fastrand::seed(1);
    let cluster = cluster(LbPolicy::RoundRobin, &[1, 1, 1]);
    let turns: Vec<Arc<Host>> = (0..6).map(|_| cluster.pick(&Pick::default()).unwrap()).collect();
    assert!((0..3).all(|i| Arc::ptr_eq(&turns[i], &turns[i + 3])));
    assert!(!Arc::ptr_eq(&turns[0], &turns[1]) && !Arc::ptr_eq(&turns[1], &turns[2]));
}

#[tokio::test]
async fn round_robin_by_weight() {
    let cluster = cluster(LbPolicy::RoundRobin, &[1, 2, 5]);
    assert_eq!(distribution(&cluster, 8, &Pick::default()), [1, 2, 5]);
}

#[tokio::test]
async fn random_ignores_weights() {
    fastrand::seed(2);
    let cluster = cluster(LbPolicy::Random, &[1, 100]);
    let counts = distribution(&cluster, 10_000, &Pick::default());
    assert!(counts[0].abs_diff(5000) < 200, "{counts:?}");
}

#[tokio::test]
async fn least_request_avoids_the_busy() {
    fastrand::seed(3);
    let cluster = cluster(LbPolicy::LeastRequest { choices: 2, bias: 1.0 }, &[1, 1, 1, 1]);
    let busy = Arc::clone(cluster.hosts().hosts().next().unwrap());
    (0..10).for_each(|_| busy.request_started());
    let counts = distribution(&cluster, 16_000, &Pick::default());
    // Chosen only when drawn twice.
    assert!(counts[0].abs_diff(1000) < 150, "{counts:?}");
    // All draws of many: never.
    let cluster = apply_choices(16);
    assert_eq!(distribution(&cluster, 100, &Pick::default())[0], 0);
}

fn apply_choices(choices: u32) -> Arc<Cluster> {
    let cluster = cluster(LbPolicy::LeastRequest { choices, bias: 1.0 }, &[1, 1]);
    cluster.hosts().hosts().next().unwrap().request_started();
    cluster
}

#[tokio::test]
async fn least_request_by_weight_and_load() {
    fastrand::seed(4);
    let cluster = cluster(LbPolicy::LeastRequest { choices: 2, bias: 1.0 }, &[1, 3]);
    let counts = distribution(&cluster, 10_000, &Pick::default());
    assert!(counts[1].abs_diff(7500) < 200, "{counts:?}");
    let heavy = Arc::clone(cluster.hosts().hosts().nth(1).unwrap());
    (0..2).for_each(|_| heavy.request_started());
    // 1 against 3 / 3.
    let counts = distribution(&cluster, 10_000, &Pick::default());
    assert!(counts[1].abs_diff(5000) < 200, "{counts:?}");
}

fn ring() -> LbPolicy {
    LbPolicy::RingHash(RingHash { minimum_size: 1024, maximum_size: 8 << 20, function: HashFunction::XxHash })
}

/// Which host each of many hashes falls on.
fn map(cluster: &Cluster) -> HashMap<u64, String> {
    let hashes = (0..2000_u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let pick = |hash| cluster.pick(&Pick { hash: Some(hash), ..Pick::default() }).unwrap().address().to_string();
    hashes.map(|hash| (hash, pick(hash))).collect()
}

#[tokio::test]
async fn hashes_stick_and_survive_the_loss_of_others() {
    for lb in [ring(), LbPolicy::Maglev { table_size: 65_537 }] {
        let clusters = clusters();
        let mut settings = config("a");
        settings.lb = lb;
        let cluster = apply(&clusters, settings.clone(), plain(endpoints(5)));
        let before = map(&cluster);
        assert_eq!(before, map(&cluster));
        let mut list = endpoints(5);
        list[4].health = Health::Unhealthy;
        let after = map(&apply(&clusters, settings, plain(list)));
        let lost = "10.0.0.5:1";
        assert!(after.values().all(|host| host != lost));
        let moved = before.iter().filter(|(hash, host)| *host != lost && after[*hash] != **host).count();
        assert!(moved < 200, "{moved} of 2000 moved without need");
    }
}

#[tokio::test]
async fn hashing_follows_weights_and_without_hash_is_random() {
    let cluster = cluster(ring(), &[1, 3]);
    let heavy = map(&cluster).values().filter(|h| *h == "10.0.0.2:1").count();
    assert!(heavy.abs_diff(1500) < 150, "{heavy}");
    let counts = distribution(&cluster, 2000, &Pick::default());
    assert!(counts[0] > 300 && counts[1] > 1000, "{counts:?}");
}

#[tokio::test]
async fn hash_key_of_the_metadata_stands_for_the_address() {
    let clusters = clusters();
    let mut settings = config("a");
    settings.lb = LbPolicy::Maglev { table_size: 1009 };
    let keyed = |swap: bool| {
        let mut list = endpoints(2);
        for (i, endpoint) in list.iter_mut().enumerate() {
            endpoint.metadata = labels(&[("hash_key", if (i == 0) ^ swap { "one" } else { "two" })]);
        }
        list
    };
    let before = map(&apply(&clusters, settings.clone(), plain(keyed(false))));
    let after = map(&apply(&clusters, settings, plain(keyed(true))));
    assert!(before.iter().all(|(hash, host)| after[hash] != *host), "keys were swapped, so all moved");
}

#[tokio::test]
async fn names_stand_for_addresses_where_asked() {
    let clusters = clusters();
    let mut settings = config("a");
    settings.lb = LbPolicy::Maglev { table_size: 1009 };
    let common = config::model::cluster::LbCommon { hash_by_hostname: true, ..Default::default() };
    settings.lb_common = Some(Box::new(common));
    let named = |swap: bool| {
        let mut list = endpoints(2);
        for (i, endpoint) in list.iter_mut().enumerate() {
            endpoint.hostname = Some(if (i == 0) ^ swap { "one" } else { "two" }.into());
        }
        list
    };
    let before = map(&apply(&clusters, settings.clone(), plain(named(false))));
    let after = map(&apply(&clusters, settings, plain(named(true))));
    assert!(before.iter().all(|(hash, host)| after[hash] != *host), "names were swapped, so all moved");
}
