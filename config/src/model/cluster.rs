//! An upstream cluster (`envoy.config.cluster.v3.Cluster`).

use std::sync::Arc;
use std::time::Duration;

use super::endpoint::Assignment;
use super::metadata::{Fields, Metadata};

/// A cluster as configured; its endpoints are joined to it in the snapshot.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Resource name.
    pub name: Arc<str>,
    /// Name in metrics: `alt_stat_name` or the name, `:` replaced by `_` as Envoy does. The same `Arc` as `name` where equal.
    pub stat_name: Arc<str>,
    /// Where the endpoints come from.
    pub discovery: Discovery,
    /// Time for one TCP connect; Envoy's default is 5 s.
    pub connect_timeout: Duration,
    /// How an endpoint is chosen.
    pub lb: LbPolicy,
    /// `common_lb_config` and all else that few clusters set.
    pub lb_common: Option<Box<LbCommon>>,
    /// `lb_subset_config`.
    pub subsets: Option<Box<Subsets>>,
    /// `circuit_breakers`; `None`: Envoy's defaults (1024, 1024, 1024, 3).
    pub circuit_breakers: Option<Box<CircuitBreakers>>,
    /// `outlier_detection`.
    pub outlier_detection: Option<Box<OutlierDetection>>,
    /// `health_checks`.
    pub health_checks: Box<[HealthCheck]>,
    /// How bytes go on to the endpoint, where none of `transport_matches` matches.
    pub transport: Transport,
    /// `transport_socket_matches`, in order.
    pub transport_matches: Box<[TransportMatch]>,
    /// `typed_extension_protocol_options[HttpProtocolOptions]`; of no concern to L4. `None`: HTTP/1, Envoy's defaults.
    pub http: Option<Box<HttpOptions>>,
    /// `metadata`, which logs and spans may tell.
    pub metadata: Option<Arc<Metadata>>,
    /// `track_cluster_stats`.
    pub track: TrackStats,
    /// `upstream_bind_config`, `upstream_connection_options` and the like.
    pub socket: Option<Box<SocketOptions>>,
    /// `per_connection_buffer_limit_bytes`; Envoy's default is 1 MiB.
    pub buffer_limit: u32,
}

/// Where endpoints come from.
#[derive(Clone, Debug)]
pub enum Discovery {
    /// `type: STATIC`; addresses are in the cluster.
    Static(Arc<Assignment>),
    /// `type: STRICT_DNS` (every address of every name is an endpoint) or `LOGICAL_DNS` (`logical`: all addresses are
    /// those of one endpoint).
    Dns {
        /// Names and ports to resolve.
        assignment: Arc<Assignment>,
        /// How to resolve.
        dns: Box<Dns>,
    },
    /// `type: EDS`; the assignment's name is `service_name` or the cluster's name.
    Eds {
        /// Name of the ClusterLoadAssignment.
        service_name: Arc<str>,
        /// How long the cluster stays warming without an assignment (`initial_fetch_timeout`; default 15 s, zero: for ever).
        initial_fetch_timeout: Duration,
    },
}

/// How names are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// LOGICAL_DNS instead of STRICT_DNS.
    pub logical: bool,
    /// `dns_lookup_family`.
    pub family: DnsFamily,
    /// `dns_refresh_rate`; Envoy's default is 5 s.
    pub refresh_rate: Duration,
    /// `respect_dns_ttl`: re-resolve at the TTL instead of at the rate.
    pub respect_ttl: bool,
    /// `dns_min_refresh_rate`: a TTL below counts as this; zero without.
    pub min_refresh: Duration,
    /// `dns_jitter`: up to this much later after a success, at random.
    pub jitter: Duration,
    /// `dns_failure_refresh_rate` (base, max).
    pub failure_refresh: Option<(Duration, Duration)>,
}

/// `Cluster.DnsLookupFamily`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsFamily {
    /// IPv6 first, else IPv4 (Envoy's default).
    Auto,
    /// IPv4 only.
    V4Only,
    /// IPv6 only.
    V6Only,
    /// IPv4 first, else IPv6.
    V4Preferred,
    /// Both.
    All,
}

/// `lb_policy`, with its own options.
#[derive(Clone, Debug, PartialEq)]
pub enum LbPolicy {
    /// ROUND_ROBIN (weighted).
    RoundRobin,
    /// LEAST_REQUEST: best of `choices` by active connections, weight / (active + 1)^bias where weights differ.
    LeastRequest {
        /// Envoy's default is 2.
        choices: u32,
        /// Envoy's default is 1.0.
        bias: f64,
    },
    /// RING_HASH.
    RingHash(RingHash),
    /// RANDOM.
    Random,
    /// MAGLEV with its table size (a prime; Envoy's default is 65537).
    Maglev {
        /// Entries.
        table_size: u64,
    },
}

/// `ring_hash_lb_config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingHash {
    /// Envoy's default is 1024.
    pub minimum_size: u64,
    /// Envoy's default (and bound) is 8 Mi.
    pub maximum_size: u64,
    /// The hash of a host's name on the ring.
    pub function: HashFunction,
}

/// `RingHashLbConfig.HashFunction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashFunction {
    /// XX_HASH (xxHash64, seed 0 as Envoy).
    XxHash,
    /// MURMUR_HASH_2.
    MurmurHash2,
}

