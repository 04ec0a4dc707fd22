//! Serving HTTP on one connection: HTTP/1.1 or HTTP/2 by its first bytes, with deadlines on everything.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::timeout;

use super::io::Io;
use super::reply::{Body, Holding};
use crate::lifecycle::drain::Watch;

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Envoy's `max_request_headers_kb`, in bytes.
const MAX_HEAD: usize = 60 * 1024;

/// How often the silence on a connection is looked at.
const LONGEST_LOOK: Duration = Duration::from_secs(1);
const SHORTEST_LOOK: Duration = Duration::from_millis(10);

/// Requests at a time on an HTTP/2 connection.
const MAX_STREAMS: u32 = 100;

/// How long things may take on a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// A request's head.
    pub(crate) head: Duration,
    /// Silence between requests.
    pub(crate) idle: Duration,
    /// Silence within a request, Envoy's `stream_idle_timeout`.
    pub(crate) stall: Duration,
}

impl Default for Limits {
    /// An hour between requests and five minutes within one are Envoy's.
    fn default() -> Self {
        Self { head: Duration::from_secs(30), idle: Duration::from_secs(3600), stall: Duration::from_secs(300) }
    }
}

/// Something that answers requests.
pub(crate) trait Handler: Clone + Send + Sync + 'static {
    /// Answers one.
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

/// Serves until the client is done, a limit is exceeded or `watch` says so.
pub(crate) async fn serve(mut io: Io, handler: impl Handler, limits: Limits, watch: &Watch) {
    let http2 = tokio::select! {
        sniffed = timeout(limits.head, is_http2(&mut io)) => match sniffed {
            Ok(Some(http2)) => http2,
            Ok(None) | Err(_) => return,
        },
        () = watch.draining() => return,
    };
    let clock = io.clock();
    let active = Arc::new(AtomicUsize::new(0));
    let service = Counting { handler, active: Arc::clone(&active) };
    let mut connection = Connection::new(TokioIo::new(io), service, http2, limits);
    let mut graceful = false;
    loop {
        let idle = active.load(Ordering::Relaxed) == 0;
        let left = (if idle { limits.idle } else { limits.stall }).saturating_sub(clock.quiet());
        if left.is_zero() {
            if graceful || !idle {
                return;
            }
            connection.finish();
            graceful = true;
        }
        tokio::select! {
            () = &mut connection => return,
            () = watch.draining(), if !graceful => {
                connection.finish();
                graceful = true;
            }
            () = watch.closing() => return,
            // Which limit holds may have changed meanwhile, so not for the whole time.
            () = tokio::time::sleep(left.clamp(SHORTEST_LOOK, LONGEST_LOOK)) => {}
        }
    }
}

/// `None`: the client went away before it said anything.
async fn is_http2(io: &mut Io) -> Option<bool> {
    loop {
        let got = io.ahead();
        let n = got.len().min(PREFACE.len());
        if got[..n] != PREFACE[..n] {
            return Some(false);
        }
        if n == PREFACE.len() {
            return Some(true);
        }
        match io.read_ahead().await {
            Ok(0) | Err(_) => return (!io.ahead().is_empty()).then_some(false),
            Ok(_) => {}
        }
    }
}

/// Counts the requests whose answers are not through yet.
#[derive(Clone)]
struct Counting<H> {
    handler: H,
    active: Arc<AtomicUsize>,
}

impl<H: Handler> Service<Request<Incoming>> for Counting<H> {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let counted = Counted::new(&self.active);
        let handler = self.handler.clone();
        Box::pin(async move { Ok(handler.handle(request).await.map(|body| Holding::wrap(body, counted))) })
    }
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(active: &Arc<AtomicUsize>) -> Self {
        active.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(active))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

type Http2<H> = http2::Connection<TokioIo<Io>, Counting<H>, TokioExecutor>;

enum Connection<H: Handler> {
    Http1(Pin<Box<http1::Connection<TokioIo<Io>, Counting<H>>>>),
    Http2(Pin<Box<Http2<H>>>),
}

impl<H: Handler> Connection<H> {
    fn new(io: TokioIo<Io>, service: Counting<H>, http2: bool, limits: Limits) -> Self {
        if http2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).max_header_list_size(MAX_HEAD as u32).max_concurrent_streams(MAX_STREAMS);
            return Self::Http2(Box::pin(builder.serve_connection(io, service)));
        }
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(MAX_HEAD);
        Self::Http1(Box::pin(builder.serve_connection(io, service)))
    }

    /// Ends after the requests under way.
    fn finish(&mut self) {
        match self {
            Self::Http1(connection) => connection.as_mut().graceful_shutdown(),
            Self::Http2(connection) => connection.as_mut().graceful_shutdown(),
        }
    }
}

