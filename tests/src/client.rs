//! Clients: raw bytes, and real mTLS.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::hello::Hello;
use crate::wait::within;

/// What became of a connection, as its client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend of this name sent its banner, and then every byte back.
    Served(String),
    /// These bytes came, then the end.
    Answer(Vec<u8>),
    /// The end came, orderly or by a reset, without a byte. Which of the two depends on whether the proxy left
    /// bytes unread in the kernel, so they are one outcome.
    Closed,
}

/// Sends a hello and some bytes to a [`crate::backend::Backend::echo`] behind the proxy, and reads all back.
pub async fn visit(proxy: SocketAddr, hello: &Hello) -> Outcome {
    exchange(proxy, &[&hello.bytes(), &b"more"[..]].concat()).await
}

/// Sends these bytes, ends when the first answer is there, and reads to the end.
///
/// An end that comes with the hello is another matter: Envoy closes when it sees one while it still reads the hello.
pub async fn exchange(proxy: SocketAddr, bytes: &[u8]) -> Outcome {
    let mut stream = connect(proxy).await;
    // A proxy that refuses may have closed already.
    let _ = stream.write_all(bytes).await;
    let _ = within("the first byte or the end", stream.readable()).await;
    let _ = stream.shutdown().await;
    judge(&read_to_end(&mut stream).await, bytes)
}

/// Ends without a byte, and reads to the end.
pub async fn hang_up(proxy: SocketAddr) -> Outcome {
    let mut stream = connect(proxy).await;
    let _ = stream.shutdown().await;
    judge(&read_to_end(&mut stream).await, b"")
}

/// Sends these bytes and reads until the proxy ends the connection, without ending it from here.
pub async fn linger(proxy: SocketAddr, bytes: &[u8]) -> Outcome {
    let mut stream = connect(proxy).await;
    let _ = stream.write_all(bytes).await;
    judge(&read_to_end(&mut stream).await, bytes)
}

/// A connection to the proxy.
///
/// # Panics
/// When nothing listens there.
pub async fn connect(proxy: SocketAddr) -> TcpStream {
    let stream = within("connect", TcpStream::connect(proxy)).await.unwrap_or_else(|e| panic!("{proxy}: {e}"));
    stream.set_nodelay(true).expect("a setting");
    stream
}

/// Everything until the end, be it an orderly one or a reset.
pub async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    match within("the end of the connection", stream.read_to_end(&mut all)).await {
        Ok(_) => all,
        Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => all,
        Err(e) => panic!("reading: {e}"),
    }
}

/// Reads a line, such as a backend's banner, without its newline.
///
/// # Errors
/// When the connection ends before.
pub async fn line(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<String> {
    let mut text = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => return Ok(String::from_utf8_lossy(&text).into_owned()),
            byte => text.push(byte),
        }
    }
}

fn judge(read: &[u8], sent: &[u8]) -> Outcome {
    if read.is_empty() {
        return Outcome::Closed;
    }
    match read.iter().position(|b| *b == b'\n') {
        Some(end) if &read[end + 1..] == sent => Outcome::Served(String::from_utf8_lossy(&read[..end]).into_owned()),
        _ => Outcome::Answer(read.to_vec()),
    }
}

/// A mutual TLS handshake with whom the proxy leads to; `sni` must be a DNS name.
///
/// # Errors
/// What connect or handshake said.
pub async fn mtls(proxy: SocketAddr, sni: &str, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(sni.to_owned()).map_err(|e| std::io::Error::new(ErrorKind::InvalidInput, e))?;
    let stream = TcpStream::connect(proxy).await?;
    stream.set_nodelay(true)?;
    within("a TLS handshake", TlsConnector::from(config).connect(name, stream)).await
}

/// The certificate that the other side of a handshake showed.
pub fn peer_certificate(stream: &TlsStream<TcpStream>) -> Option<CertificateDer<'static>> {
    Some(stream.get_ref().1.peer_certificates()?.first()?.clone().into_owned())
}
