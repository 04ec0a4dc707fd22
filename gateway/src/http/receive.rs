//! From hyper's request to a head of our own: one authority, one path, whichever form they came in.

use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Version};
use proxy::report::http::{Protocol, RequestHead, Scheme};

/// What the request says, as it came. `tls`: on a connection with TLS.
pub(super) fn head(parts: Parts, tls: bool) -> (RequestHead, Protocol) {
    let Parts { method, uri, version, mut headers, extensions, .. } = parts;
    let protocol = match version {
        Version::HTTP_2 | Version::HTTP_3 => Protocol::Http2,
        Version::HTTP_11 => Protocol::Http11,
        _ => Protocol::Http10,
    };
    let uri = uri.into_parts();
    let scheme = match (uri.scheme.as_ref().map(http::uri::Scheme::as_str), tls) {
        (Some("http"), _) => Scheme::Http,
        (Some(_), _) | (None, true) => Scheme::Https,
        (None, false) => Scheme::Http,
    };
    // An absolute target wins over the header (RFC 9112 §3.2.2), as `:authority` does (RFC 9113 §8.3.1).
    let host = headers.remove(HOST);
    let named = uri.authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let authority = named.or(host).unwrap_or_else(|| HeaderValue::from_static(""));
    let path = uri.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let extended = extensions.get::<hyper::ext::Protocol>().map(|protocol| protocol.as_str().into());
    (RequestHead { method, scheme, authority, path, headers, protocol: extended }, protocol)
}

/// What stands in the place of a refused head was not said by anybody.
pub(super) fn forget(head: &mut RequestHead) {
    if let Ok(none) = Method::from_bytes(b"-") {
        head.method = none;
    }
    head.authority = HeaderValue::from_static("");
    head.headers.clear();
}
