//! Agreement with rustls, as client and as judge, for names that are DNS names.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::{captured, hello};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName as DnsName;
use rustls::server::Acceptor;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion, version};
use sni::client_hello::{Reader, ServerName};

/// A client's first flight.
fn first_flight(name: &str, versions: &[&'static SupportedProtocolVersion], post_quantum: bool) -> Vec<u8> {
    let mut provider = aws_lc_rs::default_provider();
    if post_quantum {
        provider.kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519];
    }
    let provider: Arc<CryptoProvider> = Arc::new(provider);
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = DnsName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = Vec::new();
    client.write_tls(&mut stream).unwrap();
    stream
}

/// What rustls' server sees: the name and the protocols; `None` if it refuses the hello.
fn judge(mut stream: &[u8]) -> Option<(Option<String>, Vec<Vec<u8>>)> {
    let mut acceptor = Acceptor::default();
    while !stream.is_empty() {
        acceptor.read_tls(&mut stream).unwrap();
        if let Some(accepted) = acceptor.accept().ok()? {
            let hello = accepted.client_hello();
            let protocols = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
            return Some((hello.server_name().map(str::to_owned), protocols));
        }
    }
    panic!("rustls wants more");
}

fn agree(stream: &[u8]) {
    let mut reader = Reader::with_default_limit();
    let hello = hello(&mut reader, stream);
    let (name, protocols) = judge(stream).unwrap();
    assert_eq!(
        hello.server_name().as_bytes().map(<[u8]>::to_ascii_lowercase),
        name.map(|name| name.to_lowercase().into())
    );
    assert_eq!(hello.alpn().collect::<Vec<_>>(), protocols);
}

#[test]
fn hellos_that_rustls_makes() {
    for name in ["example.com", "a", "ae10a8071b8a8eeb8.backend.8080.demo.ms", "my_svc_ns_svc_80", &long_name()] {
        for post_quantum in [false, true] {
            for versions in [&[&version::TLS12][..], &[&version::TLS13], &[&version::TLS13, &version::TLS12]] {
                let stream = first_flight(name, versions, post_quantum);
                let has_share = post_quantum && versions.contains(&&version::TLS13);
                assert_eq!(stream.len() > 1216, has_share, "{}", stream.len());
                agree(&stream);
            }
        }
    }
}

#[test]
fn captured_hellos_with_dns_names() {
    let mut judged = 0;
    for (file, stream) in captured() {
        let mut reader = Reader::with_default_limit();
        match hello(&mut reader, &stream).server_name() {
            // What rustls refuses is why this crate takes any bytes.
            ServerName::Host(name) if name.contains(&b'{') || file.contains("kri") => assert_eq!(judge(&stream), None),
            ServerName::Ip(_) => {}
            _ if file == "openssl_tls10.bin" => {}
            _ => {
                agree(&stream);
                judged += 1;
            }
        }
    }
    assert!(judged >= 8);
}

#[test]
#[ignore = "writes the fixture tests/hellos/rustls_pq.bin, see the README there"]
fn write_fixture() {
    let stream = first_flight("rustls.example.com", &[&version::TLS13, &version::TLS12], true);
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hellos/rustls_pq.bin"), stream).unwrap();
}

fn long_name() -> String {
    let label = "l".repeat(60);
    [&label[..], &label, &label, &label, "example"].join(".")
}
