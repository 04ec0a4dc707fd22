//! Connecting to an endpoint: socket, options, deadline, and the books kept about it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use config::model::address::Address;
use config::model::cluster::{SocketOptions, Transport};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::timeout;

use super::circuit::{Lease, Pending};
use super::host::Host;
use crate::error::ConnectError;

/// A connection to an endpoint.
#[derive(Debug)]
pub enum Stream {
    /// TCP, with `TCP_NODELAY`.
    Tcp(TcpStream),
    /// A Unix domain socket.
    Unix(UnixStream),
}

/// A connection and its entry in the books.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub stream: Stream,
    /// Keeps it counted as open; drop it with the stream.
    pub lease: Lease,
}

/// Connects once, within the cluster's `connect_timeout`. The outcome counts in the statistics and is reported to
/// outlier detection. On success `pending` is spent; after an error it is good for another attempt.
///
/// # Errors
/// Why this attempt failed; the host was told already.
pub async fn connect(pending: &mut Pending, host: &Arc<Host>) -> Result<Connected, ConnectError> {
    let Some(cluster) = pending.cluster() else { return Err(ConnectError::Other) };
    let config = cluster.config();
    if let Transport::Unsupported(_) = config.transport {
        return Err(ConnectError::Transport);
    }
    host.connecting();
    match open(host.address(), config.socket.as_deref(), config.connect_timeout).await {
        Ok(stream) => match pending.established(host) {
            Some(lease) => Ok(Connected { stream, lease }),
            None => Err(ConnectError::Other),
        },
        Err(error) => {
            host.closed();
            host.connect_failed();
            Err(error)
        }
    }
}

/// Opens a connection with no books kept.
pub(super) async fn open(
    address: &Address,
    options: Option<&SocketOptions>,
    limit: Duration,
) -> Result<Stream, ConnectError> {
    let result = match address {
        Address::Socket(to) => {
            let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
            let socket = socket.and_then(|s| prepare(&s, options).map(|()| s)).map_err(|e| classify(&e))?;
            timeout(limit, socket.connect(*to)).await.map(|r| r.map(Stream::Tcp))
        }
        Address::Pipe { path, .. } => timeout(limit, UnixStream::connect(path)).await.map(|r| r.map(Stream::Unix)),
    };
    match result {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(classify(&error)),
        Err(_) => Err(ConnectError::Timeout),
    }
}

fn prepare(socket: &TcpSocket, options: Option<&SocketOptions>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let Some(options) = options else { return Ok(()) };
    if let Some((probes, idle, interval)) = options.keepalive {
        let mut keepalive = TcpKeepalive::new();
        if let Some(n) = probes {
            keepalive = keepalive.with_retries(n);
        }
        if let Some(t) = idle {
            keepalive = keepalive.with_time(t);
        }
        if let Some(t) = interval {
            keepalive = keepalive.with_interval(t);
        }
        SockRef::from(socket).set_tcp_keepalive(&keepalive)?;
    }
    if let Some(Address::Socket(source)) = &options.source {
        socket.bind(*source)?;
    }
    Ok(())
}

fn classify(error: &io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::TimedOut => ConnectError::Timeout,
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => ConnectError::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ConnectError::Unreachable,
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory => ConnectError::Local,
        _ => match error.raw_os_error() {
            Some(libc_emfile_or_like) if LOCAL.contains(&libc_emfile_or_like) => ConnectError::Local,
            _ => ConnectError::Other,
        },
    }
}

/// EMFILE, ENFILE, ENOBUFS, EAGAIN (a Unix socket's full backlog is the peer's, but asks for the same patience).
const LOCAL: [i32; 3] = [
    rustix::io::Errno::MFILE.raw_os_error(),
    rustix::io::Errno::NFILE.raw_os_error(),
    rustix::io::Errno::NOBUFS.raw_os_error(),
];
