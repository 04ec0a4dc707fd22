//! An HTTP server, HTTP/1.1 or HTTP/2, plain or TLS on one port, that writes down what reached it and does what it is told.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use proxy::stream::Stream;
use proxy::tls::TlsStream;
use proxy::tls::names::ServerConfigs;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

use super::journal::{Journal, Seen, TlsSeen};
use super::script::{self, Reset, Step};
use super::{NAME, SCRIPT};
use crate::wait::LONG;

type Body = http_body_util::combinators::BoxBody<Bytes, Cut>;

/// Why a stream ends early: it was told so.
#[derive(Debug)]
pub struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the script says so")
    }
}

impl std::error::Error for Cut {}

/// The server; it accepts no more when it is dropped.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Desk {
    name: Arc<str>,
    journal: Journal,
}

impl HttpServer {
    /// Starts it on a port of 127.0.0.1. Its name goes into the journal. With `tls` it takes TLS as well as plain text.
    pub async fn start(name: &str, journal: &Journal, tls: Option<Arc<ServerConfigs>>) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), name, journal, tls).await
    }

    /// The same on an address of the caller's choice.
    pub async fn start_at(at: SocketAddr, name: &str, journal: &Journal, tls: Option<Arc<ServerConfigs>>) -> Self {
        let listener = TcpListener::bind(at).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let desk = Desk { name: name.into(), journal: journal.clone() };
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, desk.clone(), tls.clone()));
            }
        });
        Self { address, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(stream: TcpStream, desk: Desk, tls: Option<Arc<ServerConfigs>>) {
    const HANDSHAKE: u8 = 22;
    let _ = stream.set_nodelay(true);
    let mut first = [0];
    let Ok(1) = stream.peek(&mut first).await else { return };
    match tls {
        Some(configs) if first[0] == HANDSHAKE => {
            let mut stream = TlsStream::server(Stream::Tcp(stream), &configs, &[]);
            if std::future::poll_fn(|cx| stream.poll_handshake(cx)).await.is_err() {
                return;
            }
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let facts = stream.facts().map(|facts| TlsSeen {
                sni: facts.sni.as_deref().map(text),
                alpn: facts.alpn.as_deref().map(text),
                certificate: !facts.peer_certificates.is_empty(),
            });
            serve(Stream::Tls(Box::new(stream)), desk, facts).await;
        }
        _ => serve(stream, desk, None).await,
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, desk: Desk, tls: Option<TlsSeen>) {
    let service = service_fn(move |request| exchange(request, desk.clone(), tls.clone()));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_headers(512);
    builder.http2().timer(TokioTimer::new()).enable_connect_protocol().max_header_list_size(1 << 20);
    // How it ends is for the client to judge.
    let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
}

async fn exchange(mut request: Request<Incoming>, desk: Desk, tls: Option<TlsSeen>) -> Result<Response<Body>, Cut> {
    let name = header(request.headers(), NAME).unwrap_or_default();
    let told = header(request.headers(), SCRIPT).unwrap_or_default();
    let seen = look(&request, &desk.name, tls);
    let is_shadow = seen.is_shadow();
    let (index, attempt) = desk.journal.arrived(&name, seen);
    let step = if is_shadow { Step::default() } else { script::read(&told, attempt) };
    if let Some(answer) = upgraded(&mut request) {
        return Ok(answer);
    }
    let (body, trailers, broken) = read(request.into_body()).await;
    desk.journal.completed(&name, index, (body, trailers), broken);
    tokio::time::sleep(Duration::from_millis(step.wait)).await;
    if step.reset == Some(Reset::Before) {
        return Err(Cut);
    }
    Ok(answer(&step, &desk.name))
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn look(request: &Request<Incoming>, server: &str, tls: Option<TlsSeen>) -> Seen {
    let uri = request.uri();
    let connect = request.method() == Method::CONNECT && uri.path().is_empty();
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    Seen {
        server: server.to_owned(),
        version: format!("{:?}", request.version()),
        method: request.method().to_string(),
        path: if connect { uri.to_string() } else { path.to_owned() },
        authority: uri.authority().map(ToString::to_string),
        scheme: uri.scheme_str().map(str::to_owned),
        protocol: request.extensions().get::<hyper::ext::Protocol>().map(|protocol| protocol.as_str().to_owned()),
        headers: pairs(request.headers()),
        body: Vec::new(),
        trailers: Vec::new(),
        broken: false,
        tls,
    }
}

/// Names and values, in the order of the map.
pub(super) fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| value.as_bytes().iter().copied().map(char::from).collect();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

async fn read(mut body: Incoming) -> (Vec<u8>, Vec<(String, String)>, bool) {
    let (mut bytes, mut trailers) = (Vec::new(), Vec::new());
    while let Ok(frame) = tokio::time::timeout(LONG, body.frame()).await {
        match frame {
            None => return (bytes, trailers, false),
            Some(Err(_)) => break,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => bytes.extend_from_slice(&data),
                Err(frame) => trailers.extend(frame.trailers_ref().map(pairs).unwrap_or_default()),
            },
        }
    }
    (bytes, trailers, true)
}

fn answer(step: &Step, server: &str) -> Response<Body> {
    let (size, body) = (step.size, Bytes::from(step.body()));
    let mut frames = vec![Ok(Frame::data(body.clone()))];
    let empty = size == 0 && step.trailers.is_empty();
    let cut = step.reset == Some(Reset::Within);
    if cut {
        frames = vec![Ok(Frame::data(body.slice(..size / 2)))];
    } else if !step.trailers.is_empty() {
        frames.push(Ok(Frame::trailers(map(&step.trailers))));
    }
    let body = if empty {
        http_body_util::Empty::new().map_err(|never: Infallible| match never {}).boxed()
    } else {
        BodyExt::boxed(StreamBody::new(paced(frames, cut)))
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(step.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    *headers = map(&step.headers);
    headers.insert("x-server", HeaderValue::from_str(server).unwrap_or(HeaderValue::from_static("?")));
    if !headers.contains_key("content-type") {
        headers.insert("content-type", HeaderValue::from_static("text/plain"));
    }
    let has_body = !matches!(step.status, 204 | 304) && step.status >= 200;
    if step.trailers.is_empty() && has_body && !empty {
        headers.insert("content-length", size.into());
    }
    response
}

/// These frames, and the end; or, a little later so that they are sent, a reset.
fn paced(frames: Vec<Result<Frame<Bytes>, Cut>>, cut: bool) -> ReceiverStream<Result<Frame<Bytes>, Cut>> {
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        for frame in frames {
            let _ = sender.send(frame).await;
        }
        if cut {
            tokio::time::sleep(Duration::from_millis(30)).await;
            let _ = sender.send(Err(Cut)).await;
        }
    });
    ReceiverStream::new(receiver)
}

fn map(pairs: &[(String, String)]) -> HeaderMap {
    let pair = |(name, value): &(String, String)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    let mut map = HeaderMap::new();
    for (name, value) in pairs.iter().filter_map(pair) {
        map.append(name, value);
    }
    map
}

/// A tunnel, where one is asked for: everything comes back.
fn upgraded(request: &mut Request<Incoming>) -> Option<Response<Body>> {
    let upgrade = header(request.headers(), "upgrade");
    if upgrade.is_none() && request.method() != Method::CONNECT {
        return None;
    }
    let on = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(stream) = on.await else { return };
        let mut stream = TokioIo::new(stream);
        let mut buffer = vec![0; 1 << 16];
        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
            if stream.write_all(&buffer[..n]).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
        let _ = stream.shutdown().await;
    });
    let mut response = Response::new(http_body_util::Empty::new().map_err(|never: Infallible| match never {}).boxed());
    if let Some(protocol) = upgrade {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
        response.headers_mut().insert("upgrade", HeaderValue::from_str(&protocol).ok()?);
    }
    Some(response)
}
