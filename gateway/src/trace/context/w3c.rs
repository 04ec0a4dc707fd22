//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>).

use http::{HeaderMap, HeaderName};

use super::{Context, Form, Malformed, set};

const PARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const STATE: HeaderName = HeaderName::from_static("tracestate");

/// `version-trace-span-flags`.
pub(super) fn extract(headers: &HeaderMap) -> Result<Option<Context>, Malformed> {
    let Some(value) = headers.get(&PARENT) else { return Ok(None) };
    let value = value.to_str().map_err(|_| Malformed)?;
    let parts: Vec<&str> = value.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { return Err(Malformed) };
    hex(version, 2)?;
    let (trace, span, flags) = (hex(trace, 32)?, hex(span, 16)?, hex(flags, 2)?);
    let span = u64::try_from(span).map_err(|_| Malformed)?;
    if trace == 0 || span == 0 {
        return Err(Malformed);
    }
    let sampled = flags & 1 == 1;
    let states: Vec<&str> = headers.get_all(&STATE).iter().filter_map(|value| value.to_str().ok()).collect();
    let (state, form) = (states.join(",").into(), Form::W3c);
    Ok(Some(Context { trace, span, sampled, decided: Some(sampled), state, form, ..Context::empty() }))
}

pub(super) fn inject(context: &Context, headers: &mut HeaderMap) {
    let Context { trace, span, sampled, .. } = context;
    set(headers, PARENT, &format!("00-{trace:032x}-{span:016x}-{:02x}", u8::from(*sampled)));
}

/// A state of `tracestate`.
pub(super) fn state(context: &Context, headers: &mut HeaderMap, own: &str) {
    let others = context.state.split(',').map(str::trim).filter(|entry| !entry.is_empty() && !entry.starts_with("dd="));
    let all: Vec<&str> = std::iter::once(own).chain(others).collect();
    set(headers, STATE, &all.join(","));
}

/// One vendor's entry.
pub(super) fn entry<'a>(state: &'a str, vendor: &str) -> Option<&'a str> {
    state.split(',').find_map(|entry| entry.trim().strip_prefix(vendor)?.strip_prefix('='))
}

/// So many lower-case digits.
pub(super) fn hex(digits: &str, length: usize) -> Result<u128, Malformed> {
    let valid = digits.len() == length && digits.bytes().all(|b| b.is_ascii_hexdigit());
    valid.then(|| u128::from_str_radix(digits, 16).ok()).flatten().ok_or(Malformed)
}
