//! An established session: records opened where they lie, and sealed.
//!
//! rustls' own record layer copies every record once when opening and twice when sealing, and keeps what the handshake
//! needed. So after the handshake its keys are taken out, as for kTLS (`rustls::kernel`), and its ciphers, which work
//! on any buffer, are used directly. What little TLS says after a handshake is handled here: key updates, session
//! tickets, alerts.

mod half;
mod plain;
mod post;

use rustls::SupportedCipherSuite;
use rustls::client::ClientConnectionData;
use rustls::crypto::cipher::{InboundOpaqueMessage, InboundPlainMessage, OutboundChunks};
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{AlertDescription, ContentType, ExtractedSecrets, PeerMisbehaved, ProtocolVersion};

use super::error::TlsError;
use super::handshake::record;
use half::{Numbered, Opener, Sealer};
pub(crate) use plain::Plain;

const HEADER: usize = 5;
/// Most plaintext of one record (RFC 8446 §5.1).
pub(super) const MAX_PLAIN: usize = 1 << 14;
/// Room for the largest record there may be.
pub(super) const MAX_RECORD: usize = HEADER + MAX_PLAIN + 2048;

/// Records in a row without content, as in rustls and BoringSSL: they cost us and bring nothing on.
const MAX_EMPTY: u8 = 32;

/// One end's established session.
pub(super) struct Records {
    kernel: Kernel,
    rx: Opener,
    tx: Sealer,
    /// A message after the handshake of which a part is missing.
    joining: Vec<u8>,
    /// Key updates of the peer's since its last application data.
    updates: u8,
    /// Records without content since then, of any kind.
    empty: u8,
    /// Alerts that don't end a TLS 1.2 session, so far.
    warnings: u8,
    /// The peer wants our keys updated too.
    owes_update: bool,
    peer_closed: bool,
}

/// rustls' rest of a connection: its key schedule, and on a client what stores tickets.
pub(super) enum Kernel {
    Server(KernelConnection<ServerConnectionData>),
    Client { kernel: KernelConnection<ClientConnectionData>, resumable: bool },
}

impl Kernel {
    fn suite(&self) -> SupportedCipherSuite {
        match self {
            Self::Server(kernel) => kernel.negotiated_cipher_suite(),
            Self::Client { kernel, .. } => kernel.negotiated_cipher_suite(),
        }
    }

    fn is_tls13(&self) -> bool {
        matches!(self.suite(), SupportedCipherSuite::Tls13(_))
    }

    fn update_tx(&mut self) -> Result<Numbered, rustls::Error> {
        match self {
            Self::Server(kernel) => kernel.update_tx_secret(),
            Self::Client { kernel, .. } => kernel.update_tx_secret(),
        }
    }

    fn update_rx(&mut self) -> Result<Numbered, rustls::Error> {
        match self {
            Self::Server(kernel) => kernel.update_rx_secret(),
            Self::Client { kernel, .. } => kernel.update_rx_secret(),
        }
    }
}

impl Records {
    pub(super) fn new(secrets: ExtractedSecrets, kernel: Kernel) -> Result<Self, TlsError> {
        let suite = kernel.suite();
        Ok(Self {
            rx: Opener::new(suite, secrets.rx)?,
            tx: Sealer::new(suite, secrets.tx)?,
            kernel,
            joining: Vec::new(),
            updates: 0,
            empty: 0,
            warnings: 0,
            owes_update: false,
            peer_closed: false,
        })
    }

    /// The peer has said that nothing more comes (close_notify).
    pub(super) fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// The peer asked for new keys of ours and has not got them.
    pub(super) fn owes_update(&self) -> bool {
        self.owes_update
    }

