//! The TCP proxy filter (`envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`).

use std::sync::Arc;
use std::time::Duration;

use super::access_log::AccessLog;
use super::metadata::Fields;

/// Sends a connection's bytes to a cluster.
#[derive(Clone, Debug)]
pub struct TcpProxy {
    /// Prefix of its metrics: `tcp.<stat_prefix>.…`.
    pub stat_prefix: Arc<str>,
    /// Where to.
    pub route: Route,
    /// Time without a byte in either direction; Envoy's default is 1 h, `None`: never (configured as 0).
    pub idle_timeout: Option<Duration>,
    /// What few tcp_proxies set.
    pub more: Option<Box<More>>,
}

/// Rarely used settings of a [`TcpProxy`].
#[derive(Clone, Debug)]
pub struct More {
    /// Endpoints tried before giving up; Envoy's default is 1.
    pub max_connect_attempts: u32,
    /// `backoff_options` (base, max) between attempts.
    pub backoff: Option<(Duration, Duration)>,
    /// `max_downstream_connection_duration`.
    pub max_duration: Option<Duration>,
    /// Hash of the client's address for hashing balancers (`hash_policy.source_ip`).
    pub hash_source_ip: bool,
    /// `access_log`.
    pub access_logs: Box<[AccessLog]>,
    /// Write the log line also when the upstream is connected.
    pub flush_access_log_on_connected: bool,
    /// Write the log line also at this interval.
    pub access_log_flush_interval: Option<Duration>,
}

impl Default for More {
    fn default() -> Self {
        Self {
            max_connect_attempts: 1,
            backoff: None,
            max_duration: None,
            hash_source_ip: false,
            access_logs: Box::default(),
            flush_access_log_on_connected: false,
            access_log_flush_interval: None,
        }
    }
}

/// Choice of the cluster.
#[derive(Clone, Debug)]
pub enum Route {
    /// One cluster.
    Cluster(Destination),
    /// One of several, by weight.
    Weighted {
        /// Each with its weight.
        clusters: Box<[(u32, Destination)]>,
        /// Sum of the weights.
        total: u64,
    },
}

/// A cluster, and the subset of it.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Cluster name.
    pub cluster: Arc<str>,
    /// `metadata_match[envoy.lb]`, sorted by key, merged with the weighted cluster's own.
    pub metadata_match: Option<Arc<Fields>>,
}

pub(crate) mod proto;
