//! From `config.endpoint.v3.ClusterLoadAssignment`.
#![allow(deprecated)] // Envoy still honours them

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3 as pb;
use envoy_types::pb::google::protobuf::UInt32Value;
use pb::cluster_load_assignment::Policy;
use pb::endpoint::{AdditionalAddress, HealthCheckConfig};
use pb::lb_endpoint::HostIdentifier;
use pb::locality_lb_endpoints::{LbConfig, LbEndpointList};

use super::{Assignment, Endpoint, Health, HealthCheckOverride, Locality, LocalityEndpoints};
use crate::model::address::{Address, Target, proto as address};
use crate::model::metadata::proto::{Interner, metadata};
use crate::reject::{Context, Rejection, immaterial};

/// `overprovisioning_factor` where none is given.
const OVERPROVISIONING: u32 = 140;
/// `LocalityLbEndpoints.priority`, at most.
const MAX_PRIORITY: u32 = 128;

/// Whether names may stand in the place of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// STRICT_DNS, LOGICAL_DNS.
    Resolved,
    /// STATIC, EDS.
    Refused,
}

/// What is shared by all parts of one assignment.
pub(crate) struct Parts<'a> {
    /// Equal metadata and strings.
    pub(crate) interner: &'a mut Interner,
    /// Equal localities.
    pub(crate) localities: HashMap<Locality, Arc<Locality>>,
    /// Names or addresses.
    pub(crate) names: Names,
}

/// The name and the endpoints of a ClusterLoadAssignment.
pub(crate) fn assignment(
    cx: &mut Context,
    interner: &mut Interner,
    names: Names,
    assignment: pb::ClusterLoadAssignment,
) -> Result<(String, Assignment), Rejection> {
    let pb::ClusterLoadAssignment { cluster_name, endpoints, named_endpoints, policy } = assignment;
    cx.not_empty("cluster_name", &cluster_name)?;
    immaterial(named_endpoints, "not implemented by Envoy either, which hides the field");
    let mut parts = Parts { interner, localities: HashMap::new(), names };
    let localities = cx.each("endpoints", endpoints, |cx, l| locality(cx, &mut parts, l))?;
    check_weights(cx, &localities)?;
    let policy = cx.at("policy", |cx| self::policy(cx, policy.unwrap_or_default()))?;
    let (overprovisioning_factor, weighted_priority_health) = policy;
    Ok((cluster_name, Assignment { localities, overprovisioning_factor, weighted_priority_health }))
}

fn policy(cx: &mut Context, policy: Policy) -> Result<(u32, bool), Rejection> {
    let Policy { drop_overloads, overprovisioning_factor, endpoint_stale_after, weighted_priority_health } = policy;
    cx.ignore("drop_overloads", &drop_overloads, "no share of the connections is dropped");
    cx.ignore("endpoint_stale_after", &endpoint_stale_after, "endpoints stay in use until the next assignment");
    let factor = match overprovisioning_factor {
        None => OVERPROVISIONING,
        Some(UInt32Value { value: 0 }) => {
            return Err(cx.reject("overprovisioning_factor", "value must be greater than 0"));
        }
        Some(UInt32Value { value }) => value,
    };
    Ok((factor, weighted_priority_health))
}

/// The API's bound of weights: their sums fit 32 bits.
fn check_weights(cx: &Context, localities: &[LocalityEndpoints]) -> Result<(), Rejection> {
    let fits = |sum: u64| u32::try_from(sum).is_ok();
    let mut priorities: HashMap<u32, u64> = HashMap::new();
    for locality in localities {
        let sum = priorities.entry(locality.priority).or_default();
        *sum += u64::from(locality.weight.unwrap_or(0));
        if !fits(*sum) || !fits(locality.endpoints.iter().map(|e| u64::from(e.weight)).sum()) {
            return Err(cx.reject("endpoints", "the sum of weights of one priority or locality exceeds 4294967295"));
        }
    }
    Ok(())
}

fn locality(
    cx: &mut Context,
    parts: &mut Parts<'_>,
    endpoints: pb::LocalityLbEndpoints,
) -> Result<LocalityEndpoints, Rejection> {
    let pb::LocalityLbEndpoints {
        locality,
        metadata,
        lb_endpoints,
        load_balancing_weight,
        priority,
        proximity,
        lb_config,
    } = endpoints;
    cx.ignore("metadata", &metadata, "metadata of a locality is not matched");
    immaterial(proximity, "not implemented by Envoy either, which hides the field");
    if priority > MAX_PRIORITY {
        return Err(cx.reject("priority", "value must be less than or equal to 128"));
    }
    let listed = match lb_config {
        None => Vec::new(),
        Some(LbConfig::LoadBalancerEndpoints(LbEndpointList { lb_endpoints })) => lb_endpoints,
        Some(LbConfig::LedsClusterLocalityConfig(_)) => {
            return Err(cx.reject("leds_cluster_locality_config", "endpoints by LEDS are not supported"));
        }
    };
    let (field, lb_endpoints) =
        if listed.is_empty() { ("lb_endpoints", lb_endpoints) } else { ("load_balancer_endpoints", listed) };
    let core::Locality { region, zone, sub_zone } = locality.unwrap_or_default();
    let locality = Locality { region: region.into(), zone: zone.into(), sub_zone: sub_zone.into() };
    let shared = parts.localities.entry(locality).or_insert_with_key(|l| Arc::new(l.clone()));
    Ok(LocalityEndpoints {
        locality: Arc::clone(shared),
        priority,
        weight: weight(cx, load_balancing_weight)?,
        endpoints: cx.each(field, lb_endpoints, |cx, e| endpoint(cx, parts, e))?,
    })
}

