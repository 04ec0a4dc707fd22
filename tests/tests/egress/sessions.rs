//! Sessions that are resumed: a ticket is no permission. Ours alone, as Envoy resumes whatever the time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config::snapshot::Kind as Of;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde_json::{Value, json};
use tests::ads;
use tests::backend::Backend;
use tests::bootstrap::{any_chain, bootstrap, cluster, listener, merged, tcp_proxy};
use tests::ca::{Authority, Leaf, Validity, Wanted};
use tests::client::{Outcome, exchange};
use tests::mesh_service::{Answer, MeshService};
use tests::process::{Kind, Proxy, Site};
use tests::secrets::trust;
use tests::story::{IN, log_to};
use tests::tls;
use tests::verdict::call;
use tests::wait::until;

use crate::support::{HASH, Mesh, ends_tls};

const NAME: &str = "api.example.com";
const SOON: Duration = Duration::from_secs(4);
const REUSED: &str = "envoy_listener_ssl_session_reused";

/// What a server shows at the moment.
#[derive(Debug)]
struct Shown(Mutex<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.lock().unwrap()))
    }
}

fn certified(leaf: &Leaf) -> Arc<CertifiedKey> {
    Arc::new(CertifiedKey::from_der(leaf.chain.clone(), leaf.key_der(), &default_provider()).unwrap())
}

/// The service's certificate ends while sessions with it are kept: none is resumed any more; and when the service has
/// a new one, not a connection is lost to the old sessions.
#[tokio::test]
async fn of_an_endpoint_whose_certificate_has_ended() {
    let world = Authority::new();
    let short = world.issue_as(&Wanted { validity: Validity::For(SOON), ..Wanted::server(NAME) });
    let shown = Arc::new(Shown(Mutex::new(certified(&short))));
    let server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&shown) as Arc<_>);
    let service = MeshService::start("origin", Arc::new(server), Answer::Echo).await;
    let site = Site::new();
    let socket = tls::upstream(tls::trusts(&[&world], tls::name_exact("DNS", NAME)), json!({"sni": NAME}));
    let origin = merged(cluster("origin", &[service.address()], json!({})), socket);
    let chain = any_chain(tcp_proxy("origin", json!({"access_log": log_to(&site)})));
    let config = bootstrap(&site, &[listener("egress", site.at(IN), &[chain])], &[origin]);
    let egress = Proxy::start(Kind::Egress, site, &config).await;
    let go = async || exchange(egress.at(IN), b"words").await;
    let served = Outcome::Served("origin".into());
    for _ in 0..6 {
        assert_eq!(go().await, served);
    }
    let reused = async || egress.quiet_stats().await.sum("envoy_cluster_ssl_session_reused");
    let before = reused().await;
    assert!(before > 0.0, "sessions are resumed");
    tokio::time::sleep(SOON + Duration::from_secs(1)).await;
    assert_eq!(go().await, Outcome::Closed);
    assert_eq!(reused().await, before);
    let line = egress.access_log(7).await.remove(6);
    assert!(line.starts_with("flags=UF,URX ") && line.contains("expired"), "{line}");
    *shown.0.lock().unwrap() = certified(&world.issue_as(&Wanted::server(NAME)));
    for _ in 0..6 {
        assert_eq!(go().await, served);
    }
    assert!(reused().await > before, "and are resumed again");
}

/// A context that shows this certificate and takes tickets by keys of its configuration, which no rotation ends.
fn lasting(shown: &Leaf, trusts: Value) -> Value {
    let keys = json!({"keys": [{"inline_bytes": STANDARD.encode([7; 80])}]});
    let more = json!({"require_client_certificate": true, "session_ticket_keys": keys});
    tls::downstream(merged(tls::shows(&[shown]), trusts), more)
}

#[tokio::test]
async fn of_a_client_whose_certificate_has_ended() {
    let (mesh, origin) = (Mesh::new(), Backend::echo("origin").await);
    let wanted = Wanted { validity: Validity::For(SOON), ..Wanted::identity("spiffe://default/frontend") };
    let client = mesh.client_showing(&mesh.authority.issue_as(&wanted));
    let site = Site::new();
    let socket = lasting(&mesh.egress, tls::trusts(&[&mesh.authority], json!({})));
    let chain = ends_tls(HASH, socket, &[], tcp_proxy("origin", json!({})));
    let origin = cluster("origin", &[origin.address()], json!({}));
    let config = bootstrap(&site, &[listener("egress", site.at(IN), &[chain])], &[origin]);
    let egress = Proxy::start(Kind::Egress, site, &config).await;
    for _ in 0..2 {
        assert!(call(egress.at(IN), HASH, &client).await.is_served_by("origin"));
    }
    assert_eq!(egress.quiet_stats().await.sum(REUSED), 1.0);
    tokio::time::sleep(SOON + Duration::from_secs(1)).await;
    for _ in 0..3 {
        let verdict = call(egress.at(IN), HASH, &client).await;
        assert!(!verdict.is_served_by("origin"), "{verdict:?}");
    }
    refused(&egress, "tls_certificate_expired", 3.0).await;
}

/// The mesh's roots are taken away.
#[tokio::test]
async fn of_a_client_who_is_trusted_no_more() {
    const ROOTS: &str = "mesh_ca:secret:default";
    let (mesh, origin) = (Mesh::new(), Backend::echo("origin").await);
    let client = mesh.client("spiffe://default/frontend");
    let (site, control_plane) = (Site::new(), ads::control_plane().await);
    let socket = lasting(&mesh.egress, tls::trusts_secret(ROOTS, json!({})));
    let chain = ends_tls(HASH, socket, &[], tcp_proxy("origin", json!({})));
    ads::put(&control_plane, Of::Cluster, &cluster("origin", &[origin.address()], json!({})));
    ads::put(&control_plane, Of::Listener, &listener("egress", site.at(IN), &[chain]));
    trust(&control_plane, ROOTS, &[&mesh.authority]);
    let config = ads::bootstrap(&site, &control_plane);
    let egress = Proxy::start(Kind::Egress, site, &config).await;
    for _ in 0..2 {
        assert!(call(egress.at(IN), HASH, &client).await.is_served_by("origin"));
    }
    assert_eq!(egress.stats().await.sum(REUSED), 1.0);
    trust(&control_plane, ROOTS, &[&Authority::new()]);
    until("the client to be refused", async || {
        (!call(egress.at(IN), HASH, &client).await.is_served_by("origin")).then_some(())
    })
    .await;
    assert!(!call(egress.at(IN), HASH, &client).await.is_served_by("origin"));
    refused(&egress, "tls_certificate_not_trusted", 2.0).await;
}

/// So often for this reason.
async fn refused(egress: &Proxy, reason: &str, times: f64) {
    let name = format!("reason=\"{reason}\"");
    until("the refusals to be counted", async || {
        let lines = egress.stats().await.lines();
        let mut of =
            lines.iter().filter(|line| line.starts_with("zonegate_listener_close_total") && line.contains(&name));
        of.any(|line| line.ends_with(&format!(" {times}"))).then_some(())
    })
    .await;
}
