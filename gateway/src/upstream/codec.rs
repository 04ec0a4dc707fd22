//! How connections of a cluster speak HTTP.

use std::time::Duration;

use config::model::cluster::{Cluster, HttpOptions, UpstreamProtocol};
use config::model::hcm::{HeaderCase, Http2Options};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use proxy::report::http::Protocol;

use super::pool::Wire;

/// Settings of a cluster's connections, out of its `HttpProtocolOptions`.
#[derive(Clone, Debug)]
pub(crate) struct Codec {
    /// `idle_timeout`; `None`: never.
    pub(crate) idle_timeout: Option<Duration>,
    /// `max_connection_duration`.
    pub(crate) max_duration: Option<Duration>,
    /// `max_requests_per_connection`.
    pub(crate) max_requests: Option<u32>,
    /// Streams of an HTTP/2 connection at a time, whatever the peer allows.
    pub(crate) max_streams: u32,
    max_headers: usize,
    max_head: usize,
    case: HeaderCase,
    http2: Http2Options,
}

/// Envoy's bounds on the head of an answer: of HTTP/1 80 KiB, of HTTP/2 60 KiB.
const MAX_HEAD: (u32, u32) = (80, 60);

/// hyper's buffer for a head, unless it is told otherwise.
const BUFFER: usize = 400 * 1024;

impl Codec {
    /// Of a cluster, for one version.
    pub(crate) fn of(cluster: &Cluster, protocol: Protocol) -> Self {
        let http = cluster.http.as_deref().cloned().unwrap_or_default();
        let HttpOptions { common, http1, http2, .. } = http;
        let default = if protocol == Protocol::Http2 { MAX_HEAD.1 } else { MAX_HEAD.0 };
        Self {
            idle_timeout: common.idle_timeout,
            // Up to so many percent longer, so that not all connections end at once.
            max_duration: common
                .max_connection_duration
                .map(|max| max.mul_f64(1.0 + fastrand::f64() * common.max_connection_duration_jitter / 100.0)),
            max_requests: common.max_requests_per_connection,
            max_streams: http2.max_concurrent_streams,
            max_headers: common.max_headers_count as usize,
            max_head: common.max_response_headers_kb.unwrap_or(default) as usize * 1024,
            case: http1.header_case,
            http2,
        }
    }

    /// What a cluster's endpoints speak, with a client that speaks `client`.
    pub(crate) fn wire(cluster: &Cluster, client: Protocol) -> Wire {
        match cluster.http.as_deref().map_or(UpstreamProtocol::Http1, |http| http.protocol) {
            UpstreamProtocol::Http1 => Wire::Http1,
            UpstreamProtocol::Http2 => Wire::Http2,
            UpstreamProtocol::Downstream { .. } if client == Protocol::Http2 => Wire::Http2,
            UpstreamProtocol::Downstream { .. } => Wire::Http1,
            UpstreamProtocol::Auto => Wire::Auto,
        }
    }

    /// Requests that one connection is expected to take, before it is there.
    pub(crate) fn expected(cluster: &Cluster, wire: Wire) -> u64 {
        let http = cluster.http.as_deref();
        match (wire, http) {
            (Wire::Http1, _) => 1,
            (Wire::Http2 | Wire::Auto, None) => u64::from(Http2Options::default().max_concurrent_streams),
            (Wire::Http2 | Wire::Auto, Some(http)) => {
                let requests = http.common.max_requests_per_connection.unwrap_or(u32::MAX);
                u64::from(http.http2.max_concurrent_streams.min(requests).max(1))
            }
        }
    }

    /// HTTP/1.
    pub(crate) fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        // Envoy joins folded lines, too.
        builder
            .max_headers(self.max_headers)
            .max_header_size(self.max_head)
            .allow_obsolete_multiline_headers_in_responses(true)
            .title_case_headers(self.case == HeaderCase::ProperWords)
            .preserve_header_case(self.case == HeaderCase::Preserve);
        if self.max_head > BUFFER {
            builder.max_buf_size(self.max_head);
        }
        builder
    }

    /// HTTP/2.
    pub(crate) fn http2(&self) -> http2::Builder<TokioExecutor> {
        let options = &self.http2;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(options.initial_stream_window_size)
            .initial_connection_window_size(options.initial_connection_window_size)
            .header_table_size(options.hpack_table_size)
            .max_header_list_size(u32::try_from(self.max_head).unwrap_or(u32::MAX));
        if let Some(keepalive) = options.keepalive.as_deref() {
            let jitter = 1.0 + fastrand::f64() * keepalive.interval_jitter / 100.0;
            builder
                .keep_alive_interval(keepalive.interval.map(|interval| interval.mul_f64(jitter)))
                .keep_alive_timeout(keepalive.timeout)
                .keep_alive_while_idle(true);
        }
        builder
    }
}