    /// Opens the whole records at the front of `buffer`; `plain` gets where the application data lies in it. How many
    /// bytes are done with: what is behind them is part of a record, or came after the peer's close_notify.
    ///
    /// # Errors
    /// What the peer did wrong; [`alert`](Self::alert) seals what to tell it.
    pub(super) fn open(&mut self, buffer: &mut [u8], plain: &mut Plain) -> Result<usize, TlsError> {
        let mut at = 0;
        while !self.peer_closed
            && let Some(length) = record(&buffer[at..])?
        {
            let (kind, start, end) = self.open_one(&mut buffer[at..at + length])?;
            let (start, end) = (at + start, at + end);
            if start == end {
                self.empty += 1;
                if self.empty > MAX_EMPTY {
                    return Err(TlsError::Protocol(PeerMisbehaved::TooManyEmptyFragments.into()));
                }
            }
            match kind {
                ContentType::ApplicationData if !self.joining.is_empty() => {
                    return Err(TlsError::Unexpected("application data within a message"));
                }
                ContentType::ApplicationData if start == end => {}
                ContentType::ApplicationData => {
                    (self.updates, self.empty) = (0, 0);
                    plain.push(buffer, start..end);
                }
                ContentType::Handshake => self.post_handshake(&buffer[start..end])?,
                ContentType::Alert => self.alerted(&buffer[start..end])?,
                _ => return Err(TlsError::Unexpected("record")),
            }
            at += length;
        }
        Ok(at)
    }

    /// Opens one record in place: what it is, and where in it its content lies.
    fn open_one(&mut self, record: &mut [u8]) -> Result<(ContentType, usize, usize), TlsError> {
        let base = record.as_ptr().addr();
        let (header, payload) = record.split_at_mut(HEADER);
        let kind = ContentType::from(header[0]);
        // RFC 8446 §5.2: application_data outside. In TLS 1.2 the type outside is the one.
        if header[1] != 3 || (self.kernel.is_tls13() && kind != ContentType::ApplicationData) {
            return Err(TlsError::Unexpected("record in the clear"));
        }
        let sealed = InboundOpaqueMessage::new(kind, ProtocolVersion::TLSv1_2, payload);
        let InboundPlainMessage { typ, payload, .. } = self.rx.open(sealed)?;
        // The ciphers open in place: the content is a part of the record.
        let start = payload.as_ptr().addr() - base;
        Ok((typ, start, start + payload.len()))
    }

    /// Seals `plain` into as few records as it takes, one `Vec` each.
    ///
    /// # Errors
    /// The keys of a TLS 1.2 session are used up.
    pub(super) fn seal(&mut self, mut plain: OutboundChunks<'_>, out: &mut Vec<Vec<u8>>) -> Result<(), TlsError> {
        while !plain.is_empty() {
            self.keep_keys_fresh(out)?;
            let (payload, rest) = plain.split_at(MAX_PLAIN);
            out.push(self.tx.seal(ContentType::ApplicationData, payload)?);
            plain = rest;
        }
        Ok(())
    }

    /// Changes our keys where the peer asked for it, or before they have sealed as much as they may.
    pub(super) fn keep_keys_fresh(&mut self, out: &mut Vec<Vec<u8>>) -> Result<(), TlsError> {
        let worn = self.tx.is_worn();
        if !worn && !self.owes_update {
            return Ok(());
        }
        if !self.kernel.is_tls13() {
            return Err(TlsError::Exhausted);
        }
        self.owes_update = false;
        out.push(self.tx.seal(ContentType::Handshake, OutboundChunks::from(&post::KEY_UPDATE[..]))?);
        let secrets = self.kernel.update_tx()?;
        self.tx = Sealer::new(self.kernel.suite(), secrets)?;
        Ok(())
    }

    /// Seals a close_notify: nothing more comes from us.
    pub(super) fn close(&mut self) -> Result<Vec<u8>, TlsError> {
        let message = [1, u8::from(AlertDescription::CloseNotify)];
        Ok(self.tx.seal(ContentType::Alert, OutboundChunks::from(&message[..]))?)
    }

    /// Seals the alert that tells the peer of `error`; `None` where there is nothing to tell.
    pub(super) fn alert(&mut self, error: &TlsError) -> Option<Vec<u8>> {
        let description = post::description(error)?;
        self.tx.seal(ContentType::Alert, OutboundChunks::from(&[2, u8::from(description)][..])).ok()
    }
}

#[cfg(test)]
mod tests;