/// `common_lb_config`.
#[derive(Clone, Debug, PartialEq)]
pub struct LbCommon {
    /// Percent of healthy hosts below which all are used; Envoy's default is 50, 0 turns it off.
    pub healthy_panic_threshold: f64,
    /// Weights of localities count (`locality_weighted_lb_config`).
    pub locality_weighted: bool,
    /// `zone_aware_lb_config.fail_traffic_on_panic`.
    pub fail_traffic_on_panic: bool,
    /// `close_connections_on_host_set_change`.
    pub close_connections_on_host_set_change: bool,
    /// `ignore_new_hosts_until_first_hc`.
    pub ignore_new_hosts_until_first_hc: bool,
    /// `zone_aware_lb_config`: (routing enabled percent, minimum cluster size); `None`: Envoy's defaults (100, 6).
    pub zone_aware: Option<(f64, u64)>,
    /// `use_hostname_for_hashing`: names of endpoints stand on the ring or in the table instead of addresses.
    pub hash_by_hostname: bool,
    /// `slow_start_config` of the policy (window, aggression, min weight percent).
    pub slow_start: Option<(Duration, f64, f64)>,
}

impl Default for LbCommon {
    fn default() -> Self {
        Self {
            healthy_panic_threshold: 50.0,
            locality_weighted: false,
            fail_traffic_on_panic: false,
            close_connections_on_host_set_change: false,
            ignore_new_hosts_until_first_hc: false,
            zone_aware: None,
            hash_by_hostname: false,
            slow_start: None,
        }
    }
}

/// `lb_subset_config`.
#[derive(Clone, Debug, PartialEq)]
pub struct Subsets {
    /// What to do when no subset matches.
    pub fallback: SubsetFallback,
    /// `default_subset`, used by `DEFAULT_SUBSET`.
    pub default_subset: Fields,
    /// The sets of keys by which hosts are divided.
    pub selectors: Box<[SubsetSelector]>,
    /// `locality_weight_aware`.
    pub locality_weight_aware: bool,
    /// `scale_locality_weight`.
    pub scale_locality_weight: bool,
    /// `panic_mode_any`.
    pub panic_mode_any: bool,
    /// `list_as_any`: a list value in host metadata matches any of its members.
    pub list_as_any: bool,
}

/// One selector.
#[derive(Clone, Debug, PartialEq)]
pub struct SubsetSelector {
    /// Keys, sorted.
    pub keys: Box<[Arc<str>]>,
    /// Overrides the cluster's fallback for matches with exactly these keys; `None`: `NOT_DEFINED`.
    pub fallback: Option<SubsetFallback>,
    /// `fallback_keys_subset`, for `KeysSubset`.
    pub fallback_keys: Box<[Arc<str>]>,
    /// `single_host_per_subset`.
    pub single_host: bool,
}

/// `LbSubsetFallbackPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubsetFallback {
    /// No host.
    NoFallback,
    /// Any host of the cluster.
    AnyEndpoint,
    /// Hosts of the default subset.
    DefaultSubset,
    /// Try again with fewer keys (selectors only).
    KeysSubset,
}

/// `outlier_detection`, Envoy's defaults filled in. Percentages are 0..=100.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlierDetection {
    /// Time between sweeps; default 10 s.
    pub interval: Duration,
    /// Default 30 s.
    pub base_ejection_time: Duration,
    /// Default 300 s.
    pub max_ejection_time: Duration,
    /// Default 0.
    pub max_ejection_time_jitter: Duration,
    /// Default 10 percent.
    pub max_ejection_percent: u32,
    /// `always_eject_one_host`; default false.
    pub always_eject_one_host: bool,
    /// Default 5.
    pub consecutive_5xx: u32,
    /// Default 5.
    pub consecutive_gateway_failure: u32,
    /// Default 5.
    pub consecutive_local_origin_failure: u32,
    /// Default 100.
    pub enforcing_consecutive_5xx: u32,
    /// Default 0.
    pub enforcing_consecutive_gateway_failure: u32,
    /// Default 100.
    pub enforcing_consecutive_local_origin_failure: u32,
    /// Default 100.
    pub enforcing_success_rate: u32,
    /// Default 100.
    pub enforcing_local_origin_success_rate: u32,
    /// Default 0.
    pub enforcing_failure_percentage: u32,
    /// Default 0.
    pub enforcing_failure_percentage_local_origin: u32,
    /// Default 5.
    pub success_rate_minimum_hosts: u32,
    /// Default 100.
    pub success_rate_request_volume: u32,
    /// Thousandths; default 1900.
    pub success_rate_stdev_factor: u32,
    /// Default 85.
    pub failure_percentage_threshold: u32,
    /// Default 5.
    pub failure_percentage_minimum_hosts: u32,
    /// Default 50.
    pub failure_percentage_request_volume: u32,
    /// Local-origin events (connect failures) are counted apart from answers.
    pub split_external_local_origin_errors: bool,
    /// `successful_active_health_check_uneject_host`; default true.
    pub successful_check_unejects: bool,
}

mod circuit;
mod health_check;
mod http;
mod transport;

pub use circuit::{CircuitBreakers, Priority, RetryBudget, Thresholds};
pub use health_check::{GrpcProbe, HealthCheck, HttpProbe, Probe, ProbeCodec, ProbeHeader, ProbeHeaderAction};
pub use http::{AutoSni, HttpOptions, TrackStats, UpstreamProtocol};
pub use transport::{ProxyHeader, ProxyVersion, Transport, TransportMatch, takes};

pub(crate) mod proto;
mod socket;

pub use socket::{HappyEyeballs, IpFamily, SocketOptions};
