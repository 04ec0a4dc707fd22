//! A handshake, without I/O: bytes of the peer's in, bytes for the peer out.
//!
//! rustls' unbuffered connections are shown one record after the other, never more: so whatever comes behind the last
//! message of the handshake is still sealed when it is over, and [`super::records`] takes it from there. One record at
//! a time is also where the names of [`super::names`] change places.

mod role;

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use sni::client_hello::{ClientHello, DEFAULT_LIMIT, Progress, Reader};

use super::error::TlsError;
use super::facts::Facts;
use super::groups::Choice;
use super::names::{ClientConfigs, Mask, ServerConfigs};
use super::records::Records;
use role::{Role, Step};

/// Most that may wait: rustls takes messages of up to 64 KiB, and what comes with them in one read.
const INBOX: usize = 96 * 1024;
const RECORD_HEADER: usize = 5;
const MAX_FRAGMENT: usize = 1 << 14;
/// What a record may be longer than its content (RFC 5246 §6.2.3; RFC 8446 §5.2 allows less).
const MAX_EXPANSION: usize = 2048;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DECODE_ERROR: u8 = 50;
/// The random of a HelloRetryRequest (RFC 8446 §4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// One end's handshake.
pub(super) struct Handshake {
    role: Role,
    mask: Option<Arc<Mask>>,
    /// A server's, from the first hello on.
    choice: Option<Choice>,
    sni: Option<Box<[u8]>>,
    /// Received and not yet done with.
    inbox: Vec<u8>,
    /// How much of it rustls has been shown.
    shown: usize,
    /// On a server that awaits a ClientHello, the first or the one that it asked for again.
    hello: Option<Reader>,
}

/// What the handshake waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// More bytes of the peer's.
    More,
    /// Nothing: it is over.
    Done,
}

impl Handshake {
    /// A server's. `head`: what was read already.
    pub(super) fn server(configs: Arc<ServerConfigs>, head: &[u8]) -> Self {
        let hello = Some(Reader::new(DEFAULT_LIMIT));
        Self {
            role: Role::Listening(configs),
            mask: None,
            choice: None,
            sni: None,
            inbox: head.to_vec(),
            shown: 0,
            hello,
        }
    }

