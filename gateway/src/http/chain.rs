//! A filter chain that ends in an HTTP connection manager, at run time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::model::hcm::Manager;
use http::HeaderValue;
use proxy::http::{HttpChain, HttpConnection, Serving};
use proxy::metrics::{HttpStat, Scope};
use proxy::report::HttpLogs;
use proxy::shared::Shared;

use super::connection;
use super::h1::head::Rules;
use super::routes::{Current, Routes};
use crate::filter;
use crate::trace::Tracer;
use crate::upstream::Pools;

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
    /// Its filters.
    pub filters: filter::Chain,
    /// What makes spans; `None`: nothing does.
    pub tracer: Option<Arc<Tracer>>,
    /// Connections to endpoints.
    pub pools: Arc<Pools>,
    /// Our own address, told in the place of a loopback one.
    pub(super) own_ip: IpAddr,
    /// As [`Place::hosts`].
    hosts: Box<[Arc<str>]>,
    routes: Routes,
    agent: Option<Agent>,
}

/// What `add_user_agent` tells.
#[derive(Debug)]
pub(super) struct Agent {
    /// `node.cluster`.
    pub(super) cluster: HeaderValue,
    /// `node.id`.
    pub(super) node: Option<HeaderValue>,
}

/// Where a connection manager stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// Its chain ends TLS.
    pub(super) tls: bool,
    /// Its listener is for traffic out.
    pub(super) egress: bool,
    /// Hosts that its certificate is for, exact or `*.suffix`; others get 421. None: any host will do.
    pub(super) hosts: Box<[Arc<str>]>,
}

/// What all connection managers of a process share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) pools: Arc<Pools>,
    pub(super) own_ip: IpAddr,
    pub(super) node: Node,
}

/// Who we are to the control plane.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) id: Box<str>,
    pub(super) cluster: Box<str>,
}

impl Chain {
    pub(super) fn new(
        manager: &Arc<Manager>,
        Place { tls, egress, hosts }: Place,
        shared: &Shared,
        (common, routes): (&Common, Routes),
    ) -> Arc<Self> {
        let stats = shared.registry.http(&manager.stat_prefix);
        let logs = HttpLogs::new(&manager.access_logs, &shared.sinks, &shared.registry);
        let tracer = manager.tracing.as_ref().map(|tracing| Tracer::compile(tracing, egress, &stats, shared));
        let agent = manager.add_user_agent.then(|| Agent::of(&common.node)).flatten();
        let (pools, own_ip) = (Arc::clone(&common.pools), common.own_ip);
        let filters = filter::Chain::compile(&manager.filters, &manager.stat_prefix, shared);
        Arc::new(Self {
            manager: Arc::clone(manager),
            stats,
            tls,
            logs,
            filters,
            tracer,
            pools,
            own_ip,
            hosts,
            routes,
            agent,
        })
    }

    /// The routes in force.
    pub(super) fn routes(&self) -> Current {
        self.routes.current()
    }

    /// Whether a request for this host, without a port, came to the right place.
    pub(super) fn is_host(&self, host: &[u8]) -> bool {
        let host = host.strip_suffix(b".").unwrap_or(host);
        let is = |name: &Arc<str>| match name.as_bytes().strip_prefix(b"*") {
            Some(end) => {
                let at = host.len().checked_sub(end.len());
                at.is_some_and(|at| (at > 0 || end.is_empty()) && host[at..].eq_ignore_ascii_case(end))
            }
            None => host.eq_ignore_ascii_case(name.as_bytes()),
        };
        self.hosts.is_empty() || self.hosts.iter().any(is)
    }

    /// What `add_user_agent` tells.
    pub(super) fn agent(&self) -> Option<&Agent> {
        self.agent.as_ref()
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
            http10: http1.accept_http_10,
        }
    }

    /// How long a head may take; Envoy's timers for requests and streams run from its first byte, too.
    pub(super) fn head_timeout(&self) -> Option<Duration> {
        let Manager { request_headers_timeout, request_timeout, stream_idle_timeout, .. } = &*self.manager;
        [*request_headers_timeout, *request_timeout, *stream_idle_timeout].into_iter().flatten().min()
    }
}

impl Agent {
    /// `None`: a node without a cluster has nothing to tell.
    fn of(node: &Node) -> Option<Self> {
        let cluster = HeaderValue::from_str(&node.cluster).ok().filter(|cluster| !cluster.is_empty())?;
        Some(Self { cluster, node: HeaderValue::from_str(&node.id).ok().filter(|id| !id.is_empty()) })
    }
}

impl HttpChain for Chain {
    fn serve(self: Arc<Self>, connection: HttpConnection) -> Serving {
        Box::pin(connection::serve(self, connection))
    }
}
