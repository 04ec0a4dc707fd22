#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod trusted;

use std::sync::Arc;
use std::time::Duration;

use ::rustls::pki_types::PrivateKeyDer;
use ::rustls::{CertificateError, ClientConnection, Error, ServerConfig, ServerConnection};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::rustls::{ClientTls, Expect, client_verifier, provider};
use super::*;
use crate::model::tls::{Pattern, Pins, SanKind, SanMatch, SpiffeTrust, StringMatch, Trusted, Validation};

fn client_config(
    validation: Option<&Validation>,
    expect: Expect,
    alpn: &[&[u8]],
) -> Result<Arc<::rustls::ClientConfig>, super::rustls::ConfigError> {
    let validation = validation.map(|v| Arc::new(v.clone()));
    let tls = ClientTls { validation, expect, identity: None, alpn, versions: (true, true) };
    super::rustls::client_config(tls)
}

/// Which names are wanted.
enum Wanted<'a> {
    AnyOf(&'a [SanMatch]),
    Server(&'a ServerName<'a>),
}

fn verify(
    trust: &Arc<Trust>,
    chain: &[CertificateDer<'_>],
    usage: Usage,
    wanted: Wanted<'_>,
    now: UnixTime,
) -> Result<(), VerifyError> {
    let mut validation = Validation::by_ca(Arc::clone(trust));
    let names = match wanted {
        Wanted::AnyOf(names) => {
            validation.subject_alt_names = names.into();
            Names::Configured
        }
        Wanted::Server(name) => Names::Server(name),
    };
    let (leaf, intermediates) = chain.split_first().unwrap();
    super::verify(&validation, Presented { leaf, intermediates }, usage, names, now)
}

struct Made {
    der: CertificateDer<'static>,
    key: KeyPair,
    params: CertificateParams,
}

fn params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params.subject_alt_names = names
        .iter()
        .map(|n| match n.parse() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) if n.contains("://") => SanType::URI((*n).try_into().unwrap()),
            Err(_) if n.contains('@') => SanType::Rfc822Name((*n).try_into().unwrap()),
            Err(_) => SanType::DnsName((*n).try_into().unwrap()),
        })
        .collect();
    params
}

fn ca(name: &str) -> Made {
    let mut params = params(&[]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    self_signed(params)
}

fn self_signed(params: CertificateParams) -> Made {
    let key = KeyPair::generate().unwrap();
    Made { der: params.self_signed(&key).unwrap().der().clone(), key, params }
}

fn issue(params: CertificateParams, by: &Made) -> Made {
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::from_params(&by.params, &by.key);
    Made { der: params.signed_by(&key, &issuer).unwrap().der().clone(), key, params }
}

/// As kuma-cp makes its own: self-signed, CA:TRUE, for servers and clients.
fn control_plane() -> Made {
    let mut params = params(&["localhost", "127.0.0.1"]);
    params.distinguished_name.push(DnType::CommonName, "kuma");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    self_signed(params)
}

fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000))
}

fn trust(made: &Made) -> Arc<Trust> {
    Arc::new(Trust::new(std::slice::from_ref(&made.der)).unwrap())
}

