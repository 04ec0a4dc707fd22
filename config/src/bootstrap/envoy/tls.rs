//! TLS towards the control plane, from Envoy's `UpstreamTlsContext` or gRPC's `SslCredentials`.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

use std::sync::Arc;

use core::grpc_service::google_grpc::SslCredentials;
use core::transport_socket::ConfigType;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::common_tls_context::ValidationContextType;
use pb::secret::Type as SecretType;
use prost::Message as _;
use rustls_pki_types::ServerName;

use super::statics::Statics;
use crate::model::tls::proto::{Fault, Trusts, identity, parameters, validation};
use crate::model::tls::{Identity, Trusted, Validation};
use crate::reject::{Context, Rejection, immaterial};
use crate::verify::rustls::{ClientTls, Expect, client_config};
use crate::xds::target::{Peer, Tls};

/// gRPC is spoken over HTTP/2 alone.
const ALPN: &[&[u8]] = &[b"h2"];

/// A cluster's transport socket; `None`: plain text.
pub(super) fn socket(
    cx: &mut Context,
    socket: core::TransportSocket,
    statics: &Statics,
    peers: &[Peer],
) -> Result<Option<Tls>, Rejection> {
    let core::TransportSocket { name, config_type } = socket;
    let Some(ConfigType::TypedConfig(any)) = config_type else {
        return Err(cx.reject("typed_config", "value is required"));
    };
    immaterial(name, "the type decides");
    cx.at("typed_config", |cx| match any.type_url.rsplit('.').next() {
        Some("RawBuffer") => Ok(None),
        Some("UpstreamTlsContext") => {
            let context = cx.decode(&any.value)?;
            upstream(cx, context, statics, peers).map(Some)
        }
        _ => Err(cx.reject("", format!("{} is not supported towards the control plane", any.type_url))),
    })
}

fn upstream(
    cx: &mut Context,
    context: pb::UpstreamTlsContext,
    statics: &Statics,
    peers: &[Peer],
) -> Result<Tls, Rejection> {
    let pb::UpstreamTlsContext {
        common_tls_context,
        sni,
        auto_host_sni,
        auto_sni_san_validation,
        allow_renegotiation,
        max_session_keys,
        enforce_rsa_key_usage,
    } = context;
    immaterial(allow_renegotiation, "rustls never renegotiates");
    immaterial(max_session_keys, "sessions are resumed as rustls does");
    immaterial(enforce_rsa_key_usage, "key usage is always looked at");
    let host = match peers.first() {
        Some(Peer::Name(host, _)) if auto_host_sni => host.to_string(),
        Some(Peer::Address(address)) if sni.is_empty() => address.ip().to_string(),
        Some(Peer::Name(host, _)) if sni.is_empty() => host.to_string(),
        _ if sni.is_empty() => "localhost".to_owned(),
        _ => sni,
    };
    let expect = if auto_sni_san_validation { Expect::Dialled } else { Expect::Configured };
    cx.at("common_tls_context", |cx| common(cx, common_tls_context.unwrap_or_default(), statics, (host, expect)))
}

fn common(
    cx: &mut Context,
    context: pb::CommonTlsContext,
    statics: &Statics,
    (host, expect): (String, Expect),
) -> Result<Tls, Rejection> {
    let pb::CommonTlsContext {
        tls_params,
        tls_certificates,
        tls_certificate_sds_secret_configs,
        alpn_protocols,
        validation_context_type,
        key_log,
        ..
    } = context;
    immaterial(alpn_protocols, "h2, since gRPC is spoken");
    cx.ignore("key_log", &key_log, "session keys are never written");
    let identities = cx.each("tls_certificates", tls_certificates, identity).map_err(Fault::rejection)?;
    let mut identities = identities.into_vec();
    for config in tls_certificate_sds_secret_configs {
        let Some(SecretType::TlsCertificate(certificate)) = static_secret(cx, &config, statics)? else {
            return Err(cx.reject("tls_certificate_sds_secret_configs", format!("{} is no certificate", config.name)));
        };
        identities.push(identity(cx, certificate).map_err(Fault::rejection)?);
    }
    let context = validation_context(cx, validation_context_type, statics)?;
    let validation = context.map(|c| cx.at("validation_context", |cx| validated(cx, c))).transpose()?.flatten();
    if validation.is_none() {
        cx.note("validation_context", "no trusted_ca is set: the control plane's certificate is not verified");
    }
    let parameters = cx.at("tls_params", |cx| parameters(cx, tls_params.unwrap_or_default()));
    let parameters = parameters.map_err(Fault::rejection)?;
    for (field, set) in
        [("cipher_suites", parameters.cipher_suites.is_some()), ("ecdh_curves", parameters.groups.is_some())]
    {
        if set {
            cx.note(field, "towards the control plane, all that rustls has is offered");
        }
    }
    let versions = (parameters.tls12, parameters.tls13);
    make(
        cx,
        host,
        ClientTls {
            validation: validation.map(Arc::new),
            expect,
            identity: identities.first().map(|i| &**i),
            alpn: ALPN,
            versions,
        },
    )
}

