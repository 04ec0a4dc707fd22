//! What stands around the egress.

use serde_json::{Value, json};
use tests::backend::Backend;
use tests::bootstrap::{address, bootstrap, chain, cluster, listener, merged, tcp_proxy};
use tests::process::{Kind, Proxy, Site};
use tests::story::IN;

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
