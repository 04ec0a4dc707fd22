//! Subsets against a naive selection, and the ways to fall back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use config::model::cluster::{Cluster as Config, SubsetFallback, SubsetSelector, Subsets};
use config::model::endpoint::{Endpoint, Health};
use config::model::metadata::{Fields, Metadata, Value};
use proptest::prelude::*;

use crate::metrics::ClusterStat;
use crate::upstream::cluster::{Cluster, Pick};
use crate::upstream::testing::*;

fn selector(keys: &[&str]) -> SubsetSelector {
    let keys = keys.iter().map(|k| Arc::from(*k)).collect();
    SubsetSelector { keys, fallback: None, fallback_keys: Box::default(), single_host: false }
}

fn subsets(fallback: SubsetFallback, selectors: Vec<SubsetSelector>) -> Subsets {
    Subsets {
        fallback,
        default_subset: Box::default(),
        selectors: selectors.into(),
        locality_weight_aware: false,
        scale_locality_weight: false,
        panic_mode_any: false,
        list_as_any: false,
    }
}

fn labelled(list: &[&[(&str, &str)]]) -> Vec<Endpoint> {
    let mut endpoints = endpoints(list.len() as u32);
    for (endpoint, pairs) in endpoints.iter_mut().zip(list) {
        endpoint.metadata = labels(pairs);
    }
    endpoints
}

fn settings(subsets: Subsets) -> Config {
    Config { subsets: Some(Box::new(subsets)), ..config("a") }
}

/// Which hosts (counted from 0) answer to the fields.
fn members(cluster: &Cluster, pairs: &[(&str, &str)]) -> Vec<usize> {
    hit(cluster, &fields(pairs))
}

fn hit(cluster: &Cluster, fields: &Fields) -> Vec<usize> {
    let counts = distribution(cluster, 200, &Pick { metadata_match: Some(fields), ..Pick::default() });
    (0..counts.len()).filter(|i| counts[*i] > 0).collect()
}

const HOSTS: [&[(&str, &str)]; 4] = [
    &[("v", "1"), ("stage", "prod")],
    &[("v", "1"), ("stage", "dev")],
    &[("v", "2"), ("stage", "prod")],
    &[("v", "2")],
];

#[tokio::test]
async fn exact_keys_choose() {
    let subsets = subsets(SubsetFallback::NoFallback, vec![selector(&["v"]), selector(&["stage", "v"])]);
    let cluster = apply(&clusters(), settings(subsets), plain(labelled(&HOSTS)));
    assert_eq!(members(&cluster, &[("v", "1")]), [0, 1]);
    assert_eq!(members(&cluster, &[("stage", "prod"), ("v", "2")]), [2]);
    assert_eq!(members(&cluster, &[("stage", "prod")]), [0; 0], "no selector has just that key");
    assert_eq!(members(&cluster, &[]), [0; 0]);
    assert_eq!(cluster.stats().gauge(ClusterStat::LbSubsetsActive), 5);
    assert_eq!(cluster.stats().get(ClusterStat::LbSubsetsSelected), 400);
}

#[tokio::test]
async fn fallbacks_of_the_cluster() {
    let clusters = clusters();
    let any = subsets(SubsetFallback::AnyEndpoint, vec![selector(&["v"])]);
    let cluster = apply(&clusters, settings(any), plain(labelled(&HOSTS)));
    assert_eq!(members(&cluster, &[("v", "9")]), [0, 1, 2, 3]);
    assert_eq!(cluster.stats().get(ClusterStat::LbSubsetsFallback), 200);
    let mut default = subsets(SubsetFallback::DefaultSubset, vec![selector(&["v"])]);
    default.default_subset = fields(&[("stage", "prod")]);
    let cluster = apply(&clusters, settings(default.clone()), plain(labelled(&HOSTS)));
    assert_eq!(members(&cluster, &[("v", "9")]), [0, 2]);
    default.default_subset = fields(&[("stage", "none")]);
    default.panic_mode_any = true;
    let cluster = apply(&clusters, settings(default), plain(labelled(&HOSTS)));
    assert_eq!(members(&cluster, &[("v", "9")]), [0, 1, 2, 3]);
    assert_eq!(cluster.stats().get(ClusterStat::LbSubsetsFallbackPanic), 200);
}

