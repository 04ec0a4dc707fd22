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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::uri::PathAndQuery;
    use proxy::report::http::Scheme;

    use super::*;

    fn head(headers: &[(&str, &str)]) -> RequestHead {
        let pairs = headers.iter().map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        });
        RequestHead {
            method: Method::GET,
            scheme: Scheme::Http,
            authority: HeaderValue::from_static("a.example"),
            path: PathAndQuery::from_static("/"),
            headers: pairs.collect(),
            protocol: None,
        }
    }

    fn left(headers: &[(&str, &str)]) -> Vec<String> {
        let mut head = head(headers);
        strip(&mut head).unwrap();
        let mut names: Vec<_> = head.headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_for_one_hop_goes() {
        let headers = [
            ("connection", "x-secret, Keep-Alive"),
            ("keep-alive", "timeout=5"),
            ("x-secret", "1"),
            ("proxy-connection", "close"),
            ("transfer-encoding", "chunked"),
            ("x-kept", "1"),
        ];
        assert_eq!(left(&headers), ["x-kept: 1"]);
        assert_eq!(left(&[("te", "gzip, trailers")]), ["te: trailers"]);
        assert_eq!(left(&[("te", "gzip")]), Vec::<String>::new());
    }

    #[test]
    fn an_upgrade_keeps_what_it_needs() {
        let headers = [("connection", "Upgrade"), ("upgrade", "websocket")];
        assert_eq!(left(&headers), ["connection: Upgrade", "upgrade: websocket"]);
        assert_eq!(upgrade(&head(&headers)), Some(&b"websocket"[..]));
        assert_eq!(left(&[("upgrade", "websocket")]), Vec::<String>::new());
        let h2c = [("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABk")];
        assert_eq!(left(&h2c), Vec::<String>::new());
    }

    #[test]
    fn nobody_hides_where_a_request_came_from() {
        for name in ["x-forwarded-for", "X-Forwarded-Host", "x-forwarded-proto", ":path"] {
            let refused = strip(&mut head(&[("connection", name)])).unwrap_err();
            assert_eq!(
                (refused.status, &*refused.details),
                (StatusCode::BAD_REQUEST, "http1.connection_header_rejected")
            );
        }
        let mut host = head(&[("connection", "host")]);
        strip(&mut host).unwrap();
        assert!(host.authority.is_empty());
    }
}
