//! Clusters, requests and endpoints for tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use config::model::address::{Address, Target};
use config::model::cluster::{
    CircuitBreakers, Cluster as Config, Discovery, HttpOptions, LbPolicy, Thresholds, Transport,
};
use config::model::endpoint::{Assignment, Endpoint, Health, Locality, LocalityEndpoints};
use config::model::hcm::Router as Options;
use config::model::route::{Action, Forward};
use config::snapshot::{Changes, ClusterEntry, Snapshot, Source};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body_util::BodyExt;
use proxy::metrics::{ClusterStat, Registry};
use proxy::report::Sinks;
use proxy::report::flow::Flow;
use proxy::report::http::{HttpFlow, Protocol, RequestHead, Scheme};
use proxy::shared::{Limits, Shared};
use proxy::upstream::{Cluster, Clusters};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Job, Pools, Told, Tunnel, route};
use crate::http::{Body, Reply};
use crate::route::hash::Hash;
use crate::route::testing::configuration;

pub(super) const NAME: &str = "backend";

/// A proxy with one cluster.
pub(super) struct Bed {
    pub(super) shared: Arc<Shared>,
    pub(super) pools: Arc<Pools>,
    pub(super) route: Arc<Forward>,
    pub(super) options: Options,
}

pub(super) fn config() -> Config {
    Config {
        name: NAME.into(),
        stat_name: NAME.into(),
        discovery: Discovery::Eds { service_name: NAME.into(), initial_fetch_timeout: Duration::ZERO },
        connect_timeout: Duration::from_secs(5),
        lb: LbPolicy::RoundRobin,
        lb_common: None,
        subsets: None,
        circuit_breakers: None,
        outlier_detection: None,
        health_checks: Box::default(),
        transport: Transport::Raw,
        transport_matches: Box::default(),
        http: Some(Box::new(HttpOptions::default())),
        metadata: None,
        track: Default::default(),
        socket: None,
        buffer_limit: 1 << 20,
    }
}

/// Circuit breakers of the default priority.
pub(super) fn limits(change: impl FnOnce(&mut Thresholds)) -> Option<Box<CircuitBreakers>> {
    let mut limits = CircuitBreakers::default();
    change(&mut limits.default);
    Some(Box::new(limits))
}

fn endpoint(address: &SocketAddr) -> Endpoint {
    Endpoint {
        target: Target::Address(Address::Socket(*address)),
        additional_addresses: Box::default(),
        weight: 1,
        health: Health::Unknown,
        metadata: None,
        hostname: None,
        health_check: None,
    }
}

impl Bed {
    /// With these endpoints.
    pub(super) fn new(addresses: &[SocketAddr]) -> Self {
        Self::with(addresses, |_| {})
    }

    /// With other settings of the cluster, too.
    pub(super) fn with(addresses: &[SocketAddr], change: impl FnOnce(&mut Config)) -> Self {
        let registry = Registry::new(1);
        let clusters = Clusters::new(Arc::clone(&registry), tokio::runtime::Handle::current());
        let sinks = Sinks::new(&registry, Default::default());
        let shared = Shared::new(clusters, registry, sinks, Limits::default(), None);
        let bed = Self { shared, pools: Pools::new(0), route: forward(""), options: Options::default() };
        let mut config = config();
        change(&mut config);
        bed.apply(config, addresses);
        bed
    }

    /// Replaces the cluster.
    pub(super) fn apply(&self, config: Config, addresses: &[SocketAddr]) {
        let endpoints = addresses.iter().map(endpoint).collect();
        let locality =
            LocalityEndpoints { locality: Arc::new(Locality::default()), priority: 0, weight: None, endpoints };
        let assignment =
            Assignment { localities: [locality].into(), overprovisioning_factor: 140, weighted_priority_health: false };
        let source = Source { body: Bytes::new(), version: "".into(), updated: SystemTime::UNIX_EPOCH, fixed: false };
        let entry = ClusterEntry {
            cluster: Arc::new(config),
            assignment: Arc::new(assignment),
            source: Arc::new(source),
            ignored: Box::default(),
        };
        let mut snapshot = Snapshot::default();
        snapshot.clusters.insert_mut(NAME.into(), Arc::new(entry));
        let changes = Changes { clusters: vec![NAME.into()], ..Changes::default() };
        self.shared.clusters.apply(&snapshot, &changes);
    }

