//! An HTTP/2 connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Instant;

use hyper::server::conn::http2::{Builder, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use proxy::control::Kill;
use proxy::error::CloseReason;
use proxy::metrics::HttpStat;

use super::connection::reason;
use super::context::{Context, Phase};
use super::io::Io;
use super::service::Requests;

/// Bytes of an answer that wait for the client, of each stream.
const SEND_BUFFER: usize = 256 * 1024;
/// Streams that are reset before anybody has looked at them. Those that somebody has are counted against
/// `stream_reset_burst`.
const PENDING_RESETS: usize = 50;
/// Streams that we reset since what the client sent on them was no HTTP. Envoy ends the connection with the first, but
/// for `stream_error_on_invalid_http_message`.
const BAD_STREAMS: usize = 100;

type Hyper = Connection<TokioIo<Io>, Requests, TokioExecutor>;

/// Serves it until it is over.
pub(super) async fn serve(context: Arc<Context>, io: Io) -> CloseReason {
    let _counted = Counted::new(&context);
    let hyper = Box::pin(start(&context, io));
    let watch = context.drain().clone();
    let mut told = pin!(watch.draining());
    let mut driver = Driver { context: Arc::clone(&context), hyper, leaving: false, going_away: false };
    poll_fn(|cx| {
        if !driver.leaving && told.as_mut().poll(cx).is_ready() {
            context.chain.stats.inc(HttpStat::DownstreamCxDrainClose);
            driver.leaving = true;
        }
        driver.poll(cx)
    })
    .await
}

fn start(context: &Arc<Context>, io: Io) -> Hyper {
    let manager = &context.chain.manager;
    let options = &manager.http2;
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_concurrent_streams)
        .initial_stream_window_size(options.initial_stream_window_size)
        .initial_connection_window_size(options.initial_connection_window_size)
        .max_header_list_size(manager.max_request_headers_kb.saturating_mul(1024))
        .header_table_size(options.hpack_table_size)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(BAD_STREAMS);
    if options.allow_connect {
        builder.enable_connect_protocol();
    }
    if let Some(keepalive) = &options.keepalive {
        // Envoy's jitter is only ever more.
        let jitter = 1.0 + fastrand::f64() * keepalive.interval_jitter / 100.0;
        let interval = keepalive.interval.map(|interval| interval.mul_f64(jitter));
        builder.keep_alive_interval(interval).keep_alive_timeout(keepalive.timeout);
    }
    builder.serve_connection(TokioIo::new(io), Requests(Arc::clone(context)))
}

struct Driver {
    context: Arc<Context>,
    hyper: Pin<Box<Hyper>>,
    /// Its chain or listener is on its way out.
    leaving: bool,
    going_away: bool,
}

impl Driver {
    fn poll(&mut self, cx: &mut Task<'_>) -> Poll<CloseReason> {
        self.context.control.watch(cx);
        if self.context.is_abused() {
            self.context.chain.stats.inc(HttpStat::DownstreamCxProtocolError);
            tracing::debug!(id = self.context.flow.id, "the client resets too many streams");
            return Poll::Ready(CloseReason::DownstreamReset);
        }
        if let Some(kill) = self.context.control.kill_code()
            && let Some(reason) = self.killed(kill)
        {
            return Poll::Ready(reason);
        }
        loop {
            if self.is_last() {
                self.go_away();
            }
            let polled = self.hyper.as_mut().poll(cx);
            if polled.is_pending() && self.is_last() && !self.going_away {
                continue;
            }
            return polled.map(|ended| reason(&self.context, ended));
        }
    }

    /// An answer has said that it is the last; or the connection is to go, and has had a request: before that, hyper
    /// would close it over the head of a client that has just been let in.
    fn is_last(&self) -> bool {
        self.context.is_closing() || (self.leaving && self.context.requests() > 0)
    }

    /// Sends a GOAWAY: no new streams, the end when those under way are through.
    fn go_away(&mut self) {
        if !std::mem::replace(&mut self.going_away, true) {
            self.hyper.as_mut().graceful_shutdown();
        }
    }

    /// What follows from an end from outside; `None`: the connection goes on.
    fn killed(&mut self, kill: Kill) -> Option<CloseReason> {
        let context = Arc::clone(&self.context);
        let stats = &context.chain.stats;
        match kill {
            Kill::Drained => return Some(CloseReason::Drained),
            Kill::HostRemoved => return Some(CloseReason::HostRemoved),
            Kill::Deadline if context.phase() == Phase::Lingering => {
                context.control.pardon(kill);
                stats.inc(HttpStat::DownstreamCxDelayedCloseTimeout);
                context.set_phase(Phase::Over);
            }
            // What comes behind a header block that does not end is never seen.
            Kill::Deadline if context.phase() == Phase::Head => {
                stats.inc(HttpStat::DownstreamRqHeaderTimeout);
                return Some(CloseReason::IdleTimeout);
            }
            // A client that does not answer the GOAWAY's PING has no say any more.
            Kill::Deadline if context.active() == 0 => return Some(CloseReason::IdleTimeout),
            Kill::Deadline => {
                context.control.pardon(kill);
                if context.phase() == Phase::Leaving {
                    context.control.set_deadline(Instant::now(), Some(context.chain.manager.drain_timeout));
                }
            }
            Kill::Idle => {
                context.control.pardon(kill);
                if context.active() == 0 && !self.going_away {
                    stats.inc(HttpStat::DownstreamCxIdleTimeout);
                    self.end_soon();
                }
            }
            Kill::MaxDuration => {
                context.control.pardon(kill);
                stats.inc(HttpStat::DownstreamCxMaxDurationReached);
                self.end_soon();
            }
        }
        None
    }

    fn end_soon(&mut self) {
        self.go_away();
        self.context.set_phase(Phase::Leaving);
        self.context.control.set_deadline(Instant::now(), Some(self.context.chain.manager.drain_timeout));
    }
}

/// `downstream_cx_http2_…`
struct Counted(Arc<Context>);

impl Counted {
    fn new(context: &Arc<Context>) -> Self {
        context.chain.stats.inc(HttpStat::DownstreamCxHttp2Total);
        context.chain.stats.inc(HttpStat::DownstreamCxHttp2Active);
        Self(Arc::clone(context))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.chain.stats.dec(HttpStat::DownstreamCxHttp2Active);
    }
}
