#![allow(clippy::unwrap_used, clippy::panic)]

mod routes;
mod scale;
mod secrets;

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::model::testing::{self, address, filter, tcp_proxy};
use crate::snapshot::Changes;

pub(super) fn resource(name: &str, body: Bytes) -> Resource {
    Resource { name: name.into(), version: "1".into(), body }
}

fn eds(name: &str) -> Resource {
    eds_with(name, json!({}))
}

fn eds_with(name: &str, more: Value) -> Resource {
    let mut cluster = json!({"name": name, "type": "EDS", "edsClusterConfig": {"edsConfig": {"ads": {}}}});
    testing::merge(&mut cluster, more);
    resource(name, testing::cluster(&cluster))
}

fn endpoints(name: &str, ips: &[&str]) -> Resource {
    let list: Vec<Value> = ips.iter().map(|ip| json!({"endpoint": {"address": address(ip, 80)}})).collect();
    resource(name, testing::endpoints(&json!({"clusterName": name, "endpoints": [{"lbEndpoints": list}]})))
}

fn listener(name: &str, chains: &[&str]) -> Resource {
    let chain = |sni: &&str| json!({"filterChainMatch": {"serverNames": [sni]}, "filters": [tcp_proxy(json!({}))]});
    let chains: Vec<Value> = chains.iter().map(chain).collect();
    let body = json!({"name": name, "address": address("127.0.0.1", 1), "filterChains": chains});
    resource(name, testing::listener(&body))
}

fn batch(kind: Kind, upserts: Vec<Resource>) -> Batch {
    Batch::new(kind, upserts)
}

fn removal(kind: Kind, names: &[&str]) -> Batch {
    let removed = names.iter().map(|&name| name.into()).collect();
    Batch { removed, ..batch(kind, Vec::new()) }
}

fn all(kind: Kind, upserts: Vec<Resource>) -> Batch {
    Batch { complete: true, ..batch(kind, upserts) }
}

fn texts(names: &[Arc<str>]) -> Vec<&str> {
    names.iter().map(|n| &**n).collect()
}

/// Applies a batch that nothing is wrong with.
fn good(store: &mut Store, batch: Batch) -> Changes {
    let applied = store.apply(batch);
    assert!(applied.rejected.is_empty(), "{:?}", applied.rejected);
    applied.changes
}

fn hosts(store: &Store, cluster: &str) -> usize {
    let snapshot = store.snapshot();
    let entry = snapshot.clusters.get(cluster).unwrap();
    entry.assignment.localities.iter().map(|l| l.endpoints.len()).sum()
}

#[test]
fn a_cluster_warms_until_its_endpoints_are_there() {
    let mut store = Store::default();
    assert!(good(&mut store, batch(Kind::Cluster, vec![eds("a")])).is_empty());
    assert_eq!(texts(&store.wanted(Kind::Endpoints)), ["a"]);
    assert!(store.snapshot().warming.contains_key("a"));
    let changes = good(&mut store, batch(Kind::Endpoints, vec![endpoints("a", &["1.1.1.1"])]));
    assert_eq!(texts(&changes.clusters), ["a"]);
    assert_eq!((hosts(&store, "a"), store.snapshot().warming.size()), (1, 0));
    assert_eq!(store.next_deadline(), None);
}

#[test]
fn endpoints_may_come_first() {
    let mut store = Store::default();
    assert!(good(&mut store, batch(Kind::Endpoints, vec![endpoints("a", &["1.1.1.1"])])).is_empty());
    assert_eq!(texts(&good(&mut store, batch(Kind::Cluster, vec![eds("a")])).clusters), ["a"]);
    assert_eq!(hosts(&store, "a"), 1);
}

#[test]
fn clusters_share_an_assignment_by_service_name() {
    let mut store = Store::default();
    let clusters = ["a", "b"]
        .map(|name| eds_with(name, json!({"edsClusterConfig": {"edsConfig": {"ads": {}}, "serviceName": "s"}})));
    good(&mut store, batch(Kind::Cluster, clusters.into()));
    assert_eq!(texts(&store.wanted(Kind::Endpoints)), ["s"]);
    let changes = good(&mut store, batch(Kind::Endpoints, vec![endpoints("s", &["1.1.1.1"])]));
    assert_eq!(texts(&changes.clusters), ["a", "b"]);
    // The last that refers to them takes the endpoints along.
    good(&mut store, removal(Kind::Cluster, &["a"]));
    assert!(store.snapshot().endpoints.contains_key("s"));
    good(&mut store, removal(Kind::Cluster, &["b"]));
    assert!(!store.snapshot().endpoints.contains_key("s"));
    assert!(store.wanted(Kind::Endpoints).is_empty() && store.assignments.is_empty());
}

