//! What TLS says after a handshake.

use rustls::{AlertDescription, InvalidMessage, PeerMisbehaved};

use super::{Kernel, Records};
use crate::tls::error::TlsError;

const HEADER: usize = 4;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE_TYPE: u8 = 24;
/// A KeyUpdate that asks for none in return (RFC 8446 §4.6.3).
pub(super) const KEY_UPDATE: [u8; 5] = [KEY_UPDATE_TYPE, 0, 0, 1, 0];
/// Most that a message after the handshake may take: tickets are far smaller.
const MAX_MESSAGE: usize = 1 << 16;
/// Key updates in a row without a byte of application data, as in rustls.
const MAX_UPDATES: u8 = 32;
/// Warnings of one TLS 1.2 session, as in rustls.
const MAX_WARNINGS: u8 = 4;
const WARNING: u8 = 1;

impl Records {
    /// Takes the content of a handshake record.
    pub(super) fn post_handshake(&mut self, content: &[u8]) -> Result<(), TlsError> {
        if !self.kernel.is_tls13() {
            // As BoringSSL, whose answer is the same alert, fatal.
            return Err(TlsError::Unexpected("renegotiation"));
        }
        if content.is_empty() {
            return Err(TlsError::Unexpected("empty handshake record"));
        }
        if self.joining.is_empty() {
            let used = self.messages(content)?;
            self.joining.extend_from_slice(&content[used..]);
        } else {
            let mut joined = std::mem::take(&mut self.joining);
            joined.extend_from_slice(content);
            let used = self.messages(&joined)?;
            joined.drain(..used);
            self.joining = if joined.is_empty() { Vec::new() } else { joined };
        }
        if self.joining.len() > MAX_MESSAGE {
            return Err(TlsError::TooLarge(MAX_MESSAGE));
        }
        Ok(())
    }

    /// Takes whole messages off the front; how many bytes they were.
    fn messages(&mut self, bytes: &[u8]) -> Result<usize, TlsError> {
        let mut at = 0;
        while let Some(&[kind, a, b, c]) = bytes[at..].first_chunk::<HEADER>() {
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            let body = at + HEADER;
            let Some(message) = bytes.get(body..body + length) else { break };
            at = body + length;
            match kind {
                NEW_SESSION_TICKET => self.ticket(message)?,
                // New keys start with a new record (RFC 8446 §5.1).
                KEY_UPDATE_TYPE if at < bytes.len() => return Err(TlsError::Unexpected("message behind a key update")),
                KEY_UPDATE_TYPE => self.key_update(message)?,
                _ => return Err(TlsError::Unexpected("handshake message")),
            }
        }
        Ok(at)
    }

    fn ticket(&mut self, message: &[u8]) -> Result<(), TlsError> {
        match &mut self.kernel {
            Kernel::Server(_) => Err(TlsError::Unexpected("session ticket")),
            Kernel::Client { resumable: false, .. } => Ok(()),
            Kernel::Client { kernel, .. } => Ok(kernel.handle_new_session_ticket(message)?),
        }
    }

    fn key_update(&mut self, message: &[u8]) -> Result<(), TlsError> {
        let wants_ours = match message {
            [0] => false,
            [1] => true,
            _ => return Err(TlsError::Protocol(InvalidMessage::InvalidKeyUpdate.into())),
        };
        self.updates += 1;
        if self.updates > MAX_UPDATES {
            return Err(TlsError::Protocol(PeerMisbehaved::TooManyKeyUpdateRequests.into()));
        }
        let secrets = self.kernel.update_rx()?;
        self.rx = super::Opener::new(self.kernel.suite(), secrets)?;
        self.owes_update |= wants_ours;
        Ok(())
    }

    /// Takes the content of an alert record.
    pub(super) fn alerted(&mut self, content: &[u8]) -> Result<(), TlsError> {
        let &[level, description] = content else { return Err(TlsError::Unexpected("alert of another length")) };
        let tls13 = self.kernel.is_tls13();
        match AlertDescription::from(description) {
            AlertDescription::CloseNotify => self.peer_closed = true,
            AlertDescription::UserCanceled if tls13 => self.warn()?,
            _ if !tls13 && level == WARNING => self.warn()?,
            description => return Err(TlsError::PeerAlert(description)),
        }
        Ok(())
    }

    fn warn(&mut self) -> Result<(), TlsError> {
        self.warnings += 1;
        if self.warnings > MAX_WARNINGS {
            return Err(TlsError::Protocol(PeerMisbehaved::TooManyWarningAlertsReceived.into()));
        }
        Ok(())
    }
}

/// The alert for an error of the peer's (RFC 8446 §6.2).
pub(super) fn description(error: &TlsError) -> Option<AlertDescription> {
    match error {
        TlsError::Io(_) | TlsError::Closed | TlsError::PeerAlert(_) => None,
        TlsError::Unexpected("renegotiation") => Some(AlertDescription::NoRenegotiation),
        TlsError::Unexpected(_) => Some(AlertDescription::UnexpectedMessage),
        TlsError::Protocol(rustls::Error::DecryptError) => Some(AlertDescription::BadRecordMac),
        TlsError::Protocol(rustls::Error::PeerSentOversizedRecord) => Some(AlertDescription::RecordOverflow),
        TlsError::Protocol(rustls::Error::InvalidMessage(_)) | TlsError::Hello(_) => {
            Some(AlertDescription::DecodeError)
        }
        TlsError::Protocol(rustls::Error::PeerMisbehaved(_)) => Some(AlertDescription::UnexpectedMessage),
        TlsError::TooLarge(_) | TlsError::ServerName(_) => Some(AlertDescription::IllegalParameter),
        TlsError::Refused(_) | TlsError::Certificate(_) => Some(AlertDescription::BadCertificate),
        TlsError::NoCertificate => Some(AlertDescription::CertificateRequired),
        TlsError::Protocol(_) | TlsError::Exhausted => Some(AlertDescription::InternalError),
    }
}
