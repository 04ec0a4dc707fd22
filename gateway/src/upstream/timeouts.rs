//! How long a request may take: the route, the cluster, and headers that say otherwise (Envoy: `FilterUtility::finalTimeout`).

use std::time::Duration;

use config::model::cluster::Cluster;
use config::model::hcm::Router as Options;
use config::model::route::Forward;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::clock::Limits;
use super::grpc;

/// `x-envoy-upstream-rq-timeout-ms`.
const TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-timeout-ms");
/// `x-envoy-upstream-rq-per-try-timeout-ms`.
const PER_TRY: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms");
/// `x-envoy-expected-rq-timeout-ms`.
const EXPECTED: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
/// `x-envoy-upstream-stream-duration-ms`.
const STREAM_DURATION: HeaderName = HeaderName::from_static("x-envoy-upstream-stream-duration-ms");

/// The limits of a request. Headers that set them are taken off, the one that tells the endpoint is set.
pub(super) fn of(
    headers: &mut HeaderMap,
    route: &Forward,
    options: &Options,
    cluster: &Cluster,
    grpc: bool,
) -> (Limits, Announced) {
    // With a `max_stream_duration` of the route, its `timeout` does not count (Envoy: `usingNewTimeouts`).
    let new = route.max_stream_duration.is_some();
    let mut global = if new { None } else { route_timeout(headers, route, grpc) };
    let retry = route.retry.as_deref();
    let mut per_try = retry.and_then(|retry| retry.per_try_timeout);
    if options.respect_expected_rq_timeout && headers.contains_key(EXPECTED) {
        global = millis(headers, &EXPECTED).map_or(global, Some);
    } else if headers.contains_key(TIMEOUT) {
        global = millis(headers, &TIMEOUT).map_or(global, Some);
        headers.remove(TIMEOUT);
    }
    if headers.contains_key(PER_TRY) {
        per_try = millis(headers, &PER_TRY).map_or(per_try, Some);
        headers.remove(PER_TRY);
    }
    let global = global.filter(|limit| !limit.is_zero());
    let per_try = per_try.filter(|limit| !limit.is_zero() && global.is_none_or(|global| *limit < global));
    let dynamic = headers.contains_key(STREAM_DURATION).then(|| millis(headers, &STREAM_DURATION)).flatten();
    headers.remove(STREAM_DURATION);
    let configured = cluster.http.as_deref().and_then(|http| http.common.max_stream_duration);
    let limits = Limits {
        global,
        per_try,
        per_try_idle: retry.and_then(|retry| retry.per_try_idle_timeout).filter(|limit| !limit.is_zero()),
        max_duration: dynamic.or(configured).filter(|limit| !limit.is_zero()),
    };
    let announced =
        Announced { header: !options.suppress_envoy_headers, grpc: grpc && !new && route.max_grpc_timeout.is_some() };
    tell(headers, &limits, Duration::ZERO, announced);
    (limits, announced)
}

/// How the endpoint learns of its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced {
    /// In `x-envoy-expected-rq-timeout-ms`.
    pub(super) header: bool,
    /// In `grpc-timeout`.
    pub(super) grpc: bool,
}

/// Tells the endpoint how long it has, `elapsed` after the request was complete.
pub(super) fn tell(headers: &mut HeaderMap, limits: &Limits, elapsed: Duration, announced: Announced) {
    let Some(limit) = limits.per_try.or(limits.global) else { return };
    let mut expected = whole_millis(limit);
    if let Some(global) = limits.global {
        // Zero would be no limit at all.
        let left = whole_millis(global).saturating_sub(whole_millis(elapsed)).max(1);
        expected = expected.min(left);
    }
    if announced.header {
        headers.insert(EXPECTED, HeaderValue::from(expected));
    }
    if announced.grpc {
        grpc::set_timeout(headers, Duration::from_millis(expected));
    }
}

/// That of the route, or `grpc-timeout` where it may say.
fn route_timeout(headers: &HeaderMap, route: &Forward, grpc: bool) -> Option<Duration> {
    let Some(max) = route.max_grpc_timeout.filter(|_| grpc) else { return route.timeout };
    let mut timeout = grpc::timeout(headers).unwrap_or_default();
    if let Some(offset) = route.grpc_timeout_offset
        && offset < timeout
    {
        timeout -= offset;
    }
    if !max.is_zero() && (timeout.is_zero() || timeout > max) {
        timeout = max;
    }
    Some(timeout)
}

fn millis(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok().map(Duration::from_millis)
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
