//! Real mutual TLS through the proxy: both ends see each other, never the proxy.

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use tests::bootstrap::{bootstrap, chain, cluster, listener, tcp_proxy};
use tests::ca::{Authority, Key};
use tests::client::{line, mtls, peer_certificate};
use tests::compare::compare;
use tests::mesh_service::{Answer, MeshService, Seen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::story::IN;

const SNI: &str = "ae10a8071b8a8eeb8.backend.8080.demo.ms";

/// What one handshake showed to its client.
#[derive(Debug, PartialEq)]
struct Met {
    certificate: Option<CertificateDer<'static>>,
    version: Option<rustls::ProtocolVersion>,
    banner: String,
    echo: Vec<u8>,
}

async fn certificates_are_seen_unchanged(kind: Key, version: &'static SupportedProtocolVersion) {
    let mesh = Authority::new();
    let (backend, frontend) =
        (mesh.issue("spiffe://default/backend", kind), mesh.issue("spiffe://default/frontend", kind));
    let service = MeshService::start("backend", mesh.server(&backend, &["kuma"]), Answer::Echo).await;
    let client = mesh.client_speaking(version, &frontend, &["kuma"]);
    let met = compare(
        |site| {
            let chains = [chain(&[SNI], tcp_proxy("backend", json!({})))];
            let clusters = [cluster("backend", &[service.address()], json!({}))];
            bootstrap(site, &[listener("in", site.at(IN), &chains)], &clusters)
        },
        async |proxy| {
            let mut stream = mtls(proxy.at(IN), SNI, Arc::clone(&client)).await.unwrap();
            let (certificate, version) = (peer_certificate(&stream), stream.get_ref().1.protocol_version());
            let banner = line(&mut stream).await.unwrap();
            // Larger than any one TLS record.
            let text: Vec<u8> = b"0123456789abcdef".repeat(10_000);
            let (mut from, mut to) = tokio::io::split(stream);
            let writer = async {
                to.write_all(&text).await.unwrap();
                to.shutdown().await.unwrap();
            };
            let mut echo = Vec::new();
            let (read, ()) = tokio::join!(from.read_to_end(&mut echo), writer);
            read.unwrap();
            assert_eq!(echo, text);
            Met { certificate, version, banner, echo: echo.split_off(echo.len() - 16) }
        },
    )
    .await;
    assert_eq!(met.certificate.as_ref(), Some(&backend.der));
    assert_eq!(met.banner, "backend");
    let expected = Seen { certificate: Some(frontend.der.clone()), sni: Some(SNI.into()), alpn: Some("kuma".into()) };
    let seen = service.seen();
    assert!(!seen.is_empty() && seen.iter().all(|s| *s == expected), "{seen:?}");
}

#[tokio::test]
async fn ecdsa_tls_1_3() {
    certificates_are_seen_unchanged(Key::Ecdsa, &TLS13).await;
}

#[tokio::test]
async fn rsa_tls_1_3() {
    certificates_are_seen_unchanged(Key::Rsa, &TLS13).await;
}

#[tokio::test]
async fn ecdsa_tls_1_2() {
    certificates_are_seen_unchanged(Key::Ecdsa, &TLS12).await;
}

/// A stranger's certificate is refused by the service, and the client learns it from the service.
#[tokio::test]
async fn a_stranger_is_refused_by_the_service() {
    let (mesh, other) = (Authority::new(), Authority::new());
    let backend = mesh.issue("spiffe://default/backend", Key::Ecdsa);
    let stranger = other.issue("spiffe://default/frontend", Key::Ecdsa);
    let service = MeshService::start("backend", mesh.server(&backend, &[]), Answer::Echo).await;
    let client = mesh.client(&stranger, &[]);
    let error = compare(
        |site| {
            let chains = [chain(&[SNI], tcp_proxy("backend", json!({})))];
            let clusters = [cluster("backend", &[service.address()], json!({}))];
            bootstrap(site, &[listener("in", site.at(IN), &chains)], &clusters)
        },
        async |proxy| {
            let result = async {
                let mut stream = mtls(proxy.at(IN), SNI, Arc::clone(&client)).await?;
                line(&mut stream).await
            };
            result.await.unwrap_err().to_string()
        },
    )
    .await;
    assert!(error.contains("alert"), "{error}");
    assert_eq!(service.seen(), []);
}
