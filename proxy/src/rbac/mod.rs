//! Permissions: whether a connection may go on, by who asks, for what, and from where (`envoy.filters.network.rbac`).
//!
//! [`evaluate`] is pure. A chain's [`Gate`] counts besides, and is asked once per connection, right after the TLS
//! handshake and before any endpoint is chosen: nothing reaches an upstream that was not allowed to.

mod ask;
mod evaluate;
mod gate;
mod notes;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use config::model::metadata::Metadata;

use crate::report::http::{DynamicMetadata, RequestHead};

pub(crate) use self::ask::ask;
pub use self::ask::facts;
pub use self::evaluate::{Asked, Verdict, evaluate};
pub use self::gate::{Denial, Gate, Ruling, detail};
pub use self::notes::Notes;

/// What is known of a connection that asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The other side of TLS; `None`: the connection is plain.
    pub peer: Option<Peer<'a>>,
    /// Server name of the ClientHello, any bytes, in any case; empty: none. Envoy has it of the tls_inspector alone.
    pub server_name: &'a [u8],
    /// Where the client connected to; `None` on a Unix socket.
    pub local: Option<SocketAddr>,
    /// The client, after the PROXY protocol.
    pub remote: Option<SocketAddr>,
    /// The socket's peer.
    pub direct_remote: Option<SocketAddr>,
    /// The request, where one is asked about.
    pub request: Option<Request<'a>>,
}

/// A request, as HTTP filters see it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its head.
    pub head: &'a RequestHead,
    /// What filters before noted.
    pub metadata: &'a DynamicMetadata,
    /// Its route's metadata.
    pub route: Option<&'a Metadata>,
}

/// Who the client's certificate says it is; all empty where it sent none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer<'a> {
    /// URI SANs in the certificate's order.
    pub uri_sans: &'a [Box<str>],
    /// DNS SANs in the certificate's order.
    pub dns_sans: &'a [Box<str>],
    /// The subject as RFC 2253 writes it.
    pub subject: &'a str,
    /// A certificate was sent, and verified.
    pub verified: bool,
}
