//! Bundles of trusted certificates: PEM to [`Trust`], one copy of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use webpki::{CertRevocationList, OwnedCertRevocationList};
use xxhash_rust::xxh3::xxh3_128;

use crate::reject::{Context, Rejection};
use crate::verify::Trust;

/// One copy of equal bundles, by the xxh3-128 of their PEM: the system's is large, and many clusters have it. Clones share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trusts(Arc<Mutex<HashMap<u128, Weak<Trust>>>>);

impl Trusts {
    /// The bundle that a PEM text holds.
    ///
    /// # Errors
    /// It holds no certificate, or one alone that can't be read.
    pub(crate) fn trust(&self, cx: &mut Context, pem: &[u8]) -> Result<Arc<Trust>, Rejection> {
        let id = xxh3_128(pem);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trust) = known.get(&id).and_then(Weak::upgrade) {
            return Ok(trust);
        }
        let trust = Arc::new(parse(cx, pem)?);
        known.retain(|_, trust| trust.strong_count() > 0);
        known.insert(id, Arc::downgrade(&trust));
        Ok(trust)
    }
}

fn parse(cx: &mut Context, pem: &[u8]) -> Result<Trust, Rejection> {
    let mut found = certificates(cx, pem)?;
    if found.len() > 1 {
        // A large bundle may hold what is no use as an anchor; nobody is trusted by it.
        let all = found.len();
        found.retain(|der| Trust::new(std::slice::from_ref(der)).is_ok());
        if found.len() < all {
            cx.note("", "a certificate in it can't be read and is left out");
        }
    }
    let trust = Trust::new(&found).map_err(|e| cx.reject("", e.to_string()))?;
    Ok(trust.with_crls(crls(cx, pem)?))
}

/// The certificates of a PEM text, one at least.
pub(super) fn certificates(cx: &Context, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Rejection> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|e| cx.reject("", format!("is not PEM: {e}")))?;
    match found.is_empty() {
        true => Err(cx.reject("", "holds no certificate in PEM form")),
        false => Ok(found),
    }
}

/// The revocation lists of a PEM text, perhaps none.
pub(super) fn crls(cx: &Context, pem: &[u8]) -> Result<Box<[CertRevocationList<'static>]>, Rejection> {
    let lists = CertificateRevocationListDer::pem_slice_iter(pem).map(|der| {
        let der = der.map_err(|e| cx.reject("", format!("is not PEM: {e}")))?;
        let list = OwnedCertRevocationList::from_der(&der);
        list.map(CertRevocationList::Owned).map_err(|e| cx.reject("", format!("holds an unreadable CRL: {e}")))
    });
    lists.collect()
}
