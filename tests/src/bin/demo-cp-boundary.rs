//! `make demo-cp-boundary`: the border between two control planes. Nothing is shared until somebody shares it.
//!
//! Blue and green have a control plane, a mesh and a root each. Blue's egress leads to green's edge, which ends TLS and
//! asks who comes. What the two exchange is a bundle of SPIFFE trust domains, as Kuma's MeshTrust holds it. Control planes,
//! clients and services are the harness', the edges are ours. Each line is an observation; the exit code is 1 when one of
//! them is not as it must be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::snapshot::Kind as Of;
use rustls::ClientConfig;
use serde_json::{Value, json};
use tests::ads::{self, put};
use tests::bootstrap::{chain, cluster, listener, merged, principal, rbac, tcp_proxy};
use tests::ca::{Authority, Key};
use tests::control_plane::ControlPlane;
use tests::mesh_service::{Answer, MeshService};
use tests::process::Site;
use tests::secrets::{show, trust_domains};
use tests::stage::{Checks, Edge, Outcome, log, play};
use tests::story::IN;
use tests::tls;
use tests::verdict::{Verdict, call};
use tests::wait::until;

/// Green's service, as Kuma names it, and its certificates.
const LEDGER: &str = "sni.extsvc.default.green.bank.ledger.https";
const LEDGER_NAME: &str = "ledger.green.example";
const CERTIFICATE: &str = "identity";
const BUNDLES: &str = "trust";

const BLUE: &str = "blue.mesh.local";
const GREEN: &str = "green.mesh.local";
const FRONTEND: &str = "spiffe://blue.mesh.local/ns/shop/sa/frontend";
const BATCH: &str = "spiffe://blue.mesh.local/ns/shop/sa/batch";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    play(demonstration()).await
}

async fn demonstration() -> Outcome<()> {
    let mut show = Show::start().await?;
    show.apart().await?;
    show.shared();
    show.together().await?;
    show.no_more_than_that().await?;
    show.apart_again().await?;
    show.checks.conclude()
}

/// A control plane, its root, and its edge.
struct Domain {
    control_plane: ControlPlane,
    root: Authority,
    edge: Edge,
}

struct Show {
    blue: Domain,
    green: Domain,
    ledger: MeshService,
    checks: Checks,
}

impl Show {
    async fn start() -> Outcome<Self> {
        println!("Two control planes, each with a mesh and a root of its own:\n");
        println!("  blue                              green");
        println!("  frontend, batch ──mTLS──> egress ──mTLS──> edge, ends mTLS ──TLS──> ledger\n");
        let world = Authority::new();
        let of_ledger = world.issue_as(&tests::ca::Wanted::server(LEDGER_NAME));
        let ledger = MeshService::start("ledger", Authority::plain_server(&of_ledger), Answer::Echo).await;
        let green = Self::green((&world, &ledger)).await?;
        let blue = Self::blue(green.edge.address).await?;
        for domain in [&blue, &green] {
            println!("  {}: {}, bootstrap {}", domain.edge.name, domain.edge.address, domain.edge.file.display());
        }
        Ok(Self { blue, green, ledger, checks: Checks::default() })
    }

    async fn green((world, ledger): (&Authority, &MeshService)) -> Outcome<Domain> {
        let (control_plane, root) = (ads::control_plane().await, Authority::new());
        show(&control_plane, CERTIFICATE, &root.issue("spiffe://green.mesh.local/zone-egress", Key::Ecdsa));
        trust_domains(&control_plane, BUNDLES, &[(GREEN, &[&root])]);
        let ends_tls = tls::mutual(merged(tls::shows_secret(CERTIFICATE), tls::trusts_secret(BUNDLES, json!({}))));
        let chain = json!({
            "name": "ledger",
            "filter_chain_match": {"server_names": [LEDGER], "transport_protocol": "tls"},
            "filters": [rbac("ledger.", &[principal(FRONTEND)]), tcp_proxy("ledger", json!({}))],
        });
        let common = tls::trusts(&[world], tls::name_exact("DNS", LEDGER_NAME));
        let begins_tls = tls::upstream(common, json!({"sni": LEDGER_NAME}));
        let cluster = merged(cluster("ledger", &[ledger.address()], json!({})), begins_tls);
        domain("green edge", (control_plane, root), merged(chain, ends_tls), cluster).await
    }

    async fn blue(green: SocketAddr) -> Outcome<Domain> {
        let domain_of = (ads::control_plane().await, Authority::new());
        let chain = chain(&[LEDGER], tcp_proxy("green", json!({})));
        domain("blue egress", domain_of, chain, cluster("green", &[green], json!({}))).await
    }

    /// A workload of blue, which trusts these roots.
    fn workload(&self, identity: &str, trusted: &[&Authority]) -> Arc<ClientConfig> {
        Authority::client_of(trusted, &self.blue.root.issue(identity, Key::Ecdsa))
    }

    async fn call(&self, client: &Arc<ClientConfig>) -> Verdict {
        call(self.blue.edge.address, LEDGER, client).await
    }

