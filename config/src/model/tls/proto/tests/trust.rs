//! Validation contexts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use prost::Message as _;

use super::*;
use crate::model::tls::{Incomplete, PartialValidation, Trusted, Validation};

const MESSAGE: &str = "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext";

fn whole(value: &Value) -> Result<(Validation, Vec<String>), Fault> {
    let message = pb::CertificateValidationContext::decode(encode(MESSAGE, value)).unwrap();
    let mut cx = Context::default();
    let converted = validation(&mut cx, &Trusts::default(), message)?;
    Ok((converted, paths(&cx.into_ignored())))
}

fn partial(value: &Value) -> PartialValidation {
    let message = pb::CertificateValidationContext::decode(encode(MESSAGE, value)).unwrap();
    super::super::validation::partial(&mut Context::default(), &Trusts::default(), message).unwrap()
}

fn spiffe(config: Value) -> Value {
    let mut config = config;
    config["@type"] = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig".into();
    json!({"customValidatorConfig": {"name": "envoy.tls.cert_validator.spiffe", "typedConfig": config}})
}

#[test]
fn every_field_is_honoured() {
    let ca = pem().0;
    let (all, ignored) = whole(&json!({"trustedCa": {"inlineString": ca}, "allowExpiredCertificate": true,
        "trustChainVerification": "ACCEPT_UNTRUSTED", "maxVerifyDepth": 3, "suppressClientCaList": true,
        "onlyVerifyLeafCertCrl": true, "verifyCertificateSpki": [STANDARD.encode([7; 32])],
        "verifyCertificateHash": ["ab".repeat(32), (["CD"; 32].join(":"))],
        "matchSubjectAltNames": [{"prefix": "spiffe://m/"}]}))
    .unwrap();
    assert_eq!(ignored, Vec::<String>::new());
    assert!(all.allow_expired && all.accept_untrusted && all.hide_authorities && all.leaf_crl_only);
    assert_eq!(
        (all.max_depth, &*all.pins.keys, &*all.pins.certificates),
        (Some(3), &[[7; 32]][..], &[[0xab; 32], [0xcd; 32]][..])
    );
    assert_eq!(all.subject_alt_names.len(), 4);
    assert!(!all.demands_certificate() && all.asks());
}

#[test]
fn nothing_insecure_is_taken() {
    let ca = pem().0;
    let named = json!([{"sanType": "DNS", "matcher": {"exact": "a"}}]);
    for (value, path) in [
        (json!({"matchTypedSubjectAltNames": named}), "trusted_ca"),
        (json!({"allowExpiredCertificate": true}), "trusted_ca"),
        (json!({"verifyCertificateHash": ["ab"]}), "verify_certificate_hash[0]"),
        (json!({"verifyCertificateSpki": ["!"]}), "verify_certificate_spki[0]"),
        (json!({"maxVerifyDepth": 101}), "max_verify_depth.value"),
        (json!({"trustedCa": {"inlineString": ""}}), "trusted_ca"),
        (
            json!({"matchTypedSubjectAltNames": [{"matcher": {"exact": "a"}}]}),
            "match_typed_subject_alt_names[0].san_type",
        ),
        (
            json!({"trustedCa": {"inlineString": ca}, "matchTypedSubjectAltNames": named, "matchSubjectAltNames": [{"exact": "a"}]}),
            "match_subject_alt_names",
        ),
    ] {
        assert_eq!(whole(&value).unwrap_err().rejection().path.to_string(), path, "{value}");
    }
}

#[test]
fn a_secret_is_merged_over_the_default() {
    let (first, second) = (pem().0, pem().0);
    let default = partial(&json!({"trustedCa": {"inlineString": first}, "maxVerifyDepth": 1,
        "matchTypedSubjectAltNames": [{"sanType": "URI", "matcher": {"prefix": "spiffe://a/"}}]}));
    let secret = partial(&json!({"trustedCa": {"inlineString": second}, "allowExpiredCertificate": true,
        "matchTypedSubjectAltNames": [{"sanType": "URI", "matcher": {"prefix": "spiffe://b/"}}]}));
    let merged = default.overlaid(&secret).complete().unwrap();
    let Trusted::Ca(ca) = &merged.trusted else { panic!("no CA") };
    assert_eq!(ca.certificates(), secret.ca.as_ref().unwrap().certificates());
    assert_eq!((merged.subject_alt_names.len(), merged.max_depth, merged.allow_expired), (2, Some(1), true));
    let names_alone = partial(&json!({"matchTypedSubjectAltNames": [{"sanType": "URI", "matcher": {"prefix": "a"}}]}));
    assert_eq!(names_alone.complete().unwrap_err(), Incomplete::NamesWithoutCa);
    assert!(names_alone.overlaid(&secret).complete().is_ok());
}

