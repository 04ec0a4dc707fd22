//! Which connections may carry which requests.

use std::net::SocketAddr;
use std::sync::Arc;

use proxy::upstream::{Host, Priority};

/// What connections of one pool have in common (Envoy: the hash key of `ConnPoolMap`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The endpoint, by identity: the pool holds it, so that its address is not another's meanwhile.
    host: usize,
    /// What is spoken.
    pub(super) wire: Wire,
    /// Whose circuit breakers count.
    pub(super) priority: Priority,
    /// What differs by request; `None` for most.
    pub(super) special: Option<Arc<Special>>,
}

/// What is spoken with an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wire {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, with prior knowledge where there is no TLS.
    Http2,
    /// What ALPN says.
    Auto,
}

/// Properties of a connection that come from the request or from the client's connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Special {
    /// `auto_sni`: the server name to send.
    pub(crate) server_name: Option<Box<str>>,
    /// `auto_san_validation`: the name that the certificate has to be for.
    pub(crate) san: Option<Box<str>>,
    /// PROXY protocol: source and destination of the client's connection.
    pub(crate) proxied: Option<(SocketAddr, SocketAddr)>,
}

impl Key {
    /// Connections to `host`.
    pub(crate) fn new(host: &Arc<Host>, wire: Wire, priority: Priority, special: Option<Arc<Special>>) -> Self {
        Self { host: Arc::as_ptr(host) as usize, wire, priority, special }
    }

    /// Whose circuit breakers count.
    pub(crate) fn priority(&self) -> Priority {
        self.priority
    }
}
