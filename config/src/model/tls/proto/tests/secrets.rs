//! Certificates with their keys, and secrets.

use rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};

use super::*;
use crate::model::tls::{ParsedSecret, Secret};
use crate::reject::Rejection;

fn secret(value: &Value) -> Result<ParsedSecret, Rejection> {
    Secret::parse(&encode("envoy.extensions.transport_sockets.tls.v3.Secret", value))
}

fn certificate(chain: &str, key: &str) -> Value {
    json!({"name": "s", "tlsCertificate":
        {"certificateChain": {"inlineString": chain}, "privateKey": {"inlineString": key}}})
}

#[test]
fn every_kind_of_key_is_read() {
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, &PKCS_RSA_SHA256] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let made = CertificateParams::new(vec!["a".into()]).unwrap().self_signed(&key).unwrap();
        let parsed = secret(&certificate(&made.pem(), &key.serialize_pem())).unwrap();
        let Secret::Certificate(identity) = parsed.secret else { panic!("no certificate") };
        assert_eq!((&*parsed.name, identity.facts.label()), ("s", "CN=rcgen self signed cert"));
        assert_eq!(identity.facts.names[0], (SanKind::Dns, "a".into()));
    }
}

#[test]
fn refusals_name_the_field_and_never_the_key() {
    let ((chain, key), (_, other)) = (pem(), pem());
    let inner = key.lines().nth(1).unwrap().to_owned();
    let damaged = key.replace(&inner, &inner.chars().rev().collect::<String>());
    for (value, path) in [
        (certificate("x", &key), "tls_certificate.certificate_chain"),
        (certificate(&chain, "secret"), "tls_certificate.private_key"),
        (certificate(&chain, &damaged), "tls_certificate.private_key"),
        (certificate(&chain, &other), "tls_certificate.private_key"),
        (
            json!({"name": "s", "tlsCertificate": {"certificateChain": {"inlineString": chain}}}),
            "tls_certificate.private_key",
        ),
        (json!({"name": "s", "tlsCertificate": {"pkcs12": {"inlineString": "x"}}}), "tls_certificate.pkcs12"),
        (json!({"name": "s"}), "type"),
        (
            json!({"name": "s", "sessionTicketKeys": {"keys": [{"inlineString": "short"}]}}),
            "session_ticket_keys.keys[0]",
        ),
        (
            json!({"name": "s", "validationContext": {"trustedCa": {"inlineString": "x"}}}),
            "validation_context.trusted_ca",
        ),
    ] {
        let refused = secret(&value).unwrap_err();
        assert_eq!(refused.path.to_string(), path);
        let told = format!("{refused} {refused:?}");
        assert!(!told.contains("secret") && !told.contains(&inner), "{told}");
    }
    let mismatch = secret(&certificate(&chain, &other)).unwrap_err().reason;
    assert!(mismatch.contains("does not belong to the certificate \"CN=rcgen self signed cert\""), "{mismatch}");
}

#[test]
fn keys_never_show() {
    let (chain, key) = pem();
    let inner = key.lines().nth(1).unwrap();
    let shown = format!("{:?}", secret(&certificate(&chain, &key)).unwrap());
    assert!(shown.contains("[redacted]") && !shown.contains(inner), "{shown}");
    let tickets = json!({"name": "t", "sessionTicketKeys": {"keys": [{"inlineString": "K".repeat(80)}]}});
    let tickets = secret(&tickets).unwrap();
    assert!(!format!("{tickets:?}").contains("75, 75"));
    let Secret::TicketKeys(keys) = tickets.secret else { panic!("no keys") };
    assert_eq!(keys.keys(), [[b'K'; 80]]);
    let generic = json!({"name": "g", "genericSecret": {"secret": {"inlineString": "hush"}}});
    assert!(!format!("{:?}", secret(&generic).unwrap()).contains("hush"));
}

#[test]
fn files_are_read_and_remembered() {
    let (chain, key) = pem();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("tls.crt"), &chain).unwrap();
    std::fs::write(at("tls.key"), &key).unwrap();
    let path = |name: &str| at(name).to_str().unwrap().to_owned();
    let value = json!({"name": "s", "tlsCertificate": {"watchedDirectory": {"path": folder.path()},
        "certificateChain": {"filename": path("tls.crt")}, "privateKey": {"filename": path("tls.key")}}});
    let parsed = secret(&value).unwrap();
    assert_eq!(paths(&parsed.ignored), Vec::<String>::new());
    let files = parsed.secret.files();
    assert_eq!(files.iter().map(|f| f.path.clone()).collect::<Vec<_>>(), [at("tls.crt"), at("tls.key")]);
    assert!(files.iter().all(|f| f.watched_directory.as_deref() == Some(folder.path())));
    std::fs::remove_file(at("tls.key")).unwrap();
    let refused = secret(&value).unwrap_err().to_string();
    assert!(refused.starts_with("tls_certificate.private_key.filename: cannot read"), "{refused}");
}
