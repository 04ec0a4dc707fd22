//! A request's hash, for ring hash and Maglev: xxHash64 over what the policies name, put together as Envoy does.

use std::fmt::Write as _;

use config::model::route::{CookieHash, HashPolicy, HashSource, HeaderKey, RegexRewrite};
use http::HeaderValue;
use proxy::report::http::HttpFlow;
use xxhash_rust::xxh64::xxh64;

use super::{header, query};

/// What the policies made of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hash {
    /// The hash; `None`: nothing to hash was there, and the balancer chooses by itself.
    pub value: Option<u64>,
    /// `set-cookie` of the answer, for cookies that were made.
    pub cookies: Vec<HeaderValue>,
}

impl Hash {
    /// Hashes a request, and makes the cookies that are missing.
    pub fn of(policies: &[HashPolicy], flow: &HttpFlow) -> Self {
        let mut cookies = Vec::new();
        let value = combined(policies, flow, |cookie| {
            let value = format!("{:016x}", connection(flow));
            cookies.extend(set_cookie(cookie, &value));
            Some(xxh64(value.as_bytes(), 0))
        });
        Self { value, cookies }
    }
}

/// Hashes a request without making cookies.
pub(super) fn of(policies: &[HashPolicy], flow: &HttpFlow) -> Option<u64> {
    combined(policies, flow, |_| None)
}

fn combined(
    policies: &[HashPolicy],
    flow: &HttpFlow,
    mut missing: impl FnMut(&CookieHash) -> Option<u64>,
) -> Option<u64> {
    let mut hash: Option<u64> = None;
    for policy in policies {
        let new = match &policy.source {
            HashSource::Header { name, rewrite } => header_hash(name, rewrite.as_deref(), flow),
            HashSource::Cookie(cookie) => {
                let value = query::cookie(&flow.request.headers, &cookie.name).filter(|value| !value.is_empty());
                match value {
                    Some(value) => Some(xxh64(value, 0)),
                    None if cookie.ttl.is_some() => missing(cookie),
                    None => None,
                }
            }
            HashSource::SourceIp => flow.remote().map(|remote| xxh64(remote.ip().to_string().as_bytes(), 0)),
            HashSource::QueryParameter(name) => {
                query::parameter(flow.request.path.as_str(), name).map(|value| xxh64(value.as_bytes(), 0))
            }
            // No filter here leaves state that can be hashed.
            HashSource::FilterState(_) => None,
        };
        if let Some(new) = new {
            // Turned, so that equal policies do not cancel each other out.
            hash = Some(hash.unwrap_or_default().rotate_left(1) ^ new);
        }
        if policy.terminal && hash.is_some() {
            break;
        }
    }
    hash
}

/// All values, in an order that is not the client's: one after the other, each with the hash so far as its seed.
fn header_hash(name: &HeaderKey, rewrite: Option<&RegexRewrite>, flow: &HttpFlow) -> Option<u64> {
    let rewritten = |value: &[u8]| rewrite.map_or_else(|| value.to_vec(), |rewrite| rewrite.replace_all(value));
    let name = match header::pseudo(name) {
        Ok(name) => name,
        Err(name) => return flow.request.get(name).map(|value| xxh64(&rewritten(value), 0)),
    };
    let mut values = flow.request.headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let (first, second) = (values.next()?, values.next());
    let Some(second) = second else {
        return Some(rewrite.map_or_else(|| xxh64(first, 0), |rewrite| xxh64(&rewrite.replace_all(first), 0)));
    };
    let mut all: Vec<_> = [first, second].into_iter().chain(values).map(rewritten).collect();
    all.sort_unstable();
    Some(all.iter().fold(0, |seed, value| xxh64(value, seed)))
}

/// One value for each connection, so that requests that race get the same cookie.
fn connection(flow: &HttpFlow) -> u64 {
    let mut text = flow.remote().map(|remote| remote.to_string()).unwrap_or_default();
    // Writing to a String cannot fail.
    let _ = write!(text, "{}", flow.connection.local);
    xxh64(text.as_bytes(), 0)
}

