//! `make demo-zone-boundary`: the border of a zone. Who gets out of it, to what, and who doesn't.
//!
//! Zone west has an egress, zone east an ingress; clients and services are the harness', the edges are ours. Each line is
//! an observation; the exit code is 1 when one of them is not as it must be.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::version::TLS13;
use serde_json::{Value, json};
use tests::address::free_port;
use tests::bootstrap::{address, chain, cluster, listener, merged, principal, rbac, tcp_proxy};
use tests::ca::{Authority, Key, Leaf, Wanted};
use tests::client::{Outcome as Bytes, linger};
use tests::mesh_service::{Answer, MeshService};
use tests::stage::{Checks, Edge, Outcome, log, open_ports, play};
use tests::tls;
use tests::verdict::{Verdict, call};

/// By Kuma's hash name: a service of the mesh in zone east.
const BACKEND: &str = "a601e0c00295a9fbe.backend.8080.default.ms";
/// An external service, as Kuma names it.
const BILLING: &str = "sni.extsvc.default.west.shop.billing.https";
/// Its own name in the world.
const BILLING_NAME: &str = "api.billing.example";

const FRONTEND: &str = "spiffe://default/frontend";
const BATCH: &str = "spiffe://default/batch";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    play(demonstration()).await
}

async fn demonstration() -> Outcome<()> {
    let mut show = Show::start().await?;
    show.allowed().await?;
    show.denied().await?;
    show.ports().await?;
    show.without_edges().await?;
    show.checks.conclude()
}

struct Show {
    mesh: Authority,
    frontend: Leaf,
    backend: MeshService,
    billing: MeshService,
    egress: Edge,
    ingress: Edge,
    /// Ports that others on this machine have open on every address.
    elsewhere: Vec<u16>,
    checks: Checks,
}

impl Show {
    async fn start() -> Outcome<Self> {
        let (mesh, world) = (Authority::new(), Authority::new());
        let of_backend = mesh.issue("spiffe://default/backend", Key::Ecdsa);
        let backend = MeshService::start("backend", mesh.server(&of_backend, &[]), Answer::Echo).await;
        let of_billing = world.issue_as(&Wanted::server(BILLING_NAME));
        let billing = MeshService::start("billing", Authority::plain_server(&of_billing), Answer::Echo).await;
        println!("Mesh \"default\": one authority issues SPIFFE identities. Two zones, one border each:\n");
        println!("  zone west                                zone east");
        println!("  frontend, batch ──mTLS──> egress ──mTLS──> ingress ──mTLS──> backend");
        println!("                               └──TLS──> billing, outside the mesh\n");
        let (west, east) = (SocketAddr::from((zone_address(), 10_002)), SocketAddr::from((zone_address(), 10_001)));
        let elsewhere = open_ports(zone_address()).await?;
        let ingress = Edge::start("zone-ingress", "zone east", &east_bootstrap(east, &backend)?, east).await?;
        let config = west_bootstrap((west, east), &mesh, (&world, &billing))?;
        let egress = Edge::start("zone-egress", "zone west", &config, west).await?;
        for edge in [&egress, &ingress] {
            println!("  {}: {}, configuration {}", edge.name, edge.address, edge.file.display());
        }
        let frontend = mesh.issue(FRONTEND, Key::Ecdsa);
        Ok(Self { mesh, frontend, backend, billing, egress, ingress, elsewhere, checks: Checks::default() })
    }

    async fn call(&self, name: &str, client: &Arc<ClientConfig>) -> Verdict {
        call(self.egress.address, name, client).await
    }

    fn client(&self, leaf: &Leaf) -> Arc<ClientConfig> {
        self.mesh.client(leaf, &[])
    }

    async fn allowed(&mut self) -> Outcome<()> {
        println!("\n=== What is permitted, passes\n");
        let frontend = self.client(&self.frontend);
        let verdict = self.call(BACKEND, &frontend).await;
        self.checks.check(verdict.is_served_by("backend"), "frontend reaches backend in east, through both borders");
        let met = self.backend.seen().pop();
        let whole = met.is_some_and(|met| met.certificate.as_ref() == Some(&self.frontend.der));
        self.checks.check(whole, "backend itself met frontend's certificate: nobody ended TLS between them");
        for edge in [&mut self.egress, &mut self.ingress] {
            let told = edge.told().await?;
            self.checks.check(told.passed(), format_args!("{} logged {told}", edge.name));
        }
        let verdict = self.call(BILLING, &frontend).await;
        self.checks.check(verdict.is_served_by("billing"), "frontend reaches billing outside the mesh");
        let met = self.billing.seen().pop();
        let anew = met.is_some_and(|met| met.certificate.is_none() && met.sni.as_deref() == Some(BILLING_NAME));
        self.checks.check(anew, format_args!("the egress began TLS anew, for {BILLING_NAME}, and verified its name"));
        let told = self.egress.told().await?;
        self.checks.check(told.passed() && told.identity == FRONTEND, format_args!("zone west logged {told}"));
        Ok(())
    }

