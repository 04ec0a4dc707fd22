//! Where the control plane is, and how a connection to it is made.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use crate::model::address::{self, Address};
use crate::model::cluster::Transport;
use crate::snapshot::ClusterEntry;
use crate::verify::explain;

/// A gRPC server.
#[derive(Clone, Debug)]
pub struct Target {
    /// Tried in this order.
    pub peers: Vec<Peer>,
    /// `:authority` of the requests, host and port.
    pub authority: Arc<str>,
    /// `None`: plain text.
    pub tls: Option<Tls>,
    /// For each address, name resolution and the TLS handshake included.
    pub connect_timeout: Duration,
    /// HTTP/2 PING; `None`: none is sent.
    pub keepalive: Option<Keepalive>,
}

/// One place to connect to.
#[derive(Clone, Debug)]
pub enum Peer {
    /// An address.
    Address(SocketAddr),
    /// A name, resolved again at each attempt, and a port.
    Name(Arc<str>, u16),
    /// A Unix socket.
    Path(PathBuf),
}

/// TLS towards the control plane.
#[derive(Clone)]
pub struct Tls {
    /// Must offer ALPN `h2`.
    pub config: Arc<rustls::ClientConfig>,
    /// Sent as SNI and verified.
    pub name: ServerName<'static>,
}

/// When to ask whether the peer is still there, and how long to wait for it. Kuma's bootstrap says 10 s and 30 s.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    /// Between PINGs.
    pub interval: Duration,
    /// For the answer.
    pub timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), timeout: Duration::from_secs(30) }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Peer {
    fn of(target: &address::Target) -> Self {
        match target {
            address::Target::Address(Address::Socket(at)) => Self::Address(*at),
            address::Target::Address(Address::Pipe { path, .. }) => Self::Path(path.to_path_buf()),
            address::Target::Name { host, port } => Self::Name(Arc::clone(host), *port),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A bootstrap without one.
    #[error("no address is known")]
    NoPeer,
    /// See there.
    #[error("there is no cluster {0}")]
    NoCluster(Arc<str>),
    /// The connection would not be what the cluster asks for.
    #[error("cluster {0}: only plain connections are made to a server of secrets")]
    Transport(Arc<str>),
    /// The last of the addresses that were tried.
    #[error("{peer}: {}", explain::refusal(source).unwrap_or_else(|| source.to_string()))]
    Io {
        /// Which.
        peer: Peer,
        /// Why.
        source: io::Error,
    },
    /// Nothing happened in time.
    #[error("{peer}: no connection within {after:?}")]
    Timeout {
        /// Which.
        peer: Peer,
        /// The limit.
        after: Duration,
    },
    /// The authority is no authority, or the HTTP/2 handshake failed.
    #[error("{0}")]
    Http2(#[from] tonic::transport::Error),
    /// See there.
    #[error("{authority:?} is not an authority")]
    Authority {
        /// What stands in its place.
        authority: Arc<str>,
    },
}

impl Target {
    /// The endpoints of a cluster of the configuration, in its order of priority. No PINGs are sent: gRPC's servers take
    /// more than one in five minutes for an attack, and SPIRE's agent is one of them.
    ///
    /// # Errors
    /// It has none, or wants TLS.
    pub fn of_cluster(entry: &ClusterEntry, authority: Option<&Arc<str>>) -> Result<Self, ConnectError> {
        let cluster = &*entry.cluster;
        if cluster.transport != Transport::Raw {
            return Err(ConnectError::Transport(Arc::clone(&cluster.name)));
        }
        let mut localities: Vec<_> = entry.assignment.localities.iter().collect();
        localities.sort_by_key(|locality| locality.priority);
        let endpoints = localities.into_iter().flat_map(|locality| &locality.endpoints);
        let peers: Vec<_> = endpoints.map(|endpoint| Peer::of(&endpoint.target)).collect();
        Ok(Self {
            peers,
            authority: Arc::clone(authority.unwrap_or(&cluster.name)),
            tls: None,
            connect_timeout: cluster.connect_timeout,
            keepalive: None,
        })
    }

    /// Connects anew. The channel is for one stream: it does not reconnect by itself, so that every attempt is ours.
    ///
    /// # Errors
    /// What happened with the address that was tried last.
    pub async fn connect(&self) -> Result<Channel, ConnectError> {
        let io = self.dial().await?;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let origin = Uri::builder().scheme(scheme).authority(&*self.authority).path_and_query("/").build();
        let origin = origin.map_err(|_| ConnectError::Authority { authority: Arc::clone(&self.authority) })?;
        let mut endpoint = Endpoint::from_static("http://control-plane")
            .origin(origin)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        if let Some(Keepalive { interval, timeout }) = self.keepalive {
            endpoint = endpoint.http2_keep_alive_interval(interval);
            endpoint = endpoint.keep_alive_timeout(timeout).keep_alive_while_idle(true);
        }
        let channel = endpoint.connect_with_connector(Once(Some(io)));
        match tokio::time::timeout(self.connect_timeout, channel).await {
            Ok(channel) => Ok(channel?),
            Err(_) => match self.peers.last() {
                Some(peer) => Err(ConnectError::Timeout { peer: peer.clone(), after: self.connect_timeout }),
                None => Err(ConnectError::NoPeer),
            },
        }
    }

    async fn dial(&self) -> Result<Io, ConnectError> {
        let mut failed = ConnectError::NoPeer;
        for peer in &self.peers {
            match tokio::time::timeout(self.connect_timeout, self.dial_one(peer)).await {
                Ok(Ok(io)) => return Ok(io),
                Ok(Err(source)) => failed = ConnectError::Io { peer: peer.clone(), source },
                Err(_) => failed = ConnectError::Timeout { peer: peer.clone(), after: self.connect_timeout },
            }
        }
        Err(failed)
    }

    async fn dial_one(&self, peer: &Peer) -> io::Result<Io> {
        let stream = match peer {
            Peer::Path(path) => return self.secure(UnixStream::connect(&*named(path)).await?).await,
            Peer::Address(address) => TcpStream::connect(address).await?,
            Peer::Name(name, port) => TcpStream::connect((&**name, *port)).await?,
        };
        stream.set_nodelay(true)?;
        self.secure(stream).await
    }

    async fn secure<S: Stream>(&self, stream: S) -> io::Result<Io> {
        let Some(Tls { config, name }) = &self.tls else { return Ok(Io(Box::pin(stream))) };
        let stream: TlsStream<S> = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await?;
        Ok(Io(Box::pin(stream)))
    }
}

/// A leading `@` stands for the abstract namespace, as in Envoy.
fn named(path: &Path) -> Cow<'_, Path> {
    match path.to_str().and_then(|text| text.strip_prefix('@')) {
        Some(name) => PathBuf::from(format!("\0{name}")).into(),
        None => path.into(),
    }
}

/// A load of 10,000 clusters is a few MiB; with the default 64 KiB it would come in a hundred round trips.
const WINDOW: u32 = 1024 * 1024;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// TCP or Unix, plain or TLS.
struct Io(Pin<Box<dyn Stream>>);

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(cx)
    }
}