    async fn apart(&mut self) -> Outcome<()> {
        println!("\n=== Before anything is exchanged\n");
        let streams = |domain: &Domain| domain.control_plane.streams();
        let own = format!(
            "each edge has one stream, to its own control plane: {}, {}",
            streams(&self.blue),
            streams(&self.green)
        );
        self.checks.check(streams(&self.blue) == 1 && streams(&self.green) == 1, own);
        let frontend = self.workload(FRONTEND, &[&self.blue.root]);
        let verdict = self.call(&frontend).await;
        let refuses = matches!(verdict, Verdict::ServerRefused(_));
        self.checks.check(refuses, format_args!("blue's frontend itself refuses green's certificate: {verdict:?}"));
        self.green.edge.told().await?;
        let frontend = self.workload(FRONTEND, &[&self.blue.root, &self.green.root]);
        self.refused("and if it trusted green, green refuses it", &frontend).await
    }

    /// A call that must not reach the ledger, and what green says of it.
    async fn refused(&mut self, what: &str, client: &Arc<ClientConfig>) -> Outcome<()> {
        let before = self.ledger.seen().len();
        let verdict = self.call(client).await;
        let reached = self.ledger.seen().len() - before;
        let holds = !matches!(verdict, Verdict::Served(_)) && reached == 0;
        self.checks.check(holds, format_args!("{what}: {verdict:?}"));
        let told = self.green.edge.told_of(LEDGER).await?;
        self.checks.check(!told.passed(), format_args!("green edge logged {told}"));
        Ok(())
    }

    fn shared(&mut self) {
        println!("\n=== What is exchanged\n");
        for (from, domain) in [(BLUE, &self.blue), (GREEN, &self.green)] {
            let pem = domain.root.pem();
            let one = pem.matches("BEGIN CERTIFICATE").count() == 1 && !pem.contains("KEY");
            let what = format!("trust domain {from}: one certificate, {} bytes of PEM, and no key", pem.len());
            self.checks.check(one, what);
        }
        let domains: [(&str, &[&Authority]); 2] = [(GREEN, &[&self.green.root]), (BLUE, &[&self.blue.root])];
        trust_domains(&self.green.control_plane, BUNDLES, &domains);
    }

    async fn together(&mut self) -> Outcome<()> {
        println!("\n=== After it\n");
        let frontend = self.workload(FRONTEND, &[&self.blue.root, &self.green.root]);
        let took = tokio::time::timeout(Duration::from_secs(10), async {
            until("green to take the bundle", async || {
                matches!(self.call(&frontend).await, Verdict::Served(_)).then_some(())
            })
            .await;
        });
        let took = took.await.is_ok();
        self.checks.check(took, "frontend of blue reaches ledger of green");
        if !took {
            return Ok(());
        }
        loop {
            let told = self.green.edge.told_of(LEDGER).await?;
            if told.passed() {
                self.checks.check(told.identity == FRONTEND, format_args!("green edge logged {told}"));
                return Ok(());
            }
        }
    }

    async fn no_more_than_that(&mut self) -> Outcome<()> {
        println!("\n=== A bundle is no permission, and holds for its own domain only\n");
        let both = [&self.blue.root, &self.green.root];
        let batch = self.workload(BATCH, &both);
        let posing = self.workload("spiffe://green.mesh.local/ns/bank/sa/teller", &both);
        let forged = Authority::client_of(&both, &Authority::new().issue(FRONTEND, Key::Ecdsa));
        self.refused("batch of blue, whom green gave no permission", &batch).await?;
        self.refused("an identity of green, issued by blue", &posing).await?;
        self.refused("frontend's identity, issued by a third root", &forged).await?;
        let nodes = |domain: &Domain| domain.control_plane.streams() == 1;
        self.checks
            .check(nodes(&self.blue) && nodes(&self.green), "still one stream each: no control plane saw the other");
        Ok(())
    }

    async fn apart_again(&mut self) -> Outcome<()> {
        println!("\n=== After green has taken blue's bundle back\n");
        trust_domains(&self.green.control_plane, BUNDLES, &[(GREEN, &[&self.green.root])]);
        let frontend = self.workload(FRONTEND, &[&self.blue.root, &self.green.root]);
        let took = tokio::time::timeout(Duration::from_secs(10), async {
            until("green to let go of the bundle", async || {
                (!matches!(self.call(&frontend).await, Verdict::Served(_))).then_some(())
            })
            .await;
        });
        let took = took.await.is_ok();
        self.checks.check(took, "frontend of blue is refused again");
        if !took {
            return Ok(());
        }
        loop {
            let told = self.green.edge.told_of(LEDGER).await?;
            if !told.passed() {
                self.checks.check(!told.tls.is_empty(), format_args!("green edge logged {told}"));
                return Ok(());
            }
        }
    }
}

/// Gives a control plane its configuration and starts its edge.
async fn domain(
    name: &'static str,
    (control_plane, root): (ControlPlane, Authority),
    chain: Value,
    cluster: Value,
) -> Outcome<Domain> {
    let site = Site::new();
    let listener = merged(listener("edge", site.at(IN), &[chain]), json!({"access_log": log()}));
    put(&control_plane, Of::Cluster, &cluster);
    put(&control_plane, Of::Listener, &listener);
    let bootstrap = ads::bootstrap(&site, &control_plane);
    let edge = Edge::start("zone-egress", name, &bootstrap, site.at(IN)).await?;
    Ok(Domain { control_plane, root, edge })
}
