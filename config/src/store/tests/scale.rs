//! Ten thousand clusters and a listener with ten thousand chains: sizes, and that an update costs what it changes.

use std::mem::size_of;

use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use prost::Message as _;

use super::*;
use crate::model::chain::{FilterChain, Match};
use crate::model::cluster::Cluster;
use crate::model::endpoint::Endpoint;
use crate::model::tcp_proxy::{Destination, TcpProxy};
use crate::snapshot::{ClusterEntry, ListenerEntry};

const MANY: usize = 10_000;
const HOSTS: usize = 10;

/// What there may be ten thousand (clusters, chains) or a hundred thousand (endpoints) of.
#[test]
fn core_types_are_small() {
    assert!(size_of::<Cluster>() <= 256, "Cluster {}", size_of::<Cluster>());
    assert!(size_of::<ClusterEntry>() <= 64, "ClusterEntry {}", size_of::<ClusterEntry>());
    assert!(size_of::<Endpoint>() <= 88, "Endpoint {}", size_of::<Endpoint>());
    let chain = size_of::<FilterChain>() + size_of::<TcpProxy>();
    assert!(size_of::<Match>() <= 112, "Match {}", size_of::<Match>());
    // With two reference counts each, the server name, its place in lists, and the strings of the proxy.
    assert!(chain <= 400, "a chain that forwards {chain}, of which the proxy {}", size_of::<TcpProxy>());
    assert!(size_of::<ListenerEntry>() <= 96, "ListenerEntry {}", size_of::<ListenerEntry>());
    assert!(size_of::<Destination>() <= 24, "Destination {}", size_of::<Destination>());
}

fn name(i: usize) -> String {
    format!("kri_msvc_default_zone-1_ns_service-{i:05}_80")
}

/// One assignment, made from a template, as encoding ten thousand from JSON is what would take the time.
fn assignment(template: &ClusterLoadAssignment, i: usize) -> Resource {
    let mut assignment = template.clone();
    assignment.cluster_name = name(i);
    resource(&name(i), assignment.encode_to_vec().into())
}

fn template(hosts: usize) -> ClusterLoadAssignment {
    let tags = json!({"kuma.io/zone": "zone-1", "team": "a"});
    let host = |i: usize| {
        json!({"endpoint": {"address": address(&format!("10.0.0.{}", i + 1), 80)}, "loadBalancingWeight": 1,
            "metadata": {"filterMetadata": {"envoy.lb": tags, "envoy.transport_socket_match": tags}}})
    };
    let list: Vec<Value> = (0..hosts).map(host).collect();
    let body = testing::endpoints(&json!({"clusterName": "x", "endpoints": [{"lbEndpoints": list}]}));
    ClusterLoadAssignment::decode(body).unwrap()
}

fn cluster(i: usize) -> Resource {
    eds_with(&name(i), json!({"connectTimeout": "5s", "circuitBreakers": {"thresholds": [{"trackRemaining": true}]}}))
}

#[test]
fn one_endpoint_of_many_touches_one_cluster() {
    let mut store = Store::default();
    good(&mut store, batch(Kind::Cluster, (0..MANY).map(cluster).collect()));
    let ten = template(HOSTS);
    let changes = good(&mut store, batch(Kind::Endpoints, (0..MANY).map(|i| assignment(&ten, i)).collect()));
    assert_eq!(changes.clusters.len(), MANY);
    assert_eq!(store.snapshot().clusters.size(), MANY);

    let before = store.snapshot();
    let changes = good(&mut store, batch(Kind::Endpoints, vec![assignment(&template(HOSTS + 1), 77)]));
    assert_eq!(changes.clusters, [Arc::from(name(77))]);
    let after = store.snapshot();
    let same = |i: usize| {
        let name = name(i);
        Arc::ptr_eq(before.clusters.get(&*name).unwrap(), after.clusters.get(&*name).unwrap())
    };
    assert!((0..MANY).filter(|&i| i != 77).all(same));
    assert_eq!(hosts(&store, &name(77)), HOSTS + 1);
}

#[test]
fn one_chain_of_many_leaves_the_others_alone() {
    let chain = |i: usize, cluster: String| {
        json!({"filterChainMatch": {"serverNames": [format!("sni.msvc.default.zone-1.service-{i:05}.80")],
                "transportProtocol": "tls"},
            "filters": [tcp_proxy(json!({"cluster": cluster, "statPrefix": name(i)}))]})
    };
    let body = |changed: Option<usize>| {
        let name = |i: usize| if changed == Some(i) { "other".to_owned() } else { name(i) };
        let chains: Vec<Value> = (0..MANY).map(|i| chain(i, name(i))).collect();
        resource(
            "l",
            testing::listener(&json!({"name": "l", "address": address("127.0.0.1", 1), "filterChains": chains})),
        )
    };
    let mut store = Store::default();
    good(&mut store, batch(Kind::Listener, vec![body(None)]));
    let before = store.snapshot();
    good(&mut store, batch(Kind::Listener, vec![body(Some(5))]));
    let after = store.snapshot();
    let chains = |snapshot: &Snapshot| snapshot.listeners.get("l").unwrap().listener.chains.clone();
    let (old, new) = (chains(&before), chains(&after));
    assert_eq!((old.len(), new.len()), (MANY, MANY));
    let changed: Vec<usize> = (0..MANY).filter(|&i| !Arc::ptr_eq(&old[i], &new[i])).collect();
    assert_eq!(changed, [5]);
}
