//! Listening sockets: one per worker where `reuse_port` allows, else one that all share.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;

use config::model::address::Address;
use config::model::listener::Listener;
use socket2::{Domain, Protocol, Socket, Type};

/// The system's `net.core.somaxconn` bounds it.
const BACKLOG: i32 = 4096;

/// A listening socket, not yet known to a runtime.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(std::net::TcpListener),
    Unix(StdUnixListener),
}

/// An address that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// Which.
    pub address: Address,
    /// What the system said.
    pub source: io::Error,
}

/// Sockets of one listener, by worker.
///
/// # Errors
/// The first address that can't be had; nothing stays open then.
pub(super) fn bind(listener: &Listener, workers: usize) -> Result<Vec<Vec<Bound>>, BindError> {
    let mut sockets: Vec<Vec<Bound>> = (0..workers).map(|_| Vec::new()).collect();
    for address in &listener.addresses {
        let failed = |source| BindError { address: address.clone(), source };
        let mut shared: Option<Bound> = None;
        for of_worker in &mut sockets {
            let socket = match (&shared, address) {
                (Some(first), _) => first.duplicate(),
                (None, Address::Socket(to)) => tcp(*to, listener.reuse_port, listener.backlog).map(Bound::Tcp),
                (None, Address::Pipe { path, mode }) => unix(path, *mode).map(Bound::Unix),
            };
            let socket = socket.map_err(failed)?;
            if shared.is_none() && (!listener.reuse_port || matches!(socket, Bound::Unix(_))) {
                shared = Some(socket.duplicate().map_err(failed)?);
            }
            of_worker.push(socket);
        }
    }
    Ok(sockets)
}

impl Bound {
    /// Another handle on the same queue.
    pub(super) fn duplicate(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
            Self::Unix(socket) => socket.try_clone().map(Self::Unix),
        }
    }
}

fn tcp(address: SocketAddr, reuse_port: bool, backlog: Option<u32>) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        // Envoy's `ipv4_compat` is off by default.
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit it: one call less for each connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog.and_then(|b| i32::try_from(b).ok()).unwrap_or(BACKLOG))?;
    Ok(socket.into())
}

fn unix(path: &Path, mode: u32) -> io::Result<StdUnixListener> {
    // A socket file that nobody listens on any more is in the way; one that is in use is not ours to take.
    if std::os::unix::net::UnixStream::connect(path).is_err() {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let socket = StdUnixListener::bind(path)?;
    socket.set_nonblocking(true)?;
    if mode != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(socket)
}
