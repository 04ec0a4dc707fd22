//! Connecting to an endpoint: socket, options, deadline, and the books kept about it.

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use config::model::address::Address;
use config::model::cluster::SocketOptions;
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use super::cluster::Cluster;
use super::happy;
use super::host::Host;
use super::introduction::Client;
use super::outlier::{self, Outcome};
use super::permit::{Attempt, Lease, Pending};
use super::request::{ConnectionPermit, PooledLease};
use super::transport::Transport;
use crate::error::{ConnectError, TlsFailure};
use crate::metrics::ClusterStat;
use crate::report::flow::TlsSide;
use crate::stream::Stream;

/// What a connection is opened for.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectOptions {
    /// Certificates of TLS are kept, for logs that ask for them.
    pub certificates: bool,
    /// Whom the connection is for, where a header of the PROXY protocol tells the endpoint; `None`: ourselves.
    pub client: Option<Client>,
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
/// Why this attempt failed.
pub async fn connect(pending: &mut Pending, host: &Arc<Host>) -> Result<Connected, ConnectError> {
    let limit = pending.cluster().peek().entry().cluster.connect_timeout;
    connect_before(pending, host, tokio::time::sleep(limit)).await
}

/// [`connect`] for those who keep time themselves: `deadline` is ready when the time is over. Dropped before its end,
/// it counts as a failed connection, but not against the host.
///
/// # Errors
/// Why this attempt failed.
pub async fn connect_before(
    pending: &mut Pending,
    host: &Arc<Host>,
    deadline: impl Future<Output = ()>,
) -> Result<Connected, ConnectError> {
    let cluster = Arc::clone(pending.cluster());
    if pending.is_spent() {
        return Err(ConnectError::Other);
    }
    let options = pending.options;
    pending.tls = None;
    let (opened, attempt) = attempt(&cluster, host, options, &mut pending.tls, deadline).await?;
    match opened {
        Ok(stream) => {
            outlier::report(&cluster, host, Outcome::Connected);
            Ok(Connected { stream, lease: pending.established(attempt) })
        }
        Err(error) => {
            if error == ConnectError::Timeout {
                outlier::report(&cluster, host, Outcome::TimedOut);
            } else if blames_host(error) {
                outlier::report(&cluster, host, Outcome::Failed);
            }
            Err(error)
        }
    }
}

/// A connection of a pool and its entry in the books.
#[derive(Debug)]
pub struct Pooled {
    /// The connection.
    pub stream: Stream,
    /// Keeps it counted as open; drop it with the stream.
    pub lease: PooledLease,
    /// What became of TLS, where the cluster speaks it.
    pub tls: Option<Box<TlsSide>>,
}

/// Connects once for a pool, within the cluster's `connect_timeout`. The outcome counts in the statistics; outlier
/// detection is told by whoever sends requests ([`Cluster::report`](super::Cluster::report)), as in Envoy.
///
/// # Errors
/// Why it failed, with what became of TLS.
pub async fn connect_pooled(
    permit: ConnectionPermit,
    host: &Arc<Host>,
    options: ConnectOptions,
) -> Result<Pooled, (ConnectError, Option<Box<TlsSide>>)> {
    let cluster = Arc::clone(permit.cluster());
    let limit = cluster.peek().entry().cluster.connect_timeout;
    let mut tls = None;
    match attempt(&cluster, host, options, &mut tls, tokio::time::sleep(limit)).await {
        Ok((Ok(stream), attempt)) => Ok(Pooled { stream, lease: PooledLease::new(attempt, permit), tls }),
        Ok((Err(error), _)) | Err(error) => Err((error, tls)),
    }
}

/// What this process lacks is not the host's fault.
const fn blames_host(error: ConnectError) -> bool {
    match error {
        ConnectError::Local | ConnectError::Transport | ConnectError::Tls(TlsFailure::Limit | TlsFailure::NotReady) => {
            false
        }
        ConnectError::Timeout
        | ConnectError::Refused
        | ConnectError::Unreachable
        | ConnectError::Other
        | ConnectError::Tls(_) => true,
    }
}

