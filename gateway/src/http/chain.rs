//! A filter chain that ends in an HTTP connection manager, at run time.

use std::sync::Arc;
use std::time::Duration;

use config::model::hcm::Manager;
use proxy::http::{HttpChain, HttpConnection, Serving};
use proxy::metrics::{HttpStat, Scope};
use proxy::report::HttpLogs;
use proxy::shared::Shared;

use super::connection;
use super::h1::head::Rules;

/// An HTTP connection manager at run time. It lives as long as its configuration stays the same; what changes beneath it
/// (routes) is swapped.
#[derive(Debug)]
pub struct Chain {
    /// As configured.
    pub manager: Arc<Manager>,
    /// `http.<stat_prefix>.…`
    pub stats: Arc<Scope<HttpStat>>,
    /// The chain ends TLS.
    pub tls: bool,
    /// Its access logs.
    pub logs: HttpLogs,
}

impl Chain {
    pub(super) fn new(manager: &Arc<Manager>, tls: bool, shared: &Shared) -> Arc<Self> {
        let stats = shared.registry.http(&manager.stat_prefix);
        let logs = HttpLogs::new(&manager.access_logs, &shared.sinks, &shared.registry);
        Arc::new(Self { manager: Arc::clone(manager), stats, tls, logs })
    }

    /// What a head of HTTP/1 may have.
    pub(super) fn rules(&self) -> Rules {
        let Manager { max_request_headers_kb, common, http1, .. } = &*self.manager;
        Rules {
            max_bytes: *max_request_headers_kb as usize * 1024,
            max_headers: common.max_headers_count as usize,
            absolute: http1.allow_absolute_url,
            chunked_length: http1.allow_chunked_length,
            any_method: http1.allow_custom_methods,
        }
    }

    /// How long a head may take; Envoy's timers for requests and streams run from its first byte, too.
    pub(super) fn head_timeout(&self) -> Option<Duration> {
        let Manager { request_headers_timeout, request_timeout, stream_idle_timeout, .. } = &*self.manager;
        [*request_headers_timeout, *request_timeout, *stream_idle_timeout].into_iter().flatten().min()
    }
}

impl HttpChain for Chain {
    fn serve(self: Arc<Self>, connection: HttpConnection) -> Serving {
        Box::pin(connection::serve(self, connection))
    }
}
