//! One request after the other to a collector, over one connection that is made anew when it is over.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use config::model::service::{GrpcService, HttpService};
use http::{HeaderName, HeaderValue, Method, Request, Response, Version, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Packed;
use crate::system::io::Io;
use crate::upstream::{Clusters, Connected, Lease, Pick, connect};

/// Most time for one call where nobody says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A connection serves so long: then another endpoint may have its turn.
const LIFE: Duration = Duration::from_secs(60);
/// The longest answer that is read.
const LONGEST: usize = 64 * 1024;

/// Where batches go.
#[derive(Clone, Debug)]
pub enum Target {
    /// A unary call of gRPC.
    Grpc {
        /// The service.
        service: GrpcService,
        /// `/package.Service/Method`.
        path: &'static str,
    },
    /// A request of HTTP.
    Http {
        /// The service.
        service: HttpService,
        /// `POST`, `PUT`.
        method: Method,
        /// Of what.
        content_type: &'static str,
    },
}

/// Why a batch did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The cluster is not there.
    #[error("the cluster {0} is not known")]
    NoCluster(Arc<str>),
    /// No endpoint, none that can be connected to, or a broken connection.
    #[error("the collector can't be reached")]
    Unreachable,
    /// The time was over.
    #[error("the collector does not answer")]
    Timeout,
    /// The collector said no.
    #[error("the collector answered {0}")]
    Refused(String),
}

/// See the module.
pub struct Client {
    target: Target,
    clusters: Arc<Clusters>,
    open: Option<Open>,
}

struct Open {
    sender: Sender,
    until: Instant,
    driver: JoinHandle<()>,
    _lease: Lease,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    /// Not connected yet.
    pub fn new(target: Target, clusters: &Arc<Clusters>) -> Self {
        Self { target, clusters: Arc::clone(clusters), open: None }
    }

    /// Sends a batch and waits for the answer, within the target's time.
    ///
    /// # Errors
    /// It did not arrive.
    pub async fn send(&mut self, packed: Packed) -> Result<(), SendError> {
        let limit = match &self.target {
            Target::Grpc { service, .. } => service.timeout.filter(|time| !time.is_zero()).unwrap_or(TIMEOUT),
            Target::Http { service, .. } => service.timeout,
        };
        let result = tokio::time::timeout(limit, self.exchange(packed)).await.unwrap_or(Err(SendError::Timeout));
        if result.is_err() {
            self.open = None;
        }
        result
    }

    async fn exchange(&mut self, packed: Packed) -> Result<(), SendError> {
        let request = self.request(packed).ok_or(SendError::Unreachable)?;
        let fresh = self.open.take().filter(|open| open.is_good());
        let mut open = match fresh {
            Some(open) => open,
            None => self.connect().await?,
        };
        let response = open.sender.send(request).await.map_err(|_| SendError::Unreachable)?;
        let result = match &self.target {
            Target::Grpc { .. } => grpc_status(response).await,
            Target::Http { .. } => http_status(response).await,
        };
        self.open = Some(open);
        result
    }

    fn cluster(&self) -> &Arc<str> {
        match &self.target {
            Target::Grpc { service, .. } => &service.cluster,
            Target::Http { service, .. } => &service.cluster,
        }
    }

    async fn connect(&self) -> Result<Open, SendError> {
        let name = self.cluster();
        let cluster = self.clusters.get(name).ok_or_else(|| SendError::NoCluster(Arc::clone(name)))?;
        let alone = cluster.config().http.as_deref().is_some_and(|http| http.protocol.is_http2_alone());
        let http2 = alone || matches!(self.target, Target::Grpc { .. });
        let mut pending = cluster.admit().map_err(|_| SendError::Unreachable)?;
        let host = cluster.pick(&Pick::default()).map_err(|_| SendError::Unreachable)?;
        let Connected { stream, lease } = connect(&mut pending, &host).await.map_err(|_| SendError::Unreachable)?;
        let io = TokioIo::new(Io::new(stream));
        let (sender, driver) = if http2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new());
            let (sender, connection) = builder.handshake(io).await.map_err(|_| SendError::Unreachable)?;
            (Sender::Http2(sender), tokio::spawn(async move { drop(connection.await) }))
        } else {
            let (sender, connection) = http1::handshake(io).await.map_err(|_| SendError::Unreachable)?;
            (Sender::Http1(sender), tokio::spawn(async move { drop(connection.await) }))
        };
        Ok(Open { sender, until: Instant::now() + LIFE, driver, _lease: lease })
    }

    /// `None`: the configuration holds what can't stand in a request.
    fn request(&self, packed: Packed) -> Option<Request<Full<Bytes>>> {
        let Packed { body, headers } = packed;
        let (mut request, authority, path, added) = match &self.target {
            Target::Grpc { service, path } => {
                let mut framed = BytesMut::with_capacity(body.len() + 5);
                framed.put_u8(0);
                framed.put_u32(u32::try_from(body.len()).ok()?);
                framed.put(body);
                let mut request = Request::new(Full::new(framed.freeze()));
                *request.method_mut() = Method::POST;
                let to = request.headers_mut();
                to.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                to.insert(header::TE, HeaderValue::from_static("trailers"));
                let authority = if service.authority.is_empty() { &*service.cluster } else { &*service.authority };
                (request, authority, *path, &service.metadata)
            }
            Target::Http { service, method, content_type } => {
                let mut request = Request::new(Full::new(body));
                *request.method_mut() = method.clone();
                request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
                (request, &*service.authority, &*service.path, &service.headers)
            }
        };
        for (name, value) in added {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            request.headers_mut().insert(name, HeaderValue::from_str(value).ok()?);
        }
        for (name, value) in headers {
            request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?);
        }
        let uri = http::Uri::builder().scheme("http").authority(authority).path_and_query(path);
        // The names of Kuma's clusters need not be those of hosts.
        *request.uri_mut() = uri.build().or_else(|_| format!("http://collector{path}").parse()).ok()?;
        Some(request)
    }
}

impl Open {
    fn is_good(&self) -> bool {
        let closed = match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        };
        !closed && Instant::now() < self.until
    }
}

impl Sender {
    async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, hyper::Error> {
        match self {
            Self::Http1(sender) => {
                let host = request.uri().authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
                host.into_iter().for_each(|host| drop(request.headers_mut().insert(header::HOST, host)));
                let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
                if let Ok(uri) = path.parse() {
                    *request.uri_mut() = uri;
                }
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                *request.version_mut() = Version::HTTP_2;
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

async fn http_status(response: Response<Incoming>) -> Result<(), SendError> {
    let status = response.status();
    // Read to the end, so that the connection can be used again.
    drop(Limited::new(response.into_body(), LONGEST).collect().await);
    if status.is_success() { Ok(()) } else { Err(SendError::Refused(status.as_str().to_owned())) }
}

async fn grpc_status(response: Response<Incoming>) -> Result<(), SendError> {
    let (parts, body) = response.into_parts();
    if !parts.status.is_success() {
        return Err(SendError::Refused(parts.status.as_str().to_owned()));
    }
    let body = Limited::new(body, LONGEST).collect().await.map_err(|_| SendError::Unreachable)?;
    let trailers = body.trailers().unwrap_or(&parts.headers);
    match trailers.get("grpc-status").map(HeaderValue::as_bytes) {
        Some(b"0") => Ok(()),
        Some(status) => Err(SendError::Refused(format!("gRPC status {}", String::from_utf8_lossy(status)))),
        None => Err(SendError::Unreachable),
    }
}
