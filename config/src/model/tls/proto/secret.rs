//! From `Secret`.

use std::sync::Arc;

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::secret::Type;
use zeroize::Zeroizing;

use super::{Trusts, certificate, validation};
use crate::model::data_source::{MAX_BUNDLE, watched};
use crate::model::tls::{Secret, TicketKeys};
use crate::reject::{Context, Rejection, immaterial};

/// Converts an encoded secret; also its name.
///
/// # Errors
/// What Envoy refuses too, and what can't be used here: nothing of a key is told.
pub(crate) fn secret(cx: &mut Context, trusts: &Trusts, body: &[u8]) -> Result<(Box<str>, Secret), Rejection> {
    let pb::Secret { name, r#type } = cx.decode(body)?;
    let secret = match cx.required("type", r#type)? {
        Type::TlsCertificate(certificate) => {
            let identity = cx.at("tls_certificate", |cx| certificate::identity(cx, certificate));
            Secret::Certificate(identity.map_err(super::Fault::rejection)?)
        }
        Type::ValidationContext(context) => {
            let partial = cx.at("validation_context", |cx| validation::partial(cx, trusts, context))?;
            Secret::Validation(Arc::new(partial))
        }
        Type::SessionTicketKeys(keys) => Secret::TicketKeys(cx.at("session_ticket_keys", |cx| ticket_keys(cx, keys))?),
        Type::GenericSecret(generic) => {
            immaterial(generic, "read by HTTP filters only, none of which run here");
            Secret::Generic
        }
    };
    Ok((name.into(), secret))
}

/// Keys of 80 bytes, one at least.
pub(super) fn ticket_keys(cx: &mut Context, keys: pb::TlsSessionTicketKeys) -> Result<Arc<TicketKeys>, Rejection> {
    let pb::TlsSessionTicketKeys { keys } = keys;
    if keys.is_empty() {
        return Err(cx.reject("keys", "value must contain at least 1 item(s)"));
    }
    let keys = cx.each("keys", keys, |cx, source| {
        let bytes = Zeroizing::new(watched(cx, source, MAX_BUNDLE)?.bytes);
        <[u8; TicketKeys::LENGTH]>::try_from(bytes.as_slice()).map_err(|_| {
            let expected = TicketKeys::LENGTH;
            cx.reject(
                "",
                format!("Incorrect TLS session ticket key length. Length {}, expected {expected}.", bytes.len()),
            )
        })
    })?;
    Ok(Arc::new(TicketKeys::new(keys)))
}
