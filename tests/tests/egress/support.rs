//! What stands around the egress.

use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::{Value, json};
use tests::backend::Backend;
use tests::bootstrap::{address, bootstrap, chain, cluster, listener, merged, tcp_proxy};
use tests::ca::{Authority, Key, Leaf};
use tests::process::{Kind, Proxy, Site};
use tests::story::{IN, log_more};
use tests::tls;

/// Kuma's forms of a server name: by tags, by hash, by KRI (twice: of a service, of an external one), and a DNS name.
pub(crate) const TAGS: &str = "backend{kuma.io/zone=east,mesh=default}";
pub(crate) const HASH: &str = "ae10a8071b8a8eeb8.backend.8080.demo.ms";
pub(crate) const KRI: &str = "sni.msvc.default.east.shop.orders.http";
pub(crate) const NUMERIC_KRI: &str = "sni.extsvc.default.example.9000";
pub(crate) const DNS: &str = "backend.demo.mesh";

/// Another zone: an ingress of ours, and a service behind it whose banner is the zone's name.
pub(crate) struct Zone {
    pub(crate) ingress: Proxy,
    pub(crate) service: Backend,
}

impl Zone {
    pub(crate) async fn start(name: &str, server_names: &[&str]) -> Self {
        let service = Backend::echo(name).await;
        let site = Site::new();
        let chains = [chain(server_names, tcp_proxy("service", json!({})))];
        let bootstrap = bootstrap(
            &site,
            &[listener("in", site.at(IN), &chains)],
            &[cluster("service", &[service.address()], json!({}))],
        );
        Self { ingress: Proxy::start(Kind::Ours, site, &bootstrap).await, service }
    }

    /// The zone's ingress as endpoints of this locality, with this priority.
    pub(crate) fn endpoints(&self, zone: &str, priority: u32) -> Value {
        json!({
            "locality": {"zone": zone},
            "priority": priority,
            "load_balancing_weight": 1,
            "lb_endpoints": [{"endpoint": {"address": address(self.ingress.at(IN))}, "load_balancing_weight": 1}],
        })
    }
}

/// A cluster with these localities; `more` is merged into it.
pub(crate) fn zones(name: &str, localities: &[Value], more: Value) -> Value {
    let endpoints = json!({"load_assignment": {"cluster_name": name, "endpoints": localities}});
    merged(cluster(name, &[], endpoints), more)
}

/// A mesh with its authority, and the egress' own certificate in it.
pub(crate) struct Mesh {
    pub(crate) authority: Authority,
    pub(crate) egress: Leaf,
}

impl Mesh {
    /// The mesh `default`.
    pub(crate) fn new() -> Self {
        let authority = Authority::new();
        let egress = authority.issue("spiffe://default/zone-egress", Key::Ecdsa);
        Self { authority, egress }
    }

    /// What a chain that ends the mesh's TLS is given: shows its own certificate, asks for one of this mesh.
    pub(crate) fn socket(&self) -> Value {
        tls::mutual(merged(
            tls::shows(&[&self.egress]),
            tls::trusts(&[&self.authority], tls::identity_prefix("spiffe://default/")),
        ))
    }

    /// A client with this identity.
    pub(crate) fn client(&self, identity: &str) -> Arc<ClientConfig> {
        self.authority.client(&self.authority.issue(identity, Key::Ecdsa), &[])
    }

    /// A client that shows whatever it is given, and itself trusts the mesh.
    pub(crate) fn client_showing(&self, leaf: &Leaf) -> Arc<ClientConfig> {
        self.authority.client(leaf, &[])
    }
}

/// A chain that ends TLS for this name: `before` are its filters in front of `proxy`.
pub(crate) fn ends_tls(name: &str, socket: Value, before: &[Value], proxy: Value) -> Value {
    let filters: Vec<_> = before.iter().cloned().chain([proxy]).collect();
    let chain = json!({
        "name": name,
        "filter_chain_match": {"server_names": [name], "transport_protocol": "tls"},
        "filters": filters,
    });
    merged(chain, socket)
}

/// The access log of a chain that ends TLS.
pub(crate) fn log(site: &Site) -> Value {
    log_more(site, "peer=%DOWNSTREAM_PEER_URI_SAN% version=%DOWNSTREAM_TLS_VERSION%")
}
