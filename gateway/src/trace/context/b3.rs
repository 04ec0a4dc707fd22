//! B3 (<https://github.com/openzipkin/b3-propagation>), in one header or in several.

use http::{HeaderMap, HeaderName};

use super::w3c::hex;
use super::{Context, Form, Malformed, set, text};

const SINGLE: HeaderName = HeaderName::from_static("b3");
const TRACE: HeaderName = HeaderName::from_static("x-b3-traceid");
const SPAN: HeaderName = HeaderName::from_static("x-b3-spanid");
const PARENT: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

pub(super) fn extract(headers: &HeaderMap) -> Result<Option<Context>, Malformed> {
    match text(headers, &SINGLE) {
        Some(value) => single(value).map(Some),
        None => several(headers),
    }
}

/// `trace-span`, `trace-span-flag`, `trace-span-flag-parent`, or the flag alone.
fn single(value: &str) -> Result<Context, Malformed> {
    let context = Context { form: Form::Single, ..Context::empty() };
    let parts: Vec<&str> = value.split('-').collect();
    match parts[..] {
        [flag] => Ok(Context { decided: Some(decision(flag)?), ..context }),
        [trace, span] => Ok(Context { trace: trace_id(trace)?, span: id(span)?, ..context }),
        [trace, span, flag] => {
            Ok(Context { trace: trace_id(trace)?, span: id(span)?, decided: Some(decision(flag)?), ..context })
        }
        [trace, span, flag, parent] => {
            let (decided, parent) = (Some(decision(flag)?), Some(id(parent)?));
            Ok(Context { trace: trace_id(trace)?, span: id(span)?, decided, parent, ..context })
        }
        _ => Err(Malformed),
    }
}

fn several(headers: &HeaderMap) -> Result<Option<Context>, Malformed> {
    let debug = text(headers, &FLAGS) == Some("1");
    let decided = match text(headers, &SAMPLED) {
        _ if debug => Some(true),
        Some(value) => Some(matches!(value, "1" | "true" | "d")),
        None => None,
    };
    match (text(headers, &TRACE), text(headers, &SPAN)) {
        (Some(trace), Some(span)) => {
            let parent = match text(headers, &PARENT) {
                Some(parent) if !parent.is_empty() => Some(id(parent)?).filter(|parent| *parent != 0),
                _ => None,
            };
            Ok(Some(Context { trace: trace_id(trace)?, span: id(span)?, parent, decided, ..Context::empty() }))
        }
        _ => Ok(decided.map(|decided| Context { decided: Some(decided), ..Context::empty() })),
    }
}

fn decision(flag: &str) -> Result<bool, Malformed> {
    match flag {
        "0" => Ok(false),
        "1" | "d" => Ok(true),
        _ => Err(Malformed),
    }
}

fn trace_id(digits: &str) -> Result<u128, Malformed> {
    if digits.len() > 16 { hex(digits, 32) } else { id(digits).map(u128::from) }
}

/// At most 16 digits.
fn id(digits: &str) -> Result<u64, Malformed> {
    let valid = (1..=16).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    valid.then(|| u64::from_str_radix(digits, 16).ok()).flatten().ok_or(Malformed)
}

/// In the form in which it came.
pub(super) fn inject(context: &Context, headers: &mut HeaderMap) {
    let Context { span, parent, sampled, .. } = context;
    let (trace, flag) = (context.ids().trace_id(), if *sampled { "1" } else { "0" });
    if context.form == Form::Single {
        let parent = parent.map(|parent| format!("-{parent:016x}")).unwrap_or_default();
        return set(headers, SINGLE, &format!("{trace}-{span:016x}-{flag}{parent}"));
    }
    set(headers, TRACE, &trace);
    set(headers, SPAN, &format!("{span:016x}"));
    match parent {
        Some(parent) => set(headers, PARENT, &format!("{parent:016x}")),
        None => drop(headers.remove(PARENT)),
    }
    set(headers, SAMPLED, flag);
}