fn set_cookie(CookieHash { name, ttl, path, attributes }: &CookieHash, value: &str) -> Option<HeaderValue> {
    let mut text = format!("{name}=\"{value}\"");
    // Writing to a String cannot fail.
    if let Some(ttl) = ttl.filter(|ttl| !ttl.is_zero()) {
        let _ = write!(text, "; Max-Age={}", ttl.as_secs());
    }
    if !path.is_empty() {
        let _ = write!(text, "; Path={path}");
    }
    for (name, value) in attributes {
        let _ = match value.is_empty() {
            true => write!(text, "; {name}"),
            false => write!(text, "; {name}={value}"),
        };
    }
    text.push_str("; HttpOnly");
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::testing::{configuration, flow};
    use config::model::route::Action;

    fn hash(policies: &str, headers: &[(&str, &str)]) -> Hash {
        let route = format!("{{match: {{prefix: /}}, route: {{cluster: c, hash_policy: [{policies}]}}}}");
        let config = configuration(&format!("virtual_hosts: [{{name: h, domains: ['*'], routes: [{route}]}}]"));
        match &config.virtual_hosts[0].routes[0].action {
            Action::Forward(forward) => Hash::of(&forward.hash, &flow("GET", "h/p?q=v&q=w", headers)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_source() {
        let of = |text: &[u8]| Some(xxh64(text, 0));
        assert_eq!(hash("{header: {header_name: x}}", &[("x", "a")]).value, of(b"a"));
        assert_eq!(hash("{header: {header_name: ':path'}}", &[]).value, of(b"/p?q=v&q=w"));
        assert_eq!(hash("{query_parameter: {name: q}}", &[]).value, of(b"v"));
        assert_eq!(hash("{cookie: {name: c}}", &[("cookie", "c=1")]).value, of(b"1"));
        assert_eq!(hash("{connection_properties: {source_ip: true}}", &[]).value, of(b"10.0.0.1"));
        let rewrite = "{header: {header_name: x, regex_rewrite: {pattern: {regex: '-.*'}, substitution: ''}}}";
        assert_eq!(hash(rewrite, &[("x", "a-1")]).value, of(b"a"));
        assert_eq!(hash("{header: {header_name: x}}, {cookie: {name: c}}", &[]), Hash::default());
        // The order of lines does not matter.
        let (one, other) = ([("x", "a"), ("x", "b")], [("x", "b"), ("x", "a")]);
        let both = hash("{header: {header_name: x}}", &one).value;
        assert_eq!(both, hash("{header: {header_name: x}}", &other).value);
        assert_eq!(both, Some(xxh64(b"b", xxh64(b"a", 0))));
    }

    #[test]
    fn hashes_are_combined_until_a_terminal_one() {
        let (a, b) = (xxh64(b"a", 0), xxh64(b"b", 0));
        let headers = [("x", "a"), ("y", "b")];
        let both = hash("{header: {header_name: x}}, {header: {header_name: y}}", &headers).value;
        assert_eq!(both, Some(a.rotate_left(1) ^ b));
        let first = hash("{header: {header_name: x}, terminal: true}, {header: {header_name: y}}", &headers).value;
        assert_eq!(first, Some(a));
        let second = hash("{header: {header_name: z}, terminal: true}, {header: {header_name: y}}", &headers).value;
        assert_eq!(second, Some(b));
    }

    #[test]
    fn a_missing_cookie_is_made() {
        let made =
            hash("{cookie: {name: c, ttl: 60s, path: /p, attributes: [{name: Secure}, {name: A, value: b}]}}", &[]);
        let text = String::from_utf8_lossy(made.cookies[0].as_bytes()).into_owned();
        let value = text.split('"').nth(1).map(|value| xxh64(value.as_bytes(), 0));
        assert!(text.ends_with("\"; Max-Age=60; Path=/p; Secure; A=b; HttpOnly"), "{text}");
        assert!(value.is_some() && made.value == value && made.cookies.len() == 1);
    }
}
