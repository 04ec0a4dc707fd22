//! Whether a request is traced (Envoy: `ConnectionManagerUtility::mutateTracingRequestHeader`). The decision stands in
//! the 15th character of `x-request-id`, where those after us find it.

use config::model::tracing::Sampling;
use http::{HeaderName, HeaderValue};
use proxy::report::http::{HttpFlow, TraceReason, request_id_random};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CLIENT_TRACE_ID: HeaderName = HeaderName::from_static("x-client-trace-id");
const FORCE_TRACE: HeaderName = HeaderName::from_static("x-envoy-force-trace");
/// Where a UUID has its version.
const PLACE: usize = 14;

/// Decides, and marks the request's ID.
pub(super) fn decide(flow: &mut HttpFlow, sampling: Sampling) -> TraceReason {
    let Some(id) = flow.request.headers.get(&REQUEST_ID) else { return TraceReason::NotTraceable };
    let id = id.as_bytes();
    let Some(random) = request_id_random(id) else { return TraceReason::NotTraceable };
    let before = read(id);
    let has = |name: &HeaderName| flow.request.headers.contains_key(name);
    let mut reason = before;
    if reason == TraceReason::NotTraceable {
        if has(&CLIENT_TRACE_ID) && within(fastrand::u64(..), 100, sampling.client) {
            reason = TraceReason::ClientForced;
        } else if has(&FORCE_TRACE) {
            reason = TraceReason::ServiceForced;
        } else if within(random, 10_000, sampling.random) {
            reason = TraceReason::Sampling;
        }
    }
    if reason != TraceReason::NotTraceable && !within(random, 10_000, sampling.overall) {
        reason = TraceReason::NotTraceable;
    }
    if reason != before {
        let mut id = id.to_vec();
        if let Some(place) = id.get_mut(PLACE) {
            *place = letter(reason);
        }
        if let Ok(value) = HeaderValue::from_bytes(&id) {
            flow.request_id = Some(value.clone());
            flow.request.headers.insert(REQUEST_ID, value);
        }
    }
    reason
}

/// So many percent of all numbers, in steps of 1 / `steps`.
fn within(random: u64, steps: u32, percent: f64) -> bool {
    let part = u32::try_from(random % u64::from(steps)).unwrap_or(u32::MAX);
    f64::from(part) < percent / 100.0 * f64::from(steps)
}

fn read(id: &[u8]) -> TraceReason {
    match id.get(PLACE) {
        Some(b'9') => TraceReason::Sampling,
        Some(b'a') => TraceReason::ServiceForced,
        Some(b'b') => TraceReason::ClientForced,
        _ => TraceReason::NotTraceable,
    }
}

fn letter(reason: TraceReason) -> u8 {
    match reason {
        TraceReason::NotTraceable => b'4',
        TraceReason::Sampling => b'9',
        TraceReason::ServiceForced => b'a',
        TraceReason::ClientForced => b'b',
    }
}

/// OpenTelemetry's `TraceIdRatioBased`: the same for all spans of a trace, wherever they are made.
#[expect(clippy::cast_precision_loss, reason = "a ratio is no more precise")]
pub(super) fn by_trace_id(ratio: f64, trace: u128) -> bool {
    let low = u64::try_from(trace & u128::from(u64::MAX)).unwrap_or_default();
    ratio >= 1.0 || (low as f64) < ratio * u64::MAX as f64
}
