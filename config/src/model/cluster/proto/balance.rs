//! `lb_policy` with its options, `common_lb_config`; `load_balancing_policy` is in [`typed`].

mod typed;

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf;
use pb::cluster::common_lb_config::{
    ConsistentHashingLbConfig, LocalityConfigSpecifier, LocalityWeightedLbConfig, ZoneAwareLbConfig,
};
use pb::cluster::{
    CommonLbConfig, LbConfig, LbPolicy as Policy, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig,
    RoundRobinLbConfig, SlowStartConfig,
};

use crate::model::cluster::{HashFunction, LbCommon, LbPolicy, RingHash};
use crate::reject::{Context, Rejection, immaterial};

/// Both bound and default of `maximum_ring_size`.
const MAX_RING: u64 = 8 * 1024 * 1024;
const MIN_RING: u64 = 1024;
const MAGLEV_TABLE: u64 = 65_537;
const MAX_MAGLEV_TABLE: u64 = 5_000_011;
/// Envoy's defaults of `zone_aware_lb_config`.
const ZONE_AWARE: (f64, u64) = (100.0, 6);

const NO_BOUND: &str = "load is not bounded";

/// The fields of a cluster that choose its balancer.
pub(super) struct Fields {
    pub(super) lb_policy: i32,
    pub(super) lb_config: Option<LbConfig>,
    pub(super) load_balancing_policy: Option<pb::LoadBalancingPolicy>,
    pub(super) common_lb_config: Option<CommonLbConfig>,
}

/// The balancer and what is common to all.
pub(super) fn balance(cx: &mut Context, fields: Fields, subsets: bool) -> Result<(LbPolicy, LbCommon), Rejection> {
    let Fields { lb_policy, lb_config, load_balancing_policy, common_lb_config } = fields;
    let policy: Policy = cx.variant("lb_policy", lb_policy)?;
    let mut common = match common_lb_config {
        None => LbCommon::default(),
        Some(ref config) if load_balancing_policy.is_some() && has_partial(config) => {
            return Err(cx.reject(
                "load_balancing_policy",
                "cannot be combined with zone_aware_lb_config, locality_weighted_lb_config or \
                 consistent_hashing_lb_config of common_lb_config",
            ));
        }
        Some(config) => cx.at("common_lb_config", |cx| self::common(cx, config))?,
    };
    let lb = match (load_balancing_policy, policy) {
        (Some(_), _) if subsets => {
            return Err(cx.reject("load_balancing_policy", "cannot be combined with lb_subset_config"));
        }
        (Some(typed), _) => cx.at("load_balancing_policy", |cx| typed::policy(cx, typed, &mut common))?,
        (None, Policy::LoadBalancingPolicyConfig) => {
            return Err(cx.reject("load_balancing_policy", "value is required"));
        }
        // Whoever has no endpoints here needs no balancer.
        (None, Policy::ClusterProvided) => LbPolicy::RoundRobin,
        (None, policy) => plain(cx, policy, lb_config, &mut common)?,
    };
    Ok((lb, common))
}

fn has_partial(config: &CommonLbConfig) -> bool {
    config.locality_config_specifier.is_some() || config.consistent_hashing_lb_config.is_some()
}

fn plain(
    cx: &mut Context,
    policy: Policy,
    config: Option<LbConfig>,
    common: &mut LbCommon,
) -> Result<LbPolicy, Rejection> {
    if let Some(config) = &config {
        bounds(cx, config)?;
    }
    match (policy, config) {
        (Policy::RoundRobin, Some(LbConfig::RoundRobinLbConfig(RoundRobinLbConfig { slow_start_config }))) => {
            common.slow_start = cx.at("round_robin_lb_config", |cx| self::slow_start(cx, slow_start_config))?;
            Ok(LbPolicy::RoundRobin)
        }
        (Policy::RoundRobin, _) => Ok(LbPolicy::RoundRobin),
        (Policy::LeastRequest, Some(LbConfig::LeastRequestLbConfig(config))) => {
            cx.at("least_request_lb_config", |cx| {
                let LeastRequestLbConfig { choice_count, active_request_bias, slow_start_config } = config;
                common.slow_start = self::slow_start(cx, slow_start_config)?;
                least_request(cx, choice_count, active_request_bias)
            })
        }
        (Policy::LeastRequest, _) => least_request(cx, None, None),
        (Policy::RingHash, Some(LbConfig::RingHashLbConfig(config))) => cx.at("ring_hash_lb_config", |cx| {
            let RingHashLbConfig { minimum_ring_size, hash_function, maximum_ring_size } = config;
            let function = match cx.variant("hash_function", hash_function)? {
                pb::cluster::ring_hash_lb_config::HashFunction::XxHash => HashFunction::XxHash,
                pb::cluster::ring_hash_lb_config::HashFunction::MurmurHash2 => HashFunction::MurmurHash2,
            };
            ring_hash(cx, minimum_ring_size, maximum_ring_size, function)
        }),
        (Policy::RingHash, _) => ring_hash(cx, None, None, HashFunction::XxHash),
        (Policy::Maglev, Some(LbConfig::MaglevLbConfig(MaglevLbConfig { table_size }))) => {
            cx.at("maglev_lb_config", |cx| maglev(cx, table_size))
        }
        (Policy::Maglev, _) => maglev(cx, None),
        (Policy::Random, _) => Ok(LbPolicy::Random),
        (Policy::ClusterProvided | Policy::LoadBalancingPolicyConfig, _) => {
            Err(cx.reject("lb_policy", "not a policy by itself"))
        }
    }
}