    pub(super) fn cluster(&self) -> Arc<Cluster> {
        self.shared.clusters.get(NAME).unwrap()
    }

    pub(super) fn stat(&self, stat: ClusterStat) -> u64 {
        self.cluster().stats().get(stat)
    }

    /// `GET /`.
    pub(super) async fn get(&self) -> Result<Response<Body>, Reply> {
        self.send(&mut flow(Method::GET, "/"), Body::Empty).await
    }

    /// Sends a request.
    pub(super) async fn send(&self, flow: &mut HttpFlow, body: Body) -> Result<Response<Body>, Reply> {
        self.tunnel(flow, body, &mut None).await
    }

    /// Sends a request that may end HTTP.
    pub(super) async fn tunnel(
        &self,
        flow: &mut HttpFlow,
        body: Body,
        tunnel: &mut Option<Tunnel>,
    ) -> Result<Response<Body>, Reply> {
        let cluster = NAME.into();
        let job = Job {
            flow,
            shared: &self.shared,
            pools: &self.pools,
            route: &self.route,
            matched: None,
            cluster: &cluster,
            metadata_match: None,
            hash: Hash::default(),
            options: &self.options,
            told: Told { upstream: true, client: true, timeouts: true },
            keep: 1000,
            certificates: false,
            client: None,
            span: None,
            random: 0,
            tunnel,
        };
        route(job, body).await
    }
}

/// A route with these fields.
pub(super) fn forward(fields: &str) -> Arc<Forward> {
    let route = format!("{{match: {{prefix: /}}, route: {{cluster: backend, {fields}}}}}");
    let config = configuration(&format!("virtual_hosts: [{{name: h, domains: ['*'], routes: [{route}]}}]"));
    let Action::Forward(forward) = &config.virtual_hosts[0].routes[0].action else { panic!("no route action") };
    Arc::clone(forward)
}

pub(super) fn flow(method: Method, path: &'static str) -> HttpFlow {
    let connection = Arc::new(Flow::new(1, None, Address::Socket("127.0.0.1:1".parse().unwrap())));
    let request = RequestHead {
        method,
        scheme: Scheme::Http,
        authority: HeaderValue::from_static("a.example"),
        path: PathAndQuery::from_static(path),
        headers: HeaderMap::new(),
        protocol: None,
    };
    HttpFlow::new(connection, 1, Protocol::Http11, request)
}

pub(super) fn with_header(mut flow: HttpFlow, name: &'static str, value: &'static str) -> HttpFlow {
    flow.request.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    flow
}

/// The whole body.
pub(super) async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// An endpoint that does with each connection what it is told.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    listener: TcpListener,
}

impl Backend {
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { address: listener.local_addr().unwrap(), listener }
    }

    pub(super) async fn accept(&self) -> Peer {
        Peer(self.listener.accept().await.unwrap().0)
    }

    /// Serves every connection so, in the background.
    pub(super) fn serve<F: Future<Output = ()> + Send>(
        self,
        serve: impl Fn(Peer) -> F + Clone + Send + 'static,
    ) -> SocketAddr {
        let address = self.address;
        tokio::spawn(async move {
            loop {
                let (peer, serve) = (self.accept().await, serve.clone());
                tokio::spawn(async move { serve(peer).await });
            }
        });
        address
    }

    /// Answers each request with this; connections stay open.
    pub(super) fn answer(self, answer: &'static str) -> SocketAddr {
        self.serve(move |mut peer| async move {
            while peer.head().await.is_some() {
                peer.write(answer).await;
            }
        })
    }
}

/// One connection of an endpoint.
pub(super) struct Peer(pub(super) TcpStream);

impl Peer {
    /// The next head, up to the empty line; `None`: closed.
    pub(super) async fn head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return None,
            }
        }
        Some(String::from_utf8(head).unwrap())
    }

    pub(super) async fn read(&mut self, n: usize) -> String {
        let mut bytes = vec![0; n];
        self.0.read_exact(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    pub(super) async fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Ends the connection with a RST.
    pub(super) fn reset(self) {
        let socket = socket2::SockRef::from(&self.0);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}
