//! When a request is tried again (`RetryPolicy`).

use std::time::Duration;

use http::HeaderName;

use super::HeaderMatch;
use crate::model::metadata::Fields;

/// `RetryPolicy`.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// `retry_on`.
    pub on: RetryOn,
    /// `num_retries`; Envoy's default is 1.
    pub retries: u32,
    /// `per_try_timeout`; `None`: the route's.
    pub per_try_timeout: Option<Duration>,
    /// `per_try_idle_timeout`.
    pub per_try_idle_timeout: Option<Duration>,
    /// `retry_priority`.
    pub priority: Option<RetryPriority>,
    /// `retry_host_predicate`: hosts that a retry does not go to.
    pub hosts: Box<[HostPredicate]>,
    /// `host_selection_retry_max_attempts`: so often another host is picked before a rejected one is taken.
    pub host_attempts: u32,
    /// `retriable_status_codes`.
    pub status_codes: Box<[u16]>,
    /// `retry_back_off`.
    pub back_off: BackOff,
    /// `rate_limited_retry_back_off`.
    pub rate_limited: Option<Box<RateLimitedBackOff>>,
    /// `retriable_headers`: any of these in the answer.
    pub response_headers: Box<[HeaderMatch]>,
    /// `retriable_request_headers`: any of these in the request; empty: all requests.
    pub request_headers: Box<[HeaderMatch]>,
}

/// `retry_on` and `x-envoy-retry-on`, `x-envoy-retry-grpc-on`: a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOn(u32);

impl RetryOn {
    /// `5xx`
    pub const SERVER_ERROR: Self = Self(1);
    /// `gateway-error`
    pub const GATEWAY_ERROR: Self = Self(1 << 1);
    /// `connect-failure`
    pub const CONNECT_FAILURE: Self = Self(1 << 2);
    /// `retriable-4xx`
    pub const RETRIABLE_4XX: Self = Self(1 << 3);
    /// `refused-stream`
    pub const REFUSED_STREAM: Self = Self(1 << 4);
    /// `cancelled`
    pub const GRPC_CANCELLED: Self = Self(1 << 5);
    /// `deadline-exceeded`
    pub const GRPC_DEADLINE_EXCEEDED: Self = Self(1 << 6);
    /// `resource-exhausted`
    pub const GRPC_RESOURCE_EXHAUSTED: Self = Self(1 << 7);
    /// `unavailable`
    pub const GRPC_UNAVAILABLE: Self = Self(1 << 8);
    /// `internal`
    pub const GRPC_INTERNAL: Self = Self(1 << 9);
    /// `retriable-status-codes`
    pub const STATUS_CODES: Self = Self(1 << 10);
    /// `reset`
    pub const RESET: Self = Self(1 << 11);
    /// `retriable-headers`
    pub const HEADERS: Self = Self(1 << 12);
    /// `envoy-ratelimited`
    pub const RATE_LIMITED: Self = Self(1 << 13);
    /// `http3-post-connect-failure`: of HTTP/3 only.
    pub const HTTP3_POST_CONNECT_FAILURE: Self = Self(1 << 14);
    /// `reset-before-request`
    pub const RESET_BEFORE_REQUEST: Self = Self(1 << 15);