/// Opens and secures a connection; counts it as an attempt of the host. The error is of what is not even begun.
async fn attempt(
    cluster: &Arc<Cluster>,
    host: &Arc<Host>,
    options: ConnectOptions,
    tls: &mut Option<Box<TlsSide>>,
    deadline: impl Future<Output = ()>,
) -> Result<(Result<Stream, ConnectError>, Attempt), ConnectError> {
    let config = cluster.config();
    let detail = host.detail();
    if let Transport::Unsupported = detail.transport {
        return Err(ConnectError::Transport);
    }
    let mut attempt = Attempt::new(cluster, host);
    let opened = tokio::select! {
        biased;
        opened = async {
            let mut socket = happy::open(host, config.socket.as_deref()).await?;
            let sent = detail.transport.introduce(&mut socket, options.client).await?;
            cluster.stats().add(ClusterStat::UpstreamCxTxBytesTotal, sent as u64);
            detail.transport.secure(socket, host, options.certificates, tls).await
        } => opened,
        () = deadline => Err(ConnectError::Timeout),
    };
    match opened {
        Ok(_) => attempt.connected(),
        Err(ConnectError::Timeout) => cluster.stats().inc(ClusterStat::UpstreamCxConnectTimeout),
        Err(_) => {}
    }
    Ok((opened, attempt))
}

/// Opens a connection with no books kept and no deadline.
pub(super) async fn open(address: &Address, options: Option<&SocketOptions>) -> Result<Stream, ConnectError> {
    let opened = match address {
        Address::Socket(to) => open_tcp(*to, options).await.map(Stream::Tcp),
        Address::Pipe { path, .. } => open_unix(path).await.map(Stream::Unix),
    };
    opened.map_err(|error| classify(&error))
}

/// socket, setsockopt, connect, and the registration with the reactor: what `TcpSocket` does, less the question for a
/// pending error where `connect` was answered at once.
async fn open_tcp(to: std::net::SocketAddr, options: Option<&SocketOptions>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(options) = options {
        prepare(&socket, options)?;
    }
    let waits = match socket.connect(&SockAddr::from(to)) {
        Ok(()) => false,
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => true,
        Err(error) => return Err(error),
    };
    let stream = TcpStream::from_std(socket.into())?;
    if waits {
        // A failed connect shows as both ends closed (EPOLLHUP, EPOLLERR); only then is the question worth a call.
        let ready = stream.ready(Interest::WRITABLE).await?;
        if ready.is_write_closed()
            && let Some(error) = stream.take_error()?
        {
            return Err(error);
        }
    }
    Ok(stream)
}

async fn open_unix(path: &Path) -> io::Result<UnixStream> {
    // Envoy writes the abstract namespace with a leading `@`, the system with a NUL.
    match path.as_os_str().as_bytes() {
        [b'@', name @ ..] => {
            let name = [b"\0", name].concat();
            UnixStream::connect(Path::new(OsStr::from_bytes(&name))).await
        }
        _ => UnixStream::connect(path).await,
    }
}

fn prepare(socket: &Socket, options: &SocketOptions) -> io::Result<()> {
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
        socket.set_tcp_keepalive(&keepalive)?;
    }
    if let Some(Address::Socket(source)) = &options.source {
        socket.bind(&SockAddr::from(*source))?;
    }
    Ok(())
}

fn classify(error: &io::Error) -> ConnectError {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    match (error.kind(), code) {
        (io::ErrorKind::TimedOut, _) => ConnectError::Timeout,
        (io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound, _) => ConnectError::Refused,
        (io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable, _) => ConnectError::Unreachable,
        (io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory, _) => {
            ConnectError::Local
        }
        (_, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS)) => ConnectError::Local,
        _ => ConnectError::Other,
    }
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
