//! A service of the mesh that ends mTLS itself, as a sidecar does for it, and remembers whom it met.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What the service saw of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The client's certificate.
    pub certificate: Option<CertificateDer<'static>>,
    /// The server name it asked for.
    pub sni: Option<String>,
    /// The application protocol agreed on.
    pub alpn: Option<String>,
}

/// What it does once the handshake is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Writes the service's name and a newline, then sends back whatever comes.
    Echo,
    /// Answers any HTTP/1.1 request with 200 and the service's name.
    Http,
}

/// The service; it ends when it is dropped.
#[derive(Debug)]
pub struct MeshService {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl MeshService {
    /// Starts it on a port of 127.0.0.1.
    pub async fn start(name: &str, tls: Arc<ServerConfig>, answer: Answer) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (notes, name) = (Arc::clone(&seen), Arc::<str>::from(name));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (acceptor, notes, name) = (TlsAcceptor::from(Arc::clone(&tls)), Arc::clone(&notes), name.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    notes.lock().expect("no panic before").push(look(&stream));
                    // How a connection ends is for its client to judge.
                    let _ = match answer {
                        Answer::Echo => echo(stream, &name).await,
                        Answer::Http => http(stream, name).await.map_err(std::io::Error::other),
                    };
                });
            }
        });
        Self { address, seen, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whom it met so far, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic before").clone()
    }
}

impl Drop for MeshService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn look(stream: &TlsStream<TcpStream>) -> Seen {
    let session = stream.get_ref().1;
    Seen {
        certificate: session.peer_certificates().and_then(|c| c.first()).map(|c| c.clone().into_owned()),
        sni: session.server_name().map(str::to_owned),
        alpn: session.alpn_protocol().map(|p| String::from_utf8_lossy(p).into_owned()),
    }
}

async fn echo(mut stream: TlsStream<TcpStream>, name: &str) -> std::io::Result<()> {
    stream.write_all(format!("{name}\n").as_bytes()).await?;
    stream.flush().await?;
    let (mut from, mut to) = tokio::io::split(stream);
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}

async fn http(stream: TlsStream<TcpStream>, name: Arc<str>) -> Result<(), hyper::Error> {
    let service = hyper::service::service_fn(move |_: Request<Incoming>| {
        let body = Full::new(Bytes::copy_from_slice(name.as_bytes()));
        async move { Ok::<_, std::convert::Infallible>(Response::new(body)) }
    });
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
}
