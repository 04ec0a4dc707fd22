//! The peer's own certificate.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::error::VerifyError;
use super::{Usage, san};
use crate::model::tls::Pins;

/// How a certificate is named in errors: its subject, or its first name where the subject is empty (as in SVIDs), and
/// its serial number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label(String);

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A parsed leaf.
pub(super) struct Leaf<'a> {
    /// As it came.
    pub(super) der: &'a CertificateDer<'a>,
    /// Parsed.
    pub(super) parsed: X509Certificate<'a>,
}

impl<'a> Leaf<'a> {
    /// Parses it.
    pub(super) fn parse(der: &'a CertificateDer<'a>) -> Result<Self, VerifyError> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|e| VerifyError::Unreadable(e.to_string()))?;
        if !rest.is_empty() {
            return Err(VerifyError::Unreadable("bytes follow the certificate".to_owned()));
        }
        Ok(Self { der, parsed })
    }

    /// Its name in errors.
    pub(super) fn label(&self) -> Label {
        let subject = self.parsed.subject().to_string();
        let name = if subject.is_empty() { san::first(&self.parsed) } else { Some(subject) };
        let serial = self.parsed.raw_serial();
        // RFC 5280 §4.1.2.2 allows 20 bytes; a stranger's may be any.
        let serial: Vec<String> = serial.iter().take(20).map(|byte| format!("{byte:02x}")).collect();
        Label(format!("certificate \"{}\" (serial {})", san::tame(&name.unwrap_or_default()), serial.join(":")))
    }

    /// notBefore ≤ now ≤ notAfter.
    pub(super) fn check_dates(&self, now: UnixTime) -> Result<(), VerifyError> {
        let validity = self.parsed.validity();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now > validity.not_after.timestamp() {
            return Err(VerifyError::Expired { leaf: self.label(), not_after: validity.not_after.to_string() });
        }
        if now < validity.not_before.timestamp() {
            return Err(VerifyError::NotYetValid { leaf: self.label(), not_before: validity.not_before.to_string() });
        }
        Ok(())
    }

    /// Extended key usage, where it says anything, allows this role; key usage allows signing or key exchange.
    pub(super) fn check_usage(&self, usage: Usage) -> Result<(), VerifyError> {
        let refuse = |extension| VerifyError::Usage { leaf: self.label(), usage, extension };
        let bad = |e: x509_parser::error::X509Error| VerifyError::Unreadable(e.to_string());
        if let Some(extended) = self.parsed.extended_key_usage().map_err(bad)? {
            let allowed = extended.value.any
                || match usage {
                    Usage::Server => extended.value.server_auth,
                    Usage::Client => extended.value.client_auth,
                };
            if !allowed {
                return Err(refuse("extended key usage"));
            }
        }
        if let Some(key) = self.parsed.key_usage().map_err(bad)?
            && !(key.value.digital_signature() || key.value.key_agreement() || key.value.key_encipherment())
        {
            return Err(refuse("key usage"));
        }
        Ok(())
    }

    /// It is a leaf as SPIFFE wants it: no CA, and its key signs no certificates (X509-SVID section 5.2).
    pub(super) fn check_svid(&self) -> Result<(), VerifyError> {
        let refuse = |reason| Err(VerifyError::Svid { leaf: self.label(), reason });
        if self.parsed.is_ca() {
            return refuse("it is a CA certificate");
        }
        let usage = self.parsed.key_usage().map_err(|e| VerifyError::Unreadable(e.to_string()))?;
        match usage.is_some_and(|usage| usage.value.key_cert_sign() || usage.value.crl_sign()) {
            true => refuse("its key usage allows to sign certificates or CRLs"),
            false => Ok(()),
        }
    }

    /// The trust domain of its first URI; `None`: it has none.
    pub(super) fn trust_domain(&self) -> Option<&str> {
        let (domain, _path) = san::uri(&self.parsed)?.strip_prefix("spiffe://")?.split_once('/')?;
        Some(domain).filter(|domain| !domain.is_empty())
    }

    /// It is one of those that are pinned.
    pub(super) fn check_pins(&self, pins: &Pins) -> Result<(), VerifyError> {
        let is = |pinned: &[[u8; 32]], bytes: &[u8]| {
            !pinned.is_empty() && pinned.iter().any(|pin| digest(&SHA256, bytes).as_ref() == pin)
        };
        match is(&pins.certificates, self.der) || is(&pins.keys, self.parsed.public_key().raw) {
            true => Ok(()),
            false => Err(VerifyError::Pin { leaf: self.label() }),
        }
    }

    /// One of its names is the one that was dialled.
    pub(super) fn check_server_name(&self, name: &ServerName<'_>) -> Result<(), VerifyError> {
        let entity = webpki::EndEntityCert::try_from(self.der).map_err(|e| VerifyError::Unreadable(e.to_string()))?;
        entity.verify_is_valid_for_subject_name(name).map_err(|_| VerifyError::Name {
            leaf: self.label(),
            wanted: name.to_str().into_owned(),
            found: san::describe(&self.parsed),
        })
    }
}
