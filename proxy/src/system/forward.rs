//! A request to an endpoint of a cluster: one connection for each, over TCP or a Unix socket, bodies streamed.
//!
//! These are calls to our own admin server and probes, a few a minute: a pool would cost more than it saves.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};

use super::io::Io;
use super::reply::{self, Body, BodyError, Holding};
use crate::error::ConnectError;
use crate::metrics::Registry;
use crate::stream::Stream;
use crate::upstream::{Clusters, Connected, Lease, Pick, PickError, connect};

/// Where requests may go.
#[derive(Clone)]
pub(super) struct Upstreams {
    pub(super) clusters: Arc<Clusters>,
    pub(super) registry: Arc<Registry>,
}

/// How long an answer may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    /// The whole answer; zero: no limit.
    pub(super) route: Duration,
    /// Without a limit on the whole: until its head.
    pub(super) stall: Duration,
}

/// Sends the request and returns the answer, or Envoy's words for why there is none.
pub(super) async fn forward(
    upstreams: &Upstreams,
    cluster: &str,
    mut request: Request<Incoming>,
    deadlines: Deadlines,
) -> Response<Body> {
    let start = Instant::now();
    let end = (!deadlines.route.is_zero()).then(|| start + deadlines.route);
    if end.is_some() {
        let millis = deadlines.route.as_millis().try_into().unwrap_or(u64::MAX);
        request.headers_mut().insert("x-envoy-expected-rq-timeout-ms", HeaderValue::from(millis));
    }
    let head_by = end.unwrap_or(start + deadlines.stall);
    let answer = match tokio::time::timeout_at(head_by, attempt(upstreams, cluster, request)).await {
        Ok(answer) => answer,
        Err(_) if end.is_some() => Err(Failure::Timeout),
        Err(_) => Err(Failure::StreamTimeout),
    };
    match answer {
        Ok(response) => {
            let elapsed = start.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
            let mut response = response.map(|body| match end {
                Some(at) => Limited { body, over: Box::pin(tokio::time::sleep_until(at)) }.boxed_unsync(),
                None => body,
            });
            response.headers_mut().insert("x-envoy-upstream-service-time", HeaderValue::from(elapsed));
            response
        }
        Err(failure) => {
            tracing::debug!(cluster, %failure, "request failed");
            failure.reply()
        }
    }
}

async fn attempt(upstreams: &Upstreams, cluster: &str, request: Request<Incoming>) -> Result<Response<Body>, Failure> {
    let cluster = upstreams.clusters.get(cluster).ok_or(Failure::NoCluster)?;
    let config = cluster.config();
    let mut pending = cluster.admit()?;
    let host = cluster.pick(&Pick::default())?;
    let Connected { stream, lease } = connect(&mut pending, &host).await?;
    let http2 = config.http.as_deref().is_some_and(|http| http.protocol.is_http2_alone());
    let (response, driver) = exchange(stream, request, http2).await?;
    let (mut parts, body) = response.into_parts();
    strip_hop_by_hop(&mut parts.headers);
    parts.version = Version::HTTP_11;
    let body = body.map_err(BodyError::from).boxed_unsync();
    Ok(Response::from_parts(parts, Holding::wrap(body, Held { _driver: driver, _lease: lease })))
}

/// What lives as long as the answer's body.
struct Held {
    _driver: Driver,
    _lease: Lease,
}

/// The task behind a client connection; ends with this.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange(
    stream: Stream,
    request: Request<Incoming>,
    http2: bool,
) -> Result<(Response<Incoming>, Driver), Failure> {
    let io = TokioIo::new(Io::new(stream));
    let request = outgoing(request, http2)?;
    if http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        let (mut sender, connection) = builder.handshake(io).await.map_err(Failure::from)?;
        let driver = Driver(tokio::spawn(async move { drop(connection.await) }));
        return Ok((sender.send_request(request).await.map_err(Failure::from)?, driver));
    }
    let (mut sender, connection) = http1::handshake(io).await.map_err(Failure::from)?;
    let driver = Driver(tokio::spawn(async move { drop(connection.await) }));
    Ok((sender.send_request(request).await.map_err(Failure::from)?, driver))
}

/// The request as it goes out: no header of the last hop, the host where the protocol wants it.
fn outgoing<B>(request: Request<B>, http2: bool) -> Result<Request<B>, Failure> {
    let (mut parts, body) = request.into_parts();
    strip_hop_by_hop(&mut parts.headers);
    parts.headers.remove(header::EXPECT);
    let host = match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => parts.headers.get(header::HOST).cloned(),
    };
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    if http2 {
        let host = host.as_ref().and_then(|h| h.to_str().ok()).filter(|h| !h.is_empty()).unwrap_or("localhost");
        parts.uri = http::Uri::builder()
            .scheme("http")
            .authority(host)
            .path_and_query(path)
            .build()
            .map_err(|_| Failure::Protocol)?;
        parts.headers.remove(header::HOST);
        parts.version = Version::HTTP_2;
    } else {
        parts.uri = path.parse().map_err(|_| Failure::Protocol)?;
        parts.headers.insert(header::HOST, host.unwrap_or(HeaderValue::from_static("localhost")));
        parts.version = Version::HTTP_11;
    }
    Ok(Request::from_parts(parts, body))
}

