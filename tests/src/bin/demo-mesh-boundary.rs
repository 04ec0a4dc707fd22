//! `make demo-mesh-boundary`: the border between two meshes, and the one way across: a cross-mesh listener of a gateway.
//!
//! Shop and bank have a root each. Bank's gateway has a cross-mesh HTTP listener, as Kuma configures it: TLS with ALPN `kuma`
//! and a client's certificate of any mesh of this control plane, HTTP routes behind it, mutual TLS of bank's own mesh
//! onward. The control plane, clients and services are the harness', the gateway is ours. Each line is an observation;
//! the exit code is 1 when one of them is not as it must be.

use std::sync::Arc;

use config::snapshot::Kind as Of;
use proxy::tls::names::{ClientConfigs, ServerConfigs};
use serde_json::{Value, json};
use tests::ads::{self, put};
use tests::bootstrap::{cluster, kind, listener, merged};
use tests::ca::{Authority, Key, Leaf};
use tests::control_plane::ControlPlane;
use tests::differential::world::{http, router};
use tests::http_peer::{Answer, Ask, Dial, HttpServer, Journal, NAME, client, tls as peer};
use tests::process::Site;
use tests::secrets::{show, trust};
use tests::stage::{Checks, Edge, Outcome, log, play};
use tests::story::IN;
use tests::tls;

const IDENTITY: &str = "identity_cert:secret:bank";
const OWN_CA: &str = "mesh_ca:secret:bank";
const ALL_CAS: &str = "mesh_ca:secret:all";
const LEDGER: &str = "spiffe://bank/ledger";
const FRONTEND: &str = "spiffe://shop/frontend";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    play(demonstration()).await
}

async fn demonstration() -> Outcome<()> {
    let mut show = Show::start().await?;
    show.allowed().await?;
    show.denied().await?;
    show.without_gateway().await?;
    show.apart_again().await?;
    show.checks.conclude()
}

struct Show {
    control_plane: ControlPlane,
    shop: Authority,
    bank: Authority,
    journal: Journal,
    ledger: HttpServer,
    gateway: Edge,
    number: usize,
    checks: Checks,
}

/// What a client brings.
struct Client<'a> {
    trusts: &'a Authority,
    shows: Option<&'a Leaf>,
    alpn: &'a str,
}

impl Show {
    async fn start() -> Outcome<Self> {
        println!("One control plane, two meshes, each with a root of its own:\n");
        println!("  mesh shop                    mesh bank");
        println!("  frontend, batch ──mTLS, ALPN kuma──> gateway, ends TLS, routes ──mTLS──> ledger\n");
        let (shop, bank, journal) = (Authority::new(), Authority::new(), Journal::default());
        let of_ledger = bank.issue(LEDGER, Key::Ecdsa);
        let configs = ServerConfigs::new((*peer::server(&bank, &of_ledger, &["kuma"])).clone());
        let ledger = HttpServer::start("ledger", &journal, Some(Arc::new(configs))).await;
        let (control_plane, site) = (ads::control_plane().await, Site::new());
        show(&control_plane, IDENTITY, &bank.issue("spiffe://bank/gateway", Key::Ecdsa));
        trust(&control_plane, OWN_CA, &[&bank]);
        trust(&control_plane, ALL_CAS, &[&shop, &bank]);
        put(&control_plane, Of::Cluster, &onward(&ledger));
        put(&control_plane, Of::Route, &routes());
        put(&control_plane, Of::Listener, &cross_mesh(&site));
        let bootstrap = ads::bootstrap(&site, &control_plane);
        let gateway = Edge::start("mesh-gateway", "bank gateway", &bootstrap, site.at(IN)).await?;
        println!("  {}: {}, bootstrap {}", gateway.name, gateway.address, gateway.file.display());
        let checks = Checks::default();
        Ok(Self { control_plane, shop, bank, journal, ledger, gateway, number: 0, checks })
    }

    /// Asks the gateway, or somebody else; `None`: no answer, and how many requests the ledger saw.
    async fn ask(&mut self, dial: Dial, ask: Ask) -> (Option<Answer>, usize) {
        self.number += 1;
        let name = self.number.to_string();
        let answer = client::once(&dial, &ask.with(NAME, &name)).await.ok().filter(|answer| answer.status != 0);
        (answer, self.journal.of(&name).len())
    }

    fn dial(&self, client: &Client<'_>) -> Dial {
        let config = peer::client(client.trusts, client.shows, &[client.alpn]);
        let configs = Arc::new(ClientConfigs::new((*config).clone()));
        Dial { tls: Some((configs, "bank.mesh".into())), ..Dial::plain(self.gateway.address) }
    }

    async fn allowed(&mut self) -> Outcome<()> {
        println!("\n=== What the gateway offers, is reached from the other mesh\n");
        let frontend = self.shop.issue(FRONTEND, Key::Ecdsa);
        let dial = self.dial(&Client { trusts: &self.bank, shows: Some(&frontend), alpn: "kuma" });
        let (answer, reached) = self.ask(dial.clone(), Ask::get("bank.mesh", "/ledger/balance")).await;
        let served = answer.as_ref().is_some_and(|answer| answer.status == 200) && reached == 1;
        self.checks.check(served, "frontend of shop reaches ledger of bank through bank's gateway");
        let seen = self.journal.of(&self.number.to_string()).pop();
        let anew =
            seen.and_then(|seen| seen.tls).is_some_and(|tls| tls.certificate && tls.alpn.as_deref() == Some("kuma"));
        self.checks.check(anew, "ledger itself met the gateway, over mutual TLS of bank: nobody else may come in");
        let (answer, reached) = self.ask(dial.clone(), Ask::get("bank.mesh", "/vault").by("DELETE")).await;
        let none = answer.is_some_and(|answer| answer.status == 404) && reached == 0;
        self.checks
            .check(none, "what no route offers is 404: the listener is the list of what another mesh may ask for");
        let (answer, reached) = self.ask(dial, Ask::get("other.mesh", "/ledger/balance")).await;
        let none = answer.is_some_and(|answer| answer.status == 404) && reached == 0;
        self.checks.check(none, "nor is another host name");
        Ok(())
    }