fn any(trust: &Arc<Trust>, chain: &[CertificateDer<'static>]) -> Result<(), VerifyError> {
    verify(trust, chain, Usage::Server, Wanted::AnyOf(&[]), now())
}

fn san(kind: SanKind, pattern: Pattern) -> SanMatch {
    SanMatch { kind, matcher: StringMatch { pattern, ignore_case: false } }
}

fn validation(trusted: &Made, names: Vec<SanMatch>) -> Validation {
    Validation { subject_alt_names: names.into(), ..Validation::by_ca(trust(trusted)) }
}

#[test]
fn a_chain_is_trusted_and_a_stranger_is_not() {
    let (root, other) = (ca("root"), ca("other"));
    let mut middle = params(&[]);
    middle.distinguished_name.push(DnType::CommonName, "middle");
    middle.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let middle = issue(middle, &root);
    let leaf = issue(params(&["a.example"]), &middle);
    any(&trust(&root), &[leaf.der.clone(), middle.der.clone()]).unwrap();
    any(&trust(&middle), std::slice::from_ref(&leaf.der)).unwrap();
    let missing = any(&trust(&root), std::slice::from_ref(&leaf.der)).unwrap_err().to_string();
    assert!(missing.contains("\"a.example\"") && missing.contains("intermediate is missing"), "{missing}");
    assert!(matches!(any(&trust(&other), &[leaf.der, middle.der]), Err(VerifyError::NotTrusted { .. })));
    assert!(matches!(any(&trust(&root), &[vec![1, 2, 3].into()]), Err(VerifyError::Unreadable(_))));
    assert_eq!(Trust::new(&[]).unwrap_err(), TrustError::Empty);
}

#[test]
fn the_control_planes_own_certificate_is_pinned() {
    let (cp, impostor) = (control_plane(), control_plane());
    any(&trust(&cp), std::slice::from_ref(&cp.der)).unwrap();
    let refused = any(&trust(&cp), std::slice::from_ref(&impostor.der)).unwrap_err();
    assert!(matches!(refused, VerifyError::NotTrusted { .. }), "{refused}");
    // One that the pinned certificate issued, as it well could, is judged as any other.
    any(&trust(&cp), &[issue(params(&["x"]), &cp).der]).unwrap();
    let mut ca_leaf = params(&["x"]);
    ca_leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let refused = any(&trust(&cp), &[issue(ca_leaf, &cp).der]).unwrap_err().to_string();
    assert!(refused.contains("pin exactly this certificate"), "{refused}");
    // A pin does not outlive the certificate, nor does it stand for another name.
    let late = UnixTime::since_unix_epoch(Duration::from_secs(4_000_000_000));
    let chain = std::slice::from_ref(&cp.der);
    let expired = verify(&trust(&cp), chain, Usage::Server, Wanted::AnyOf(&[]), late).unwrap_err();
    assert!(matches!(expired, VerifyError::Expired { .. }) && expired.to_string().contains("CN=kuma"), "{expired}");
    let name = ServerName::try_from("other.example").unwrap();
    let wrong = verify(&trust(&cp), chain, Usage::Server, Wanted::Server(&name), now()).unwrap_err().to_string();
    assert!(wrong.contains("wanted other.example, it has localhost, 127.0.0.1"), "{wrong}");
    let ip = ServerName::try_from("127.0.0.1").unwrap();
    verify(&trust(&cp), chain, Usage::Server, Wanted::Server(&ip), now()).unwrap();
}

#[test]
fn dates_and_usage() {
    let root = ca("root");
    let early = UnixTime::since_unix_epoch(Duration::from_secs(1_000_000_000));
    let leaf = issue(params(&["a"]), &root);
    let error = verify(&trust(&root), &[leaf.der], Usage::Server, Wanted::AnyOf(&[]), early).unwrap_err();
    assert!(matches!(error, VerifyError::NotYetValid { .. }), "{error}");
    let mut client_only = params(&["a"]);
    client_only.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = issue(client_only, &root).der;
    verify(&trust(&root), std::slice::from_ref(&leaf), Usage::Client, Wanted::AnyOf(&[]), now()).unwrap();
    let error = any(&trust(&root), &[leaf]).unwrap_err().to_string();
    assert!(error.contains("is not for TLS servers: its extended key usage"), "{error}");
    let mut crl_only = params(&["a"]);
    crl_only.key_usages = vec![KeyUsagePurpose::CrlSign];
    let error = any(&trust(&root), &[issue(crl_only, &root).der]).unwrap_err().to_string();
    assert!(error.contains("its key usage does not allow it"), "{error}");
}

#[test]
fn names_are_matched_by_kind() {
    let root = ca("root");
    let carried = ["*.svc.example", "spiffe://default/backend", "10.0.0.1", "::1", "me@example.org"];
    let leaf = [issue(params(&carried), &root).der];
    let check = |wanted: SanMatch| verify(&trust(&root), &leaf, Usage::Server, Wanted::AnyOf(&[wanted]), now());
    let text = |s: &str| -> Box<str> { s.into() };
    for wanted in [
        san(SanKind::Dns, Pattern::Exact(text("a.svc.example"))),
        san(SanKind::Dns, Pattern::Exact(text("A.SVC.example"))),
        san(SanKind::Uri, Pattern::Exact(text("spiffe://default/backend"))),
        san(SanKind::Uri, Pattern::Prefix(text("spiffe://default/"))),
        san(SanKind::Uri, Pattern::Suffix(text("/backend"))),
        san(SanKind::Uri, Pattern::Contains(text("default"))),
        san(SanKind::Uri, Pattern::Regex(Box::new(regex::Regex::new(r"\A(?:spiffe://[a-z]+/backend)\z").unwrap()))),
        san(SanKind::Ip, Pattern::Exact(text("10.0.0.1"))),
        san(SanKind::Ip, Pattern::Exact(text("0:0:0:0:0:0:0:1"))),
        san(SanKind::Email, Pattern::Exact(text("me@example.org"))),
    ] {
        check(wanted.clone()).unwrap_or_else(|e| panic!("{wanted:?}: {e}"));
    }
    for wanted in [
        san(SanKind::Dns, Pattern::Exact(text("a.b.svc.example"))),
        san(SanKind::Dns, Pattern::Exact(text("svc.example"))),
        san(SanKind::Dns, Pattern::Exact(text("spiffe://default/backend"))),
        san(SanKind::Dns, Pattern::Exact(text("10.0.0.1"))),
        san(SanKind::Uri, Pattern::Exact(text("spiffe://default/Backend"))),
        san(SanKind::Uri, Pattern::Prefix(text("spiffe://other/"))),
        san(SanKind::Uri, Pattern::Regex(Box::new(regex::Regex::new("default").unwrap()))),
        san(SanKind::Ip, Pattern::Exact(text("10.0.0.11"))),
    ] {
        let error = check(wanted.clone()).unwrap_err();
        assert!(matches!(error, VerifyError::Name { .. }), "{wanted:?}: {error}");
    }
    let error = check(san(SanKind::Uri, Pattern::Prefix(text("spiffe://x/")))).unwrap_err().to_string();
    assert!(error.contains("wanted URI spiffe://x/…") && error.contains("spiffe://default/backend"), "{error}");
    let mut folded = san(SanKind::Uri, Pattern::Exact(text("SPIFFE://DEFAULT/BACKEND")));
    folded.matcher.ignore_case = true;
    check(folded).unwrap();
}

/// A whole handshake in memory; the errors of client and server, if any.
fn handshake(
    server: &Made,
    client: Arc<::rustls::ClientConfig>,
    clients: Option<&Validation>,
) -> (Option<Error>, Option<Error>) {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(validation) => {
            builder.with_client_cert_verifier(client_verifier(Some(Arc::new(validation.clone())), true))
        }
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::try_from(server.key.serialize_der()).unwrap();
    let config = builder.with_single_cert(vec![server.der.clone()], key).unwrap();
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    let mut client = ClientConnection::new(client, ServerName::try_from("localhost").unwrap()).unwrap();
    let (mut client_error, mut server_error) = (None, None);
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        if !bytes.is_empty() {
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server_error = server_error.or(server.process_new_packets().err());
        }
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        if !bytes.is_empty() {
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client_error = client_error.or(client.process_new_packets().err());
        }
        if client_error.is_some() || server_error.is_some() {
            break;
        }
    }
    (client_error, server_error)
}

