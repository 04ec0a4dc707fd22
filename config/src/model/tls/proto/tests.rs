#![allow(clippy::unwrap_used, clippy::panic)]

mod secrets;
mod trust;

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use rcgen::{CertificateParams, KeyPair};
use rustls::{CipherSuite, NamedGroup};
use serde_json::{Value, json};

use super::*;
use crate::model::metadata::proto::Interner;
use crate::model::testing::{encode, merge, paths};
use crate::model::tls::{
    Certificates, DownstreamTls, GrpcSource, Pattern, SanKind, SecretSource, Tickets, UpstreamTls, ValidationSource,
};
use crate::reject::Context;

/// A self-signed certificate and its key.
fn pem() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["a".into()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn parse(config: &Value) -> Result<(Arc<DownstreamTls>, Vec<String>), Fault> {
    let body = encode("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", config);
    let mut cx = Context::default();
    let converted = downstream(&mut cx, &mut Interner::default(), &body)?;
    Ok((converted, paths(&cx.into_ignored())))
}

fn parse_upstream(config: &Value) -> Result<(Arc<UpstreamTls>, Vec<String>), Fault> {
    let body = encode("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", config);
    let mut cx = Context::default();
    let converted = upstream(&mut cx, &mut Interner::default(), &body)?;
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
    let (tls, ignored) = parse(&context(more)).unwrap();
    assert_eq!(ignored, Vec::<String>::new());
    tls
}

fn ads(name: &str) -> Value {
    json!({"name": name, "sdsConfig": {"ads": {}, "resourceApiVersion": "V3"}})
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
    assert_eq!(tls.secrets().count(), 0);
    assert!(format!("{tls:?}").contains("[redacted]"));
}

#[test]
fn kumas_mesh_chain_refers_to_secrets() {
    let config = json!({"requireClientCertificate": true, "commonTlsContext": {
        "tlsCertificateSdsSecretConfigs": [ads("identity_cert:secret:default")],
        "combinedValidationContext": {
            "defaultValidationContext": {
                "matchTypedSubjectAltNames": [{"sanType": "URI", "matcher": {"prefix": "spiffe://default/"}}]},
            "validationContextSdsSecretConfig": ads("mesh_ca:secret:default")}}});
    let (tls, ignored) = parse(&config).unwrap();
    assert_eq!(ignored, Vec::<String>::new());
    let names: Vec<&str> = tls.secrets().map(|secret| &*secret.name).collect();
    assert_eq!(names, ["identity_cert:secret:default", "mesh_ca:secret:default"]);
    assert!(tls.secrets().all(|secret| secret.source == SecretSource::Ads));
    let Some(ValidationSource::Sds { default, .. }) = &tls.validation else { panic!("inline") };
    assert_eq!(default.subject_alt_names.len(), 1);
    let again = parse(&config).unwrap().0;
    assert_eq!(again.id, tls.id);
}

#[test]
fn every_source_of_secrets() {
    let source = |config: Value| {
        let common = json!({"tlsCertificateSdsSecretConfigs": [{"name": "s", "sdsConfig": config}]});
        parse(&json!({"commonTlsContext": common})).map(|(tls, _)| tls.certificates.secrets()[0].as_ref().clone())
    };
    assert_eq!(source(Value::Null).unwrap().source, SecretSource::Static);
    let waits = source(json!({"self": {}, "initialFetchTimeout": "3s"})).unwrap();
    assert_eq!((waits.source, waits.initial_fetch_timeout), (SecretSource::Ads, Duration::from_secs(3)));
    assert_eq!(source(json!({"ads": {}})).unwrap().initial_fetch_timeout, Duration::from_secs(15));
    let path = json!({"pathConfigSource": {"path": "/s/tls.yaml", "watchedDirectory": {"path": "/s"}}});
    let file = SecretSource::File { path: "/s/tls.yaml".into(), watched_directory: Some("/s".into()) };
    assert_eq!(source(path).unwrap().source, file);
    let spire = |more: Value| {
        let mut api = json!({"apiType": "GRPC", "transportApiVersion": "V3",
            "grpcServices": [{"envoyGrpc": {"clusterName": "spire_agent"}}]});
        merge(&mut api, more);
        source(json!({"apiConfigSource": api}))
    };
    let expected =
        GrpcSource { cluster: "spire_agent".into(), delta: false, authority: None, metadata: Box::default() };
    assert_eq!(spire(json!({})).unwrap().source, SecretSource::Grpc(expected));
    let google = json!({"grpcServices": [{"googleGrpc": {"targetUri": "x", "statPrefix": "x"}}]});
    assert!(matches!(spire(google), Err(Fault::Unsupported(why)) if why.path.to_string().ends_with("google_grpc")));
    assert!(matches!(spire(json!({"apiType": "REST"})), Err(Fault::Unsupported(_))));
    assert!(matches!(spire(json!({"grpcServices": []})), Err(Fault::Rejected(_))));
}

#[test]
fn versions_suites_and_groups_as_asked() {
    let parameters = |params: Value| good(json!({"tlsParams": params})).parameters.clone();
    let versions = |params: Value| {
        let found = parameters(params);
        (found.tls12, found.tls13)
    };
    assert_eq!(versions(json!({"tlsMinimumProtocolVersion": "TLSv1_3"})), (false, true));
    assert_eq!(versions(json!({"tlsMaximumProtocolVersion": "TLSv1_2"})), (true, false));
    let suites = json!({"cipherSuites":
        ["[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]", "ECDHE-ECDSA-AES256-GCM-SHA384"]});
    assert_eq!(
        parameters(suites).cipher_suites.as_deref(),
        Some(
            [
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            ]
            .as_slice()
        )
    );
    let without = json!({"cipherSuites": ["ALL:!ECDHE-RSA-AES128-GCM-SHA256"]});
    assert_eq!(parameters(without).cipher_suites.unwrap().len(), 5);
    let groups = json!({"ecdhCurves": ["P-256", "X25519MLKEM768"]});
    let expected = [NamedGroup::secp256r1, NamedGroup::X25519MLKEM768];
    assert_eq!(parameters(groups).groups.as_deref(), Some(expected.as_slice()));
}

#[test]
fn what_rustls_lacks_is_reported_and_nothing_left_is_refused() {
    let ignored = |params: Value| {
        let (tls, ignored) = parse(&context(json!({"tlsParams": params}))).unwrap();
        (tls.parameters.clone(), ignored)
    };
    let at = |field: &str| format!("common_tls_context.tls_params.{field}");
    let (found, told) = ignored(json!({"cipherSuites": ["AES128-SHA", "ECDHE-RSA-AES128-GCM-SHA256"]}));
    assert_eq!((found.cipher_suites.unwrap().len(), told), (1, vec![at("cipher_suites")]));
    let (found, told) = ignored(json!({"cipherSuites": ["AES128-SHA"]}));
    assert_eq!((found.tls12, found.tls13, told.len()), (false, true, 2));
    assert_eq!(ignored(json!({"ecdhCurves": ["P-521", "P-256"]})).1, [at("ecdh_curves")]);
    assert_eq!(ignored(json!({"signatureAlgorithms": ["x"]})).1, [at("signature_algorithms")]);
    assert_eq!(ignored(json!({"tlsMinimumProtocolVersion": "TLSv1_0"})).1, [at("tls_minimum_protocol_version")]);
    for (params, field) in [
        (json!({"tlsMaximumProtocolVersion": "TLSv1_1"}), "tls_maximum_protocol_version"),
        (
            json!({"tlsMaximumProtocolVersion": "TLSv1_2", "tlsMinimumProtocolVersion": "TLSv1_3"}),
            "tls_maximum_protocol_version",
        ),
        (json!({"tlsMaximumProtocolVersion": "TLSv1_2", "cipherSuites": ["AES128-SHA"]}), "cipher_suites"),
        (json!({"cipherSuites": ["NONSENSE"]}), "cipher_suites"),
        (json!({"ecdhCurves": ["P-521"]}), "ecdh_curves"),
        (json!({"ecdhCurves": ["nonsense"]}), "ecdh_curves"),
    ] {
        let refused = parse(&context(json!({"tlsParams": params}))).unwrap_err().rejection();
        assert_eq!(refused.path.to_string(), at(field), "{params}");
    }
}

#[test]
fn servers_settings() {
    let mut config = context(json!({}));
    merge(
        &mut config,
        json!({"requireSni": true, "preferClientCiphers": true, "disableStatefulSessionResumption": true,
            "sessionTimeout": "60s", "disableStatelessSessionResumption": true, "fullScanCertsOnSniMismatch": true}),
    );
    let (tls, ignored) = parse(&config).unwrap();
    assert_eq!(ignored, Vec::<String>::new());
    assert!(tls.require_sni && tls.prefer_client_ciphers && tls.full_scan_certs_on_sni_mismatch);
    assert!(!tls.resumption.stateful && matches!(tls.resumption.tickets, Tickets::Off));
    assert_eq!(tls.resumption.lifetime, Some(Duration::from_secs(60)));
    let mut keys = context(json!({}));
    merge(&mut keys, json!({"sessionTicketKeysSdsSecretConfig": ads("tickets")}));
    assert_eq!(parse(&keys).unwrap().0.secrets().last().map(|secret| &*secret.name), Some("tickets"));
    let mut staple = context(json!({}));
    merge(&mut staple, json!({"ocspStaplePolicy": "MUST_STAPLE"}));
    assert!(matches!(parse(&staple), Err(Fault::Unsupported(_))));
}

#[test]
fn clients_settings() {
    let (ca, key) = pem();
    let certificate = json!({"certificateChain": {"inlineString": ca}, "privateKey": {"inlineString": key}});
    let validation = json!({"trustedCa": {"inlineString": ca}});
    let (tls, ignored) = parse_upstream(&json!({"sni": "a_b{x=y}", "autoHostSni": true, "autoSniSanValidation": true,
        "maxSessionKeys": 7, "allowRenegotiation": true,
        "commonTlsContext": {"alpnProtocols": ["kuma"], "tlsCertificates": [certificate], "validationContext": validation}}))
    .unwrap();
    assert_eq!(ignored, Vec::<String>::new());
    assert_eq!((tls.sni.as_deref(), tls.max_session_keys), (Some("a_b{x=y}"), 7));
    assert!(tls.auto_host_sni && tls.auto_sni_san_validation && tls.parameters.tls13);
    assert_eq!(tls.certificates.inline().len(), 1);

    let (bare, _) = parse_upstream(&json!({})).unwrap();
    assert!(bare.validation.is_none() && bare.sni.is_none() && bare.max_session_keys == 1);
    assert!(matches!(&bare.certificates, Certificates::Inline(none) if none.is_empty()));
    for (config, path) in [
        (json!({"sni": "x".repeat(256)}), "sni"),
        (json!({"sni": "a\0b"}), "sni"),
        (json!({"autoSniSanValidation": true}), "auto_sni_san_validation"),
        (
            json!({"commonTlsContext": {"tlsCertificates": [certificate, certificate]}}),
            "common_tls_context.tls_certificates",
        ),
    ] {
        assert_eq!(parse_upstream(&config).unwrap_err().rejection().path.to_string(), path);
    }
}

#[test]
fn what_cannot_be_run_is_named() {
    let why = |more| match parse(&context(more)) {
        Err(Fault::Unsupported(why)) => why.path.to_string(),
        other => panic!("{other:?}"),
    };
    let handshaker = json!({"customHandshaker": {"name": "x"}});
    assert_eq!(why(handshaker), "common_tls_context.custom_handshaker");
    let provider = json!({"validationContext": {"caCertificateProviderInstance": {"instanceName": "x"}}});
    assert_eq!(why(provider), "common_tls_context.validation_context.ca_certificate_provider_instance");
    let custom = json!({"validationContext": {"customValidatorConfig": {"name": "x",
        "typedConfig": {"@type": "type.googleapis.com/google.protobuf.BoolValue", "value": true}}}});
    assert_eq!(why(custom), "common_tls_context.validation_context.custom_validator_config.typed_config");
    assert_eq!(
        why(json!({"tlsParams": {"compliancePolicies": ["FIPS_202205"]}})),
        "common_tls_context.tls_params.compliance_policies"
    );
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
