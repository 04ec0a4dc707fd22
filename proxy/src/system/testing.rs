//! Parts of a configuration for tests.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use config::model::address::{Address, Target};
use config::model::chain::{FilterChain, Handler as Kind, Match, TransportProtocol};
use config::model::cluster::{Cluster, Discovery, LbPolicy, Transport};
use config::model::endpoint::{Assignment, Endpoint, Health, LocalityEndpoints};
use config::model::http::{Action, HttpManager, PathMatch, Route, VirtualHost};
use config::model::listener::{Direction, Listener, TlsInspector};
use config::model::tls::DownstreamTls;
use config::snapshot::{ClusterEntry, Source};

/// A system listener on a free port of loopback.
pub(crate) fn listener(name: &str, chains: Vec<Arc<FilterChain>>) -> Listener {
    Listener {
        name: name.into(),
        frame_id: 1,
        addresses: [Address::Socket("127.0.0.1:0".parse().unwrap())].into(),
        stat_name: name.into(),
        direction: Direction::Inbound,
        reuse_port: false,
        bind: true,
        backlog: None,
        tls_inspector: Some(TlsInspector { max_hello: 65536, close_on_error: false, ja3: false, ja4: false }),
        proxy_protocol: None,
        listener_filters_timeout: Duration::from_secs(15),
        continue_on_timeout: false,
        buffer_limit: 1 << 20,
        chains: chains.into(),
        default_chain: None,
        access_logs: Box::default(),
        connection_limit: None,
        system: true,
    }
}

pub(crate) fn manager(routes: Vec<Route>) -> HttpManager {
    HttpManager {
        stat_prefix: "sys".into(),
        virtual_hosts: [VirtualHost { name: "v".into(), domains: ["*".into()].into(), routes: routes.into() }].into(),
        server_name: "envoy".into(),
        normalize_path: false,
        idle_timeout: None,
        request_headers_timeout: None,
        stream_idle_timeout: None,
    }
}

fn route(prefix: &str, action: Action) -> Route {
    Route {
        path: PathMatch::Prefix(prefix.into()),
        headers: Box::default(),
        action,
        response_headers: Box::default(),
        request_headers: Box::default(),
    }
}

pub(crate) fn cluster_route(prefix: &str, cluster: &str, rewrite: Option<&str>) -> Route {
    let timeout = Duration::from_secs(15);
    route(prefix, Action::Cluster { cluster: cluster.into(), prefix_rewrite: rewrite.map(Into::into), timeout })
}

pub(crate) fn direct_route(prefix: &str, status: u16, body: &'static str) -> Route {
    route(prefix, Action::Direct { status, body: body.into() })
}

fn chain(id: u128, http: HttpManager) -> FilterChain {
    FilterChain {
        name: format!("chain-{id}").into(),
        id,
        matches: Match::default(),
        tls: None,
        filters: Box::default(),
        handler: Kind::System(Arc::new(http)),
        transport_socket_connect_timeout: None,
    }
}

pub(crate) fn plain_chain(id: u128, http: HttpManager) -> Arc<FilterChain> {
    Arc::new(chain(id, http))
}

pub(crate) fn tls_chain(id: u128, http: HttpManager, tls: DownstreamTls) -> Arc<FilterChain> {
    let matches = Match { transport_protocol: TransportProtocol::Tls, ..Match::default() };
    Arc::new(FilterChain { matches, tls: Some(Arc::new(tls)), ..chain(id, http) })
}

pub(crate) fn source() -> Arc<Source> {
    Arc::new(Source {
        body: bytes::Bytes::new(),
        version: "1".into(),
        updated: std::time::SystemTime::now(),
        fixed: false,
    })
}

pub(crate) fn cluster(name: &str, endpoints: &[Address]) -> Arc<ClusterEntry> {
    let endpoint = |address: &Address| Endpoint {
        target: Target::Address(address.clone()),
        additional_addresses: Box::default(),
        weight: 1,
        health: Health::Unknown,
        metadata: None,
        hostname: None,
        health_check: None,
    };
    let locality = LocalityEndpoints {
        locality: Arc::default(),
        priority: 0,
        weight: None,
        endpoints: endpoints.iter().map(endpoint).collect(),
    };
    let assignment = Arc::new(Assignment {
        localities: [locality].into(),
        overprovisioning_factor: 140,
        weighted_priority_health: false,
    });
    let cluster = Cluster {
        name: name.into(),
        stat_name: name.into(),
        discovery: Discovery::Static(Arc::clone(&assignment)),
        connect_timeout: Duration::from_secs(5),
        lb: LbPolicy::RoundRobin,
        lb_common: None,
        subsets: None,
        circuit_breakers: None,
        outlier_detection: None,
        health_checks: Box::default(),
        transport: Transport::Raw,
        transport_matches: Box::default(),
        http: None,
        metadata: None,
        track: Default::default(),
        socket: None,
        buffer_limit: 1 << 20,
    };
    Arc::new(ClusterEntry { cluster: Arc::new(cluster), assignment, source: source(), ignored: Box::default() })
}
