//! What a handshake came to.

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion, ServerConnection};

/// What a handshake came to.
#[derive(Debug)]
pub struct Facts {
    /// TLS 1.2 or 1.3.
    pub version: ProtocolVersion,
    /// The cipher suite.
    pub suite: CipherSuite,
    /// The group of the key exchange; none where a TLS 1.2 session was resumed.
    pub group: Option<NamedGroup>,
    /// The session was resumed.
    pub resumed: bool,
    /// The server name as it was on the wire.
    pub sni: Option<Box<[u8]>>,
    /// The protocol agreed on by ALPN.
    pub alpn: Option<Box<[u8]>>,
    /// What the peer showed, its own certificate first; empty where it showed none.
    pub peer_certificates: Box<[CertificateDer<'static>]>,
}

impl Facts {
    /// Of a server's connection whose handshake is over; `None` before.
    pub(crate) fn of(connection: &ServerConnection) -> Option<Self> {
        Some(Self {
            version: connection.protocol_version()?,
            suite: connection.negotiated_cipher_suite()?.suite(),
            group: connection.negotiated_key_exchange_group().map(|group| group.name()),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            sni: connection.server_name().map(|name| name.as_bytes().into()),
            alpn: connection.alpn_protocol().map(Into::into),
            peer_certificates: connection.peer_certificates().unwrap_or_default().iter().cloned().collect(),
        })
    }
}
