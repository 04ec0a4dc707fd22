//! Addresses to listen on and to connect to (`envoy.config.core.v3.Address`).

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// An address that needs no resolution.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// IP and port.
    Socket(SocketAddr),
    /// A Unix domain socket; `mode` is the permission of the socket file a listener creates (0 = leave it).
    Pipe {
        /// Path in the file system; a leading `@` means the abstract namespace, as in Envoy.
        path: Arc<Path>,
        /// Permission bits, `core.v3.Pipe.mode`.
        mode: u32,
    },
}

impl fmt::Display for Address {
    /// Envoy's form: `1.2.3.4:5`, `[::1]:5`, or the path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(a) => a.fmt(f),
            Self::Pipe { path, .. } => path.display().fmt(f),
        }
    }
}

/// Where an endpoint is: an address, or a name still to be resolved (STRICT_DNS).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Ready to connect to.
    Address(Address),
    /// A DNS name and port.
    Name {
        /// DNS name.
        host: Arc<str>,
        /// TCP port.
        port: u16,
    },
}