#[test]
fn a_real_handshake_with_the_control_planes_certificate() {
    let cp = control_plane();
    let exact = vec![san(SanKind::Dns, Pattern::Exact("localhost".into()))];
    let by_name = client_config(Some(&validation(&cp, exact)), Expect::Configured, &[b"h2"]).unwrap();
    assert_eq!(handshake(&cp, by_name, None), (None, None));
    let dialled = client_config(Some(&validation(&cp, vec![])), Expect::Dialled, &[]).unwrap();
    assert_eq!(handshake(&cp, dialled, None), (None, None));

    let wrong = vec![san(SanKind::Dns, Pattern::Exact("kuma-cp".into()))];
    let config = client_config(Some(&validation(&cp, wrong)), Expect::Configured, &[]).unwrap();
    let (error, _) = handshake(&cp, config, None);
    let error = error.unwrap().to_string();
    assert!(error.contains("wanted DNS kuma-cp, it has localhost, 127.0.0.1"), "{error}");

    let impostor = control_plane();
    let config = client_config(Some(&validation(&cp, vec![])), Expect::Dialled, &[]).unwrap();
    let (error, _) = handshake(&impostor, config, None);
    assert!(error.unwrap().to_string().contains("is not trusted"));
    let trusting = client_config(None, Expect::Dialled, &[]).unwrap();
    assert_eq!(handshake(&impostor, trusting, None), (None, None));
}

#[test]
fn a_real_handshake_with_client_certificates() {
    let (cp, root, other) = (control_plane(), ca("admin"), ca("other"));
    let names = vec![san(SanKind::Dns, Pattern::Exact("kuma-cp".into()))];
    let wanted = validation(&root, names);
    let client = |made: Option<Made>| {
        let mut config = (*client_config(None, Expect::Dialled, &[]).unwrap()).clone();
        if let Some(made) = made {
            let key = PrivateKeyDer::try_from(made.key.serialize_der()).unwrap();
            let signer = provider().key_provider.load_private_key(key).unwrap();
            let certified = ::rustls::sign::CertifiedKey::new(vec![made.der], signer);
            config.client_auth_cert_resolver = Arc::new(::rustls::sign::SingleCertAndKey::from(certified));
        }
        Arc::new(config)
    };
    let good = issue(params(&["kuma-cp"]), &root);
    assert_eq!(handshake(&cp, client(Some(good)), Some(&wanted)), (None, None));
    let misnamed = issue(params(&["somebody"]), &root);
    let (_, error) = handshake(&cp, client(Some(misnamed)), Some(&wanted));
    assert!(error.unwrap().to_string().contains("wanted DNS kuma-cp, it has somebody"));
    let stranger = issue(params(&["kuma-cp"]), &other);
    let (_, error) = handshake(&cp, client(Some(stranger)), Some(&wanted));
    assert_eq!(error, Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)));
    assert!(super::rustls::take_refusal().unwrap().to_string().contains("is not trusted"));
    let (_, error) = handshake(&cp, client(None), Some(&wanted));
    assert_eq!(error, Some(Error::NoCertificatesPresented));
}
