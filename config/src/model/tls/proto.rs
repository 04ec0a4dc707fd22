//! From `extensions.transport_sockets.tls.v3`.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

mod peers;

pub(crate) use peers::{regex, string_match, validation};

use std::sync::Arc;

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};
use pb::tls_parameters::TlsProtocol;
use prost::Message as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use xxhash_rust::xxh3::xxh3_128;
use zeroize::Zeroize as _;

use super::{Certificates, DownstreamTls, Identity, Parameters, Resumption, Tickets, ValidationSource};
use crate::model::data_source;
use crate::reject::{Context, Rejection, Unsupported, immaterial};

/// Names that a resource asks of SDS.
pub(crate) type SecretNames = Vec<Arc<str>>;

/// What a TLS context comes to.
pub(crate) enum Converted {
    /// Certificates are there.
    Tls(Arc<DownstreamTls>),
    /// Something in it can't be run.
    Unsupported(Unsupported),
}

/// The secrets that an upstream TLS context refers to. Only the names are of use: the socket itself is not run, so what
/// cannot be decoded names none.
pub(crate) fn upstream_secrets(type_name: &str, body: &[u8], secrets: &mut SecretNames) {
    if type_name == "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext" {
        let context = pb::UpstreamTlsContext::decode(body).unwrap_or_default();
        common_secrets(context.common_tls_context.unwrap_or_default(), secrets);
    }
}

/// The same of a downstream one.
pub(crate) fn downstream_secrets(body: &[u8], secrets: &mut SecretNames) {
    let context = pb::DownstreamTlsContext::decode(body).unwrap_or_default();
    common_secrets(context.common_tls_context.unwrap_or_default(), secrets);
}

fn common_secrets(context: pb::CommonTlsContext, secrets: &mut SecretNames) {
    let validation = match context.validation_context_type {
        Some(ValidationContextType::ValidationContextSdsSecretConfig(config)) => Some(config),
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            combined.validation_context_sds_secret_config
        }
        _ => None,
    };
    let named = context.tls_certificate_sds_secret_configs.into_iter().chain(validation);
    secrets.extend(named.filter(|config| config.sds_config.is_some()).map(|config| config.name.into()));
}

/// Converts the body of a DownstreamTlsContext.
pub(crate) fn downstream(cx: &mut Context, body: &[u8]) -> Result<Converted, Rejection> {
    let pb::DownstreamTlsContext {
        common_tls_context,
        require_client_certificate,
        require_sni,
        disable_stateful_session_resumption,
        session_timeout,
        ocsp_staple_policy,
        full_scan_certs_on_sni_mismatch,
        prefer_client_ciphers,
        session_ticket_keys_type,
    } = cx.decode(body)?;
    immaterial(disable_stateful_session_resumption, "no session is resumed");
    immaterial(session_timeout, "no session is resumed");
    immaterial(session_ticket_keys_type, "no session is resumed");
    immaterial(full_scan_certs_on_sni_mismatch, "certificates are chosen by key type, not by name");
    immaterial(prefer_client_ciphers, "every cipher suite offered is strong");
    cx.ignore("require_sni", &require_sni.filter(|f| f.value), "a client without SNI is served");
    cx.ignore("ocsp_staple_policy", &ocsp_staple_policy, "no OCSP response is stapled");
    cx.at("common_tls_context", |cx| {
        let common = common_tls_context.unwrap_or_default();
        self::common(cx, common, require_client_certificate.is_some_and(|f| f.value), xxh3_128(body))
    })
}

fn common(cx: &mut Context, common: pb::CommonTlsContext, require: bool, id: u128) -> Result<Converted, Rejection> {
    let pb::CommonTlsContext {
        tls_params,
        tls_certificates,
        tls_certificate_sds_secret_configs,
        tls_certificate_provider_instance,
        custom_tls_certificate_selector,
        tls_certificate_certificate_provider,
        tls_certificate_certificate_provider_instance,
        alpn_protocols,
        custom_handshaker,
        key_log,
        validation_context_type,
    } = common;
    let refused = [
        ("tls_certificate_sds_secret_configs", !tls_certificate_sds_secret_configs.is_empty()),
        ("tls_certificate_provider_instance", tls_certificate_provider_instance.is_some()),
        ("custom_tls_certificate_selector", custom_tls_certificate_selector.is_some()),
        ("tls_certificate_certificate_provider", tls_certificate_certificate_provider.is_some()),
        ("tls_certificate_certificate_provider_instance", tls_certificate_certificate_provider_instance.is_some()),
        ("custom_handshaker", custom_handshaker.is_some()),
    ];
    if let Some((field, _)) = refused.into_iter().find(|(_, set)| *set) {
        return Ok(Converted::Unsupported(cx.unsupported(field, field)));
    }
    cx.ignore("key_log", &key_log, "session keys are never written");
    if tls_certificates.is_empty() {
        return Err(cx.reject("tls_certificates", "no TLS certificates found for server context"));
    }
    let certificates = cx.each("tls_certificates", tls_certificates, identity)?;
    let (tls12, tls13) = cx.at("tls_params", |cx| versions(cx, tls_params.unwrap_or_default()))?;
    if !tls12 && !tls13 {
        return Ok(Converted::Unsupported(cx.unsupported("tls_params", "TLS older than 1.2")));
    }
    let validation = match validation_context_type {
        None => None,
        Some(ValidationContextType::ValidationContext(context)) => {
            cx.at("validation_context", |cx| validation(cx, context))?
        }
        Some(ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext { .. })) => {
            let field = "combined_validation_context";
            return Ok(Converted::Unsupported(cx.unsupported(field, field)));
        }
        Some(_) => return Ok(Converted::Unsupported(cx.unsupported("validation_context_type", "secret from SDS"))),
    };
    let validation = match validation {
        None => None,
        Some(Ok(validation)) => Some(Arc::new(validation)),
        Some(Err(unsupported)) => return Ok(Converted::Unsupported(unsupported)),
    };
    Ok(Converted::Tls(Arc::new(DownstreamTls {
        certificates: Certificates::Inline(certificates),
        validation: validation.map(ValidationSource::Inline),
        require_client_certificate: require,
        require_sni: false,
        alpn: alpn_protocols.into_iter().map(|p| p.into_bytes().into()).collect(),
        parameters: Parameters { tls12, tls13, ..Parameters::default() },
        resumption: Resumption { tickets: Tickets::Own, stateful: true, lifetime: None },
        id,
    })))
}

