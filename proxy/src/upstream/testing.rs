//! Clusters for tests.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::model::address::{Address, Target};
use config::model::cluster::{Cluster as Config, Discovery, HealthCheck, LbPolicy, OutlierDetection, Probe, Transport};
use config::model::endpoint::{Assignment, Endpoint, Health, Locality, LocalityEndpoints};
use config::model::metadata::{Metadata, Value};
use config::snapshot::{Changes, ClusterEntry, Snapshot, Source};

use super::cluster::{Cluster, Pick};
use super::clusters::Clusters;
use super::host::Host;
use crate::metrics::Registry;

pub(super) fn config(name: &str) -> Config {
    Config {
        name: name.into(),
        stat_name: name.into(),
        discovery: Discovery::Eds { service_name: name.into(), initial_fetch_timeout: Duration::ZERO },
        connect_timeout: Duration::from_secs(5),
        lb: LbPolicy::RoundRobin,
        lb_common: None,
        subsets: None,
        circuit_breakers: None,
        outlier_detection: None,
        health_checks: Box::default(),
        transport: Transport::Raw,
        transport_matches: Box::default(),
        http: None,
        metadata: None,
        track: Default::default(),
        socket: None,
        buffer_limit: 1 << 20,
    }
}

pub(super) fn endpoint(address: &str) -> Endpoint {
    Endpoint {
        target: Target::Address(Address::Socket(address.parse().unwrap())),
        additional_addresses: Box::default(),
        weight: 1,
        health: Health::Unknown,
        metadata: None,
        hostname: None,
        health_check: None,
    }
}

/// `10.0.0.1:1` to `10.0.0.n:1`.
pub(super) fn endpoints(n: u32) -> Vec<Endpoint> {
    (1..=n).map(|i| endpoint(&format!("10.0.{}.{}:1", i / 256, i % 256))).collect()
}

pub(super) fn locality(name: &str, priority: u32, weight: Option<u32>, endpoints: Vec<Endpoint>) -> LocalityEndpoints {
    let locality = Locality { region: name.into(), ..Locality::default() };
    LocalityEndpoints { locality: Arc::new(locality), priority, weight, endpoints: endpoints.into() }
}

pub(super) fn assignment(localities: Vec<LocalityEndpoints>) -> Assignment {
    Assignment { localities: localities.into(), overprovisioning_factor: 140, weighted_priority_health: false }
}

pub(super) fn plain(endpoints: Vec<Endpoint>) -> Assignment {
    assignment(vec![locality("", 0, None, endpoints)])
}

/// `envoy.lb` metadata of string values.
pub(super) fn labels(pairs: &[(&str, &str)]) -> Option<Arc<Metadata>> {
    Some(Arc::new(Metadata(Box::new([(Metadata::LB.into(), fields(pairs))]))))
}

pub(super) fn fields(pairs: &[(&str, &str)]) -> Box<[(Arc<str>, Value)]> {
    let mut fields: Vec<(Arc<str>, Value)> =
        pairs.iter().map(|(k, v)| ((*k).into(), Value::String((*v).into()))).collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields.into()
}

pub(super) fn entry(cluster: Config, assignment: Assignment) -> Arc<ClusterEntry> {
    let source =
        Source { body: bytes::Bytes::new(), version: "".into(), updated: SystemTime::UNIX_EPOCH, fixed: false };
    Arc::new(ClusterEntry {
        cluster: Arc::new(cluster),
        assignment: Arc::new(assignment),
        source: Arc::new(source),
        ignored: Box::default(),
    })
}

/// Applies one cluster and returns it.
pub(super) fn apply(clusters: &Clusters, config: Config, assignment: Assignment) -> Arc<Cluster> {
    let name = Arc::clone(&config.name);
    let mut snapshot = Snapshot::default();
    snapshot.clusters.insert_mut(Arc::clone(&name), entry(config, assignment));
    clusters.apply(&snapshot, &Changes { clusters: vec![Arc::clone(&name)], ..Changes::default() });
    clusters.get(&name).expect("the cluster was just added")
}

pub(super) fn clusters() -> Arc<Clusters> {
    Clusters::new(Registry::new(1), tokio::runtime::Handle::current())
}

/// How often each port-1 host `10.0.x.y` of the cluster is chosen in `n` turns, by address order.
pub(super) fn distribution(cluster: &Cluster, n: usize, pick: &Pick<'_>) -> Vec<usize> {
    let hosts = cluster.hosts();
    let hosts: Vec<&Arc<Host>> = hosts.hosts().collect();
    let mut counts = vec![0; hosts.len()];
    for _ in 0..n {
        if let Ok(host) = cluster.pick(pick) {
            counts[hosts.iter().position(|h| Arc::ptr_eq(h, &host)).unwrap()] += 1;
        }
    }
    counts
}

pub(super) fn check(send: Option<&str>, receive: &[&str]) -> HealthCheck {
    HealthCheck {
        timeout: Duration::from_secs(1),
        interval: Duration::from_secs(10),
        initial_jitter: Duration::ZERO,
        interval_jitter: Duration::ZERO,
        interval_jitter_percent: 0,
        unhealthy_interval: None,
        unhealthy_edge_interval: None,
        healthy_edge_interval: None,
        no_traffic_interval: Duration::from_secs(60),
        no_traffic_healthy_interval: None,
        unhealthy_threshold: 2,
        healthy_threshold: 3,
        reuse_connection: true,
        always_log_failures: false,
        always_log_successes: false,
        event_logs: Box::default(),
        probe: Probe::Tcp {
            send: send.map(|s| s.as_bytes().into()),
            receive: receive.iter().map(|r| r.as_bytes().into()).collect(),
        },
    }
}

/// Envoy's defaults, but for a maximum of 100 percent.
pub(super) fn outlier_detection() -> OutlierDetection {
    OutlierDetection {
        interval: Duration::from_secs(10),
        base_ejection_time: Duration::from_secs(30),
        max_ejection_time: Duration::from_secs(300),
        max_ejection_time_jitter: Duration::ZERO,
        max_ejection_percent: 100,
        always_eject_one_host: false,
        consecutive_5xx: 5,
        consecutive_gateway_failure: 5,
        consecutive_local_origin_failure: 5,
        enforcing_consecutive_5xx: 100,
        enforcing_consecutive_gateway_failure: 0,
        enforcing_consecutive_local_origin_failure: 100,
        enforcing_success_rate: 100,
        enforcing_local_origin_success_rate: 100,
        enforcing_failure_percentage: 0,
        enforcing_failure_percentage_local_origin: 0,
        success_rate_minimum_hosts: 5,
        success_rate_request_volume: 100,
        success_rate_stdev_factor: 1900,
        failure_percentage_threshold: 85,
        failure_percentage_minimum_hosts: 5,
        failure_percentage_request_volume: 50,
        split_external_local_origin_errors: false,
        successful_check_unejects: true,
    }
}
