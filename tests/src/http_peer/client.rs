//! A client over HTTP/1 (written and read by hand) and HTTP/2, plain or TLS, from any loopback address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::SendRequest;
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Request, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use proxy::stream::Stream;
use proxy::tls::TlsStream;
use proxy::tls::names::ClientConfigs;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpSocket;
use tokio::task::AbortHandle;

use super::answer::{Answer, End};
use super::ask::{Ask, Version};
use super::raw;
use super::server::pairs;

/// How long an answer may take. Far above what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where to and how.
#[derive(Clone, Debug)]
pub struct Dial {
    /// The proxy.
    pub to: SocketAddr,
    /// Our own address.
    pub from: Ipv4Addr,
    /// TLS, and the server name.
    pub tls: Option<(Arc<ClientConfigs>, String)>,
}

impl Dial {
    /// Plain, from 127.0.0.1.
    pub fn plain(to: SocketAddr) -> Self {
        Self { to, from: Ipv4Addr::LOCALHOST, tls: None }
    }

    /// Connects, and shakes hands where TLS is to be.
    ///
    /// # Errors
    /// No connection, or no handshake.
    pub async fn connect(&self) -> io::Result<Stream> {
        let connected = async {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(IpAddr::V4(self.from), 0))?;
            let stream = socket.connect(self.to).await?;
            stream.set_nodelay(true)?;
            let Some((configs, name)) = &self.tls else { return Ok(Stream::Tcp(stream)) };
            let name = (!name.is_empty()).then_some(name.as_bytes());
            let mut stream = TlsStream::client(Stream::Tcp(stream), configs, name).map_err(io::Error::other)?;
            std::future::poll_fn(|cx| stream.poll_handshake(cx)).await.map_err(io::Error::other)?;
            Ok(Stream::Tls(Box::new(stream)))
        };
        tokio::time::timeout(PATIENCE, connected).await.map_err(io::Error::other)?
    }
}

/// A connection, kept for the next request as long as it stays open.
pub enum Connection {
    /// HTTP/1.
    One(Box<BufReader<Stream>>),
    /// HTTP/2.
    Two(SendRequest<Body>, AbortHandle),
}

type Body = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

impl Connection {
    /// Opens one that speaks this version.
    ///
    /// # Errors
    /// No connection, or no handshake.
    pub async fn open(dial: &Dial, version: Version) -> io::Result<Self> {
        let stream = dial.connect().await?;
        if version != Version::Http2 {
            return Ok(Self::One(Box::new(BufReader::new(stream))));
        }
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).max_header_list_size(1 << 20);
        let (sender, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let driver = tokio::spawn(async move {
            // How it ends is seen by its requests.
            let _ = driver.await;
        });
        Ok(Self::Two(sender, driver.abort_handle()))
    }

    /// Sends a request and waits for the whole answer; and whether the connection may be used again.
    pub async fn ask(&mut self, ask: &Ask) -> (Answer, bool) {
        let exchange = async {
            match self {
                Self::One(stream) => over_one(stream, ask).await,
                Self::Two(sender, _) => over_two(sender, ask).await,
            }
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| (Answer::none(), false))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Self::Two(_, driver) = self {
            driver.abort();
        }
    }
}

/// One request on a connection of its own.
///
/// # Errors
/// No connection, or no handshake.
pub async fn once(dial: &Dial, ask: &Ask) -> io::Result<Answer> {
    Ok(Connection::open(dial, ask.version).await?.ask(ask).await.0)
}

/// Sends any bytes over HTTP/1 and reads one answer.
///
/// # Errors
/// No connection, or no handshake.
pub async fn bytes(dial: &Dial, bytes: &[u8], method: &str) -> io::Result<Answer> {
    let mut stream = BufReader::new(dial.connect().await?);
    let exchange = async {
        // A proxy that refuses early may have closed already; its answer is there all the same.
        let _ = stream.write_all(bytes).await;
        let _ = stream.flush().await;
        raw::response(&mut stream, method).await
    };
    Ok(tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Answer::none()))
}

async fn over_one(stream: &mut BufReader<Stream>, ask: &Ask) -> (Answer, bool) {
    let bytes = ask.to_bytes();
    let written = stream.write_all(&bytes).await.is_ok() && stream.flush().await.is_ok();
    let answer = raw::response(stream, &ask.method).await;
    let closes = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let framed = answer.header("content-length").is_some() || answer.header("transfer-encoding").is_some();
    let again = written && answer.end == End::Whole && !closes && (framed || answer.body.is_empty());
    let again = again && answer.version == "HTTP/1.1" && answer.status != 101;
    (answer, again)
}

async fn over_two(sender: &mut SendRequest<Body>, ask: &Ask) -> (Answer, bool) {
    let Some(request) = request(ask) else { return (Answer::none(), false) };
    if sender.ready().await.is_err() {
        return (Answer::none(), false);
    }
    let Ok(response) = sender.send_request(request).await else { return (Answer::none(), !sender.is_closed()) };
    let (head, mut body) = response.into_parts();
    let mut answer = Answer {
        version: "HTTP/2.0".into(),
        status: head.status.as_u16(),
        headers: pairs(&head.headers),
        end: End::Whole,
        ..Answer::none()
    };
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            answer.end = End::Cut;
            break;
        };
        match frame.into_data() {
            Ok(data) => answer.body.extend_from_slice(&data),
            Err(frame) => answer.trailers.extend(frame.trailers_ref().map(pairs).unwrap_or_default()),
        }
    }
    (answer, !sender.is_closed())
}

/// `None`: it can't be sent over HTTP/2.
fn request(ask: &Ask) -> Option<Request<Body>> {
    let mut uri = Uri::builder().scheme(ask.header(":scheme").unwrap_or("http"));
    uri = uri.authority(ask.host.as_deref()?).path_and_query(ask.path.parse::<PathAndQuery>().ok()?);
    let mut request = Request::builder().method(ask.method.as_str()).uri(uri.build().ok()?);
    for (name, value) in ask.headers.iter().filter(|(name, _)| !name.starts_with(':')) {
        request = request.header(name, value);
    }
    let mut frames = Vec::new();
    if !ask.body.is_empty() {
        frames.push(Ok(Frame::data(Bytes::from(ask.body.clone()))));
    }
    if !ask.trailers.is_empty() {
        let mut trailers = HeaderMap::new();
        for (name, value) in &ask.trailers {
            let name = hyper::header::HeaderName::from_bytes(name.as_bytes()).ok()?;
            trailers.append(name, value.parse().ok()?);
        }
        frames.push(Ok(Frame::trailers(trailers)));
    }
    let body = if frames.is_empty() {
        http_body_util::Empty::new().boxed()
    } else {
        BodyExt::boxed(StreamBody::new(tonic::codegen::tokio_stream::iter(frames)))
    };
    request.body(body).ok()
}
