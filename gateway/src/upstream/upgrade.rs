//! Requests that end HTTP on their stream: `Upgrade` of HTTP/1, extended CONNECT of HTTP/2 (RFC 8441), CONNECT.
//!
//! Whatever the client speaks is turned into what the endpoint speaks, and the answer back, as Envoy does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use proxy::report::http::{Protocol, RequestHead};

/// What a request asks for beside an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Nothing.
    Answer,
    /// `Upgrade: …`, or `:protocol: …`.
    Upgrade(HeaderValue),
    /// CONNECT without a protocol.
    Connect,
}

impl Wanted {
    /// What a request asks for.
    pub(super) fn of(head: &RequestHead) -> Self {
        if let Some(protocol) = &head.protocol {
            return HeaderValue::from_str(protocol).map_or(Self::Connect, Self::Upgrade);
        }
        if head.method == Method::CONNECT {
            return Self::Connect;
        }
        match head.headers.get(UPGRADE) {
            Some(kind) if asks(&head.headers) => Self::Upgrade(kind.clone()),
            _ => Self::Answer,
        }
    }

    /// The head as an endpoint that speaks `protocol` gets it; `None`: as it is.
    pub(super) fn translate(&self, head: &RequestHead, protocol: Protocol) -> Option<RequestHead> {
        let Self::Upgrade(kind) = self else { return None };
        match (protocol, &head.protocol) {
            (Protocol::Http2, None) => {
                let mut head = head.clone();
                head.method = Method::CONNECT;
                head.protocol = Some(String::from_utf8_lossy(kind.as_bytes()).into());
                head.headers.remove(UPGRADE);
                head.headers.remove(CONNECTION);
                Some(head)
            }
            (Protocol::Http10 | Protocol::Http11, Some(_)) => {
                let mut head = head.clone();
                head.method = Method::GET;
                head.protocol = None;
                head.headers.insert(UPGRADE, kind.clone());
                head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                // HTTP/2 has none, HTTP/1 insists on one (RFC 6455 §4.1).
                if kind.as_bytes().eq_ignore_ascii_case(b"websocket") && !head.headers.contains_key(SEC_WEBSOCKET_KEY) {
                    let key = STANDARD.encode(fastrand::u128(..).to_be_bytes());
                    if let Ok(key) = HeaderValue::try_from(key) {
                        head.headers.insert(SEC_WEBSOCKET_KEY, key);
                    }
                }
                Some(head)
            }
            _ => None,
        }
    }

    /// Whether the endpoint agreed.
    pub(super) fn is_granted(&self, status: StatusCode, protocol: Protocol) -> bool {
        match (self, protocol) {
            (Self::Answer, _) => false,
            (Self::Upgrade(_), Protocol::Http10 | Protocol::Http11) => status == StatusCode::SWITCHING_PROTOCOLS,
            (Self::Upgrade(_), Protocol::Http2) | (Self::Connect, _) => status.is_success(),
        }
    }

    /// The head of an answer that agrees, as the client gets it.
    pub(super) fn answer(&self, client: Protocol, headers: &mut HeaderMap) -> StatusCode {
        headers.remove(CONNECTION);
        headers.remove(UPGRADE);
        match (self, client) {
            (Self::Upgrade(kind), Protocol::Http10 | Protocol::Http11) => {
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(UPGRADE, kind.clone());
                StatusCode::SWITCHING_PROTOCOLS
            }
            _ => StatusCode::OK,
        }
    }
}

/// `Connection` names the upgrade.
fn asks(headers: &HeaderMap) -> bool {
    let words = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    words.map(<[u8]>::trim_ascii).any(|word| word.eq_ignore_ascii_case(b"upgrade"))
}

#[cfg(test)]
mod tests {
    use http::uri::PathAndQuery;
    use proxy::report::http::Scheme;

    use super::*;

    fn head(method: Method, protocol: Option<&str>, headers: &[(&'static str, &'static str)]) -> RequestHead {
        let headers =
            headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)));
        RequestHead {
            method,
            scheme: Scheme::Http,
            authority: HeaderValue::from_static("a"),
            path: PathAndQuery::from_static("/ws"),
            headers: headers.collect(),
            protocol: protocol.map(Into::into),
        }
    }

    #[test]
    fn http1_and_http2_ask_alike() {
        let one = head(Method::GET, None, &[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        let two = head(Method::CONNECT, Some("websocket"), &[("sec-websocket-version", "13")]);
        let wanted = Wanted::of(&one);
        assert_eq!(wanted, Wanted::Upgrade(HeaderValue::from_static("websocket")));
        assert_eq!(wanted, Wanted::of(&two));
        let to_two = wanted.translate(&one, Protocol::Http2);
        assert!(to_two.is_some_and(|head| head.method == Method::CONNECT && head.headers.is_empty()));
        let to_one = wanted.translate(&two, Protocol::Http11);
        assert!(to_one.is_some_and(|head| head.method == Method::GET
            && head.headers["upgrade"] == "websocket"
            && head.headers["sec-websocket-key"].len() == 24));
        assert!(
            wanted.translate(&one, Protocol::Http11).is_none() && wanted.translate(&two, Protocol::Http2).is_none()
        );
        assert_eq!(Wanted::of(&head(Method::GET, None, &[("upgrade", "websocket")])), Wanted::Answer);
        assert_eq!(Wanted::of(&head(Method::CONNECT, None, &[])), Wanted::Connect);
    }

    #[test]
    fn answers_are_translated() {
        let wanted = Wanted::Upgrade(HeaderValue::from_static("websocket"));
        assert!(wanted.is_granted(StatusCode::SWITCHING_PROTOCOLS, Protocol::Http11));
        assert!(
            !wanted.is_granted(StatusCode::OK, Protocol::Http11) && wanted.is_granted(StatusCode::OK, Protocol::Http2)
        );
        assert!(!Wanted::Answer.is_granted(StatusCode::SWITCHING_PROTOCOLS, Protocol::Http11));
        let mut headers = HeaderMap::new();
        assert_eq!(wanted.answer(Protocol::Http11, &mut headers), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(headers.len(), 2);
        assert_eq!(wanted.answer(Protocol::Http2, &mut headers), StatusCode::OK);
        assert!(headers.is_empty());
    }
}
