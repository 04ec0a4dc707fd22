//! Envoy as the client's sidecar and as the server's, our egress and our ingress between them.

use serde_json::json;
use tests::backend::Backend;
use tests::bootstrap::{bootstrap, chain, cluster, listener, merged, principal, rbac, tcp_proxy};
use tests::ca::{Authority, Key, Wanted};
use tests::client::{Outcome, exchange};
use tests::envoy;
use tests::mesh_service::{Answer, MeshService};
use tests::process::{Kind, Proxy, Site};
use tests::sidecar;
use tests::story::{IN, log_to};
use tests::tls;

use crate::support::{Mesh, NUMERIC_KRI, TAGS, ends_tls, log};

/// Sidecar, egress, ingress, sidecar: one TLS session from end to end.
#[tokio::test]
async fn to_another_zone() {
    if envoy::binary().is_none() {
        return;
    }
    let mesh = Authority::new();
    let [backend, frontend] = ["backend", "frontend"].map(|n| mesh.issue(&format!("spiffe://default/{n}"), Key::Ecdsa));
    let service = Backend::echo("backend").await;
    let server = sidecar::of_server(service.address(), &mesh, &backend).await;
    let zone_proxy = async |kind, to| {
        let site = Site::new();
        let chains = [chain(&[TAGS], tcp_proxy("next", json!({"access_log": log_to(&site)})))];
        let config = bootstrap(&site, &[listener("in", site.at(IN), &chains)], &[cluster("next", &[to], json!({}))]);
        Proxy::start(kind, site, &config).await
    };
    let ingress = zone_proxy(Kind::Ours, server.at(IN)).await;
    let egress = zone_proxy(Kind::Egress, ingress.at(IN)).await;
    let client = sidecar::of_client(egress.at(IN), TAGS, (&mesh, &frontend)).await;
    let words = b"sidecar, egress, ingress, sidecar ".repeat(5000);
    assert_eq!(exchange(client.at(IN), &words).await, Outcome::Served("backend".into()));
    let met = server.access_log(1).await.remove(0);
    assert!(met.contains(" spiffe://default/frontend "), "nobody ended TLS on the way: {met}");
    for proxy in [&egress, &ingress] {
        let line = proxy.access_log(1).await.remove(0);
        assert!(line.starts_with("flags=- ") && line.contains("sni=invalid:backend_kuma.io_zone_east"), "{line}");
    }
}

/// Sidecar, egress, and an external service with TLS of its own, by both forms of a name that rustls has no word for.
#[tokio::test]
async fn to_an_external_service() {
    if envoy::binary().is_none() {
        return;
    }
    const NAME: &str = "api.example.com";
    let (mesh, world) = (Mesh::new(), Authority::new());
    let service =
        MeshService::start("origin", Authority::plain_server(&world.issue_as(&Wanted::server(NAME))), Answer::Echo)
            .await;
    let site = Site::new();
    let allowed = [rbac("external.", &[principal("spiffe://default/frontend")])];
    let proxy = tcp_proxy("origin", json!({"access_log": log(&site)}));
    let chains = [TAGS, NUMERIC_KRI].map(|name| ends_tls(name, mesh.socket(), &allowed, proxy.clone()));
    let common = tls::trusts(&[&world], tls::name_exact("DNS", NAME));
    let socket = tls::upstream(common, json!({"sni": NAME}));
    let origin = merged(cluster("origin", &[service.address()], json!({})), socket);
    let config = bootstrap(&site, &[listener("egress", site.at(IN), &chains)], &[origin]);
    let egress = Proxy::start(Kind::Egress, site, &config).await;
    let words = b"through two sessions of TLS ".repeat(5000);
    for name in [TAGS, NUMERIC_KRI] {
        for (identity, outcome) in [
            ("spiffe://default/frontend", Outcome::Served("origin".into())),
            ("spiffe://default/stranger", Outcome::Closed),
        ] {
            let leaf = mesh.authority.issue(identity, Key::Rsa);
            let client = sidecar::of_client(egress.at(IN), name, (&mesh.authority, &leaf)).await;
            assert_eq!(exchange(client.at(IN), &words).await, outcome, "{identity} to {name}");
        }
    }
    assert_eq!(service.seen().len(), 2);
    assert!(service.seen().iter().all(|seen| seen.sni.as_deref() == Some(NAME)));
}