#[test]
fn spiffe_bundles_by_trust_domain() {
    let (a, b) = (pem().0, pem().0);
    let domain = |name: &str, ca: &str| json!({"name": name, "trustBundle": {"inlineString": ca}});
    let (validation, _) = whole(&spiffe(json!({"trustDomains": [domain("b.x", &b), domain("a.x", &a)]}))).unwrap();
    let Trusted::Spiffe(trust) = &validation.trusted else { panic!("not SPIFFE") };
    assert!(trust.bundle("a.x").is_some() && trust.bundle("b.x").is_some() && trust.bundle("c.x").is_none());
    assert_ne!(trust.bundle("a.x").unwrap().certificates(), trust.bundle("b.x").unwrap().certificates());
    assert!(validation.demands_certificate());

    let twice = spiffe(json!({"trustDomains": [domain("a.x", &a), domain("a.x", &b)]}));
    let refused = whole(&twice).unwrap_err().rejection();
    assert_eq!(refused.path.to_string(), "custom_validator_config.typed_config.trust_domains[1].name");
    let mut other = domain("a.x", &a);
    other["workloadTrustDomain"] = "w".into();
    let (validation, ignored) = whole(&spiffe(json!({"trustDomains": [other]}))).unwrap();
    let Trusted::Spiffe(trust) = &validation.trusted else { panic!("not SPIFFE") };
    assert!(trust.bundle("a.x").is_none() && ignored.len() == 1);
}

#[test]
fn a_spiffe_bundle_map() {
    let key = KeyPair::generate().unwrap();
    let made = CertificateParams::new(vec!["a".into()]).unwrap().self_signed(&key).unwrap();
    let jwks = json!({"trust_domains": {"a.x": {"spiffe_sequence": 1, "keys": [
        {"kty": "EC", "use": "jwt-svid", "kid": "1"},
        {"kty": "EC", "use": "x509-svid", "x5c": [STANDARD.encode(made.der())]}]}}});
    let map = |text: String| spiffe(json!({"trustBundles": {"inlineString": text}}));
    let (validation, ignored) = whole(&map(jwks.to_string())).unwrap();
    assert_eq!(ignored, Vec::<String>::new());
    let Trusted::Spiffe(trust) = &validation.trusted else { panic!("not SPIFFE") };
    assert_eq!(trust.bundle("a.x").unwrap().certificates(), [made.der().clone()]);
    for bad in ["{", r#"{"trust_domains": {}}"#, r#"{"trust_domains": {"a": {"keys": []}}}"#] {
        let refused = whole(&map(bad.into())).unwrap_err().rejection();
        assert_eq!(refused.path.to_string(), "custom_validator_config.typed_config.trust_bundles", "{bad}");
    }
}

#[test]
fn equal_bundles_are_one_and_what_is_no_use_is_left_out() {
    let (trusts, mut cx) = (Trusts::default(), Context::default());
    let (a, b) = (pem().0, pem().0);
    let first = trusts.trust(&mut cx, a.as_bytes()).unwrap();
    assert!(Arc::ptr_eq(&first, &trusts.trust(&mut cx, a.as_bytes()).unwrap()));
    assert!(!Arc::ptr_eq(&first, &trusts.trust(&mut cx, b.as_bytes()).unwrap()));
    let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(trusts.trust(&mut cx, format!("{a}{bad}{b}").as_bytes()).unwrap().certificates().len(), 2);
    assert_eq!(cx.into_ignored().len(), 1);
    assert!(trusts.trust(&mut Context::default(), bad.as_bytes()).is_err());
}

#[test]
fn the_systems_roots_are_found_where_there_are_any() {
    if crate::bootstrap::kuma::system_bundle().is_none() {
        return;
    }
    let (validation, _) = whole(&json!({"systemRootCerts": {}})).unwrap();
    assert!(validation.trusts().all(|trust| trust.certificates().len() > 10));
}