/// Envoy reads the options of the policy in use only, but bounds whichever are there.
fn bounds(cx: &mut Context, config: &LbConfig) -> Result<(), Rejection> {
    match config {
        LbConfig::LeastRequestLbConfig(c) if c.choice_count.as_ref().is_some_and(|w| w.value < 2) => {
            let reason = "value must be greater than or equal to 2";
            Err(cx.at("least_request_lb_config", |cx| cx.reject("choice_count", reason)))
        }
        LbConfig::OriginalDstLbConfig(c) if c.upstream_port_override.as_ref().is_some_and(|w| w.value > 65_535) => {
            let reason = "value must be less than or equal to 65535";
            Err(cx.at("original_dst_lb_config", |cx| cx.reject("upstream_port_override", reason)))
        }
        LbConfig::RingHashLbConfig(RingHashLbConfig { minimum_ring_size, maximum_ring_size, .. }) => {
            cx.at("ring_hash_lb_config", |cx| {
                ring_size(cx, "minimum_ring_size", minimum_ring_size.as_ref(), MIN_RING)?;
                ring_size(cx, "maximum_ring_size", maximum_ring_size.as_ref(), MAX_RING).map(|_| ())
            })
        }
        LbConfig::MaglevLbConfig(c) if c.table_size.as_ref().is_some_and(|w| w.value > MAX_MAGLEV_TABLE) => {
            let reason = "value must be less than or equal to 5000011";
            Err(cx.at("maglev_lb_config", |cx| cx.reject("table_size", reason)))
        }
        _ => Ok(()),
    }
}

fn least_request(
    cx: &Context,
    choice_count: Option<protobuf::UInt32Value>,
    bias: Option<core::RuntimeDouble>,
) -> Result<LbPolicy, Rejection> {
    let choices = choice_count.map_or(2, |w| w.value);
    if choices < 2 {
        return Err(cx.reject("choice_count", "value must be greater than or equal to 2"));
    }
    Ok(LbPolicy::LeastRequest { choices, bias: runtime_double(bias, 1.0).max(0.0) })
}

fn runtime_double(value: Option<core::RuntimeDouble>, default: f64) -> f64 {
    match value {
        None => default,
        Some(core::RuntimeDouble { default_value, runtime_key }) => {
            immaterial(runtime_key, "no runtime layer is applied, so that the default holds");
            default_value
        }
    }
}

fn ring_hash(
    cx: &Context,
    minimum: Option<protobuf::UInt64Value>,
    maximum: Option<protobuf::UInt64Value>,
    function: HashFunction,
) -> Result<LbPolicy, Rejection> {
    let minimum_size = ring_size(cx, "minimum_ring_size", minimum.as_ref(), MIN_RING)?;
    let maximum_size = ring_size(cx, "maximum_ring_size", maximum.as_ref(), MAX_RING)?;
    if minimum_size > maximum_size {
        return Err(cx.reject(
            "minimum_ring_size",
            format!("ring hash: minimum_ring_size ({minimum_size}) > maximum_ring_size ({maximum_size})"),
        ));
    }
    Ok(LbPolicy::RingHash(RingHash { minimum_size, maximum_size, function }))
}

fn ring_size(cx: &Context, field: &str, size: Option<&protobuf::UInt64Value>, default: u64) -> Result<u64, Rejection> {
    match size.map_or(default, |w| w.value) {
        size @ 0..=MAX_RING => Ok(size),
        _ => Err(cx.reject(field, "value must be less than or equal to 8388608")),
    }
}

