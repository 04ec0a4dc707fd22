//! An HTTP/1 connection. While nothing happens on it, it owns its socket and little else: hyper's buffers come back with
//! the next request.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::{Duration, Instant};

use http::StatusCode;
use hyper::server::conn::http1::{Builder, UpgradeableConnection};
use hyper_util::rt::TokioIo;
use proxy::control::Kill;
use proxy::error::CloseReason;
use proxy::metrics::HttpStat;

use super::connection::reason;
use super::context::{Context, Phase};
use super::h1::Gate;
use super::h1::head::Refusal;
use super::io::Io;
use super::service::Requests;

/// A connection without a request is put to rest after this time.
const REST: Duration = Duration::from_secs(2);

/// A head that does not come to its end.
const LATE: Refusal =
    Refusal { status: StatusCode::REQUEST_TIMEOUT, details: "request_header_timeout", of_codec: false };

type Hyper = Box<UpgradeableConnection<TokioIo<Io>, Requests>>;

enum State {
    /// With hyper.
    Awake(Hyper),
    /// Without.
    Resting(Io),
    /// Between the two.
    Gone,
}

/// Serves it until it is over.
pub(super) async fn serve(context: Arc<Context>, io: Io) -> CloseReason {
    let _counted = Counted::new(&context);
    let io = io.with_gate(Gate::new(context.chain.rules()));
    let mut driver = Driver { context, state: State::Resting(io), drain_until: None };
    poll_fn(|cx| driver.poll(cx)).await
}

struct Driver {
    context: Arc<Context>,
    state: State,
    /// The connection has had its time; without a request it ends then.
    drain_until: Option<Instant>,
}

impl Driver {
    fn poll(&mut self, cx: &mut Task<'_>) -> Poll<CloseReason> {
        self.context.control.watch(cx);
        if let Some(kill) = self.context.control.kill_code()
            && let Some(reason) = self.killed(kill)
        {
            return Poll::Ready(reason);
        }
        loop {
            match std::mem::replace(&mut self.state, State::Gone) {
                State::Awake(mut hyper) => {
                    let polled = Pin::new(&mut *hyper).poll(cx);
                    self.state = State::Awake(hyper);
                    return polled.map(|ended| reason(&self.context, ended));
                }
                State::Resting(io) => {
                    if io.poll_readable(cx).is_pending() {
                        self.state = State::Resting(io);
                        return Poll::Pending;
                    }
                    self.wake(io);
                }
                State::Gone => return Poll::Ready(CloseReason::Done),
            }
        }
    }

    fn wake(&mut self, io: Io) {
        let manager = &self.context.chain.manager;
        let mut builder = Builder::new();
        let most = manager.common.max_headers_count as usize;
        if most > 100 {
            builder.max_headers(most);
        }
        let bytes = manager.max_request_headers_kb as usize * 1024;
        builder.max_buf_size(bytes.max(64 * 1024) * 2).max_header_size(bytes);
        let connection = builder.serve_connection(TokioIo::new(io), Requests(Arc::clone(&self.context)));
        self.state = State::Awake(Box::new(connection.with_upgrades()));
        self.rest_after(REST);
    }

    /// Lets the worker look for silence.
    fn rest_after(&self, time: Duration) {
        let limits = &self.context.chain.manager.common;
        let idle = limits.idle_timeout.map_or(time, |idle| idle.min(time));
        self.context.control.set_idle(Some(idle));
    }

    /// What follows from an end from outside; `None`: the connection goes on.
    fn killed(&mut self, kill: Kill) -> Option<CloseReason> {
        let context = &self.context;
        let stats = &context.chain.stats;
        match kill {
            Kill::Drained => return Some(CloseReason::Drained),
            Kill::HostRemoved => return Some(CloseReason::HostRemoved),
            Kill::Idle => return self.silent(),
            Kill::MaxDuration => {
                context.control.pardon(kill);
                stats.inc(HttpStat::DownstreamCxMaxDurationReached);
                context.close();
                if !context.chain.manager.http1_safe_max_connection_duration {
                    self.drain_until = Some(Instant::now() + context.chain.manager.drain_timeout);
                    self.rearm();
                }
            }
            Kill::Deadline => {
                context.control.pardon(kill);
                match context.phase() {
                    Phase::Lingering => {
                        stats.inc(HttpStat::DownstreamCxDelayedCloseTimeout);
                        context.set_phase(Phase::Over);
                    }
                    Phase::Head if !self.is_drained() => {
                        stats.inc(HttpStat::DownstreamRqHeaderTimeout);
                        context.order(LATE);
                    }
                    _ if self.is_drained() && context.active() == 0 => return Some(CloseReason::MaxDuration),
                    _ => self.rearm(),
                }
            }
        }
        None
    }

    fn is_drained(&self) -> bool {
        self.drain_until.is_some_and(|until| until <= Instant::now())
    }

    /// The deadline of the drain, where nothing else is waited for.
    fn rearm(&self) {
        let Some(until) = self.drain_until else { return };
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.context.control.set_deadline(Instant::now(), Some(left));
    }

    /// No byte for a while.
    fn silent(&mut self) -> Option<CloseReason> {
        let context = Arc::clone(&self.context);
        context.control.pardon(Kill::Idle);
        let limit = context.chain.manager.common.idle_timeout;
        if context.active() > 0 || context.phase() != Phase::Open {
            return None;
        }
        let resting = matches!(self.state, State::Resting(_));
        if resting || limit.is_some_and(|limit| limit <= REST) || !self.rest() {
            context.chain.stats.inc(HttpStat::DownstreamCxIdleTimeout);
            return Some(CloseReason::IdleTimeout);
        }
        context.control.set_idle(limit.map(|limit| limit - REST));
        None
    }

    /// Lets go of hyper; false: something has come that is no whole request.
    fn rest(&mut self) -> bool {
        let State::Awake(hyper) = std::mem::replace(&mut self.state, State::Gone) else { return false };
        let Some(parts) = hyper.into_parts() else { return false };
        let io = parts.io.into_inner();
        let idle = io.is_idle() && parts.read_buf.is_empty();
        self.state = State::Resting(io);
        idle
    }
}

/// `downstream_cx_http1_…`
struct Counted(Arc<Context>);

impl Counted {
    fn new(context: &Arc<Context>) -> Self {
        context.chain.stats.inc(HttpStat::DownstreamCxHttp1Total);
        context.chain.stats.inc(HttpStat::DownstreamCxHttp1Active);
        Self(Arc::clone(context))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.chain.stats.dec(HttpStat::DownstreamCxHttp1Active);
    }
}