#[test]
fn a_cluster_without_endpoints_is_admitted_in_the_end() {
    let mut store = Store::default();
    let timeout = |t: &str| json!({"edsClusterConfig": {"edsConfig": {"ads": {}, "initialFetchTimeout": t}}});
    let clusters = vec![eds_with("short", timeout("5s")), eds_with("ever", timeout("0s"))];
    good(&mut store, batch(Kind::Cluster, clusters));
    let deadline = store.next_deadline().unwrap();
    assert!(deadline > Instant::now() + Duration::from_secs(4));
    assert!(store.expire_warming(deadline - Duration::from_secs(1)).changes.is_empty());
    assert_eq!(texts(&store.expire_warming(deadline).changes.clusters), ["short"]);
    assert_eq!(hosts(&store, "short"), 0);
    assert!(store.snapshot().warming.contains_key("ever") && store.next_deadline().is_none());
    good(&mut store, batch(Kind::Endpoints, vec![endpoints("short", &["1.1.1.1"])]));
    assert_eq!(hosts(&store, "short"), 1);
}

#[test]
fn a_replaced_cluster_serves_while_its_successor_warms() {
    let mut store = Store::default();
    good(&mut store, batch(Kind::Cluster, vec![eds("a")]));
    good(&mut store, batch(Kind::Endpoints, vec![endpoints("a", &["1.1.1.1"])]));
    // Other settings: the endpoints are known, nothing waits.
    let changes = good(&mut store, batch(Kind::Cluster, vec![eds_with("a", json!({"connectTimeout": "9s"}))]));
    assert_eq!(texts(&changes.clusters), ["a"]);
    assert_eq!(hosts(&store, "a"), 1);
    // Other endpoints: the old ones serve until the new are there.
    let moved = eds_with("a", json!({"edsClusterConfig": {"edsConfig": {"ads": {}}, "serviceName": "s"}}));
    assert!(good(&mut store, batch(Kind::Cluster, vec![moved])).is_empty());
    assert_eq!(texts(&store.wanted(Kind::Endpoints)), ["a", "s"]);
    assert_eq!(hosts(&store, "a"), 1);
    good(&mut store, batch(Kind::Endpoints, vec![endpoints("s", &["1.1.1.1", "1.1.1.2"])]));
    assert_eq!(hosts(&store, "a"), 2);
    assert_eq!(texts(&store.wanted(Kind::Endpoints)), ["s"]);
    assert!(!store.snapshot().endpoints.contains_key("a"));
}

#[test]
fn a_refused_resource_keeps_its_last_good_version() {
    let mut store = Store::default();
    good(&mut store, batch(Kind::Listener, vec![listener("l", &["a"]), listener("m", &["a"])]));
    let before = store.snapshot();
    let applied = store.apply(batch(Kind::Listener, vec![listener("l", &["*"]), listener("m", &["b"])]));
    let [(name, version, rejection)] = &applied.rejected[..] else { panic!("{:?}", applied.rejected) };
    assert_eq!((&**name, &**version), ("l", "1"));
    assert_eq!(rejection.path.to_string(), "filter_chains[0].filter_chain_match.server_names[0]");
    assert_eq!(texts(&applied.changes.listeners), ["m"]);
    let after = store.snapshot();
    assert!(Arc::ptr_eq(before.listeners.get("l").unwrap(), after.listeners.get("l").unwrap()));
    assert!(after.rejected.contains_key(&(Kind::Listener, "l".into())));
    // The good bytes again, or the end of it, make that good.
    assert!(good(&mut store, batch(Kind::Listener, vec![listener("l", &["a"])])).is_empty());
    assert!(store.snapshot().rejected.is_empty());
    store.apply(batch(Kind::Listener, vec![listener("x", &["*"])]));
    assert_eq!(store.snapshot().rejected.size(), 1);
    good(&mut store, removal(Kind::Listener, &["x"]));
    assert!(store.snapshot().rejected.is_empty());
}

