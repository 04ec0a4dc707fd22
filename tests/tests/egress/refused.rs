//! Clients of the mesh that are refused, each for its own reason, as Envoy refuses them.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use tests::backend::Backend;
use tests::bootstrap::{bootstrap, cluster, listener, merged, tcp_proxy};
use tests::ca::{Authority, Key, Usage, Validity, Wanted};
use tests::compare::compare_as;
use tests::process::Kind;
use tests::story::IN;
use tests::tls;
use tests::verdict::{Verdict, call};

use crate::support::{HASH, Mesh, ends_tls, log};

/// Statistics of TLS that tell why a client was refused.
const WHY: [&str; 4] = [
    "envoy_listener_ssl_connection_error",
    "envoy_listener_ssl_fail_verify_error",
    "envoy_listener_ssl_fail_verify_no_cert",
    "envoy_listener_ssl_fail_verify_san",
];

/// What became of one client: what it saw, and which of [`WHY`] counted it.
type Refusal = (Verdict, Vec<&'static str>);

/// Alerts where ours says more than Envoy's (docs/differences.md): Envoy's word, ours.
const ALERTS: [(&str, &str); 2] = [
    // TLS 1.2 without a certificate.
    ("HandshakeFailure", "CertificateRequired"),
    // Envoy's SPIFFE validator has one alert for all.
    ("CertificateUnknown", "UnknownCA"),
];

/// The verdict with alerts that differ on purpose made one.
fn alike(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Alert(alert) => {
            let ours = ALERTS.iter().find(|(envoys, _)| *envoys == alert).map(|(_, ours)| (*ours).to_owned());
            Verdict::Alert(ours.unwrap_or(alert))
        }
        other => other,
    }
}

/// Clients one after the other at a chain with this transport socket; Envoy and we must agree on each. Besides, what we
/// call the reason.
async fn at(socket: &Value, clients: &[(&str, Arc<ClientConfig>)]) -> Vec<Refusal> {
    let origin = Backend::echo("origin").await;
    let outcomes = compare_as(
        Kind::Egress,
        |site| {
            let chain = ends_tls(HASH, socket.clone(), &[], tcp_proxy("origin", json!({"access_log": log(site)})));
            let origin = cluster("origin", &[origin.address()], json!({}));
            bootstrap(site, &[listener("egress", site.at(IN), &[chain])], &[origin])
        },
        async |proxy| {
            let mut outcomes = Vec::new();
            for (_, client) in clients {
                let before = proxy.quiet_stats().await;
                let verdict = alike(call(proxy.at(IN), HASH, client).await);
                let changes = proxy.quiet_stats().await.since(&before);
                outcomes.push((verdict, WHY.into_iter().filter(|why| changes.sum(why) > 0.0).collect::<Vec<_>>()));
            }
            outcomes
        },
    )
    .await;
    for ((what, _), outcome) in clients.iter().zip(&outcomes) {
        eprintln!("{what}: {outcome:?}");
    }
    outcomes
}

#[tokio::test]
async fn certificates_that_nobody_should_take() {
    let mesh = Mesh::new();
    let identity = Wanted::identity("spiffe://default/frontend");
    let issued = |wanted: Wanted| mesh.client_showing(&mesh.authority.issue_as(&wanted));
    let clients = [
        ("good", issued(identity.clone())),
        ("through an authority between", mesh.client_showing(&mesh.authority.intermediate().issue_as(&identity))),
        ("expired", issued(Wanted { validity: Validity::Expired, ..identity.clone() })),
        ("not yet good", issued(Wanted { validity: Validity::NotYet, ..identity.clone() })),
        ("for servers", issued(Wanted { usage: Usage::Server, ..identity.clone() })),
        ("for code", issued(Wanted { usage: Usage::Other, ..identity.clone() })),
        ("signed by itself", mesh.client_showing(&identity.self_signed())),
        ("another mesh's", mesh.client_showing(&Authority::new().issue_as(&identity))),
        ("another trust domain", mesh.client("spiffe://other/frontend")),
        ("no identity", issued(Wanted::server("frontend.test"))),
        ("none", mesh.authority.client_without_certificate(&TLS13)),
        ("none, TLS 1.2", mesh.authority.client_without_certificate(&TLS12)),
    ];
    let outcomes = at(&mesh.socket(), &clients).await;
    for ((what, _), (verdict, why)) in clients.iter().zip(&outcomes) {
        match *what {
            "good" | "through an authority between" => assert!(verdict.is_served_by("origin"), "{what}: {verdict:?}"),
            _ => assert!(!verdict.is_served_by("origin") && !why.is_empty(), "{what}: {verdict:?} {why:?}"),
        }
    }
}

/// Each trust domain has roots of its own: a root of one is none for another's identities.
#[tokio::test]
async fn trust_domains_do_not_mix() {
    let (mesh, other) = (Mesh::new(), Authority::new());
    let socket = |domains: &[(&str, &[&Authority])]| {
        let trusts = json!({"validation_context": tls::trust_domains(domains)});
        tls::mutual(merged(tls::shows(&[&mesh.egress]), trusts))
    };
    let foreign = |authority: &Authority, identity: &str| mesh.client_showing(&authority.issue(identity, Key::Ecdsa));
    let clients = [
        ("ours", mesh.client("spiffe://default/frontend")),
        ("theirs", foreign(&other, "spiffe://other/frontend")),
        ("theirs, by our root", mesh.client("spiffe://other/frontend")),
        ("ours, by their root", foreign(&other, "spiffe://default/frontend")),
        ("nobody's", foreign(&other, "spiffe://third/frontend")),
    ];
    let both = at(&socket(&[("default", &[&mesh.authority]), ("other", &[&other])]), &clients).await;
    assert!(both[..2].iter().all(|(verdict, _)| verdict.is_served_by("origin")), "{both:?}");
    assert!(both[2..].iter().all(|(verdict, why)| !verdict.is_served_by("origin") && !why.is_empty()), "{both:?}");
    let revoked = at(&socket(&[("default", &[&mesh.authority])]), &clients[..2]).await;
    assert!(revoked[0].0.is_served_by("origin") && !revoked[1].0.is_served_by("origin"), "{revoked:?}");
}