impl<H: Handler> Future for Connection<H> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ended = match &mut *self {
            Self::Http1(connection) => std::task::ready!(connection.as_mut().poll(cx)),
            Self::Http2(connection) => std::task::ready!(connection.as_mut().poll(cx)),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "HTTP connection ended");
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::StatusCode;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::lifecycle::drain::{Drain, Strategy};
    use crate::system::reply;

    #[derive(Clone)]
    struct Slow(Duration);

    impl Handler for Slow {
        async fn handle(&self, _: Request<Incoming>) -> Response<Body> {
            tokio::time::sleep(self.0).await;
            reply::text(StatusCode::OK, "hi")
        }
    }

    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    fn limits(ms: [u64; 3]) -> Limits {
        let [head, idle, stall] = ms.map(Duration::from_millis);
        Limits { head, idle, stall }
    }

    fn start(
        handler: Slow,
        limits: Limits,
    ) -> (DuplexStream, tokio::task::JoinHandle<()>, crate::lifecycle::drain::Trigger) {
        let (client, server) = duplex(4096);
        let (trigger, watch) = Drain::new();
        let task = tokio::spawn(async move { serve(Io::new(server), handler, limits, &watch).await });
        (client, task, trigger)
    }

    async fn answer(client: &mut DuplexStream) -> String {
        let mut got = Vec::new();
        while !got.ends_with(b"hi") {
            assert_ne!(client.read_buf(&mut got).await.unwrap(), 0, "{}", String::from_utf8_lossy(&got));
        }
        String::from_utf8(got).unwrap()
    }

    #[tokio::test]
    async fn keeps_the_connection_until_it_was_idle_for_too_long() {
        let (mut client, task, _trigger) = start(Slow(Duration::ZERO), limits([5000, 300, 5000]));
        for _ in 0..3 {
            client.write_all(GET).await.unwrap();
            assert!(answer(&mut client).await.starts_with("HTTP/1.1 200 OK"));
        }
        assert_eq!(timeout(Duration::from_secs(5), client.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn ends_a_slow_head_and_a_stalled_request() {
        let (mut client, task, _trigger) = start(Slow(Duration::ZERO), limits([100, 60_000, 60_000]));
        client.write_all(b"GET / HT").await.unwrap();
        timeout(Duration::from_secs(5), task).await.unwrap().unwrap();
        let (mut client, task, _trigger) = start(Slow(Duration::from_secs(60)), limits([5000, 60_000, 100]));
        client.write_all(GET).await.unwrap();
        timeout(Duration::from_secs(5), task).await.unwrap().unwrap();
        let mut silent = start(Slow(Duration::ZERO), limits([100, 60_000, 60_000]));
        timeout(Duration::from_secs(5), &mut silent.1).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_drain_lets_the_request_finish_and_then_closes() {
        let (mut client, task, trigger) = start(Slow(Duration::from_millis(100)), Limits::default());
        client.write_all(GET).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        trigger.announce(Strategy::Immediate, Duration::from_secs(30));
        assert!(answer(&mut client).await.contains("connection: close"));
        timeout(Duration::from_secs(5), task).await.unwrap().unwrap();
        assert_eq!(trigger.left(), 0);
    }

    #[tokio::test]
    async fn closing_cuts_a_request_short() {
        let (mut client, task, trigger) = start(Slow(Duration::from_secs(60)), Limits::default());
        client.write_all(GET).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        trigger.close();
        timeout(Duration::from_secs(5), task).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn tells_http2_from_http1_however_the_preface_is_cut() {
        for (bytes, expected) in
            [(PREFACE, Some(true)), (GET, Some(false)), (&b"PRI * HTTP/1"[..], Some(false)), (&b""[..], None)]
        {
            let (mut client, server) = duplex(4096);
            let task = tokio::spawn(async move { is_http2(&mut Io::new(server)).await });
            for byte in bytes {
                client.write_all(std::slice::from_ref(byte)).await.unwrap();
            }
            drop(client);
            assert_eq!(task.await.unwrap(), expected);
        }
    }
}