#[test]
fn the_same_bytes_change_nothing_but_the_version() {
    let mut store = Store::default();
    good(&mut store, batch(Kind::Cluster, vec![eds("a")]));
    good(&mut store, batch(Kind::Endpoints, vec![endpoints("a", &["1.1.1.1"])]));
    good(&mut store, batch(Kind::Listener, vec![listener("l", &["a"])]));
    let before = store.snapshot();
    let again = |r: Resource| vec![Resource { version: "2".into(), ..r }];
    for (kind, resource) in [
        (Kind::Cluster, eds("a")),
        (Kind::Endpoints, endpoints("a", &["1.1.1.1"])),
        (Kind::Listener, listener("l", &["a"])),
    ] {
        assert!(good(&mut store, batch(kind, again(resource))).is_empty());
    }
    let after = store.snapshot();
    assert!(after.generation > before.generation);
    let (old, new) = (before.clusters.get("a").unwrap(), after.clusters.get("a").unwrap());
    assert!(Arc::ptr_eq(&old.cluster, &new.cluster) && Arc::ptr_eq(&old.assignment, &new.assignment));
    assert_eq!((&*old.source.version, &*new.source.version), ("1", "2"));
    assert_eq!(&*after.endpoints.get("a").unwrap().version, "2");
    let (old, new) = (before.listeners.get("l").unwrap(), after.listeners.get("l").unwrap());
    assert!(Arc::ptr_eq(&old.listener, &new.listener));
    assert_eq!(&*new.source.version, "2");
}

#[test]
fn state_of_the_world_removes_what_is_absent() {
    let mut store = Store::default();
    good(&mut store, all(Kind::Listener, vec![listener("l", &["a"]), listener("m", &["a"])]));
    let changes = good(&mut store, all(Kind::Listener, vec![listener("m", &["a"])]));
    assert_eq!(texts(&changes.listeners), ["l"]);
    assert_eq!(store.snapshot().listeners.size(), 1);

    good(&mut store, all(Kind::Cluster, vec![eds("a"), eds("b")]));
    good(&mut store, all(Kind::Endpoints, vec![endpoints("a", &["1.1.1.1"]), endpoints("stray", &[])]));
    // Endpoints in use stay though the response does not hold them; the stray ones go.
    assert!(good(&mut store, all(Kind::Endpoints, vec![endpoints("b", &["1.1.1.1"])])).clusters == ["b".into()]);
    assert_eq!(hosts(&store, "a"), 1);
    assert!(!store.snapshot().endpoints.contains_key("stray"));
}

#[test]
fn static_resources_are_not_the_control_planes() {
    let mut store = Store::default();
    good(&mut store, Batch { fixed: true, ..batch(Kind::Listener, vec![listener("l", &["a"])]) });
    assert!(good(&mut store, batch(Kind::Listener, vec![listener("l", &["b"])])).is_empty());
    assert!(good(&mut store, all(Kind::Listener, vec![])).is_empty());
    assert!(good(&mut store, removal(Kind::Listener, &["l"])).is_empty());
    assert!(store.snapshot().listeners.get("l").unwrap().source.fixed);
    let replaced = Batch { fixed: true, ..batch(Kind::Listener, vec![listener("l", &["b"])]) };
    assert_eq!(texts(&good(&mut store, replaced).listeners), ["l"]);
}

#[test]
fn odd_batches_are_refused_by_resource() {
    let mut store = Store::default();
    let twice = store.apply(batch(Kind::Listener, vec![listener("l", &["a"]), listener("l", &["b"])]));
    assert_eq!((twice.rejected.len(), texts(&twice.changes.listeners)), (1, vec!["l"]));
    let misnamed = Resource { name: "x".into(), ..eds("a") };
    let applied = store.apply(batch(Kind::Cluster, vec![misnamed]));
    assert_eq!(applied.rejected[0].2.path.to_string(), "name");
    let garbage = store.apply(batch(Kind::Cluster, vec![resource("g", Bytes::from_static(b"\xff"))]));
    assert!(garbage.rejected[0].2.reason.contains("decoded"));
}

#[test]
fn a_listener_without_a_name_has_that_of_its_resource() {
    let mut store = Store::default();
    let nameless = Resource { name: "kuma:x".into(), ..listener("", &["a"]) };
    good(&mut store, batch(Kind::Listener, vec![nameless]));
    let snapshot = store.snapshot();
    let listener = &snapshot.listeners.get("kuma:x").unwrap().listener;
    assert_eq!((&*listener.name, listener.system), ("kuma:x", true));
}

