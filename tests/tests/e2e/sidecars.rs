//! Real Envoy as the client's sidecar and as the server's, our ingress between them: what a mesh is.

use serde_json::json;
use tests::backend::Backend;
use tests::bootstrap::{bootstrap, chain, cluster, listener, merged, tcp_proxy, tls_inspector};
use tests::ca::{Authority, Key};
use tests::client::{Outcome, exchange, visit};
use tests::hello::Hello;
use tests::mesh_service::{Answer, MeshService};
use tests::process::{Kind, Proxy, Site};
use tests::{envoy, openssl, sidecar};

use crate::story::{IN, log_to};

/// No DNS name: what Kuma's older meshes send.
const TAG: &str = "backend{mesh=default}";

async fn ingress(name: &str, server: std::net::SocketAddr) -> Proxy {
    let site = Site::new();
    let chains = [chain(&[name], tcp_proxy("backend", json!({"access_log": log_to(&site)})))];
    let listener = merged(listener("in", site.at(IN), &chains), json!({"listener_filters": [tls_inspector()]}));
    let bootstrap = bootstrap(&site, &[listener], &[cluster("backend", &[server], json!({}))]);
    Proxy::start(Kind::Ours, site, &bootstrap).await
}

#[tokio::test]
async fn envoy_on_both_sides() {
    if envoy::binary().is_none() {
        return;
    }
    let mesh = Authority::new();
    let backend = mesh.issue("spiffe://default/backend", Key::Ecdsa);
    let frontend = mesh.issue("spiffe://default/frontend", Key::Rsa);
    let service = Backend::echo("backend").await;
    let server = sidecar::of_server(service.address(), &mesh, &backend).await;
    let ingress = ingress(TAG, server.at(IN)).await;
    let client = sidecar::of_client(ingress.at(IN), TAG, (&mesh, &frontend)).await;

    let words = b"through two sidecars and an ingress ".repeat(5000);
    assert_eq!(exchange(client.at(IN), &words).await, Outcome::Served("backend".into()));
    // The server's sidecar met the client's certificate: nobody ended TLS between them. (Envoy's log shows a name that
    // is no DNS name in a form of its own.)
    assert_eq!(server.access_log(1).await, ["invalid:backend_mesh_default_ spiffe://default/frontend TLSv1.2"]);
    let line = ingress.access_log(1).await.remove(0);
    assert!(line.contains("sni=invalid:backend_mesh_default_ ") && line.starts_with("flags=- "), "{line}");

    // OpenSSL, as another client that sends such a name.
    let answer = openssl::exchange(ingress.at(IN), TAG, (&mesh, &frontend), "hello from openssl").await.unwrap();
    assert_eq!(answer, "backend\nhello from openssl");
    // And a name that the ingress doesn't know gets nothing.
    let refused = openssl::exchange(ingress.at(IN), "backend{mesh=other}", (&mesh, &frontend), "hello").await;
    assert!(refused.is_err());
}

/// The same ingress for a service that answers HTTP over mTLS.
#[tokio::test]
async fn http_over_mtls() {
    const NAME: &str = "ae10a8071b8a8eeb8.backend.8080.demo.ms";
    let mesh = Authority::new();
    let backend = mesh.issue("spiffe://default/backend", Key::Ecdsa);
    let frontend = mesh.issue("spiffe://default/frontend", Key::Ecdsa);
    let service = MeshService::start("a web service", mesh.server(&backend, &["http/1.1"]), Answer::Http).await;
    let ingress = ingress(NAME, service.address()).await;
    let stream = tests::client::mtls(ingress.at(IN), NAME, mesh.client(&frontend, &["http/1.1"])).await.unwrap();
    let (status, body) = tests::http::over(stream, "GET", "/", NAME).await.unwrap();
    assert_eq!((status, body.as_str()), (200, "a web service"));
    assert_eq!(service.seen()[0].certificate.as_ref(), Some(&frontend.der));
    // Without a name there is nothing to route by.
    let nameless = visit(ingress.at(IN), &Hello::nameless()).await;
    assert_eq!(nameless, Outcome::Closed);
}
