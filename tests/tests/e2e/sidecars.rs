//! Real Envoy as the client's sidecar and as the server's, our ingress between them: what a mesh is.

use serde_json::{Value, json};
use tests::backend::Backend;
use tests::bootstrap::{
    access_log, any_chain, bootstrap, chain, cluster, kind, listener, merged, tcp_proxy, tls_inspector,
};
use tests::ca::{Authority, Key, Leaf};
use tests::client::{Outcome, exchange, visit};
use tests::hello::Hello;
use tests::mesh_service::{Answer, MeshService};
use tests::process::{Kind, Proxy, Site};
use tests::{envoy, openssl};

use crate::story::{IN, log_to};

/// No DNS name: what Kuma's older meshes send.
const TAG: &str = "backend{mesh=default}";

fn tls(side: &str, mesh: &Authority, leaf: &Leaf, more: Value) -> Value {
    let settings = json!({
        "@type": kind(&format!("envoy.extensions.transport_sockets.tls.v3.{side}TlsContext")),
        "common_tls_context": {
            "tls_certificates": [{
                "certificate_chain": {"inline_string": leaf.certificate},
                "private_key": {"inline_string": leaf.key},
            }],
            "validation_context": {"trusted_ca": {"inline_string": mesh.pem()}},
            "alpn_protocols": ["kuma"],
        },
    });
    json!({"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": merged(settings, more)}})
}

/// The server's sidecar: ends mTLS and passes on to the service beside it.
async fn server_sidecar(service: &Backend, mesh: &Authority, leaf: &Leaf) -> Proxy {
    let site = Site::new();
    let log = access_log(&site, "%REQUESTED_SERVER_NAME% %DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_TLS_VERSION%");
    let chain = any_chain(tcp_proxy("service", json!({"access_log": log})));
    let ends_tls = tls("Downstream", mesh, leaf, json!({"require_client_certificate": true}));
    let listener = listener("inbound", site.at(IN), &[merged(chain, ends_tls)]);
    let bootstrap = bootstrap(&site, &[listener], &[cluster("service", &[service.address()], json!({}))]);
    Proxy::start(Kind::Envoy, site, &bootstrap).await
}

/// The client's sidecar: takes plain bytes and begins mTLS towards the ingress.
async fn client_sidecar(ingress: &Proxy, mesh: &Authority, leaf: &Leaf) -> Proxy {
    let site = Site::new();
    let plain = merged(
        listener("outbound", site.at(IN), &[any_chain(tcp_proxy("ingress", json!({})))]),
        json!({"listener_filters": []}),
    );
    let begins_tls = tls("Upstream", mesh, leaf, json!({"sni": TAG}));
    let bootstrap = bootstrap(&site, &[plain], &[cluster("ingress", &[ingress.at(IN)], begins_tls)]);
    Proxy::start(Kind::Envoy, site, &bootstrap).await
}

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
    let server = server_sidecar(&service, &mesh, &backend).await;
    let ingress = ingress(TAG, server.at(IN)).await;
    let client = client_sidecar(&ingress, &mesh, &frontend).await;

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