    /// A client's. `sni`: any bytes; `None`: no server name is sent.
    ///
    /// # Errors
    /// A name of no bytes, of more than 255, or with a NUL.
    pub(super) fn client(configs: &ClientConfigs, sni: Option<&[u8]>) -> Result<Self, TlsError> {
        let mask = match sni {
            None => None,
            Some(b"") => return Err(TlsError::ServerName("empty")),
            Some(name) if name.len() > 255 => return Err(TlsError::ServerName("too_long")),
            Some(name) if name.contains(&0) => return Err(TlsError::ServerName("nul")),
            Some(name) => Mask::of(name),
        };
        let (config, name) = match (&mask, sni) {
            (Some(mask), _) => (&configs.masked, mask.server_name()),
            (None, Some(name)) => (&configs.plain, ServerName::try_from(name).ok().map(|name| name.to_owned())),
            // rustls sends no name for an address.
            (None, None) => (&configs.plain, Some(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))),
        };
        let name = name.ok_or(TlsError::ServerName("not_dns"))?;
        let connection = {
            let _entered = mask.as_ref().map(Mask::enter);
            UnbufferedClientConnection::new(Arc::clone(config), name)?
        };
        let sni = sni.map(Box::from);
        let role = Role::Client(Box::new(connection));
        Ok(Self { role, mask, choice: None, sni, inbox: Vec::new(), shown: 0, hello: None })
    }

    /// Takes bytes of the peer's.
    ///
    /// # Errors
    /// More than any handshake needs.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        if self.inbox.len() + bytes.len() > INBOX {
            return Err(TlsError::TooLarge(INBOX));
        }
        self.inbox.extend_from_slice(bytes);
        Ok(())
    }

    /// Goes on as far as it can. `out` gets what is to be sent, also on an error: the alert.
    pub(super) fn advance(&mut self, out: &mut Vec<u8>) -> Result<Status, TlsError> {
        let _entered = self.mask.as_ref().map(Mask::enter);
        loop {
            if self.hello.is_some() && !self.read_hello(out)? {
                return Ok(Status::More);
            }
            // A server's mask is known from the first hello on.
            let _entered = (self.mask.as_ref().map(Mask::enter), self.choice.map(Choice::enter));
            match self.step(out) {
                Ok(Step::Idle) if !self.role.is_handshaking() => return Ok(Status::Done),
                Ok(Step::Idle) if self.hello.is_some() => {}
                Ok(Step::Idle) if self.show_record()? => {}
                Ok(Step::Idle) => return Ok(Status::More),
                Ok(Step::Again | Step::Wrote { .. }) => {}
                Ok(Step::Closed) => return Err(TlsError::Closed),
                Ok(Step::Early) => return Err(TlsError::Unexpected("application data before the end")),
                Err(error) => {
                    // The alert. Not one step further, which would look at records again.
                    while self.role.wants_write() && self.step(out).is_ok() {}
                    return Err(error.into());
                }
            }
        }
    }

    /// The established session, what is known of it, and what was received behind the handshake, still sealed.
    pub(super) fn finish(self) -> Result<(Records, Facts, Vec<u8>), TlsError> {
        if self.shown != 0 {
            return Err(TlsError::Unexpected("part of a message"));
        }
        let facts = self.role.facts(self.sni)?;
        let records = self.role.into_records(self.mask.is_some())?;
        Ok((records, facts, self.inbox))
    }

    /// One step of rustls', over the records shown so far.
    fn step(&mut self, out: &mut Vec<u8>) -> Result<Step, rustls::Error> {
        let (discard, step) = self.role.process(&mut self.inbox[..self.shown], out);
        self.inbox.drain(..discard.min(self.shown));
        self.shown -= discard.min(self.shown);
        if let Ok(Step::Wrote { from }) = step {
            match &self.role {
                Role::Server(_) if is_retry(&out[from..]) => self.hello = Some(Reader::new(DEFAULT_LIMIT)),
                Role::Client(_) => self.reveal(out, from),
                Role::Server(_) | Role::Listening(_) => {}
            }
        }
        step
    }

    /// Shows rustls one record more, if there is a whole one.
    fn show_record(&mut self) -> Result<bool, TlsError> {
        let length = record(&self.inbox[self.shown..])?;
        self.shown += length.unwrap_or(0);
        Ok(length.is_some())
    }

    /// Server: reads the ClientHello and shows it to rustls, masked if need be; whether it was there. Other records may
    /// stand before a second hello (change_cipher_spec, early data), and are shown as they are.
    fn read_hello(&mut self, out: &mut Vec<u8>) -> Result<bool, TlsError> {
        let first = matches!(self.role, Role::Listening(_));
        let Some(reader) = self.hello.as_mut() else { return Ok(true) };
        let rest = &self.inbox[self.shown..];
        if !first && rest.first().is_some_and(|&kind| kind != HANDSHAKE) {
            return self.show_record();
        }
        let hello = match reader.read(rest) {
            Progress::Incomplete { .. } => return Ok(false),
            Progress::Refused(refusal) => {
                out.extend_from_slice(&[ALERT, 3, 3, 0, 2, 2, DECODE_ERROR]);
                return Err(TlsError::Hello(refusal));
            }
            Progress::Hello(hello) => hello,
        };
        if hello.server_name().is_refused() {
            out.extend_from_slice(&[ALERT, 3, 3, 0, 2, 2, DECODE_ERROR]);
            return Err(TlsError::server_name(&hello.server_name()));
        }
        if first {
            self.sni = hello.server_name().as_bytes().map(Box::from);
            self.mask = self.sni.as_deref().and_then(Mask::of);
        }
        let config = match &self.role {
            Role::Listening(configs) => Some(Arc::clone(configs.of(self.mask.is_some(), &hello))),
            Role::Server(_) | Role::Client(_) => None,
        };
        if let Some(config) = &config {
            self.choice = Choice::make(config, &hello);
        }
        let end = self.shown + hello.stream_len();
        // Another name in the second hello stays as it is, and rustls refuses it.
        let hidden = self.mask.as_ref().and_then(|mask| mask.hide(&hello)).map(|hidden| in_records(&hidden));
        let length = hidden.as_ref().map_or(hello.stream_len(), Vec::len);
        if let Some(hidden) = hidden {
            self.inbox.splice(self.shown..end, hidden);
        }
        self.shown += length;
        self.hello = None;
        if let Some(config) = config {
            self.role = Role::Server(Box::new(UnbufferedServerConnection::new(config)?));
        }
        Ok(true)
    }

    /// Client: puts the real name into a hello that rustls has just made, in one record as rustls does.
    fn reveal(&self, out: &mut Vec<u8>, from: usize) {
        let Some(mask) = &self.mask else { return };
        let Some((header, message)) = out[from..].split_at_checked(RECORD_HEADER) else { return };
        if header[0] == HANDSHAKE
            && let Ok(hello) = ClientHello::from_message(message)
            && let Some(revealed) = mask.reveal(&hello)
        {
            out.truncate(from);
            out.extend_from_slice(&in_records(&revealed));
        }
    }
}

/// Whether a record holds a HelloRetryRequest: a ServerHello with a random of its own.
fn is_retry(record: &[u8]) -> bool {
    record.first() == Some(&HANDSHAKE) && record.get(5) == Some(&2) && record.get(11..43) == Some(&RETRY)
}

/// A plaintext handshake message in as few records as it takes.
fn in_records(message: &[u8]) -> Vec<u8> {
    let mut records = Vec::with_capacity(message.len() + RECORD_HEADER);
    for fragment in message.chunks(MAX_FRAGMENT) {
        let [_, _, .., high, low] = fragment.len().to_be_bytes();
        records.extend_from_slice(&[HANDSHAKE, 3, 1, high, low]);
        records.extend_from_slice(fragment);
    }
    records
}

/// Length of the record at the front, its header included, once it is all there.
///
/// # Errors
/// Longer than a record may be.
pub(super) fn record(bytes: &[u8]) -> Result<Option<usize>, TlsError> {
    let Some(&[_, _, _, high, low]) = bytes.first_chunk::<RECORD_HEADER>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_FRAGMENT + MAX_EXPANSION {
        return Err(TlsError::Protocol(rustls::Error::PeerSentOversizedRecord));
    }
    Ok((bytes.len() >= RECORD_HEADER + length).then_some(RECORD_HEADER + length))
}

#[cfg(test)]
mod tests;
