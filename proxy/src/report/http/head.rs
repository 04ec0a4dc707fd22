//! Heads of requests and answers.

use std::borrow::Cow;

use config::model::route::HeaderKey;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

/// A request's head, HTTP/1 and HTTP/2 alike.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// `:method`.
    pub method: Method,
    /// `:scheme`.
    pub scheme: Scheme,
    /// `:authority`, or `Host`; empty where there is none.
    pub authority: HeaderValue,
    /// `:path` with its query; of no meaning for `CONNECT` without a `:protocol`.
    pub path: PathAndQuery,
    /// All others, in lower case.
    pub headers: HeaderMap,
    /// `:protocol` of an extended CONNECT (RFC 8441); `websocket` for an HTTP/1 upgrade is in the headers.
    pub protocol: Option<Box<str>>,
}

/// An answer's head.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// `:status`.
    pub status: StatusCode,
    /// All others.
    pub headers: HeaderMap,
}

/// `:scheme`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl RequestHead {
    /// The value of a header or of a pseudo-header (`:path`); the first of several. `name` in lower case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let Some(pseudo) = name.strip_prefix(':') else { return self.headers.get(name).map(HeaderValue::as_bytes) };
        match pseudo {
            "method" => Some(self.method.as_str().as_bytes()),
            "scheme" => Some(self.scheme.as_str().as_bytes()),
            "authority" => Some(self.authority.as_bytes()).filter(|authority| !authority.is_empty()),
            "path" => self.has_path().then(|| self.path.as_str().as_bytes()),
            "protocol" => self.protocol.as_deref().map(str::as_bytes),
            _ => None,
        }
    }

    /// As [`get`](Self::get); what several header lines say is joined by a comma, as Envoy matches and logs it.
    pub fn get_all(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        if name.starts_with(':') {
            return self.get(name).map(Cow::Borrowed);
        }
        joined(&self.headers, name)
    }

    /// As [`get_all`](Self::get_all), by what a matcher names.
    pub fn value(&self, key: &HeaderKey) -> Option<Cow<'_, [u8]>> {
        match key {
            HeaderKey::Method => self.get(":method").map(Cow::Borrowed),
            HeaderKey::Path => self.get(":path").map(Cow::Borrowed),
            HeaderKey::Authority => self.get(":authority").map(Cow::Borrowed),
            HeaderKey::Scheme => self.get(":scheme").map(Cow::Borrowed),
            HeaderKey::Protocol => self.get(":protocol").map(Cow::Borrowed),
            HeaderKey::Status => None,
            HeaderKey::Name(name) => joined(&self.headers, name.as_str()),
        }
    }

    /// `CONNECT host:port` has none.
    pub fn has_path(&self) -> bool {
        self.method != Method::CONNECT || self.protocol.is_some()
    }
}

impl ResponseHead {
    /// The value of a header, or `:status`.
    pub fn get_all(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        match name {
            ":status" => Some(Cow::Borrowed(self.status.as_str().as_bytes())),
            _ => joined(&self.headers, name),
        }
    }
}

/// The values of a header, joined by a comma where there are several.
pub fn joined<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, [u8]>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    let Some(second) = values.next() else { return Some(Cow::Borrowed(first.as_bytes())) };
    let mut all = first.as_bytes().to_vec();
    for value in std::iter::once(second).chain(values) {
        all.push(b',');
        all.extend_from_slice(value.as_bytes());
    }
    Some(Cow::Owned(all))
}

impl Scheme {
    /// As on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Protocol {
    /// `%PROTOCOL%`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn head() -> RequestHead {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("2"));
        headers.append("x-b", HeaderValue::from_static("3"));
        RequestHead {
            method: Method::GET,
            scheme: Scheme::Https,
            authority: HeaderValue::from_static("a.example"),
            path: PathAndQuery::from_static("/p?q=1"),
            headers,
            protocol: None,
        }
    }

    #[test]
    fn pseudo_headers_are_headers() {
        let head = head();
        let rows = [
            (":method", Some("GET")),
            (":scheme", Some("https")),
            (":authority", Some("a.example")),
            (":path", Some("/p?q=1")),
            (":protocol", None),
            (":status", None),
            ("x-a", Some("1")),
            ("x-c", None),
        ];
        for (name, value) in rows {
            assert_eq!(head.get(name), value.map(str::as_bytes), "{name}");
        }
        assert_eq!(head.get_all("x-a").unwrap(), &b"1,2"[..]);
        assert!(matches!(head.get_all("x-b").unwrap(), Cow::Borrowed(b"3")));
    }

    #[test]
    fn connect_has_no_path_unless_it_is_extended() {
        let mut head = RequestHead { method: Method::CONNECT, ..head() };
        assert_eq!(head.get(":path"), None);
        head.protocol = Some("websocket".into());
        assert_eq!(head.get(":path"), Some(&b"/p?q=1"[..]));
    }
}
