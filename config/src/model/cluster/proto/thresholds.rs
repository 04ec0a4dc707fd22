//! `circuit_breakers`.

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::core::v3::RoutingPriority;
use pb::circuit_breakers::Thresholds as PbThresholds;
use pb::circuit_breakers::thresholds::RetryBudget as PbRetryBudget;

use crate::model::cluster::{CircuitBreakers, RetryBudget, Thresholds};
use crate::reject::{Context, Rejection, immaterial};

/// The thresholds by priority; `None` where all are Envoy's defaults.
pub(super) fn circuit_breakers(
    cx: &mut Context,
    pb::CircuitBreakers { thresholds, per_host_thresholds }: pb::CircuitBreakers,
) -> Result<Option<CircuitBreakers>, Rejection> {
    let mut found: [Option<Thresholds>; 2] = [None; 2];
    for (i, thresholds) in thresholds.into_iter().enumerate() {
        let (priority, thresholds) = cx.item("thresholds", i, |cx| one(cx, thresholds))?;
        // Envoy takes the first of a priority.
        found[priority as usize].get_or_insert(thresholds);
    }
    let [default, high] = found.map(Option::unwrap_or_default);
    let mut breakers = CircuitBreakers { default, high };
    for (i, thresholds) in per_host_thresholds.into_iter().enumerate() {
        let (priority, max) = cx.item("per_host_thresholds", i, |cx| per_host(cx, thresholds))?;
        let thresholds = match priority {
            RoutingPriority::Default => &mut breakers.default,
            RoutingPriority::High => &mut breakers.high,
        };
        thresholds.per_host_max_connections = thresholds.per_host_max_connections.or(max);
    }
    Ok((breakers != CircuitBreakers::default()).then_some(breakers))
}

fn one(cx: &mut Context, thresholds: PbThresholds) -> Result<(RoutingPriority, Thresholds), Rejection> {
    let PbThresholds {
        priority,
        max_connections,
        max_pending_requests,
        max_requests,
        max_retries,
        retry_budget,
        track_remaining,
        max_connection_pools,
    } = thresholds;
    let default = Thresholds::default();
    let thresholds = Thresholds {
        max_connections: max_connections.map_or(default.max_connections, |w| w.value),
        max_pending: max_pending_requests.map_or(default.max_pending, |w| w.value),
        max_requests: max_requests.map_or(default.max_requests, |w| w.value),
        max_retries: max_retries.map_or(default.max_retries, |w| w.value),
        retry_budget: match retry_budget {
            None => None,
            Some(budget) => Some(cx.at("retry_budget", |cx| self::budget(cx, budget))?),
        },
        max_connection_pools: max_connection_pools.map(|w| w.value),
        track_remaining,
        per_host_max_connections: None,
    };
    Ok((cx.variant("priority", priority)?, thresholds))
}

fn budget(cx: &mut Context, budget: PbRetryBudget) -> Result<RetryBudget, Rejection> {
    let PbRetryBudget { budget_percent, min_retry_concurrency, budget_interval } = budget;
    cx.ignore("budget_interval", &budget_interval, "the budget counts the requests of the moment");
    let percent = match budget_percent {
        None => 20.0,
        Some(percent) => cx.at("budget_percent", |cx| cx.percent("value", percent.value))?,
    };
    Ok(RetryBudget { percent, min_concurrency: min_retry_concurrency.map_or(3, |w| w.value) })
}

fn per_host(cx: &Context, thresholds: PbThresholds) -> Result<(RoutingPriority, Option<u32>), Rejection> {
    let PbThresholds {
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
