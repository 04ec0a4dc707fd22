//! `x-request-id` (`source/extensions/request_id/uuid/config.cc`).

use config::model::hcm::Manager;
use http::{HeaderName, HeaderValue};
use proxy::report::http::HttpFlow;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where a UUID tells whether its request is traced; a random one has its version there.
pub(crate) const TRACE: usize = 14;

/// Gives the request an identity, unless it has one that is believed.
pub(super) fn set(manager: &Manager, flow: &mut HttpFlow, edge: bool) {
    let headers = &mut flow.request.headers;
    if !manager.generate_request_id {
        flow.request_id = headers.get(&X_REQUEST_ID).cloned();
        return;
    }
    let keep = !edge || manager.preserve_external_request_id;
    let id = match headers.get(&X_REQUEST_ID).filter(|_| keep) {
        // From outside nobody says that we trace.
        Some(id) if edge && manager.request_id.pack_trace_reason => untraced(id),
        Some(id) => id.clone(),
        None => random(),
    };
    headers.insert(X_REQUEST_ID.clone(), id.clone());
    flow.request_id = Some(id);
}

/// A random UUID (RFC 9562 §5.4).
fn random() -> HeaderValue {
    let bits = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let mut text = [0; 36];
    let mut nibbles = (0..32).rev().map(|at| b"0123456789abcdef"[(bits >> (at * 4)) as usize & 0xf]);
    for (at, letter) in text.iter_mut().enumerate() {
        *letter = if matches!(at, 8 | 13 | 18 | 23) { b'-' } else { nibbles.next().unwrap_or(b'0') };
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn untraced(id: &HeaderValue) -> HeaderValue {
    let mut bytes = id.as_bytes().to_vec();
    match bytes.get_mut(TRACE) {
        Some(mark) if id.len() == 36 && *mark != b'4' => *mark = b'4',
        _ => return id.clone(),
    }
    HeaderValue::from_bytes(&bytes).unwrap_or_else(|_| id.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_uuids() {
        let (one, other) = (random(), random());
        assert_ne!(one, other);
        let text = one.to_str().unwrap();
        let lengths: Vec<_> = text.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{text}");
        assert_eq!(text.as_bytes()[TRACE], b'4');
        assert!(b"89ab".contains(&text.as_bytes()[19]), "{text}");
    }

    #[test]
    fn a_trace_mark_from_outside_is_taken_off() {
        let id = HeaderValue::from_static("7b674932-635d-9ceb-b907-12674f8c7267");
        assert_eq!(untraced(&id), "7b674932-635d-4ceb-b907-12674f8c7267");
        let other = HeaderValue::from_static("mine");
        assert_eq!(untraced(&other), "mine");
    }
}
