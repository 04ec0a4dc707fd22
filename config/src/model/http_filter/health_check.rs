//! `envoy.filters.http.health_check`: health checks from outside are answered here.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::http::health_check::v3 as pb;

use super::proto::{Part, run};
use crate::model::metadata::proto::Interner;
use crate::model::route::HeaderMatch;
use crate::model::route::proto::header_matches;
use crate::reject::Context;

/// `HealthCheck`.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// `pass_through_mode`: a check is sent on like any request, unless an answer is remembered.
    pub pass_through: bool,
    /// `cache_time`: how long an answer is remembered; only with `pass_through`.
    pub cache_time: Option<Duration>,
    /// `cluster_min_healthy_percentages`, by name; only without `pass_through`.
    pub min_healthy: Box<[(Arc<str>, f64)]>,
    /// `headers`: what a health check is.
    pub headers: Box<[HeaderMatch]>,
}

pub(super) fn config(cx: &mut Context, interner: &mut Interner, body: &[u8]) -> Part<HealthCheck> {
    let pb::HealthCheck { pass_through_mode, cache_time, cluster_min_healthy_percentages, headers } =
        cx.decode(body)?;
    let pass_through = cx.required("pass_through_mode", pass_through_mode)?.value;
    let cache_time = cx.duration("cache_time", cache_time)?.filter(|time| !time.is_zero());
    if !pass_through && cache_time.is_some() {
        return Err(cx.reject("cache_time", "cache_time_ms must not be set when path_through_mode is disabled"));
    }
    let headers = run!(header_matches(cx, "headers", headers)?);
    let mut min_healthy = Vec::with_capacity(cluster_min_healthy_percentages.len());
    for (cluster, percent) in cluster_min_healthy_percentages {
        let percent = cx.key("cluster_min_healthy_percentages", &cluster, |cx| cx.percent("value", percent.value))?;
        min_healthy.push((interner.string(&cluster), percent));
    }
    min_healthy.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Ok(HealthCheck { pass_through, cache_time, min_healthy: min_healthy.into(), headers }))
}
