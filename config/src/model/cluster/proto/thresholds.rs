//! `circuit_breakers`.

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::core::v3::RoutingPriority;
use pb::circuit_breakers::Thresholds;

use crate::model::cluster::CircuitBreakers;
use crate::reject::{Context, Rejection, immaterial};

/// The thresholds of the default priority; `None` where all are Envoy's defaults.
pub(super) fn circuit_breakers(
    cx: &mut Context,
    pb::CircuitBreakers { thresholds, per_host_thresholds }: pb::CircuitBreakers,
) -> Result<Option<CircuitBreakers>, Rejection> {
    let mut found: Option<CircuitBreakers> = None;
    for (i, thresholds) in thresholds.into_iter().enumerate() {
        let (priority, breakers) = cx.item("thresholds", i, |cx| one(cx, thresholds))?;
        // Envoy takes the first of a priority; TCP has the default priority only.
        if priority == RoutingPriority::Default {
            found.get_or_insert(breakers);
        }
    }
    let mut breakers = found.unwrap_or_default();
    for (i, thresholds) in per_host_thresholds.into_iter().enumerate() {
        let (priority, max) = cx.item("per_host_thresholds", i, |cx| per_host(cx, thresholds))?;
        if priority == RoutingPriority::Default && breakers.per_host_max_connections.is_none() {
            breakers.per_host_max_connections = max;
        }
    }
    Ok((breakers != CircuitBreakers::default()).then_some(breakers))
}

fn one(cx: &Context, thresholds: Thresholds) -> Result<(RoutingPriority, CircuitBreakers), Rejection> {
    let Thresholds {
        priority,
        max_connections,
        max_pending_requests,
        max_requests,
        max_retries,
        retry_budget,
        track_remaining,
        max_connection_pools,
    } = thresholds;
    immaterial(retry_budget, "a budget of HTTP retries");
    let default = CircuitBreakers::default();
    let breakers = CircuitBreakers {
        max_connections: max_connections.map_or(default.max_connections, |w| w.value),
        max_pending: max_pending_requests.map_or(default.max_pending, |w| w.value),
        max_requests: max_requests.map_or(default.max_requests, |w| w.value),
        max_retries: max_retries.map_or(default.max_retries, |w| w.value),
        max_connection_pools: max_connection_pools.map(|w| w.value),
        track_remaining,
        per_host_max_connections: None,
    };
    Ok((cx.variant("priority", priority)?, breakers))
}

fn per_host(cx: &Context, thresholds: Thresholds) -> Result<(RoutingPriority, Option<u32>), Rejection> {
    let Thresholds {
        priority,
        max_connections,
        max_pending_requests,
        max_requests,
        max_retries,
        retry_budget,
        track_remaining,
        max_connection_pools,
    } = thresholds;
    immaterial(track_remaining, "no gauge is kept by host");
    let other = max_pending_requests.is_some()
        || max_requests.is_some()
        || max_retries.is_some()
        || retry_budget.is_some()
        || max_connection_pools.is_some();
    if other {
        return Err(cx.reject("", "per_host_thresholds may set max_connections only"));
    }
    Ok((cx.variant("priority", priority)?, max_connections.map(|w| w.value)))
}
