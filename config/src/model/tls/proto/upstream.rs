//! From `UpstreamTlsContext`.

use std::sync::Arc;

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use xxhash_rust::xxh3::xxh3_128;

use super::Fault;
use super::common::{Common, common};
use crate::model::metadata::proto::Interner;
use crate::model::tls::{Trusted, UpstreamTls, ValidationSource};
use crate::reject::{Context, immaterial};

/// Envoy's default `max_session_keys`.
const SESSION_KEYS: u32 = 1;

/// Converts the body of an UpstreamTlsContext.
pub(crate) fn upstream(cx: &mut Context, interner: &mut Interner, body: &[u8]) -> Result<Arc<UpstreamTls>, Fault> {
    let pb::UpstreamTlsContext {
        common_tls_context,
        sni,
        auto_host_sni,
        auto_sni_san_validation,
        allow_renegotiation,
        max_session_keys,
        enforce_rsa_key_usage,
    } = cx.decode(body)?;
    immaterial(allow_renegotiation, "nothing here renegotiates, nor does TLS 1.3");
    immaterial(enforce_rsa_key_usage, "key usage is always looked at");
    if sni.len() > 255 {
        return Err(cx.reject("sni", "value length must be at most 255 bytes").into());
    }
    if sni.contains('\0') {
        return Err(cx.reject("sni", "SNI names containing NULL-byte are not allowed").into());
    }
    let common = cx.at("common_tls_context", |cx| {
        let common = common(cx, interner, common_tls_context.unwrap_or_default())?;
        match common.certificates() {
            0 | 1 => Ok(common),
            _ => {
                let reason = "Multiple TLS certificates are not supported for client contexts";
                Err(Fault::from(cx.reject("tls_certificates", reason)))
            }
        }
    })?;
    let Common { certificates, validation, alpn, parameters } = common;
    let anyone = match &validation {
        None => true,
        Some(ValidationSource::Inline(validation)) => matches!(validation.trusted, Trusted::Anyone),
        Some(ValidationSource::Sds { .. }) => false,
    };
    if auto_sni_san_validation && anyone {
        let reason = "'auto_sni_san_validation' was configured without configuring a trusted CA";
        return Err(cx.reject("auto_sni_san_validation", reason).into());
    }
    Ok(Arc::new(UpstreamTls {
        certificates,
        validation,
        sni: (!sni.is_empty()).then(|| interner.string(&sni)),
        auto_host_sni,
        auto_sni_san_validation,
        alpn,
        parameters,
        max_session_keys: max_session_keys.map_or(SESSION_KEYS, |w| w.value),
        id: xxh3_128(body),
    }))
}
