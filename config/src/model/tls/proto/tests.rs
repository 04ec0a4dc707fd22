#![allow(clippy::unwrap_used, clippy::panic)]

use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::model::testing::{encode, merge, paths};
use crate::model::tls::{Pattern, SanKind};

/// A self-signed certificate and its key.
fn pem() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["a".into()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn parse(config: &Value) -> Result<(Converted, Vec<String>), Rejection> {
    let body = encode("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", config);
    let mut cx = Context::default();
    let converted = downstream(&mut cx, &body)?;
    Ok((converted, paths(&cx.into_ignored())))
}

/// A context as Kuma writes it for its admin listener, with more in `commonTlsContext`.
fn context(more: Value) -> Value {
    let (certificate, key) = pem();
    let mut common = json!({
        "tlsCertificates": [{"certificateChain": {"inlineString": certificate}, "privateKey": {"inlineString": key}}],
        "validationContext": {"trustedCa": {"inlineString": certificate},
            "matchTypedSubjectAltNames": [{"sanType": "DNS", "matcher": {"exact": "kuma-cp"}}]}});
    merge(&mut common, more);
    json!({"requireClientCertificate": true, "commonTlsContext": common})
}

fn good(more: Value) -> Arc<DownstreamTls> {
    match parse(&context(more)).unwrap() {
        (Converted::Tls(tls), ignored) => {
            assert_eq!(ignored, Vec::<String>::new());
            tls
        }
        (Converted::Unsupported(why), _) => panic!("{why}"),
    }
}

#[test]
fn kumas_admin_listener() {
    let tls = good(json!({"alpnProtocols": ["h2", "http/1.1"]}));
    assert!(tls.require_client_certificate && tls.parameters.tls12 && tls.parameters.tls13);
    assert_eq!(tls.certificates.inline()[0].chain().len(), 1);
    assert_eq!(*tls.alpn[0], *b"h2");
    let Some(ValidationSource::Inline(validation)) = &tls.validation else { panic!("no validation") };
    assert_eq!(validation.trusts().map(|trust| trust.certificates().len()).sum::<usize>(), 1);
    let san = &validation.subject_alt_names[0];
    assert_eq!(san.kind, SanKind::Dns);
    assert!(matches!(&san.matcher.pattern, Pattern::Exact(name) if &**name == "kuma-cp"));
    assert!(!format!("{tls:?}").contains("PrivateKey"));
}

#[test]
fn versions_are_bounded() {
    let versions = |params: Value| {
        let tls = good(json!({"tlsParams": params}));
        (tls.parameters.tls12, tls.parameters.tls13)
    };
    assert_eq!(versions(json!({"tlsMinimumProtocolVersion": "TLSv1_3"})), (false, true));
    assert_eq!(versions(json!({"tlsMaximumProtocolVersion": "TLSv1_2"})), (true, false));
    let old = context(json!({"tlsParams": {"tlsMaximumProtocolVersion": "TLSv1_1"}}));
    assert!(matches!(parse(&old).unwrap().0, Converted::Unsupported(_)));
}

#[test]
fn what_would_narrow_the_peers_is_not_passed_over() {
    let why = |more| match parse(&context(more)).unwrap().0 {
        Converted::Unsupported(why) => why.path.to_string(),
        Converted::Tls(_) => panic!("accepted"),
    };
    let hash = json!({"validationContext": {"verifyCertificateHash": ["a"]}});
    assert_eq!(why(hash), "common_tls_context.validation_context.verify_certificate_hash");
    let sds = json!({"tlsCertificateSdsSecretConfigs": [{"name": "s"}]});
    assert_eq!(why(sds), "common_tls_context.tls_certificate_sds_secret_configs");
    let untrusted = json!({"validationContext": {"trustChainVerification": "ACCEPT_UNTRUSTED"}});
    assert_eq!(why(untrusted), "common_tls_context.validation_context.trust_chain_verification");
}

#[test]
fn refusals_name_the_field_and_never_the_key() {
    let (certificate, key) = pem();
    let table = [
        (json!({"tlsCertificates": []}), "tls_certificates"),
        (
            json!({"tlsCertificates": [{"certificateChain": {"inlineString": "x"}, "privateKey": {"inlineString": key}}]}),
            "tls_certificates[0].certificate_chain",
        ),
        (
            json!({"tlsCertificates": [{"certificateChain": {"inlineString": certificate}, "privateKey": {"inlineString": "secret"}}]}),
            "tls_certificates[0].private_key",
        ),
        (
            json!({"tlsCertificates": [{"certificateChain": {"inlineString": certificate}}]}),
            "tls_certificates[0].private_key",
        ),
        (
            json!({"validationContext": {"matchTypedSubjectAltNames": [{"sanType": "DNS", "matcher": {"exact": "a"}}]}}),
            "validation_context.trusted_ca",
        ),
        (
            json!({"validationContext": {"matchTypedSubjectAltNames": [{"matcher": {"exact": "a"}}]}}),
            "validation_context.match_typed_subject_alt_names[0].san_type",
        ),
    ];
    for (more, expected) in table {
        let refused = parse(&context(more)).map(|_| ()).unwrap_err();
        assert_eq!(refused.path.to_string(), format!("common_tls_context.{expected}"));
        assert!(!refused.reason.contains("secret"));
    }
}

#[test]
fn regexes_match_the_whole_text() {
    let regex = |text: &str| {
        let matcher = matcher::RegexMatcher { regex: text.into(), engine_type: None };
        regex(&Context::default(), matcher)
    };
    let either = regex("a|bc").unwrap();
    assert!(either.is_match("a") && either.is_match("bc") && !either.is_match("abc") && !either.is_match("a\n"));
    assert!(regex("(").is_err());
}
