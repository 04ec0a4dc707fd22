//! A control plane, two upstreams, and gateways.

use std::net::SocketAddr;

use config::snapshot::Kind as Of;
use serde_json::{Value, json};
use tests::ads::{self, eds_cluster, endpoints, put};
use tests::bootstrap::{any_chain, kind, merged};
use tests::control_plane::ControlPlane;
use tests::http_peer::client::once;
use tests::http_peer::{Ask, Dial};
use tests::process::{Kind, Proxy, Site};
use tests::wait::until;

use crate::upstream::Upstream;

/// Where a gateway listens.
pub(crate) const PORT: u16 = 10_080;

pub(crate) struct World {
    pub(crate) control_plane: ControlPlane,
    pub(crate) upstreams: [Upstream; 2],
}

impl World {
    pub(crate) async fn start() -> Self {
        let upstreams = [Upstream::start().await, Upstream::start().await];
        let world = Self { control_plane: ads::control_plane().await, upstreams };
        world.cluster(5);
        world.endpoints(&[0, 1]);
        world.route(0);
        world
    }

    /// A gateway that is configured and serves.
    pub(crate) async fn gateway(&self, site: Site) -> Proxy {
        self.listen(site.at(PORT), 0);
        let bootstrap = ads::bootstrap(&site, &self.control_plane);
        let proxy = Proxy::start(Kind::Gateway, site, &bootstrap).await;
        serves(proxy.at(PORT)).await;
        proxy
    }

    pub(crate) fn cluster(&self, timeout: usize) {
        let more = json!({
            "connect_timeout": format!("{timeout}s"),
            "circuit_breakers": {"thresholds": [{
                "max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000,
                "max_retries": 100_000,
            }]},
        });
        put(&self.control_plane, Of::Cluster, &eds_cluster("hello", more));
    }

    pub(crate) fn endpoints(&self, upstreams: &[usize]) {
        let at: Vec<_> = upstreams.iter().map(|n| self.upstreams[*n].address).collect();
        put(&self.control_plane, Of::Endpoints, &endpoints("hello", &at));
    }

    /// The routes; `n` is in a header of the answers.
    pub(crate) fn route(&self, n: usize) {
        let header = json!({"header": {"key": "x-round", "value": n.to_string()}});
        let retries = json!({
            "retry_on": "connect-failure,refused-stream,reset,5xx",
            "num_retries": 5,
            "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.05s"},
            "retry_host_predicate": [{
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": kind("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")},
            }],
            "host_selection_retry_max_attempts": 3,
        });
        let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "hello", "retry_policy": retries}});
        let host = json!({"name": "all", "domains": ["*"], "routes": [route], "response_headers_to_add": [header]});
        let extra = json!({
            "name": format!("extra-{n}"),
            "domains": [format!("extra-{n}.test")],
            "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 204}}],
        });
        let routes = json!({"name": "routes", "virtual_hosts": [host, extra], "validate_clusters": false});
        put(&self.control_plane, Of::Route, &routes);
    }

    /// The listener; another `n`, another chain in the place of the last.
    pub(crate) fn listen(&self, at: SocketAddr, n: usize) {
        self.listener("in", at, n, json!({}));
    }

    pub(crate) fn listener(&self, name: &str, at: SocketAddr, n: usize, more: Value) {
        let manager = json!({
            "@type": kind("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "in",
            "server_name": format!("round-{n}"),
            "rds": {"route_config_name": "routes", "config_source": {"ads": {}, "resource_api_version": "V3"}},
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": kind("envoy.extensions.filters.http.router.v3.Router")},
            }],
        });
        let filter = json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
        let listener = json!({
            "name": name,
            "address": tests::bootstrap::address(at),
            "filter_chains": [any_chain(filter)],
        });
        put(&self.control_plane, Of::Listener, &merged(listener, more));
    }
}

/// Waits until somebody is served there.
pub(crate) async fn serves(at: SocketAddr) {
    until("the gateway to serve", async || {
        let answer = once(&Dial::plain(at), &Ask::get("load.test", "/")).await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
}