/// Gives the connection that was made before, once.
struct Once(Option<Io>);

impl Service<Uri> for Once {
    type Response = TokioIo<Io>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let io = self.0.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        Box::pin(async move { io.map(TokioIo::new) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn target(peers: Vec<Peer>) -> Target {
        Target {
            peers,
            authority: "localhost:5678".into(),
            tls: None,
            connect_timeout: Duration::from_millis(200),
            keepalive: None,
        }
    }

    #[tokio::test]
    async fn the_error_names_the_last_address() {
        assert!(matches!(target(vec![]).connect().await, Err(ConnectError::NoPeer)));
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = target(vec![Peer::Address(free)]).connect().await.unwrap_err();
        assert!(error.to_string().starts_with(&free.to_string()), "{error}");
        let error = target(vec![Peer::Path("/nowhere/socket".into())]).connect().await.unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/socket: "), "{error}");
    }

    #[tokio::test]
    async fn the_second_address_is_tried_when_the_first_refuses() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peers = vec![Peer::Address(free), Peer::Name("localhost".into(), listener.local_addr().unwrap().port())];
        let target = target(peers);
        let (accepted, dialled) = tokio::join!(listener.accept(), target.dial());
        assert!(accepted.is_ok() && dialled.is_ok());
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_ends_at_the_deadline() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into());
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
        let mut target = target(vec![Peer::Address(listener.local_addr().unwrap())]);
        target.tls = Some(Tls { config: config.into(), name: "localhost".try_into().unwrap() });
        let error = target.connect().await.unwrap_err();
        assert!(matches!(error, ConnectError::Timeout { .. }), "{error}");
    }
}