fn weight(cx: &Context, weight: Option<UInt32Value>) -> Result<Option<u32>, Rejection> {
    match weight {
        Some(UInt32Value { value: 0 }) => {
            Err(cx.reject("load_balancing_weight", "value must be greater than or equal to 1"))
        }
        weight => Ok(weight.map(|w| w.value)),
    }
}

fn endpoint(cx: &mut Context, parts: &mut Parts<'_>, endpoint: pb::LbEndpoint) -> Result<Endpoint, Rejection> {
    let pb::LbEndpoint { health_status, metadata, load_balancing_weight, host_identifier } = endpoint;
    let endpoint = match cx.required("endpoint", host_identifier)? {
        HostIdentifier::Endpoint(endpoint) => endpoint,
        HostIdentifier::EndpointName(_) => {
            return Err(cx.reject("endpoint_name", "endpoints by name are not supported"));
        }
    };
    let metadata = cx.at("metadata", |cx| self::metadata(cx, parts.interner, metadata))?;
    let weight = weight(cx, load_balancing_weight)?.unwrap_or(1);
    let health = health(cx.variant("health_status", health_status)?);
    cx.at("endpoint", |cx| {
        let pb::Endpoint { address, health_check_config, hostname, additional_addresses, observability_name } =
            endpoint;
        immaterial(observability_name, "a label of per-endpoint statistics, which are named by address here");
        let health_check = match health_check_config {
            None => None,
            Some(config) => cx.at("health_check_config", |cx| self::health_check(cx, config))?,
        };
        let target = cx.at("address", |cx| target(cx, parts, address))?;
        Ok(Endpoint {
            additional_addresses: additional(cx, parts.names, &target, additional_addresses)?,
            target,
            weight,
            health,
            metadata,
            hostname: (!hostname.is_empty()).then(|| parts.interner.string(&hostname)),
            health_check,
        })
    })
}

fn target(cx: &mut Context, parts: &mut Parts<'_>, address: Option<core::Address>) -> Result<Target, Rejection> {
    let address = cx.required("", address)?;
    match parts.names {
        Names::Resolved => address::target(cx, address),
        Names::Refused => address::address(cx, address).map(Target::Address),
    }
}

/// `additional_addresses`. Envoy takes none for clusters that resolve names, whose answers bring several.
fn additional(
    cx: &mut Context,
    names: Names,
    target: &Target,
    additional: Vec<AdditionalAddress>,
) -> Result<Box<[SocketAddr]>, Rejection> {
    const ONLY_IP: &str = "additional_addresses must be IP addresses.";
    if names == Names::Resolved {
        cx.ignore("additional_addresses", &additional, "not used by Envoy either in clusters that resolve names");
        return Ok(Box::default());
    }
    if !additional.is_empty() && !matches!(target, Target::Address(Address::Socket(_))) {
        return Err(cx.reject("additional_addresses", ONLY_IP));
    }
    cx.each("additional_addresses", additional, |cx, AdditionalAddress { address }| {
        let address = cx.required("address", address)?;
        match cx.at("address", |cx| address::address(cx, address))? {
            Address::Socket(address) => Ok(address),
            Address::Pipe { .. } => Err(cx.reject("address", ONLY_IP)),
        }
    })
}

fn health(status: core::HealthStatus) -> Health {
    match status {
        core::HealthStatus::Unknown => Health::Unknown,
        core::HealthStatus::Healthy => Health::Healthy,
        core::HealthStatus::Unhealthy => Health::Unhealthy,
        core::HealthStatus::Draining => Health::Draining,
        core::HealthStatus::Timeout => Health::Timeout,
        core::HealthStatus::Degraded => Health::Degraded,
    }
}

fn health_check(cx: &mut Context, config: HealthCheckConfig) -> Result<Option<Box<HealthCheckOverride>>, Rejection> {
    let HealthCheckConfig { port_value, hostname, address, disable_active_health_check } = config;
    let port = cx.port("port_value", port_value)?;
    let address = match address {
        None => None,
        Some(a) => Some(cx.at("address", |cx| address::address(cx, a))?),
    };
    let found = HealthCheckOverride {
        port: (port != 0).then_some(port),
        address,
        hostname: (!hostname.is_empty()).then(|| hostname.into()),
        disabled: disable_active_health_check,
    };
    Ok((found != HealthCheckOverride::default()).then(|| Box::new(found)))
}

#[cfg(test)]
mod tests;
