//! A certificate chain with its key.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{SanKind, WatchedFile};
use crate::verify::names;

/// A certificate chain and its key, which is known to belong to the leaf. The key never shows in `Debug`; its only copy is
/// within `certified`, whose library wipes it in the end.
pub struct Identity {
    /// What rustls takes: the chain, leaf first, and the key.
    pub certified: Arc<CertifiedKey>,
    /// The leaf's facts.
    pub facts: Facts,
    /// When the first certificate of the chain expires.
    pub not_after: SystemTime,
    /// Files it was read from.
    pub files: Box<[WatchedFile]>,
}

/// Why certificate and key are no identity. Holds nothing of the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a certificate.
    #[error("certificate {index} of the chain can't be read: {reason}")]
    Certificate {
        /// Counted from 0.
        index: usize,
        /// The parser's words.
        reason: String,
    },
    /// An empty chain.
    #[error("the chain holds no certificate")]
    Empty,
    /// The key is of no known kind, too weak, or damaged.
    #[error("the private key is neither RSA of 2048 bits or more, ECDSA P-256, P-384 or P-521, nor Ed25519")]
    Key,
    /// The key is another's.
    #[error("the private key does not belong to the certificate \"{leaf}\"")]
    Mismatch {
        /// Subject, or the first name.
        leaf: Box<str>,
    },
}

impl Identity {
    /// Checks that they belong together.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn new(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'_>) -> Result<Self, IdentityError> {
        let facts = chain
            .iter()
            .enumerate()
            .map(|(index, der)| Facts::of(der).map_err(|reason| IdentityError::Certificate { index, reason }));
        let facts: Vec<Facts> = facts.collect::<Result<_, _>>()?;
        let not_after = facts.iter().map(|facts| facts.not_after).min().ok_or(IdentityError::Empty)?;
        let leaf = facts.into_iter().next().ok_or(IdentityError::Empty)?;
        let key = any_supported_type(key).map_err(|_| IdentityError::Key)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => {}
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(IdentityError::Mismatch { leaf: leaf.label().into() });
            }
            Err(error) => return Err(IdentityError::Certificate { index: 0, reason: error.to_string() }),
        }
        Ok(Self { certified: Arc::new(certified), facts: leaf, not_after, files: Box::default() })
    }

    /// Leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { certified, facts, not_after: _, files } = self;
        let mut debug = f.debug_struct("Identity");
        debug.field("facts", facts).field("chain", &certified.cert.len()).field("files", files);
        debug.field("key", &"[redacted]").finish()
    }
}

/// What a certificate says of itself, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Distinguished name; empty in SVIDs.
    pub subject: Box<str>,
    /// Lower-case hexadecimal, as Envoy prints it.
    pub serial: Box<str>,
    /// First second.
    pub not_before: SystemTime,
    /// Last second.
    pub not_after: SystemTime,
    /// Subject alternative names.
    pub names: Box<[(SanKind, Box<str>)]>,
}

impl Facts {
    /// Reads them.
    ///
    /// # Errors
    /// It is no certificate: the parser's words.
    pub fn of(der: &[u8]) -> Result<Self, String> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|e| e.to_string())?;
        if !rest.is_empty() {
            return Err("bytes follow the certificate".to_owned());
        }
        let validity = parsed.validity();
        Ok(Self {
            subject: parsed.subject().to_string().into(),
            serial: format!("{:x}", parsed.serial).into(),
            not_before: at(validity.not_before.timestamp()),
            not_after: at(validity.not_after.timestamp()),
            names: names(&parsed).into_iter().map(|(kind, name)| (kind, name.into())).collect(),
        })
    }

    /// The subject, or the first name where there is none.
    pub fn label(&self) -> &str {
        match (&*self.subject, self.names.first()) {
            ("", Some((_, name))) => name,
            (subject, _) => subject,
        }
    }
}

/// Before 1970 nothing was valid.
fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