    async fn refused(&mut self, what: &str, dial: Dial) {
        let (answer, reached) = self.ask(dial, Ask::get("bank.mesh", "/ledger/balance")).await;
        let what = format!("{what}: {}", answer.map_or("no answer".to_owned(), |answer| answer.status.to_string()));
        self.checks.check(what.ends_with("no answer") && reached == 0, what);
    }

    async fn denied(&mut self) -> Outcome<()> {
        println!("\n=== All else is refused\n");
        let (frontend, stranger) = (self.shop.issue(FRONTEND, Key::Ecdsa), Authority::new());
        let forged = stranger.issue(FRONTEND, Key::Ecdsa);
        let with = |shows, alpn| Client { trusts: &self.bank, shows, alpn };
        let all = [
            ("frontend's identity, issued by a third root", self.dial(&with(Some(&forged), "kuma"))),
            ("a client without certificate", self.dial(&with(None, "kuma"))),
            ("TLS without ALPN kuma", self.dial(&with(Some(&frontend), "http/1.1"))),
            ("plain HTTP", Dial::plain(self.gateway.address)),
        ];
        for (what, dial) in all {
            self.refused(what, dial).await;
        }
        let dial = self.dial(&Client { trusts: &self.shop, shows: Some(&frontend), alpn: "kuma" });
        self.refused("a client that trusts shop alone refuses bank's gateway itself", dial).await;
        Ok(())
    }

    async fn without_gateway(&mut self) -> Outcome<()> {
        println!("\n=== Past the gateway there is no way\n");
        let frontend = self.shop.issue(FRONTEND, Key::Ecdsa);
        let dial = self.dial(&Client { trusts: &self.bank, shows: Some(&frontend), alpn: "kuma" });
        let dial = Dial { to: self.ledger.address(), ..dial };
        self.refused("frontend of shop, straight to ledger: bank's service takes bank's certificates alone", dial)
            .await;
        Ok(())
    }

    async fn apart_again(&mut self) -> Outcome<()> {
        println!("\n=== After shop is taken out of the meshes that may come\n");
        trust(&self.control_plane, ALL_CAS, &[&self.bank]);
        let (frontend, own) =
            (self.shop.issue(FRONTEND, Key::Ecdsa), self.bank.issue("spiffe://bank/teller", Key::Ecdsa));
        let dial = self.dial(&Client { trusts: &self.bank, shows: Some(&frontend), alpn: "kuma" });
        let mut gone = false;
        for _ in 0..200 {
            gone = self.ask(dial.clone(), Ask::get("bank.mesh", "/ledger/balance")).await.0.is_none();
            if gone {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        self.checks.check(gone, "frontend of shop is refused");
        let dial = self.dial(&Client { trusts: &self.bank, shows: Some(&own), alpn: "kuma" });
        let (answer, _) = self.ask(dial, Ask::get("bank.mesh", "/ledger/balance")).await;
        self.checks.check(answer.is_some_and(|answer| answer.status == 200), "a service of bank still gets through");
        Ok(())
    }
}

/// As Kuma's gateway has it for `crossMesh: true`.
fn cross_mesh(site: &Site) -> Value {
    let manager = json!({
        "stat_prefix": "gateway-bank",
        "rds": {"route_config_name": "bank:HTTP:8080:*", "config_source": {"ads": {}, "resource_api_version": "V3"}},
        "http_filters": [router()],
        "use_remote_address": true,
        "normalize_path": true,
        "merge_slashes": true,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
        "server_name": "Kuma Gateway",
        "access_log": log(),
    });
    let ends_tls = tls::mutual(merged(
        tls::shows_secret(IDENTITY),
        merged(tls::trusts_secret(ALL_CAS, json!({})), json!({"alpn_protocols": ["kuma"]})),
    ));
    let chain = json!({
        "filter_chain_match": {"transport_protocol": "tls", "application_protocols": ["kuma"]},
        "filters": [http(manager)],
    });
    listener("bank:HTTP:8080", site.at(IN), &[merged(chain, ends_tls)])
}

fn routes() -> Value {
    json!({"name": "bank:HTTP:8080:*", "ignore_port_in_host_matching": true, "virtual_hosts": [{
        "name": "bank.mesh",
        "domains": ["bank.mesh"],
        "routes": [{"match": {"prefix": "/ledger/"}, "route": {"cluster": "ledger", "timeout": "15s"}}],
    }]})
}

/// Mutual TLS of the gateway's own mesh.
fn onward(ledger: &HttpServer) -> Value {
    let trusts = tls::trusts_secret(OWN_CA, tls::name_exact("URI", LEDGER));
    let common = merged(merged(tls::shows_secret(IDENTITY), trusts), json!({"alpn_protocols": ["kuma"]}));
    let begins = tls::upstream(common, json!({"sni": "ledger{mesh=bank}"}));
    let options = json!({"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": kind("envoy.extensions.upstreams.http.v3.HttpProtocolOptions"),
        "explicit_http_config": {"http_protocol_options": {}},
    }}});
    merged(cluster("ledger", &[ledger.address()], options), begins)
}
