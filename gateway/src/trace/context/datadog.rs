//! Datadog's headers, beside W3C's, as its library in Envoy reads and writes them.

use http::{HeaderMap, HeaderName};

use super::{Context, Form, set, text, w3c};

const TRACE: HeaderName = HeaderName::from_static("x-datadog-trace-id");
const PARENT: HeaderName = HeaderName::from_static("x-datadog-parent-id");
const PRIORITY: HeaderName = HeaderName::from_static("x-datadog-sampling-priority");
const TAGS: HeaderName = HeaderName::from_static("x-datadog-tags");
/// Why it was sampled: by the rate that the agent gave.
const MECHANISM: &str = "-0";

pub(super) fn extract(headers: &HeaderMap) -> Option<Context> {
    let low: u64 = text(headers, &TRACE)?.trim().parse().ok().filter(|id| *id != 0)?;
    let span = text(headers, &PARENT).and_then(|id| id.trim().parse().ok()).unwrap_or_default();
    let priority: Option<i32> = text(headers, &PRIORITY).and_then(|priority| priority.trim().parse().ok());
    let tags = text(headers, &TAGS).unwrap_or_default();
    let high = tags.split(',').find_map(|tag| tag.trim().strip_prefix("_dd.p.tid="));
    let high = high.and_then(|digits| w3c::hex(digits, 16).ok()).unwrap_or_default();
    let decided = priority.map(|priority| priority > 0);
    Some(Context { trace: high << 64 | u128::from(low), span, decided, priority, ..Context::empty() })
}

/// What `tracestate` adds to `traceparent`.
pub(super) fn of_w3c(found: Context) -> Context {
    let own = w3c::entry(&found.state, "dd").unwrap_or_default();
    let said = own.split(';').find_map(|part| part.strip_prefix("s:")?.parse::<i32>().ok());
    let priority = said.filter(|priority| (*priority > 0) == found.sampled).or(Some(i32::from(found.sampled)));
    Context { decided: priority.map(|priority| priority > 0), priority, form: Form::W3c, ..found }
}

/// The priority that is told: the one that came, or that of our own decision.
pub(in crate::trace) fn priority(context: &Context) -> i32 {
    context.priority.unwrap_or(if context.sampled { 1 } else { -1 })
}

pub(super) fn inject(context: &Context, headers: &mut HeaderMap) {
    let priority = priority(context);
    let low = u64::try_from(context.trace & u128::from(u64::MAX)).unwrap_or_default();
    set(headers, TRACE, &low.to_string());
    set(headers, PARENT, &context.span.to_string());
    set(headers, PRIORITY, &priority.to_string());
    let mut tags = Vec::new();
    let high = context.trace >> 64;
    if high != 0 {
        tags.push(format!("_dd.p.tid={high:016x}"));
    }
    let ours = context.begins && context.sampled;
    if ours {
        tags.push(format!("_dd.p.dm={MECHANISM}"));
    }
    if tags.is_empty() {
        headers.remove(TAGS);
    } else {
        set(headers, TAGS, &tags.join(","));
    }
    w3c::inject(context, headers);
    let mechanism = if ours { format!(";t.dm:{MECHANISM}") } else { String::new() };
    w3c::state(context, headers, &format!("dd=s:{priority};p:{:016x}{mechanism}", context.span));
}
