//! A TLS connection over a socket, as the relay and others use it.
//!
//! It owns no buffer while nothing is on its way: ciphertext is read into the worker's shared buffer and opened there;
//! what is kept is part of a record whose rest has not come, and sealed bytes that the socket has not taken.

mod outbox;
mod relay;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::CertificateDer;

use super::error::TlsError;
use super::facts::Facts;
use super::handshake::{Handshake, Status};
use super::names::{ClientConfigs, ServerConfigs};
use super::records::{MAX_RECORD, Plain, Records};
use crate::relay::with_buffer;
use crate::stream::Stream;
use outbox::Outbox;

/// Most that is read at once during a handshake.
const ROUND: usize = 16 * 1024;

/// One end of a TLS connection.
pub struct TlsStream {
    socket: Stream,
    stage: Stage,
    /// Sealed, or of the handshake, and not yet taken by the socket.
    outbox: Outbox,
}

enum Stage {
    Handshake(Box<Handshake>),
    Established(Box<Established>),
    Failed,
}

/// What an established connection keeps.
struct Established {
    records: Records,
    facts: Facts,
    /// Received, not opened: part of a record, or all that came with the end of the handshake.
    sealed: Box<[u8]>,
    /// Opened, not given out yet: only where a reader's buffer was smaller than a record.
    unread: Box<[u8]>,
    /// `sealed` may hold whole records.
    fresh: bool,
    /// How the peer ended its direction.
    ended: Option<Ending>,
    /// Our close_notify is in the outbox or out.
    closing: bool,
}

/// How a peer ended its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// With a close_notify: nothing was cut off.
    Closed,
    /// By closing the TCP connection alone. Envoy takes it as an end like any other.
    Truncated,
}

impl TlsStream {
    /// The server's end. `head`: bytes read from the socket already, the ClientHello or its beginning.
    pub fn server(socket: Stream, configs: &Arc<ServerConfigs>, head: &[u8]) -> Self {
        Self::new(socket, Handshake::server(Arc::clone(configs), head))
    }

    /// The client's end. `sni`: any 1 to 255 bytes without NUL; `None`: no server name is sent.
    ///
    /// # Errors
    /// A server name that can't be sent.
    pub fn client(socket: Stream, configs: &ClientConfigs, sni: Option<&[u8]>) -> Result<Self, TlsError> {
        Ok(Self::new(socket, Handshake::client(configs, sni)?))
    }

    fn new(socket: Stream, handshake: Handshake) -> Self {
        Self { socket, stage: Stage::Handshake(Box::new(handshake)), outbox: Outbox::default() }
    }

    /// Drives the handshake; `Ready(Ok)` when it is over and our last flight is out. The deadline is the caller's.
    ///
    /// After an error the peer was told by an alert, as far as the socket took it, and the stream is of no more use.
    pub fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TlsError>> {
        let result = ready!(self.drive(cx));
        if result.is_err() {
            let _ = self.outbox.poll_flush(cx, &mut self.socket);
            self.stage = Stage::Failed;
        }
        Poll::Ready(result)
    }

    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TlsError>> {
        loop {
            ready!(self.outbox.poll_flush(cx, &mut self.socket))?;
            let handshake = match &mut self.stage {
                Stage::Handshake(handshake) => handshake,
                Stage::Established(_) => return Poll::Ready(Ok(())),
                Stage::Failed => return Poll::Ready(Err(TlsError::Closed)),
            };
            let mut out = Vec::new();
            let status = handshake.advance(&mut out);
            self.outbox.push(out);
            match status? {
                Status::Done => self.establish()?,
                Status::More if !self.outbox.is_empty() => {}
                Status::More => {
                    let socket = &mut self.socket;
                    ready!(with_buffer(|buffer| {
                        let n = ready!(socket.poll_read_slice(cx, &mut buffer[..ROUND]))?;
                        Poll::Ready(if n == 0 { Err(TlsError::Closed) } else { handshake.receive(&buffer[..n]) })
                    }))?;
                }
            }
        }
    }

    fn establish(&mut self) -> Result<(), TlsError> {
        let Stage::Handshake(handshake) = std::mem::replace(&mut self.stage, Stage::Failed) else { return Ok(()) };
        let (records, facts, sealed) = handshake.finish()?;
        self.stage = Stage::Established(Box::new(Established {
            records,
            facts,
            fresh: !sealed.is_empty(),
            sealed: sealed.into_boxed_slice(),
            unread: Box::default(),
            ended: None,
            closing: false,
        }));
        Ok(())
    }

    /// What the handshake came to; `None` before it is over.
    pub fn facts(&self) -> Option<&Facts> {
        match &self.stage {
            Stage::Established(established) => Some(&established.facts),
            Stage::Handshake(_) | Stage::Failed => None,
        }
    }

    /// Takes out what the peer showed: an idle connection does without.
    pub(crate) fn take_certificates(&mut self) -> Box<[CertificateDer<'static>]> {
        match &mut self.stage {
            Stage::Established(established) => std::mem::take(&mut established.facts.peer_certificates),
            Stage::Handshake(_) | Stage::Failed => Box::default(),
        }
    }

    /// The socket below.
    pub fn socket(&self) -> &Stream {
        &self.socket
    }

    /// Lets go of TLS, whatever is under way: for tests that send what TLS would not.
    #[cfg(test)]
    pub(crate) fn into_socket(self) -> Stream {
        self.socket
    }

    /// Changes our keys and asks the peer to change its own.
    #[cfg(test)]
    #[allow(clippy::unwrap_used, clippy::panic)]
    pub(crate) async fn ask_for_new_keys(&mut self) {
        let Stage::Established(established) = &mut self.stage else { panic!("not established") };
        let records = established.records.ask_for_new_keys();
        self.outbox.push(records);
        std::future::poll_fn(|cx| self.poll_flush(cx)).await.unwrap();
    }

    /// There is something to read that the socket does not tell of: what came together with the handshake's end, or the
    /// rest of a record of which the reader took a part.
    pub(crate) fn holds_data(&self) -> bool {
        matches!(&self.stage, Stage::Established(established) if established.fresh || !established.unread.is_empty())
    }

    /// The peer's direction ended without a close_notify.
    pub fn is_truncated(&self) -> bool {
        matches!(&self.stage, Stage::Established(established) if established.ended == Some(Ending::Truncated))
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("socket", &self.socket).field("facts", &self.facts()).finish_non_exhaustive()
    }
}

fn not_established() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

#[cfg(test)]
mod tests;
