//! From `TlsCertificate`.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Fault, anchors};
use crate::model::data_source::{MAX_BUNDLE, Watched, watched};
use crate::model::tls::{Identity, WatchedFile};
use crate::reject::{Context, Rejection};

/// Converts a certificate with its key.
pub(crate) fn identity(cx: &mut Context, certificate: pb::TlsCertificate) -> Result<Arc<Identity>, Fault> {
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
            return Err(cx.unsupported(field, field).into());
        }
    }
    cx.ignore("ocsp_staple", &ocsp_staple, "no OCSP response is stapled");
    cx.ignore("signed_certificate_timestamp", &signed_certificate_timestamp, "no timestamps are sent");
    cx.ignore("tls_params", &tls_params, "the context's parameters are used");
    let folder = watched_directory.as_ref();
    let mut files = Vec::new();
    let chain = cx.required("certificate_chain", certificate_chain)?;
    let chain = cx.at("certificate_chain", |cx| {
        let Watched { bytes, file } = watched(cx, chain, MAX_BUNDLE)?;
        files.extend(file.map(|file| watched_file(file, folder)));
        anchors::certificates(cx, &bytes)
    })?;
    let key = cx.required("private_key", private_key)?;
    let mut key = cx.at("private_key", |cx| {
        let Watched { bytes, file } = watched(cx, key, MAX_BUNDLE)?;
        files.extend(file.map(|file| watched_file(file, folder)));
        let pem = Zeroizing::new(bytes);
        // The parser's own words may hold pieces of the key.
        PrivateKeyDer::from_pem_slice(&pem).map_err(|_| cx.reject("", "holds no private key in (unencrypted) PEM form"))
    })?;
    let identity = Identity::new(chain, &key);
    key.zeroize();
    let mut identity = identity.map_err(|e| refusal(cx, &e))?;
    identity.files = files.into();
    Ok(Arc::new(identity))
}

fn refusal(cx: &Context, error: &crate::model::tls::IdentityError) -> Rejection {
    use crate::model::tls::IdentityError as E;
    let field = match error {
        E::Certificate { .. } | E::Empty => "certificate_chain",
        E::Key | E::Mismatch { .. } => "private_key",
    };
    cx.reject(field, error.to_string())
}

/// A file with the folder that announces its changes: its own, or that of the message around it.
pub(super) fn watched_file(
    (path, own): (std::path::PathBuf, Option<std::path::PathBuf>),
    around: Option<&core::WatchedDirectory>,
) -> WatchedFile {
    WatchedFile { path, watched_directory: own.or_else(|| around.map(|folder| (&folder.path).into())) }
}
