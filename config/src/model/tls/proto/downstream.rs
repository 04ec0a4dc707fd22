//! From `DownstreamTlsContext`.

use std::sync::Arc;

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::downstream_tls_context::{OcspStaplePolicy, SessionTicketKeysType};
use xxhash_rust::xxh3::xxh3_128;

use super::common::{Common, common};
use super::{Fault, sds, secret};
use crate::model::metadata::proto::Interner;
use crate::model::tls::{DownstreamTls, Resumption, Tickets};
use crate::reject::{Context, immaterial};

/// Converts the body of a DownstreamTlsContext.
pub(crate) fn downstream(cx: &mut Context, interner: &mut Interner, body: &[u8]) -> Result<Arc<DownstreamTls>, Fault> {
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
    match cx.variant("ocsp_staple_policy", ocsp_staple_policy)? {
        OcspStaplePolicy::LenientStapling => immaterial(ocsp_staple_policy, "a certificate goes without as well"),
        OcspStaplePolicy::StrictStapling => {
            cx.note("ocsp_staple_policy", "no OCSP response is stapled, so none that has expired either");
        }
        OcspStaplePolicy::MustStaple => {
            return Err(cx.unsupported("ocsp_staple_policy", "ocsp_staple_policy MUST_STAPLE").into());
        }
    }
    let lifetime = cx.duration("session_timeout", session_timeout)?;
    let tickets = tickets(cx, interner, session_ticket_keys_type)?;
    let common = cx.at("common_tls_context", |cx| {
        let common = common(cx, interner, common_tls_context.unwrap_or_default())?;
        match common.certificates() {
            0 => Err(Fault::from(cx.reject("tls_certificates", "No TLS certificates found for server context"))),
            _ => Ok(common),
        }
    })?;
    let Common { certificates, validation, alpn, parameters } = common;
    Ok(Arc::new(DownstreamTls {
        certificates,
        validation,
        require_client_certificate: require_client_certificate.is_some_and(|f| f.value),
        require_sni: require_sni.is_some_and(|f| f.value),
        alpn,
        parameters,
        resumption: Resumption { tickets, stateful: !disable_stateful_session_resumption, lifetime },
        prefer_client_ciphers,
        full_scan_certs_on_sni_mismatch: full_scan_certs_on_sni_mismatch.is_some_and(|f| f.value),
        id: xxh3_128(body),
    }))
}

fn tickets(cx: &mut Context, interner: &mut Interner, kind: Option<SessionTicketKeysType>) -> Result<Tickets, Fault> {
    match kind {
        None | Some(SessionTicketKeysType::DisableStatelessSessionResumption(false)) => Ok(Tickets::Own),
        Some(SessionTicketKeysType::DisableStatelessSessionResumption(true)) => Ok(Tickets::Off),
        Some(SessionTicketKeysType::SessionTicketKeys(keys)) => {
            Ok(Tickets::Keys(cx.at("session_ticket_keys", |cx| secret::ticket_keys(cx, keys))?))
        }
        Some(SessionTicketKeysType::SessionTicketKeysSdsSecretConfig(config)) => {
            let field = "session_ticket_keys_sds_secret_config";
            Ok(Tickets::Sds(cx.at(field, |cx| sds::reference(cx, interner, config))?))
        }
    }
}