    async fn denied(&mut self) -> Outcome<()> {
        println!("\n=== All else is refused, and said why\n");
        let batch = self.client(&self.mesh.issue(BATCH, Key::Ecdsa));
        self.refused("batch, of this mesh, without permission for billing", BILLING, &batch).await?;
        let foreign = Authority::new();
        let other = self.client(&foreign.issue("spiffe://other/frontend", Key::Ecdsa));
        self.refused("a frontend of another trust domain", BILLING, &other).await?;
        let forged = self.client(&foreign.issue(FRONTEND, Key::Ecdsa));
        self.refused("another authority's certificate with frontend's name", BILLING, &forged).await?;
        let anonymous = self.mesh.client_without_certificate(&TLS13);
        self.refused("a client without certificate", BILLING, &anonymous).await?;
        let frontend = self.client(&self.frontend);
        self.refused("frontend, for a name that nobody has", "unknown.example.com", &frontend).await?;
        println!("* plain HTTP");
        let answer = linger(self.egress.address, b"GET / HTTP/1.1\r\nhost: billing\r\n\r\n").await;
        self.checks.check(answer == Bytes::Closed, "not a byte comes back");
        let told = self.egress.told().await?;
        self.checks.check(!told.passed(), format_args!("zone west logged {told}"));
        Ok(())
    }

    async fn refused(&mut self, who: &str, name: &str, client: &Arc<ClientConfig>) -> Outcome<()> {
        println!("* {who}");
        let before = self.billing.seen().len();
        let verdict = self.call(name, client).await;
        let reached = self.billing.seen().len() - before;
        self.checks.check(!matches!(verdict, Verdict::Served(_)) && reached == 0, format_args!("refused: {verdict:?}"));
        let told = self.egress.told().await?;
        let named = !told.passed() && (!told.denied() || told.identity == BATCH);
        self.checks.check(named, format_args!("zone west logged {told}"));
        Ok(())
    }

    async fn ports(&mut self) -> Outcome<()> {
        println!("\n=== Which ports are open between the zones\n");
        for edge in [&self.egress, &self.ingress] {
            let SocketAddr::V4(at) = edge.address else { return Err("no IPv4 address".into()) };
            let mut open = open_ports(*at.ip()).await?;
            open.retain(|port| !self.elsewhere.contains(port));
            let what = format!("of 65,535 ports of {} {} has open: {open:?}", at.ip(), edge.name);
            self.checks.check(open == [at.port()], what);
        }
        Ok(())
    }

    async fn without_edges(&mut self) -> Outcome<()> {
        println!("\n=== Without the edges there is no way\n");
        let frontend = self.client(&self.frontend);
        self.ingress.kill().await?;
        let verdict = self.call(BACKEND, &frontend).await;
        self.checks.check(verdict == Verdict::Closed, "the ingress of east is gone: frontend does not reach backend");
        let told = self.egress.told_of(BACKEND).await?;
        self.checks.check(told.flags.contains("UF"), format_args!("zone west logged {told}"));
        self.egress.kill().await?;
        let verdict = self.call(BILLING, &frontend).await;
        self.checks.check(verdict == Verdict::Closed, "the egress of west is gone: frontend does not reach billing");
        Ok(())
    }
}

/// An address of 127/8 for a zone alone; its services are on 127.0.0.1.
fn zone_address() -> Ipv4Addr {
    let [_, a, b, c] = fastrand::u32(..).to_be_bytes();
    Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254))
}

fn edge(listener: Value, clusters: &[Value]) -> Outcome<Value> {
    Ok(json!({
        "node": {"id": "demo", "cluster": "demo"},
        "admin": {"address": address(SocketAddr::from(([127, 0, 0, 1], free_port()?)))},
        "static_resources": {"listeners": [merged(listener, json!({"access_log": log()}))], "clusters": clusters},
    }))
}

fn east_bootstrap(at: SocketAddr, backend: &MeshService) -> Outcome<Value> {
    let chains = [chain(&[BACKEND], tcp_proxy("backend", json!({})))];
    edge(listener("ingress", at, &chains), &[cluster("backend", &[backend.address()], json!({}))])
}

fn west_bootstrap(
    (at, east): (SocketAddr, SocketAddr),
    mesh: &Authority,
    (world, billing): (&Authority, &MeshService),
) -> Outcome<Value> {
    let own = mesh.issue("spiffe://default/zone-egress", Key::Ecdsa);
    let ends_mesh_tls =
        tls::mutual(merged(tls::shows(&[&own]), tls::trusts(&[mesh], tls::identity_prefix("spiffe://default/"))));
    let external = json!({
        "filter_chain_match": {"server_names": [BILLING], "transport_protocol": "tls"},
        "filters": [rbac("billing.", &[principal(FRONTEND)]), tcp_proxy("billing", json!({}))],
    });
    let chains = [chain(&[BACKEND], tcp_proxy("zone-east", json!({}))), merged(external, ends_mesh_tls)];
    let common = tls::trusts(&[world], tls::name_exact("DNS", BILLING_NAME));
    let begins_tls = tls::upstream(common, json!({"sni": BILLING_NAME}));
    let clusters = [
        cluster("zone-east", &[east], json!({})),
        merged(cluster("billing", &[billing.address()], json!({})), begins_tls),
    ];
    edge(listener("egress", at, &chains), &clusters)
}
