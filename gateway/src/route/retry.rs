//! Which retries a request gets: what its route says, and what its `x-envoy-…` headers say, as far as the gateway has
//! left them in place (those of clients outside are taken off before routing).

use std::sync::Arc;
use std::time::Duration;

use config::model::route::{HeaderMatch, RetryOn, RetryPolicy};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proxy::report::http::{RequestHead, ResponseHead};

use super::header;

const RETRY_ON: HeaderName = HeaderName::from_static("x-envoy-retry-on");
const RETRY_GRPC_ON: HeaderName = HeaderName::from_static("x-envoy-retry-grpc-on");
const MAX_RETRIES: HeaderName = HeaderName::from_static("x-envoy-max-retries");
const STATUS_CODES: HeaderName = HeaderName::from_static("x-envoy-retriable-status-codes");
const HEADER_NAMES: HeaderName = HeaderName::from_static("x-envoy-retriable-header-names");
const HEDGE: HeaderName = HeaderName::from_static("x-envoy-hedge-on-per-try-timeout");
const PER_TRY: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms");

/// The retries of one request.
#[derive(Clone, Debug)]
pub struct Retries {
    /// When.
    pub on: RetryOn,
    /// How many more tries at most.
    pub remaining: u32,
    /// Everything else; `None`: only headers ask for retries.
    pub policy: Option<Arc<RetryPolicy>>,
    status_codes: Vec<u16>,
    header_names: Vec<HeaderName>,
}

impl Retries {
    /// Reads the headers, and takes them off the request. `None`: it is not tried again, whatever happens.
    pub fn of(policy: Option<&Arc<RetryPolicy>>, head: &mut RequestHead) -> Option<Self> {
        let retries = Self::read(policy, head);
        for name in [RETRY_ON, RETRY_GRPC_ON, MAX_RETRIES, STATUS_CODES, HEADER_NAMES, HEDGE, PER_TRY] {
            head.headers.remove(name);
        }
        retries
    }

    fn read(policy: Option<&Arc<RetryPolicy>>, head: &RequestHead) -> Option<Self> {
        let headers = &head.headers;
        let mut on = policy.map(|policy| policy.on).unwrap_or_default();
        on = on.union(text(headers, &RETRY_ON).map(RetryOn::http).unwrap_or_default());
        on = on.union(text(headers, &RETRY_GRPC_ON).map(RetryOn::grpc).unwrap_or_default());
        let wanted = policy.map(|policy| &*policy.request_headers).unwrap_or_default();
        if on.is_empty() || !(wanted.is_empty() || wanted.iter().any(|one| header::request_match(one, head))) {
            return None;
        }
        let asked = header::first(headers, &MAX_RETRIES).and_then(header::integer);
        let words = |name| text(headers, name).into_iter().flat_map(|list| list.split(',')).map(str::trim);
        Some(Self {
            on,
            remaining: asked.unwrap_or_else(|| policy.map_or(1, |policy| policy.retries)),
            policy: policy.cloned(),
            status_codes: words(&STATUS_CODES).filter_map(|code| code.parse().ok()).collect(),
            header_names: words(&HEADER_NAMES).filter_map(|name| name.parse().ok()).collect(),
        })
    }

    /// `retriable-status-codes`: whether a status is one.
    pub fn is_retriable_status(&self, status: StatusCode) -> bool {
        let known = self.policy.as_deref().map(|policy| &*policy.status_codes).unwrap_or_default();
        known.iter().chain(&self.status_codes).any(|code| *code == status.as_u16())
    }

    /// `retriable-headers`: whether an answer has one.
    pub fn has_retriable_header(&self, head: &ResponseHead) -> bool {
        let known: &[HeaderMatch] = self.policy.as_deref().map(|policy| &*policy.response_headers).unwrap_or_default();
        known.iter().any(|one| header::response_match(one, head))
            || self.header_names.iter().any(|name| head.headers.contains_key(name))
    }

    /// `per_try_idle_timeout`.
    pub fn per_try_idle_timeout(&self) -> Option<Duration> {
        self.policy.as_ref()?.per_try_idle_timeout
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(HeaderValue::as_bytes).and_then(|value| std::str::from_utf8(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::testing::request;

    #[test]
    fn headers_ask_for_retries_and_are_taken_off() {
        let headers = [
            ("x-envoy-retry-on", "5xx, nonsense"),
            ("x-envoy-retry-grpc-on", "unavailable"),
            ("x-envoy-max-retries", "3"),
            ("x-envoy-retriable-status-codes", "409, x"),
            ("x-envoy-retriable-header-names", "x-again"),
            ("x-kept", "1"),
        ];
        let mut head = request("GET", "h/", &headers);
        let retries = Retries::of(None, &mut head).unwrap_or_else(|| panic!("none"));
        assert!(retries.on.intersects(RetryOn::SERVER_ERROR) && retries.on.intersects(RetryOn::GRPC_UNAVAILABLE));
        assert!(retries.remaining == 3 && retries.is_retriable_status(StatusCode::CONFLICT));
        let again = request("GET", "h/", &[("x-again", "")]).headers;
        assert!(retries.has_retriable_header(&ResponseHead { status: StatusCode::OK, headers: again }));
        assert_eq!(head.headers.len(), 1);
        assert!(Retries::of(None, &mut head).is_none());
    }
}