fn maglev(cx: &Context, table_size: Option<protobuf::UInt64Value>) -> Result<LbPolicy, Rejection> {
    let table_size = table_size.map_or(MAGLEV_TABLE, |w| w.value);
    if table_size > MAX_MAGLEV_TABLE {
        return Err(cx.reject("table_size", "value must be less than or equal to 5000011"));
    }
    let prime = table_size > 0 && (2..).take_while(|d| d * d <= table_size).all(|d| !table_size.is_multiple_of(d));
    if !prime {
        return Err(cx.reject("table_size", "the table size of maglev must be prime number"));
    }
    Ok(LbPolicy::Maglev { table_size })
}

/// Window, aggression, least weight in percent.
type SlowStart = Option<(Duration, f64, f64)>;

fn slow_start(cx: &mut Context, config: Option<SlowStartConfig>) -> Result<SlowStart, Rejection> {
    let Some(SlowStartConfig { slow_start_window, aggression, min_weight_percent }) = config else { return Ok(None) };
    slow_start_of(cx, slow_start_window, aggression, min_weight_percent)
}

fn slow_start_of(
    cx: &mut Context,
    window: Option<protobuf::Duration>,
    aggression: Option<core::RuntimeDouble>,
    least: Option<Percent>,
) -> Result<SlowStart, Rejection> {
    cx.at("slow_start_config", |cx| {
        let Some(window) = cx.duration("slow_start_window", window)? else { return Ok(None) };
        // As in Envoy, what makes no sense is the default.
        let aggression = Some(runtime_double(aggression, 1.0)).filter(|a| *a > 0.0).unwrap_or(1.0);
        let least = cx.percent("min_weight_percent", least.map_or(10.0, |p| p.value))?;
        Ok((!window.is_zero()).then_some((window, aggression, least)))
    })
}

fn common(cx: &mut Context, config: CommonLbConfig) -> Result<LbCommon, Rejection> {
    let CommonLbConfig {
        healthy_panic_threshold,
        update_merge_window,
        ignore_new_hosts_until_first_hc,
        close_connections_on_host_set_change,
        consistent_hashing_lb_config,
        override_host_status,
        locality_config_specifier,
    } = config;
    immaterial(update_merge_window, "an update of hosts costs what changed, so that none waits for the next");
    immaterial(override_host_status, "for stateful sessions of HTTP");
    let mut common =
        LbCommon { ignore_new_hosts_until_first_hc, close_connections_on_host_set_change, ..LbCommon::default() };
    if let Some(Percent { value }) = healthy_panic_threshold {
        common.healthy_panic_threshold = cx.at("healthy_panic_threshold", |cx| cx.percent("value", value))?;
    }
    if let Some(ConsistentHashingLbConfig { use_hostname_for_hashing, hash_balance_factor }) =
        consistent_hashing_lb_config
    {
        cx.at("consistent_hashing_lb_config", |cx| {
            common.hash_by_hostname = use_hostname_for_hashing;
            balance_factor(cx, hash_balance_factor)
        })?;
    }
    match locality_config_specifier {
        None => {}
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig {})) => {
            common.locality_weighted = true;
        }
        Some(LocalityConfigSpecifier::ZoneAwareLbConfig(config)) => {
            let ZoneAwareLbConfig { routing_enabled, min_cluster_size, fail_traffic_on_panic } = config;
            common.fail_traffic_on_panic = fail_traffic_on_panic;
            common.zone_aware =
                cx.at("zone_aware_lb_config", |cx| zone_aware(cx, routing_enabled, min_cluster_size))?;
        }
    }
    Ok(common)
}

fn balance_factor(cx: &mut Context, factor: Option<protobuf::UInt32Value>) -> Result<(), Rejection> {
    if factor.as_ref().is_some_and(|f| f.value < 100) {
        return Err(cx.reject("hash_balance_factor", "value must be greater than or equal to 100"));
    }
    cx.ignore("hash_balance_factor", &factor, NO_BOUND);
    Ok(())
}

fn zone_aware(
    cx: &mut Context,
    enabled: Option<Percent>,
    size: Option<protobuf::UInt64Value>,
) -> Result<Option<(f64, u64)>, Rejection> {
    if enabled.is_none() && size.is_none() {
        return Ok(None);
    }
    let enabled = cx.percent("routing_enabled", enabled.map_or(ZONE_AWARE.0, |p| p.value))?;
    Ok(Some((enabled, size.map_or(ZONE_AWARE.1, |w| w.value))))
}
