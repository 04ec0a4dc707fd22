//! The request as an endpoint gets it.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, Parts, Scheme as UriScheme};
use http::{HeaderValue, Method, Request, Uri, Version};
use hyper::body::Body as _;
use hyper::ext::Protocol as ConnectProtocol;
use proxy::report::http::{Protocol, RequestHead, Scheme};

use super::outgoing::Outgoing;
use super::upgrade::Wanted;

/// The head in the form of the protocol, with its body; `None`: it has none, since its host is no URI's.
pub(super) fn of(head: &RequestHead, protocol: Protocol, body: Outgoing) -> Option<Request<Outgoing>> {
    let translated = Wanted::of(head).translate(head, protocol);
    let head = translated.as_ref().unwrap_or(head);
    let empty = body.size_hint().exact() == Some(0);
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.headers_mut() = head.headers.clone();
    match protocol {
        Protocol::Http10 | Protocol::Http11 => {
            request.headers_mut().insert(HOST, head.authority.clone());
            if empty && tells_length(head) {
                request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            *request.uri_mut() = origin_form(head)?;
        }
        Protocol::Http2 => {
            *request.version_mut() = Version::HTTP_2;
            *request.uri_mut() = absolute_form(head)?;
            if let Some(protocol) = &head.protocol {
                request.extensions_mut().insert(ConnectProtocol::from(&**protocol));
            }
        }
    }
    Some(request)
}

/// Whether a request without a body says so, as Envoy does for methods that may have one.
fn tells_length(head: &RequestHead) -> bool {
    const BARE: [Method; 5] = [Method::GET, Method::HEAD, Method::DELETE, Method::TRACE, Method::CONNECT];
    !BARE.contains(&head.method)
        && !head.headers.contains_key(CONTENT_LENGTH)
        && !head.headers.contains_key(TRANSFER_ENCODING)
        && Wanted::of(head) == Wanted::Answer
}

/// `/path?query`; of CONNECT the authority.
fn origin_form(head: &RequestHead) -> Option<Uri> {
    let mut parts = Parts::default();
    if head.method == Method::CONNECT && head.protocol.is_none() {
        parts.authority = Some(authority(&head.authority)?);
    } else {
        parts.path_and_query = Some(head.path.clone());
    }
    Uri::from_parts(parts).ok()
}

/// What becomes of the pseudo-headers.
fn absolute_form(head: &RequestHead) -> Option<Uri> {
    let mut parts = Parts::default();
    parts.authority = Some(authority(&head.authority)?);
    if head.has_path() {
        parts.scheme = Some(match head.scheme {
            Scheme::Http => UriScheme::HTTP,
            Scheme::Https => UriScheme::HTTPS,
        });
        parts.path_and_query = Some(head.path.clone());
    }
    Uri::from_parts(parts).ok()
}

fn authority(value: &HeaderValue) -> Option<Authority> {
    Authority::try_from(value.as_bytes()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::HeaderMap;
    use http::uri::PathAndQuery;

    use super::*;

    fn head() -> RequestHead {
        RequestHead {
            method: Method::GET,
            scheme: Scheme::Https,
            authority: HeaderValue::from_static("a.example:8443"),
            path: PathAndQuery::from_static("/p?q"),
            headers: HeaderMap::new(),
            protocol: None,
        }
    }

    #[test]
    fn http1_has_an_origin_form_and_a_host() {
        let request = of(&head(), Protocol::Http11, Outgoing::empty()).unwrap();
        assert_eq!(request.uri(), "/p?q");
        assert_eq!(request.headers()[HOST], "a.example:8443");
        let connect = RequestHead { method: Method::CONNECT, ..head() };
        assert_eq!(of(&connect, Protocol::Http11, Outgoing::empty()).unwrap().uri(), "a.example:8443");
    }

    #[test]
    fn a_request_without_a_body_says_so_where_it_might_have_one() {
        let length = |method: Method, protocol| {
            let request = of(&RequestHead { method, ..head() }, protocol, Outgoing::empty()).unwrap();
            request.headers().get(CONTENT_LENGTH).cloned()
        };
        for method in [Method::OPTIONS, Method::POST, Method::PUT, Method::PATCH] {
            assert_eq!(length(method.clone(), Protocol::Http11).unwrap(), "0", "{method}");
            assert_eq!(length(method, Protocol::Http2), None);
        }
        for method in [Method::GET, Method::HEAD, Method::DELETE, Method::TRACE, Method::CONNECT] {
            assert_eq!(length(method.clone(), Protocol::Http11), None, "{method}");
        }
    }

    #[test]
    fn http2_has_pseudo_headers() {
        let request = of(&head(), Protocol::Http2, Outgoing::empty()).unwrap();
        assert_eq!(request.uri(), "https://a.example:8443/p?q");
        assert!(!request.headers().contains_key(HOST));
        let websocket = RequestHead { method: Method::CONNECT, protocol: Some("websocket".into()), ..head() };
        let request = of(&websocket, Protocol::Http2, Outgoing::empty()).unwrap();
        assert_eq!(request.uri(), "https://a.example:8443/p?q");
        assert_eq!(request.extensions().get::<ConnectProtocol>().unwrap().as_str(), "websocket");
    }

    #[test]
    fn a_host_that_is_none_is_not_replaced_by_another() {
        let head = RequestHead { authority: HeaderValue::from_static("a b"), ..head() };
        assert!(of(&head, Protocol::Http2, Outgoing::empty()).is_none());
    }
}
