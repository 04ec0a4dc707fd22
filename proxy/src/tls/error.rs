//! Why there is no TLS connection, or no more of it.

use std::io;
use std::sync::Arc;

use config::verify::VerifyError;
use config::verify::rustls::take_refusal;
use rustls::{AlertDescription, CertificateError};
use sni::client_hello::{Refusal, ServerName};

/// Why a handshake or an established session failed.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The peer closed the connection before the handshake was over.
    #[error("the peer closed the connection during the handshake")]
    Closed,
    /// The first bytes are no ClientHello.
    #[error("no acceptable ClientHello: {}", .0.as_str())]
    Hello(Refusal),
    /// A server name that Envoy refuses too: several, empty, too long, with a NUL.
    #[error("the ClientHello's server name is refused: {0}")]
    ServerName(&'static str),
    /// A peer's certificate was refused, by `config::verify`.
    #[error("the peer's certificate is refused: {0}")]
    Refused(VerifyError),
    /// A peer's certificate was refused by rustls, for example its signature does not verify.
    #[error("the peer's certificate is refused: {0:?}")]
    Certificate(CertificateError),
    /// The peer must show a certificate and did not.
    #[error("the peer sent no certificate")]
    NoCertificate,
    /// The peer ended the connection by an alert.
    #[error("the peer sent the alert {}", .0.as_str().unwrap_or("unknown"))]
    PeerAlert(AlertDescription),
    /// A message or a record that may not be, or that can't be agreed on.
    #[error("{0}")]
    Protocol(rustls::Error),
    /// A handshake message is larger than anybody needs.
    #[error("a handshake message is larger than {0} bytes")]
    TooLarge(usize),
    /// A record or message that may not come after the handshake.
    #[error("unexpected {0} after the handshake")]
    Unexpected(&'static str),
    /// TLS 1.2 can't change its keys, and these have sealed as many records as they may.
    #[error("the keys of the TLS 1.2 session are used up")]
    Exhausted,
}

impl TlsError {
    /// One word for logs and metric labels.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Io(_) => "io",
            Self::Closed => "closed",
            Self::Hello(_) => "client_hello",
            Self::ServerName(_) => "server_name",
            Self::Refused(_) | Self::Certificate(_) => "certificate_refused",
            Self::NoCertificate => "no_certificate",
            Self::PeerAlert(_) => "peer_alert",
            Self::Protocol(_) => "protocol",
            Self::TooLarge(_) => "too_large",
            Self::Unexpected(_) => "unexpected",
            Self::Exhausted => "exhausted",
        }
    }

    /// The text of `%DOWNSTREAM_TRANSPORT_FAILURE_REASON%` and `%UPSTREAM_TRANSPORT_FAILURE_REASON%`, in our words:
    /// Envoy prints BoringSSL's error queue. Prefixed as there, so that a search for `TLS_error` finds both.
    pub fn reason(&self) -> String {
        format!("TLS_error: {self}")
    }

    /// A name that Envoy refuses.
    pub(super) fn server_name(name: &ServerName<'_>) -> Self {
        Self::ServerName(name.as_str())
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::AlertReceived(alert) => Self::PeerAlert(alert),
            rustls::Error::NoCertificatesPresented => Self::NoCertificate,
            rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
                match Arc::clone(&other.0).downcast_ref::<VerifyError>() {
                    Some(refused) => Self::Refused(refused.clone()),
                    None => Self::Certificate(CertificateError::Other(other)),
                }
            }
            rustls::Error::InvalidCertificate(error) => {
                // The kind made the alert; the words stand beside it.
                take_refusal().map_or(Self::Certificate(error), Self::Refused)
            }
            error => Self::Protocol(error),
        }
    }
}

impl From<TlsError> for io::Error {
    /// The kind alone matters to a relay.
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::Io(error) => error,
            error => Self::new(io::ErrorKind::InvalidData, error.to_string()),
        }
    }
}
