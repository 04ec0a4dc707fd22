//! Server names that are no DNS names.
//!
//! Kuma's (`backend{mesh=default}`) are none. Envoy takes and sends any bytes; rustls 0.23 refuses to send them and
//! aborts a handshake that carries them. This module stands between rustls and the wire, with rustls' public API only:
//!
//! * A random DNS name **stands in** for the real one, another for every connection (`Mask`).
//! * Server: the ClientHello is read by us before rustls sees it, and reaches it with the stand-in. So does the second
//!   one after a HelloRetryRequest. Client: rustls sends the stand-in; in the hellos that go out the real name takes
//!   its place (`super::handshake`).
//! * Names differ in length, so the five lengths around the name follow (`ClientHello::with_server_name`). That is
//!   exact both ways: the same name gives the same bytes. A stand-in of the name's own length would save that, but there
//!   is no DNS name of 255 bytes.
//! * Both ends hash what is on the wire. The hashes of our cipher suites ([`provider`]) put the real name back into
//!   the hello they are fed, while a connection with a `Mask` is driven on this thread (`Mask::enter`).
//! * TLS 1.2 signs the messages themselves, for a client's certificate: [`client_verifier`] and [`client_identity`] put
//!   the real name back there.
//!
//! Why it can't open what it should not: nothing here decides; all it does is to choose which bytes enter the
//! transcript. Where that is not what the peer saw, Finished (or CertificateVerify before it) does not verify and the
//! handshake fails. The stand-in is replaced only where a message parses as a ClientHello with that very name, of
//! 24 random letters that never leave this process.
//!
//! Resumption is the one thing rustls binds to the name it knows, which here is a stand-in. Connections with a mask
//! neither resume nor give out anything to resume ([`ServerConfigs`], [`ClientConfigs`]): no ticket, no cache, hence
//! no PSK binder over a hello that is not the one on the wire.
//!
//! A name that rustls takes never comes here: no mask, plain hashes, plain signer.
//!
//! # What a configuration needs
//! Built with a [`provider`] (its suites and groups may be narrowed and reordered), a server's verifier wrapped by
//! [`client_verifier`], a client's certificate resolver by [`client_identity`]; then handed to [`ServerConfigs::new`] or
//! [`ClientConfigs::new`]. A `ResolvesServerCert` and a `ServerCertVerifier` see the stand-in as the server's name: they
//! have to know the real one from elsewhere, if they care.
//!
//! # rustls 0.24
//! `ServerConfig.invalid_sni_policy` lets a server ignore names it does not take: then a server needs no mask, no
//! transcript and no [`client_verifier`], as the name is ours to read anyway. Clients still do.

mod configs;
mod signatures;
mod transcript;

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use rustls::pki_types::{DnsName, ServerName};
use sni::client_hello::ClientHello;

pub(super) use configs::NoTickets;
pub use configs::{ClientConfigs, ServerConfigs};
pub use signatures::{client_identity, client_verifier};
pub use transcript::provider;
#[cfg(test)]
pub(super) use transcript::started;

/// Letters of a stand-in: 112 bits, so that nobody guesses one and no two are alike.
const LETTERS: usize = 24;
const MESSAGE_HEADER: usize = 4;

/// Whether rustls sends and takes this name as it is. Not: an IP literal, which it would leave out; a name that ends in
/// a dot, which it would cut.
pub fn is_plain(name: &[u8]) -> bool {
    matches!(ServerName::try_from(name), Ok(ServerName::DnsName(_))) && !name.ends_with(b".")
}

/// The real name of a connection, and the DNS name that stands in for it.
pub(super) struct Mask {
    real: Box<[u8]>,
    stand_in: [u8; LETTERS],
}

impl Mask {
    /// A mask for this name; `None` where rustls takes it as it is.
    pub(super) fn of(name: &[u8]) -> Option<Arc<Self>> {
        (!is_plain(name)).then(|| Arc::new(Self { real: name.into(), stand_in: stand_in() }))
    }

    /// The stand-in as rustls wants it.
    pub(super) fn server_name(&self) -> Option<ServerName<'static>> {
        DnsName::try_from(&self.stand_in[..]).ok().map(|name| ServerName::DnsName(name.to_owned()))
    }

    /// A ClientHello off the wire for rustls; `None` if its name is not this mask's.
    pub(super) fn hide(&self, hello: &ClientHello<'_>) -> Option<Vec<u8>> {
        let own = hello.server_name().as_bytes() == Some(&self.real);
        own.then(|| hello.with_server_name(&self.stand_in)).flatten()
    }

    /// A ClientHello of rustls' for the wire; `None` if its name is not the stand-in.
    pub(super) fn reveal(&self, hello: &ClientHello<'_>) -> Option<Vec<u8>> {
        let own = hello.server_name().as_bytes() == Some(&self.stand_in);
        own.then(|| hello.with_server_name(&self.real)).flatten()
    }

    /// Handshake messages, one behind the other, as they are on the wire. Bytes that are no whole messages are left
    /// alone, from there on.
    fn on_the_wire<'a>(&self, messages: &'a [u8]) -> Cow<'a, [u8]> {
        let mut wire = Cow::Borrowed(&messages[..0]);
        let (mut kept, mut at) = (0, 0);
        while let Some(message) = first_message(&messages[at..]) {
            let revealed = ClientHello::from_message(message).ok().and_then(|hello| self.reveal(&hello));
            if let Some(revealed) = revealed {
                wire.to_mut().extend_from_slice(&messages[kept..at]);
                wire.to_mut().extend_from_slice(&revealed);
                kept = at + message.len();
            }
            at += message.len();
        }
        if kept == 0 {
            return Cow::Borrowed(messages);
        }
        wire.to_mut().extend_from_slice(&messages[kept..]);
        wire
    }

    /// Transcripts begun and signatures made or checked on this thread are this connection's, until the guard is gone.
    pub(super) fn enter(self: &Arc<Self>) -> Entered {
        Entered(CURRENT.replace(Some(Arc::clone(self))))
    }

    fn current() -> Option<Arc<Self>> {
        CURRENT.with_borrow(Option::clone)
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({})", self.real.escape_ascii())
    }
}

/// See `Mask::enter`.
pub(super) struct Entered(Option<Arc<Mask>>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

thread_local! {
    /// The connection that is driven at the moment, if it has a mask.
    static CURRENT: RefCell<Option<Arc<Mask>>> = const { RefCell::new(None) };
}

fn stand_in() -> [u8; LETTERS] {
    std::array::from_fn(|_| fastrand::u8(b'a'..=b'z'))
}

/// The handshake message at the front, header included, if it is whole.
fn first_message(messages: &[u8]) -> Option<&[u8]> {
    let [_, a, b, c] = *messages.first_chunk::<MESSAGE_HEADER>()?;
    messages.get(..MESSAGE_HEADER + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)))
}
