//! `load_balancing_policy`: the same options as extensions.

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::load_balancing_policies as policies;
use policies::common::v3 as common;

use super::{SlowStart, balance_factor, least_request, maglev, ring_hash, slow_start_of, zone_aware};
use crate::model::cluster::{HashFunction, LbCommon, LbPolicy};
use crate::model::extension;
use crate::reject::{Context, Rejection};

/// The first policy of the list that is known, as Envoy takes it.
pub(super) fn policy(
    cx: &mut Context,
    pb::LoadBalancingPolicy { policies }: pb::LoadBalancingPolicy,
    common: &mut LbCommon,
) -> Result<LbPolicy, Rejection> {
    let mut names = Vec::new();
    for (i, pb::load_balancing_policy::Policy { typed_extension_config }) in policies.into_iter().enumerate() {
        let Some(core::TypedExtensionConfig { name, typed_config }) = typed_extension_config else { continue };
        let found = cx.item("policies", i, |cx| {
            cx.at("typed_extension_config", |cx| {
                let (type_name, body) = extension::required(cx, &name, typed_config)?;
                cx.at("typed_config", |cx| one_typed(cx, &type_name, &body, common))
            })
        })?;
        match found {
            Some(policy) => return Ok(policy),
            None => names.push(name),
        }
    }
    let names = names.join(", ");
    Err(cx.reject("policies", format!("didn't find a registered load balancer factory among [{names}]")))
}

fn one_typed(
    cx: &mut Context,
    type_name: &str,
    body: &[u8],
    common: &mut LbCommon,
) -> Result<Option<LbPolicy>, Rejection> {
    let Some(policy) = type_name.strip_prefix("envoy.extensions.load_balancing_policies.") else { return Ok(None) };
    Ok(Some(match policy {
        "round_robin.v3.RoundRobin" => {
            let policies::round_robin::v3::RoundRobin { slow_start_config, locality_lb_config } = cx.decode(body)?;
            common.slow_start = typed_slow_start(cx, slow_start_config)?;
            locality(cx, locality_lb_config, common)?;
            LbPolicy::RoundRobin
        }
        "least_request.v3.LeastRequest" => {
            let policies::least_request::v3::LeastRequest {
                choice_count,
                active_request_bias,
                slow_start_config,
                locality_lb_config,
                enable_full_scan,
                selection_method,
            } = cx.decode(body)?;
            cx.ignore("enable_full_scan", &enable_full_scan.filter(|f| f.value), "hosts are sampled");
            cx.ignore("selection_method", &selection_method, "hosts are sampled");
            common.slow_start = typed_slow_start(cx, slow_start_config)?;
            locality(cx, locality_lb_config, common)?;
            least_request(cx, choice_count, active_request_bias)?
        }
        "random.v3.Random" => {
            let policies::random::v3::Random { locality_lb_config } = cx.decode(body)?;
            locality(cx, locality_lb_config, common)?;
            LbPolicy::Random
        }
        "ring_hash.v3.RingHash" => {
            let config = cx.decode(body)?;
            typed_ring_hash(cx, config, common)?
        }
        "maglev.v3.Maglev" => {
            let policies::maglev::v3::Maglev { table_size, consistent_hashing_lb_config, locality_weighted_lb_config } =
                cx.decode(body)?;
            consistent(cx, consistent_hashing_lb_config, common)?;
            common.locality_weighted = locality_weighted_lb_config.is_some();
            maglev(cx, table_size)?
        }
        _ => return Ok(None),
    }))
}

fn typed_ring_hash(
    cx: &mut Context,
    config: policies::ring_hash::v3::RingHash,
    common: &mut LbCommon,
) -> Result<LbPolicy, Rejection> {
    use policies::ring_hash::v3::ring_hash::HashFunction as Function;
    let policies::ring_hash::v3::RingHash {
        hash_function,
        minimum_ring_size,
        maximum_ring_size,
        use_hostname_for_hashing,
        hash_balance_factor,
        consistent_hashing_lb_config,
        locality_weighted_lb_config,
    } = config;
    common.hash_by_hostname = use_hostname_for_hashing;
    balance_factor(cx, hash_balance_factor)?;
    consistent(cx, consistent_hashing_lb_config, common)?;
    common.locality_weighted = locality_weighted_lb_config.is_some();
    if minimum_ring_size.as_ref().is_some_and(|w| w.value == 0) {
        return Err(cx.reject("minimum_ring_size", "value must be greater than or equal to 1"));
    }
    let function = match cx.variant("hash_function", hash_function)? {
        Function::DefaultHash | Function::XxHash => HashFunction::XxHash,
        Function::MurmurHash2 => HashFunction::MurmurHash2,
    };
    ring_hash(cx, minimum_ring_size, maximum_ring_size, function)
}

fn consistent(
    cx: &mut Context,
    config: Option<common::ConsistentHashingLbConfig>,
    into: &mut LbCommon,
) -> Result<(), Rejection> {
    let Some(common::ConsistentHashingLbConfig { use_hostname_for_hashing, hash_balance_factor, hash_policy }) = config
    else {
        return Ok(());
    };
    cx.at("consistent_hashing_lb_config", |cx| {
        into.hash_by_hostname |= use_hostname_for_hashing;
        cx.ignore("hash_policy", &hash_policy, "requests are hashed as their route says");
        balance_factor(cx, hash_balance_factor)
    })
}

fn locality(cx: &mut Context, config: Option<common::LocalityLbConfig>, into: &mut LbCommon) -> Result<(), Rejection> {
    use common::locality_lb_config::{
        LocalityConfigSpecifier as Specifier, LocalityWeightedLbConfig, ZoneAwareLbConfig,
    };
    match config.and_then(|common::LocalityLbConfig { locality_config_specifier }| locality_config_specifier) {
        None => {}
        Some(Specifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig {})) => into.locality_weighted = true,
        Some(Specifier::ZoneAwareLbConfig(config)) => {
            let ZoneAwareLbConfig {
                routing_enabled,
                min_cluster_size,
                fail_traffic_on_panic,
                force_locality_direct_routing,
                force_local_zone,
                locality_basis,
            } = config;
            into.fail_traffic_on_panic = fail_traffic_on_panic;
            into.zone_aware = cx.at("locality_lb_config", |cx| {
                cx.at("zone_aware_lb_config", |cx| {
                    cx.ignore("force_locality_direct_routing", &force_locality_direct_routing, "routing by load");
                    cx.ignore("force_local_zone", &force_local_zone, "routing by load");
                    cx.ignore("locality_basis", &locality_basis, "localities are weighed by number of hosts");
                    zone_aware(cx, routing_enabled, min_cluster_size)
                })
            })?;
        }
    }
    Ok(())
}

fn typed_slow_start(cx: &mut Context, config: Option<common::SlowStartConfig>) -> Result<SlowStart, Rejection> {
    let Some(common::SlowStartConfig { slow_start_window, aggression, min_weight_percent }) = config else {
        return Ok(None);
    };
    slow_start_of(cx, slow_start_window, aggression, min_weight_percent)
}
