//! A proxy that takes its configuration from a control plane, and services behind it.

use config::snapshot::Kind as Of;
use serde_json::{Value, json};
use tests::ads::{answer_bootstrap, bootstrap, control_plane, eds_cluster, endpoints, put};
use tests::backend::Backend;
use tests::bootstrap::{chain, listener, tcp_proxy};
use tests::client::{Outcome, visit};
use tests::control_plane::ControlPlane;
use tests::hello::Hello;
use tests::load::Plan;
use tests::process::{Kind, Proxy, Site};
use tests::wait::until;

/// The port of the listener under load.
pub(crate) const IN: u16 = 10_000;
/// Services under load.
const SERVICES: usize = 4;

/// The whole of it.
pub(crate) struct Mesh {
    pub(crate) control_plane: ControlPlane,
    pub(crate) proxy: Proxy,
    /// Two instances of each service.
    pub(crate) services: Vec<[Backend; 2]>,
}

/// The name of a service, which is also its cluster and its banner.
pub(crate) fn service(n: usize) -> String {
    format!("service-{n}.test")
}

impl Mesh {
    /// Services, a control plane that knows them, and a proxy that has been told.
    pub(crate) async fn start() -> Self {
        Self::with(async |site, control_plane| {
            let config = bootstrap(&site, control_plane);
            Proxy::start(Kind::Ours, site, &config).await
        })
        .await
    }

    /// The same with a proxy started as `kuma-dp` is, with this drain time.
    pub(crate) async fn run(drain_time: &str) -> Self {
        Self::with(async |site, control_plane| {
            answer_bootstrap(&site, control_plane);
            let (url, drain) = (control_plane.url(), format!("--drain-time={drain_time}"));
            let arguments = ["--proxy-type=ingress", "--name=test", "--cp-address", &url, &drain];
            Proxy::run(site, &arguments).await
        })
        .await
    }

    async fn with(start: impl AsyncFnOnce(Site, &ControlPlane) -> Proxy) -> Self {
        let mut services = Vec::new();
        for n in 0..SERVICES {
            services.push([Backend::echo(&service(n)).await, Backend::echo(&service(n)).await]);
        }
        let control_plane = control_plane().await;
        for (n, instances) in services.iter().enumerate() {
            put(&control_plane, Of::Cluster, &eds_cluster(&service(n), breakers()));
            let at: Vec<_> = instances.iter().map(Backend::address).collect();
            put(&control_plane, Of::Endpoints, &endpoints(&service(n), &at));
        }
        let site = Site::new();
        put(&control_plane, Of::Listener, &listener("in", site.at(IN), &chains(3600)));
        let proxy = start(site, &control_plane).await;
        let mesh = Self { control_plane, proxy, services };
        for n in 0..SERVICES {
            mesh.is_served(&service(n)).await;
        }
        mesh
    }

    /// What to do to it.
    pub(crate) fn plan(&self, long: usize, rate: u64) -> Plan {
        Plan { proxy: self.proxy.at(IN), names: (0..SERVICES).map(service).collect(), long, rate }
    }

    /// Waits until a name is served under itself.
    pub(crate) async fn is_served(&self, name: &str) {
        self.leads(IN, name, &Outcome::Served(name.to_owned())).await;
    }

    /// Waits until a name at this port has this outcome.
    pub(crate) async fn leads(&self, port: u16, name: &str, outcome: &Outcome) {
        until(&format!("{name} at port {port} to be {outcome:?}"), async || {
            // Nothing need listen there yet.
            tokio::net::TcpStream::connect(self.proxy.at(port)).await.ok()?;
            (visit(self.proxy.at(port), &Hello::to(name)).await == *outcome).then_some(())
        })
        .await;
    }
}

/// One chain for each service, with this idle timeout in seconds.
pub(crate) fn chains(idle: usize) -> Vec<Value> {
    let idle = json!({"idle_timeout": format!("{idle}s")});
    (0..SERVICES).map(|n| chain(&[&service(n)], tcp_proxy(&service(n), idle.clone()))).collect()
}

/// A chain that leads a name to a cluster.
pub(crate) fn to(name: &str, cluster: &str) -> Value {
    chain(&[name], tcp_proxy(cluster, json!({})))
}

/// Far more than the load needs: Envoy's default of 1024 connections is not what is tested here.
pub(crate) fn breakers() -> Value {
    json!({"circuit_breakers": {"thresholds": [{"max_connections": 100_000, "max_pending_requests": 100_000}]}})
}