/// Whether TLS 1.2 and TLS 1.3 are allowed. Servers' defaults in Envoy are 1.2 to 1.3.
fn versions(cx: &mut Context, params: pb::TlsParameters) -> Result<(bool, bool), Rejection> {
    let pb::TlsParameters {
        tls_minimum_protocol_version,
        tls_maximum_protocol_version,
        cipher_suites,
        ecdh_curves,
        signature_algorithms,
        compliance_policies,
    } = params;
    cx.ignore("cipher_suites", &cipher_suites, "rustls' own suites are used, all of them strong");
    cx.ignore("ecdh_curves", &ecdh_curves, "rustls' own groups are used");
    cx.ignore("signature_algorithms", &signature_algorithms, "rustls' own algorithms are used");
    cx.ignore("compliance_policies", &compliance_policies, "no policy is enforced");
    let least: TlsProtocol = cx.variant("tls_minimum_protocol_version", tls_minimum_protocol_version)?;
    let most: TlsProtocol = cx.variant("tls_maximum_protocol_version", tls_maximum_protocol_version)?;
    if matches!(least, TlsProtocol::TlSv10 | TlsProtocol::TlSv11) {
        cx.note("tls_minimum_protocol_version", "nothing older than TLS 1.2 is spoken");
    }
    let tls12 = least != TlsProtocol::TlSv13
        && matches!(most, TlsProtocol::TlsAuto | TlsProtocol::TlSv12 | TlsProtocol::TlSv13);
    let tls13 = matches!(most, TlsProtocol::TlsAuto | TlsProtocol::TlSv13);
    Ok((tls12, tls13))
}

pub(crate) fn identity(cx: &mut Context, certificate: pb::TlsCertificate) -> Result<Arc<Identity>, Rejection> {
    let pb::TlsCertificate {
        certificate_chain,
        private_key,
        pkcs12,
        watched_directory,
        private_key_provider,
        password,
        ocsp_staple,
        signed_certificate_timestamp,
        tls_params,
    } = certificate;
    for (field, set) in [
        ("pkcs12", pkcs12.is_some()),
        ("private_key_provider", private_key_provider.is_some()),
        ("password", password.is_some()),
    ] {
        if set {
            return Err(cx.reject(field, "only unencrypted PEM in certificate_chain and private_key is supported"));
        }
    }
    cx.ignore("watched_directory", &watched_directory, "the files are read once");
    cx.ignore("ocsp_staple", &ocsp_staple, "no OCSP response is stapled");
    cx.ignore("signed_certificate_timestamp", &signed_certificate_timestamp, "no timestamps are sent");
    cx.ignore("tls_params", &tls_params, "the context's parameters are used");
    let chain = cx.required("certificate_chain", certificate_chain)?;
    let chain = cx.at("certificate_chain", |cx| {
        let pem = data_source::read(cx, chain)?;
        certificates(cx, &pem)
    })?;
    let key = cx.required("private_key", private_key)?;
    let key = cx.at("private_key", |cx| {
        let pem = data_source::read(cx, key)?;
        // The parser's own words may hold pieces of the key.
        PrivateKeyDer::from_pem_slice(&pem).map_err(|_| cx.reject("", "holds no private key in PEM form"))
    });
    let mut key = key?;
    let identity = Identity::new(chain, &key);
    key.zeroize();
    identity.map(Arc::new).map_err(|e| cx.reject("", e.to_string()))
}

fn certificates(cx: &Context, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Rejection> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|e| cx.reject("", format!("is not PEM: {e}")))?;
    for certificate in &found {
        x509_parser::parse_x509_certificate(certificate)
            .map_err(|e| cx.reject("", format!("is not a certificate: {e}")))?;
    }
    match found.is_empty() {
        true => Err(cx.reject("", "holds no certificate in PEM form")),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests;