/// RFC 9110 §7.6.1.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"] {
        headers.remove(name);
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Failure {
    #[error("the cluster is not known")]
    NoCluster,
    #[error("no healthy upstream")]
    NoHealthyUpstream,
    #[error("a circuit breaker is open")]
    Overflow,
    #[error("connecting failed: {}", .0.as_str())]
    Connect(ConnectError),
    #[error("the endpoint closed the connection before it answered")]
    Closed,
    #[error("the endpoint's answer is malformed")]
    Protocol,
    #[error("the route's timeout is over")]
    Timeout,
    #[error("the endpoint is silent")]
    StreamTimeout,
}

impl Failure {
    fn reply(self) -> Response<Body> {
        let reset = |reason: &str| {
            let text = format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}");
            reply::text(StatusCode::SERVICE_UNAVAILABLE, text)
        };
        match self {
            Self::NoCluster => reply::empty(StatusCode::SERVICE_UNAVAILABLE),
            Self::NoHealthyUpstream => reply::text(StatusCode::SERVICE_UNAVAILABLE, "no healthy upstream"),
            Self::Overflow => {
                let mut response = reset("overflow");
                response.headers_mut().insert("x-envoy-overloaded", HeaderValue::from_static("true"));
                response
            }
            Self::Connect(ConnectError::Timeout) => reset("connection timeout"),
            Self::Connect(_) => reset("remote connection failure"),
            Self::Closed => reset("connection termination"),
            Self::Protocol => reply::text(
                StatusCode::BAD_GATEWAY,
                "upstream connect error or disconnect/reset before headers. reset reason: protocol error",
            ),
            Self::Timeout => reply::text(StatusCode::GATEWAY_TIMEOUT, "upstream request timeout"),
            Self::StreamTimeout => reply::text(StatusCode::GATEWAY_TIMEOUT, "stream timeout"),
        }
    }
}

impl From<PickError> for Failure {
    fn from(error: PickError) -> Self {
        match error {
            PickError::NoHealthyUpstream => Self::NoHealthyUpstream,
            PickError::Overflow => Self::Overflow,
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        let io = error.source().is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
        if error.is_parse() || (error.source().is_some() && !io) { Self::Protocol } else { Self::Closed }
    }
}

/// A body that breaks off when the route's time is over.
struct Limited {
    body: Body,
    over: Pin<Box<Sleep>>,
}

impl hyper::body::Body for Limited {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        ready!(self.over.as_mut().poll(cx));
        Poll::Ready(Some(Err("the route's timeout is over".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn leaves_out_the_headers_of_the_last_hop() {
        let request = Request::builder()
            .uri("http://a.example/x?y")
            .header("host", "b.example")
            .header("connection", "keep-alive, X-Secret")
            .header("x-secret", "1")
            .header("transfer-encoding", "chunked")
            .header("accept", "*/*");
        let sent = outgoing(request.body(()).unwrap(), false).unwrap();
        assert_eq!(sent.uri(), "/x?y");
        let mut names: Vec<_> = sent.headers().iter().map(|(k, v)| format!("{k}={}", v.to_str().unwrap())).collect();
        names.sort();
        assert_eq!(names, ["accept=*/*", "host=a.example"]);
    }

    #[test]
    fn http2_carries_the_host_in_the_uri() {
        let request = Request::builder().uri("/x").header("host", "b.example").body(()).unwrap();
        let sent = outgoing(request, true).unwrap();
        assert_eq!(sent.uri(), "http://b.example/x");
        assert!(sent.headers().is_empty());
        let sent = outgoing(Request::builder().uri("/x").body(()).unwrap(), true).unwrap();
        assert_eq!(sent.uri(), "http://localhost/x");
    }

    #[tokio::test]
    async fn says_what_envoy_says() {
        for (failure, status, text) in [
            (Failure::NoCluster, 503, ""),
            (Failure::NoHealthyUpstream, 503, "no healthy upstream"),
            (Failure::Timeout, 504, "upstream request timeout"),
            (
                Failure::Connect(ConnectError::Refused),
                503,
                "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure",
            ),
        ] {
            let response = failure.reply();
            assert_eq!(response.status(), status);
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), text);
        }
    }
}
