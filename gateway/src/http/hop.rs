//! Headers that are for one hop only (RFC 9110 §7.6.1; `Http::Utility::sanitizeConnectionHeader`).

use http::header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proxy::report::http::{Flag, RequestHead};

use super::reply::Reply;

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Most headers that `Connection` may nominate, as in Envoy.
const MOST: usize = 10;

/// Takes them off a request. What an upgrade needs stays.
pub(super) fn strip(head: &mut RequestHead) -> Result<(), Reply> {
    if head.headers.contains_key(CONNECTION) {
        drop_h2c(&mut head.headers);
        nominated(head)?;
    }
    if upgrade(head).is_none() || head.protocol.is_some() {
        head.headers.remove(CONNECTION);
        head.headers.remove(UPGRADE);
    }
    head.headers.remove(&KEEP_ALIVE);
    head.headers.remove(&PROXY_CONNECTION);
    head.headers.remove(TRANSFER_ENCODING);
    if head.headers.contains_key(TE) {
        match has_trailers(&head.headers) {
            true => drop(head.headers.insert(TE, HeaderValue::from_static("trailers"))),
            false => drop(head.headers.remove(TE)),
        }
    }
    Ok(())
}

/// What the request wants to become: `:protocol`, or an `Upgrade` that `Connection` speaks of.
pub(super) fn upgrade(head: &RequestHead) -> Option<&[u8]> {
    if let Some(protocol) = &head.protocol {
        return Some(protocol.as_bytes());
    }
    let kind = head.headers.get(UPGRADE).filter(|_| head.method != Method::CONNECT)?;
    words(&head.headers).any(|word| word.eq_ignore_ascii_case(b"upgrade")).then_some(kind.as_bytes())
}

/// Nobody upgrades to HTTP/2 that way: the request is one like any other.
fn drop_h2c(headers: &mut HeaderMap) {
    if headers.get(UPGRADE).is_some_and(|kind| kind.as_bytes().eq_ignore_ascii_case(b"h2c")) {
        headers.remove(UPGRADE);
        headers.remove(&HTTP2_SETTINGS);
    }
}

fn nominated(head: &mut RequestHead) -> Result<(), Reply> {
    let rejected = || {
        let reply = Reply::new(StatusCode::BAD_REQUEST, "http1.connection_header_rejected").body("Bad Request");
        reply.flag(Flag::DownstreamProtocolError)
    };
    let mut names = Vec::new();
    for word in words(&head.headers) {
        // Whoever hides where a request came from is up to no good.
        let hides = [&b"x-forwarded-for"[..], b"x-forwarded-host", b"x-forwarded-proto"];
        if word.contains(&b':') || hides.iter().any(|name| word.eq_ignore_ascii_case(name)) {
            return Err(rejected());
        }
        let kept = [&b"close"[..], b"keep-alive", b"proxy-connection", b"upgrade", b"connection", b"te", b""];
        if kept.iter().any(|name| word.eq_ignore_ascii_case(name)) {
            continue;
        }
        names.extend(HeaderName::from_bytes(word));
        if names.len() > MOST {
            return Err(rejected());
        }
    }
    for name in names {
        if name == HOST {
            head.authority = HeaderValue::from_static("");
        }
        head.headers.remove(name);
    }
    Ok(())
}

fn words(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(CONNECTION).into_iter();
    values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

fn has_trailers(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(TE).into_iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    values.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}