#[test]
fn runtime_layers_are_kept_raw() {
    let mut store = Store::default();
    assert!(good(&mut store, batch(Kind::Runtime, vec![resource("r", Bytes::from_static(b"x"))])).is_empty());
    assert_eq!(store.snapshot().other.get(&(Kind::Runtime, "r".into())).unwrap().body, "x");
    good(&mut store, removal(Kind::Runtime, &["r"]));
    assert!(store.snapshot().other.is_empty());
}

#[test]
fn names_asked_of_sds_follow_who_asks() {
    let mut store = Store::default();
    let tls = |secret: &str| {
        let context = json!({"commonTlsContext":
            {"tlsCertificateSdsSecretConfigs": [{"name": secret, "sdsConfig": {"ads": {}}}]}});
        let kind = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
        json!({"transportSocket": filter("tls", kind, context)})
    };
    good(&mut store, batch(Kind::Cluster, vec![eds_with("a", tls("x")), eds_with("b", tls("y"))]));
    assert_eq!(texts(&store.wanted(Kind::Secret)), ["x", "y"]);
    good(&mut store, batch(Kind::Cluster, vec![eds_with("a", tls("z")), eds("b")]));
    assert_eq!(texts(&store.wanted(Kind::Secret)), ["z"]);
    good(&mut store, removal(Kind::Cluster, &["a"]));
    assert!(store.wanted(Kind::Secret).is_empty());
}

#[test]
fn chains_keep_what_they_do_not_honour() {
    let mut store = Store::default();
    let body = |port: u16| {
        let chain = |sni: &str, proxy: Value| json!({"filterChainMatch": {"serverNames": [sni]}, "filters": [proxy]});
        let chains = json!([chain("a", tcp_proxy(json!({}))), chain("b", tcp_proxy(json!({"onDemand": {}})))]);
        json!({"name": "l", "address": address("127.0.0.1", port), "filterChains": chains})
    };
    for port in [1, 2] {
        good(&mut store, batch(Kind::Listener, vec![resource("l", testing::listener(&body(port)))]));
        let snapshot = store.snapshot();
        let ignored = testing::paths(&snapshot.listeners.get("l").unwrap().ignored);
        assert_eq!(ignored, ["filter_chains[1].filters[0].typed_config.on_demand"]);
    }
}

#[test]
fn a_held_chain_is_named_until_it_is_good() {
    let mut store = Store::default();
    good(&mut store, batch(Kind::Listener, vec![listener("l", &["a"])]));
    let redis = filter("r", "envoy.extensions.filters.network.redis_proxy.v3.RedisProxy", json!({}));
    let body = json!({"name": "l", "address": address("127.0.0.1", 1),
        "filterChains": [{"filterChainMatch": {"serverNames": ["a"]}, "filters": [redis]}]});
    good(&mut store, batch(Kind::Listener, vec![resource("l", testing::listener(&body))]));
    assert_eq!(store.snapshot().held.get("l").unwrap().0.len(), 1);
    assert!(store.snapshot().listeners.get("l").unwrap().unsupported.is_empty());
    good(&mut store, batch(Kind::Listener, vec![listener("l", &["a"])]));
    assert!(store.snapshot().held.is_empty());
}

#[test]
fn a_listener_without_its_socket_gives_way_to_the_last_that_has_one() {
    let mut store = Store::default();
    let why = Rejection { path: FieldPath("address".into()), reason: "in use".into() };
    good(&mut store, batch(Kind::Listener, vec![listener("l", &["a"])]));
    let last = store.snapshot().listeners.get("l").cloned();
    let second = Resource { version: "2".into(), ..listener("l", &["a", "b"]) };
    good(&mut store, batch(Kind::Listener, vec![second.clone()]));
    store.revert_listener(&"l".into(), last.as_ref(), &why);
    let snapshot = store.snapshot();
    assert!(Arc::ptr_eq(snapshot.listeners.get("l").unwrap(), last.as_ref().unwrap()));
    let rejected = snapshot.rejected.get(&(Kind::Listener, "l".into())).unwrap();
    assert_eq!((&*rejected.version, &rejected.rejection, &rejected.body), ("2", &why, &second.body));

    let changes = good(&mut store, batch(Kind::Listener, vec![second]));
    assert_eq!(texts(&changes.listeners), ["l"], "the same bytes are tried again");
    assert_eq!(store.snapshot().rejected.size(), 0);
    store.revert_listener(&"l".into(), None, &why);
    assert!(store.snapshot().listeners.is_empty());
    assert_eq!(store.snapshot().rejected.size(), 1);
}
