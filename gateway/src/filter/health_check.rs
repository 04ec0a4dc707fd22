//! `envoy.filters.http.health_check`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use config::model::http_filter::HealthCheck;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use proxy::metrics::{HealthCheckStat, Scope};
use proxy::report::http::Flag;
use proxy::shared::Shared;

use super::Call;
use super::states::State;
use crate::http::body::Body;
use crate::http::reply::Reply;

static CLUSTER: HeaderName = HeaderName::from_static("x-envoy-upstream-healthchecked-cluster");
static FAIL: HeaderName = HeaderName::from_static("x-envoy-immediate-health-check-fail");
static DEGRADED: HeaderName = HeaderName::from_static("x-envoy-degraded");

/// The filter.
#[derive(Debug)]
pub(super) struct Checks {
    config: Arc<HealthCheck>,
    stats: Arc<Scope<HealthCheckStat>>,
    cached: Mutex<Option<Cached>>,
}

/// An answer that is remembered.
#[derive(Clone, Copy, Debug)]
struct Cached {
    status: StatusCode,
    degraded: bool,
    until: Instant,
}

impl Checks {
    pub(super) fn compile(config: &Arc<HealthCheck>, prefix: &str, shared: &Shared) -> Self {
        Self { config: Arc::clone(config), stats: shared.registry.health_check(prefix), cached: Mutex::default() }
    }

    pub(super) fn request(&self, at: usize, call: &mut Call<'_>, _body: &Body) -> Option<Reply> {
        let head = &call.flow.request;
        if !self.config.headers.iter().all(|header| head.holds(header)) {
            return None;
        }
        call.flow.health_check = true;
        call.states.put(at, State::HealthCheck);
        let failing = call.shared.fails_health_checks();
        let cached = self.cached().filter(|_| !failing);
        if self.config.pass_through && cached.is_none() && !failing {
            return None;
        }
        self.stats.inc(HealthCheckStat::RequestTotal);
        let (status, details) = match cached {
            Some(cached) => {
                self.stats.inc(HealthCheckStat::CachedResponse);
                (cached.status, "health_check_cached")
            }
            None if failing => (StatusCode::SERVICE_UNAVAILABLE, "health_check_failed"),
            None => self.judge(call.shared),
        };
        let degraded = cached.is_some_and(|cached| cached.degraded);
        let mut reply = Reply::new(status, details);
        if degraded {
            self.stats.inc(HealthCheckStat::Degraded);
            reply = reply.header(DEGRADED.clone(), HeaderValue::from_static(""));
        }
        if status.is_success() {
            self.stats.inc(HealthCheckStat::Ok);
            return Some(reply);
        }
        self.stats.inc(HealthCheckStat::Failed);
        Some(reply.flag(Flag::FailedLocalHealthCheck))
    }

    /// As healthy as the least healthy cluster.
    fn judge(&self, shared: &Shared) -> (StatusCode, &'static str) {
        for (name, wanted) in &self.config.min_healthy {
            let Some(cluster) = shared.clusters.get(name) else {
                self.stats.inc(HealthCheckStat::FailedClusterNotFound);
                return (StatusCode::SERVICE_UNAVAILABLE, "health_check_failed_no_cluster_found");
            };
            let members = cluster.hosts().membership();
            if members.total == 0 {
                if *wanted <= 0.0 {
                    continue;
                }
                self.stats.inc(HealthCheckStat::FailedClusterEmpty);
                return (StatusCode::SERVICE_UNAVAILABLE, "health_check_failed_cluster_empty");
            }
            #[expect(clippy::cast_precision_loss, reason = "numbers of hosts")]
            let (able, all) = ((members.healthy + members.degraded) as f64, members.total as f64);
            if 100.0 * able < all * wanted {
                self.stats.inc(HealthCheckStat::FailedClusterUnhealthy);
                return (StatusCode::SERVICE_UNAVAILABLE, "health_check_failed_cluster_unhealthy");
            }
        }
        (
            StatusCode::OK,
            if self.config.min_healthy.is_empty() { "health_check_ok" } else { "health_check_ok_cluster_healthy" },
        )
    }

    fn cached(&self) -> Option<Cached> {
        let cached = *self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.filter(|cached| Instant::now() < cached.until)
    }

    pub(super) fn response(&self, at: usize, call: &mut Call<'_>, response: &mut Response<Body>) {
        if call.shared.fails_health_checks() {
            // Whoever balances load hears of it with any answer.
            response.headers_mut().insert(FAIL.clone(), HeaderValue::from_static("true"));
        }
        if !matches!(call.states.get(at), Some(State::HealthCheck)) {
            return;
        }
        if let Some(time) = self.config.cache_time {
            let new = Cached {
                status: response.status(),
                degraded: response.headers().contains_key(&DEGRADED),
                until: Instant::now() + time,
            };
            let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
            // A remembered answer is not remembered anew.
            if cached.is_none_or(|cached| cached.until <= Instant::now()) {
                *cached = Some(new);
            }
        }
        let cluster = HeaderValue::from_str(&call.shared.node().cluster);
        let cluster = cluster.unwrap_or(HeaderValue::from_static(""));
        response.headers_mut().insert(CLUSTER.clone(), cluster);
    }
}
