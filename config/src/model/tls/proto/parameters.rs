//! From `TlsParameters`: names as BoringSSL has them to what rustls has.

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::tls_parameters::TlsProtocol;
use rustls::{CipherSuite, NamedGroup};

use super::Fault;
use crate::model::tls::Parameters;
use crate::reject::{Context, Rejection};

/// Suites of TLS 1.2 in our own order, with their names in BoringSSL and in the RFCs.
const SUITES: [(&str, &str, CipherSuite); 6] = [
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// Suites and rules that BoringSSL knows and rustls lacks.
const OTHER_SUITES: [&str; 22] = [
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "AES128-SHA256",
    "DES-CBC3-SHA",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-PSK-AES128-CBC-SHA",
    "ECDHE-PSK-AES256-CBC-SHA",
    "ECDHE-PSK-CHACHA20-POLY1305",
    "PSK-AES128-CBC-SHA",
    "PSK-AES256-CBC-SHA",
    "kRSA",
    "3DES",
    "SHA",
    "SHA1",
    "PSK",
];

/// Rules that stand for every suite that rustls has.
const ALL_SUITES: [&str; 9] = ["ALL", "DEFAULT", "HIGH", "FIPS", "ECDHE", "EECDH", "kECDHE", "TLSv1.2", "AEAD"];

/// Groups with their names in BoringSSL and, where they differ, at NIST.
const GROUPS: [(&str, &str, NamedGroup); 4] = [
    ("X25519MLKEM768", "X25519MLKEM768", NamedGroup::X25519MLKEM768),
    ("X25519", "x25519", NamedGroup::X25519),
    ("P-256", "prime256v1", NamedGroup::secp256r1),
    ("P-384", "secp384r1", NamedGroup::secp384r1),
];

/// Groups that BoringSSL knows and rustls lacks.
const OTHER_GROUPS: [&str; 7] =
    ["P-224", "secp224r1", "P-521", "secp521r1", "X25519Kyber768Draft00", "MLKEM1024", "P256Kyber768Draft00"];

/// Converts the parameters. Envoy's clients go up to TLS 1.2 unless told otherwise; ours to 1.3, as servers do.
pub(crate) fn parameters(cx: &mut Context, params: pb::TlsParameters) -> Result<Parameters, Fault> {
    let pb::TlsParameters {
        tls_minimum_protocol_version,
        tls_maximum_protocol_version,
        cipher_suites,
        ecdh_curves,
        signature_algorithms,
        compliance_policies,
    } = params;
    // Such a policy also binds what can't be chosen here.
    if !compliance_policies.is_empty() {
        return Err(cx.unsupported("compliance_policies", "compliance_policies").into());
    }
    cx.ignore("signature_algorithms", &signature_algorithms, "rustls' own algorithms are used, all of them strong");
    let (tls12, tls13) = versions(cx, tls_minimum_protocol_version, tls_maximum_protocol_version)?;
    let mut parameters = Parameters { tls12, tls13, cipher_suites: None, groups: None };
    if !cipher_suites.is_empty() && tls12 {
        let suites = suites(cx, &cipher_suites)?;
        if suites.is_empty() && !tls13 {
            return Err(cx.reject("cipher_suites", "none of them is one that can be spoken").into());
        }
        if suites.is_empty() {
            cx.note("cipher_suites", "none of them is one that can be spoken, so TLS 1.2 is not");
        }
        parameters.tls12 = !suites.is_empty();
        parameters.cipher_suites = (!suites.is_empty()).then(|| suites.into());
    }
    if !ecdh_curves.is_empty() {
        let groups = groups(cx, &ecdh_curves)?;
        if groups.is_empty() {
            return Err(cx.reject("ecdh_curves", "none of them is one that can be spoken").into());
        }
        parameters.groups = Some(groups.into());
    }
    Ok(parameters)
}

/// Whether TLS 1.2 and TLS 1.3 are allowed.
fn versions(cx: &mut Context, least: i32, most: i32) -> Result<(bool, bool), Rejection> {
    let least: TlsProtocol = cx.variant("tls_minimum_protocol_version", least)?;
    let most: TlsProtocol = cx.variant("tls_maximum_protocol_version", most)?;
    if matches!(least, TlsProtocol::TlSv10 | TlsProtocol::TlSv11) {
        cx.note("tls_minimum_protocol_version", "nothing older than TLS 1.2 is spoken");
    }
    match (least == TlsProtocol::TlSv13, most) {
        (_, TlsProtocol::TlSv10 | TlsProtocol::TlSv11) | (true, TlsProtocol::TlSv12) => {
            Err(cx.reject("tls_maximum_protocol_version", "leaves no version of TLS that is spoken"))
        }
        (true, _) => Ok((false, true)),
        (false, TlsProtocol::TlSv12) => Ok((true, false)),
        (false, _) => Ok((true, true)),
    }
}

/// Suites in the order asked for. A group `[A|B]` of equal preference counts in the order it is written.
fn suites(cx: &mut Context, rules: &[String]) -> Result<Vec<CipherSuite>, Rejection> {
    let mut chosen: Vec<CipherSuite> = Vec::new();
    let mut lacking = false;
    let names = rules.iter().flat_map(|rule| rule.split([':', '|', '[', ']'])).map(str::trim);
    for name in names.filter(|name| !name.is_empty()) {
        let (removes, name) = match name.strip_prefix(['-', '!']) {
            Some(rest) => (true, rest),
            None => (false, name.trim_start_matches('+')),
        };
        let found = SUITES.iter().find(|(ours, rfc, _)| name == *ours || name == *rfc).map(|(_, _, suite)| *suite);
        match found {
            Some(suite) if removes => chosen.retain(|other| *other != suite),
            Some(suite) if !chosen.contains(&suite) => chosen.push(suite),
            Some(_) => {}
            None if ALL_SUITES.contains(&name) && removes => chosen.clear(),
            None if ALL_SUITES.contains(&name) => {
                let all = SUITES.iter().map(|(_, _, suite)| *suite);
                let more: Vec<_> = all.filter(|suite| !chosen.contains(suite)).collect();
                chosen.extend(more);
            }
            // Those of TLS 1.3 are always on, in Envoy too.
            None if name.starts_with("TLS_AES_") || name.starts_with("TLS_CHACHA20_") => {}
            None if OTHER_SUITES.contains(&name) => lacking |= !removes,
            None => {
                let reason = format!("Failed to initialize cipher suites: {name:?} is not known");
                return Err(cx.reject("cipher_suites", reason));
            }
        }
    }
    if lacking {
        cx.note("cipher_suites", "suites without forward secrecy or without AEAD are not spoken");
    }
    Ok(chosen)
}

/// Groups in the order asked for.
fn groups(cx: &mut Context, asked: &[String]) -> Result<Vec<NamedGroup>, Rejection> {
    let mut chosen = Vec::new();
    let mut lacking = false;
    for name in asked.iter().flat_map(|name| name.split(':')).map(str::trim).filter(|name| !name.is_empty()) {
        match GROUPS.iter().find(|(ours, nist, _)| name == *ours || name == *nist) {
            Some((_, _, group)) if !chosen.contains(group) => chosen.push(*group),
            Some(_) => {}
            None if OTHER_GROUPS.contains(&name) => lacking = true,
            None => {
                let reason = format!("Failed to initialize ECDH curves: {name:?} is not known");
                return Err(cx.reject("ecdh_curves", reason));
            }
        }
    }
    if lacking {
        cx.note("ecdh_curves", "X25519MLKEM768, X25519, P-256 and P-384 are spoken, no others");
    }
    Ok(chosen)
}
