//! The checks of this module as rustls' verifiers, and client configurations made of them. TLS 1.2 and 1.3 only.

use std::cell::Cell;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Distrust, Names, Presented, Usage, VerifyError, verify};
use crate::model::tls::{Identity, Validation};

/// How a server's name is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// As Envoy does: by `match_typed_subject_alt_names` alone; the name that is dialled says nothing.
    Configured,
    /// As browsers do: the certificate must carry the name that is dialled.
    Dialled,
}

/// Our cryptography: aws-lc.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Verifies servers; without a validation, everybody is trusted.
pub fn server_verifier(validation: Option<Arc<Validation>>, expect: Expect) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Verifier::new(validation, expect, Words::Aside))
}

/// Verifies clients; without `required`, one that has no certificate is let through.
/// Where there is no validation, any certificate is taken, as in Envoy.
pub fn client_verifier(validation: Option<Arc<Validation>>, required: bool) -> Arc<dyn ClientCertVerifier> {
    let told = validation.iter().filter(|v| !v.hide_authorities);
    let subjects = told.flat_map(|v| v.trusts()).flat_map(|trust| trust.subjects());
    let subjects = subjects.map(DistinguishedName::in_sequence).collect();
    let required = required || validation.as_ref().is_some_and(|v| v.demands_certificate());
    Arc::new(Client { inner: Verifier::new(validation, Expect::Configured, Words::Aside), subjects, required })
}

/// What a client wants of TLS.
#[derive(Clone, Debug)]
pub struct ClientTls<'a> {
    /// Whom to trust; `None` trusts everybody (`--skip-verify`).
    pub validation: Option<Arc<Validation>>,
    /// How the server's name is judged.
    pub expect: Expect,
    /// Our own certificate.
    pub identity: Option<&'a Identity>,
    /// In order of preference.
    pub alpn: &'a [&'a [u8]],
    /// Whether TLS 1.2 and TLS 1.3 may be spoken.
    pub versions: (bool, bool),
}

/// A client configuration that trusts nobody it should not.
///
/// # Errors
/// No version of TLS.
pub fn client_config(tls: ClientTls<'_>) -> Result<Arc<ClientConfig>, ConfigError> {
    let verifier = Arc::new(Verifier::new(tls.validation, tls.expect, Words::InError));
    let versions: Vec<_> = [(tls.versions.0, &rustls::version::TLS12), (tls.versions.1, &rustls::version::TLS13)]
        .into_iter()
        .filter_map(|(allowed, version)| allowed.then_some(version))
        .collect();
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&versions)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match tls.identity {
        Some(identity) => {
            let only = SingleCertAndKey::from(Arc::clone(&identity.certified));
            builder.with_client_cert_resolver(Arc::new(only))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = tls.alpn.iter().map(|p| p.to_vec()).collect();
    Ok(Arc::new(config))
}

/// Why there is no client configuration.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConfigError {
    /// rustls' own words.
    #[error("TLS is not usable: {0}")]
    Rustls(#[from] Error),
}

#[derive(Debug)]
struct Verifier {
    /// `None`: everybody is trusted.
    validation: Option<Arc<Validation>>,
    expect: Expect,
    words: Words,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(validation: Option<Arc<Validation>>, expect: Expect, words: Words) -> Self {
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        Self { validation, expect, words, algorithms }
    }

    fn check(&self, (leaf, rest): Chain<'_>, usage: Usage, names: Names<'_>, now: UnixTime) -> Result<(), Error> {
        let Some(validation) = &self.validation else { return Ok(()) };
        let presented = Presented { leaf, intermediates: rest };
        if self.words == Words::Aside {
            REFUSAL.set(None);
        }
        verify(validation, presented, usage, names, now).map_err(|error| refusal(error, self.words))
    }
}

/// Leaf and the rest, as rustls gives them.
type Chain<'a> = (&'a CertificateDer<'a>, &'a [CertificateDer<'a>]);

/// Where the words of a refusal go. rustls makes the alert of the kind of error, and only the kind whose alert is
/// `certificate_unknown` has room for words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    /// Into the error: for those who only see that.
    InError,
    /// Beside it, for [`take_refusal`], so that the alert fits.
    Aside,
}

thread_local! {
    /// rustls calls a verifier within the call that drives the handshake.
    static REFUSAL: Cell<Option<VerifyError>> = const { Cell::new(None) };
}

/// Why a verifier of [`server_verifier`] or [`client_verifier`] refused a peer, if the last one that ran on this thread
/// did: to be asked right after the call to rustls that failed with [`Error::InvalidCertificate`].
pub fn take_refusal() -> Option<VerifyError> {
    REFUSAL.take()
}

/// Keeps our words, and lets rustls send the alert that fits, as BoringSSL does (`SSL_alert_from_verify_result`); for
/// names, pins and trust domains that is `certificate_unknown`, as in Envoy.
fn refusal(error: VerifyError, words: Words) -> Error {
    let kind = match (&error, words) {
        (VerifyError::NoCertificate, _) => return Error::NoCertificatesPresented,
        (_, Words::InError) => None,
        (VerifyError::Unreadable(_), _) => Some(CertificateError::BadEncoding),
        (VerifyError::Expired { .. }, _) => Some(CertificateError::Expired),
        (VerifyError::NotYetValid { .. }, _) => Some(CertificateError::NotValidYet),
        (VerifyError::Usage { .. }, _) => Some(CertificateError::InvalidPurpose),
        (VerifyError::NotTrusted { why, .. }, _) => match why {
            Distrust::Issuer => Some(CertificateError::UnknownIssuer),
            Distrust::Expired => Some(CertificateError::Expired),
            Distrust::Revoked => Some(CertificateError::Revoked),
            Distrust::Other => None,
        },
        (
            VerifyError::Svid { .. }
            | VerifyError::TrustDomain { .. }
            | VerifyError::Pin { .. }
            | VerifyError::Name { .. }
            | VerifyError::Trust(_),
            _,
        ) => None,
    };
    if words == Words::Aside {
        REFUSAL.set(Some(error.clone()));
    }
    Error::InvalidCertificate(kind.unwrap_or_else(|| CertificateError::Other(OtherError(Arc::new(error)))))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let names = match self.expect {
            Expect::Configured => Names::Configured,
            Expect::Dialled => Names::Server(name),
        };
        self.check((leaf, intermediates), Usage::Server, names, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[derive(Debug)]
struct Client {
    inner: Verifier,
    subjects: Vec<DistinguishedName>,
    required: bool,
}

impl ClientCertVerifier for Client {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.inner
            .check((leaf, intermediates), Usage::Client, Names::Configured, now)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.inner.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.inner.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.algorithms.supported_schemes()
    }
}