/// Like gRPC: the name that is dialled must stand in the certificate.
pub(super) fn ssl(cx: &mut Context, ssl: SslCredentials, host: &str) -> Result<Tls, Rejection> {
    let SslCredentials { root_certs, private_key, cert_chain } = ssl;
    let context = pb::CertificateValidationContext { trusted_ca: root_certs, ..Default::default() };
    let validation = cx.at("root_certs", |cx| validated(cx, context))?;
    let Some(validation) = validation else {
        return Err(cx.reject("root_certs", "the system's roots are not used here; give the control plane's CA"));
    };
    let pair: Option<Arc<Identity>> = match (private_key, cert_chain) {
        (None, None) => None,
        (private_key, certificate_chain) => {
            let pair = pb::TlsCertificate { private_key, certificate_chain, ..Default::default() };
            Some(identity(cx, pair).map_err(Fault::rejection)?)
        }
    };
    let (expect, versions) = (Expect::Dialled, (true, true));
    make(
        cx,
        host.to_owned(),
        ClientTls { validation: Some(validation.into()), expect, identity: pair.as_deref(), alpn: ALPN, versions },
    )
}

fn make(cx: &Context, host: String, tls: ClientTls<'_>) -> Result<Tls, Rejection> {
    let name = ServerName::try_from(host.clone());
    let name = name.map_err(|_| cx.reject("sni", format!("{host:?} is neither a DNS name nor an IP address")))?;
    let config = client_config(tls).map_err(|e| cx.reject("", e.to_string()))?;
    Ok(Tls { config, name })
}

/// `None`: nothing is verified by it.
fn validated(cx: &mut Context, context: pb::CertificateValidationContext) -> Result<Option<Validation>, Rejection> {
    let validation = validation(cx, &Trusts::default(), context).map_err(Fault::rejection)?;
    Ok(Some(validation).filter(|v| !matches!(v.trusted, Trusted::Anyone) || !v.pins.is_empty()))
}

/// Inline, from a static secret, or one merged into the other.
fn validation_context(
    cx: &mut Context,
    kind: Option<ValidationContextType>,
    statics: &Statics,
) -> Result<Option<pb::CertificateValidationContext>, Rejection> {
    let from_secret = |cx: &mut Context, config: &pb::SdsSecretConfig| match static_secret(cx, config, statics)? {
        Some(SecretType::ValidationContext(context)) => Ok(context),
        _ => {
            Err(cx.reject("validation_context_sds_secret_config", format!("{} is no validation context", config.name)))
        }
    };
    match kind {
        None => Ok(None),
        Some(ValidationContextType::ValidationContext(context)) => Ok(Some(context)),
        Some(ValidationContextType::ValidationContextSdsSecretConfig(config)) => from_secret(cx, &config).map(Some),
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            let mut merged = combined.default_validation_context.unwrap_or_default();
            if let Some(config) = combined.validation_context_sds_secret_config {
                let secret = from_secret(cx, &config)?.encode_to_vec();
                merged.merge(secret.as_slice()).map_err(|e| cx.reject("", e.to_string()))?;
            }
            Ok(Some(merged))
        }
        Some(_) => Err(cx.reject("validation_context_type", "certificate providers are not supported")),
    }
}

/// Before the control plane is reached, only secrets of the bootstrap itself are there.
fn static_secret(
    cx: &Context,
    config: &pb::SdsSecretConfig,
    statics: &Statics,
) -> Result<Option<SecretType>, Rejection> {
    match statics.secret(&config.name) {
        Some(secret) => Ok(secret.r#type),
        None => Err(cx.reject("sds_secret_config", format!("there is no static secret {}", config.name))),
    }
}