#[tokio::test]
async fn fallbacks_of_selectors() {
    let mut keys = selector(&["stage", "v"]);
    keys.fallback = Some(SubsetFallback::KeysSubset);
    keys.fallback_keys = Box::new(["v".into()]);
    let mut none = selector(&["x"]);
    none.fallback = Some(SubsetFallback::NoFallback);
    let subsets = subsets(SubsetFallback::AnyEndpoint, vec![keys, none, selector(&["v"])]);
    let cluster = apply(&clusters(), settings(subsets), plain(labelled(&HOSTS)));
    assert_eq!(members(&cluster, &[("stage", "qa"), ("v", "2")]), [2, 3], "again with fewer keys");
    assert_eq!(members(&cluster, &[("x", "1")]), [0; 0]);
    assert_eq!(members(&cluster, &[("v", "3")]), [0, 1, 2, 3]);
}

#[tokio::test]
async fn subsets_have_a_health_of_their_own() {
    let mut list = labelled(&HOSTS);
    list[0].health = Health::Unhealthy;
    let subsets = subsets(SubsetFallback::AnyEndpoint, vec![selector(&["v"]), selector(&["stage", "v"])]);
    let cluster = apply(&clusters(), settings(subsets), plain(list));
    assert_eq!(members(&cluster, &[("v", "1")]), [1]);
    assert_eq!(members(&cluster, &[("stage", "prod"), ("v", "1")]), [0], "panic within the subset, not its fallback");
}

#[tokio::test]
async fn single_hosts_and_lists() {
    let mut single = selector(&["v"]);
    single.single_host = true;
    let mut settings_ = subsets(SubsetFallback::NoFallback, vec![single, selector(&["tags"])]);
    settings_.list_as_any = true;
    let mut list = labelled(&HOSTS);
    let tags = Value::List(Box::new([Value::String("a".into()), Value::String("b".into())]));
    list[3].metadata =
        Some(Arc::new(Metadata(Box::new([(Metadata::LB.into(), Box::new([("tags".into(), tags.clone())]))]))));
    let cluster = apply(&clusters(), settings(settings_.clone()), plain(list.clone()));
    assert_eq!(members(&cluster, &[("v", "1")]), [0]);
    assert_eq!(members(&cluster, &[("tags", "b")]), [3]);
    settings_.list_as_any = false;
    let cluster = apply(&clusters(), settings(settings_), plain(list));
    assert_eq!(members(&cluster, &[("tags", "b")]), [0; 0]);
    assert_eq!(hit(&cluster, &(Box::new([("tags".into(), tags)]) as Fields)), [3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn like_naive_selection(
        hosts in prop::collection::vec((0_u8..3, 0_u8..3, 0_u8..3), 1..12),
        chosen in prop::collection::vec(0_usize..7, 1..4),
        wanted in (0_u8..4, 0_u8..4, 0_u8..4),
    ) {
        const KEYS: [&str; 3] = ["a", "b", "c"];
        // Value 0: the host has no such key; in `wanted`: it is not asked for.
        let value = |n: u8| format!("v{n}");
        let pairs = |v: (u8, u8, u8)| -> Vec<(&str, String)> {
            KEYS.into_iter().zip([v.0, v.1, v.2]).filter(|(_, n)| *n > 0).map(|(k, n)| (k, value(n))).collect()
        };
        let keys_of = |mask: usize| -> Vec<&str> { (0..3).filter(|i| (mask + 1) >> i & 1 == 1).map(|i| KEYS[i]).collect() };
        let mut endpoints = endpoints(hosts.len() as u32);
        for (endpoint, host) in endpoints.iter_mut().zip(&hosts) {
            let pairs = pairs(*host);
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (*k, v.as_str())).collect();
            endpoint.metadata = labels(&pairs);
        }
        let selectors: Vec<SubsetSelector> = chosen.iter().map(|mask| selector(&keys_of(*mask))).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _guard = runtime.enter();
        let cluster = apply(&clusters(), settings(subsets(SubsetFallback::NoFallback, selectors)), plain(endpoints));
        let asked = pairs(wanted);
        let asked: Vec<(&str, &str)> = asked.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let asked_keys: Vec<&str> = asked.iter().map(|(k, _)| *k).collect();
        let selected = chosen.iter().any(|mask| keys_of(*mask) == asked_keys);
        let naive: Vec<usize> = (0..hosts.len())
            .filter(|i| selected && asked.iter().all(|p| pairs(hosts[*i]).iter().any(|(k, v)| (*k, v.as_str()) == *p)))
            .collect();
        prop_assert_eq!(members(&cluster, &asked), naive);
    }
}