    const HTTP: [(&'static str, Self); 11] = [
        ("5xx", Self::SERVER_ERROR),
        ("gateway-error", Self::GATEWAY_ERROR),
        ("connect-failure", Self::CONNECT_FAILURE),
        ("retriable-4xx", Self::RETRIABLE_4XX),
        ("refused-stream", Self::REFUSED_STREAM),
        ("retriable-status-codes", Self::STATUS_CODES),
        ("retriable-headers", Self::HEADERS),
        ("reset", Self::RESET),
        ("reset-before-request", Self::RESET_BEFORE_REQUEST),
        ("envoy-ratelimited", Self::RATE_LIMITED),
        ("http3-post-connect-failure", Self::HTTP3_POST_CONNECT_FAILURE),
    ];
    const GRPC: [(&'static str, Self); 5] = [
        ("cancelled", Self::GRPC_CANCELLED),
        ("deadline-exceeded", Self::GRPC_DEADLINE_EXCEEDED),
        ("resource-exhausted", Self::GRPC_RESOURCE_EXHAUSTED),
        ("unavailable", Self::GRPC_UNAVAILABLE),
        ("internal", Self::GRPC_INTERNAL),
    ];

    /// The words of `retry_on`, HTTP's and gRPC's. Words that mean nothing are passed over, as in Envoy.
    pub fn parse(text: &str) -> Self {
        Self::http(text).union(Self::grpc(text))
    }

    /// The words of `x-envoy-retry-on`.
    pub fn http(text: &str) -> Self {
        Self::words(text, &Self::HTTP)
    }

    /// The words of `x-envoy-retry-grpc-on`.
    pub fn grpc(text: &str) -> Self {
        Self::words(text, &Self::GRPC)
    }

    /// Words that mean nothing.
    pub fn unknown(text: &str) -> impl Iterator<Item = &str> {
        let known = |word: &&str| Self::HTTP.iter().chain(&Self::GRPC).any(|(name, _)| name == word);
        text.split(',').map(str::trim).filter(move |word| !word.is_empty() && !known(word))
    }

    fn words(text: &str, known: &[(&'static str, Self)]) -> Self {
        text.split(',')
            .map(str::trim)
            .filter_map(|word| known.iter().find(|(name, _)| *name == word))
            .fold(Self::default(), |all, (_, one)| all.union(*one))
    }

    /// Both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Any of `other` is in it.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Nothing is retried.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// `RetryBackOff`: exponential, with full jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// `base_interval`; `None`: Envoy's 25 ms, or what the runtime says (`upstream.base_retry_backoff_ms`).
    pub base: Option<Duration>,
    /// `max_interval`; `None`: ten times the base.
    pub max: Option<Duration>,
}

/// `RateLimitedRetryBackOff`: as long as the upstream asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimitedBackOff {
    /// `reset_headers`: the first that is there and can be read; never empty.
    pub headers: Box<[ResetHeader]>,
    /// `max_interval`: beyond that the header is not heeded. Envoy's default is 300 s.
    pub max: Duration,
}

/// `ResetHeader`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetHeader {
    /// Name.
    pub name: HeaderName,
    /// What its number means.
    pub format: ResetHeaderFormat,
}

/// `ResetHeaderFormat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetHeaderFormat {
    /// So many seconds from now.
    Seconds,
    /// Seconds since 1970.
    UnixTimestamp,
}

/// `retry_host_predicate`: which hosts are passed over.
#[derive(Clone, Debug, PartialEq)]
pub enum HostPredicate {
    /// `envoy.retry_host_predicates.previous_hosts`: those that were tried.
    PreviousHosts,
    /// `envoy.retry_host_predicates.omit_canary_hosts`.
    OmitCanary,
    /// `envoy.retry_host_predicates.omit_host_metadata`: whose `envoy.lb` has all these fields.
    OmitMetadata(Fields),
}

/// `envoy.retry_priorities.previous_priorities`: priorities that were tried are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPriority {
    /// `update_frequency`: after so many tries; at least 1.
    pub update_frequency: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_parsed_and_others_named() {
        let on = RetryOn::parse("5xx, connect-failure,unavailable,nonsense");
        assert!(on.intersects(RetryOn::SERVER_ERROR) && on.intersects(RetryOn::CONNECT_FAILURE));
        assert!(on.intersects(RetryOn::GRPC_UNAVAILABLE) && !on.intersects(RetryOn::RESET));
        assert_eq!(RetryOn::unknown("5xx, nonsense,,cancelled").collect::<Vec<_>>(), ["nonsense"]);
        assert!(RetryOn::http("unavailable").is_empty() && RetryOn::grpc("5xx").is_empty());
        assert!(RetryOn::parse("").is_empty());
    }
}
