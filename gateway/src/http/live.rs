//! A request while it lives: its limits in time, and its end, which comes exactly once on whichever way.

use std::sync::Arc;
use std::task::Context as Task;
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};
use proxy::control::{Control, Kill, Registered};
use proxy::metrics::HttpStat;
use proxy::report::LogType;
use proxy::report::http::{Flag, Protocol};

use super::body::BodyError;
use super::chain::Chain;
use super::context::Context;
use super::exchange::Exchange;
use super::incoming::Meter;
use super::reply::Reply;

/// One request until its last byte is through. Dropped earlier, the client has gone.
pub(super) struct Live {
    pub(super) exchange: Exchange,
    pub(super) limits: Limits,
    pub(super) context: Arc<Context>,
    stage: Stage,
}

/// How long a request may take.
pub(super) struct Limits {
    chain: Arc<Chain>,
    start: Instant,
    control: Registered,
    meter: Option<Arc<Meter>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No answer yet.
    Waiting,
    /// The head of the answer is given to the codec.
    Answering,
    /// All of it is.
    Complete,
    /// It was cut short by us or by the upstream.
    Cut,
}

impl Limits {
    pub(super) fn new(chain: &Arc<Chain>, start: Instant, control: Registered) -> Self {
        let limits = Self { chain: Arc::clone(chain), start, control, meter: None };
        limits.set(None, None);
        limits
    }

    /// For the request's body.
    pub(super) fn control(&self) -> Arc<Control> {
        self.control.share()
    }

    /// The request has a body that is still to come.
    pub(super) fn expect(&mut self, meter: Arc<Meter>) {
        self.meter = Some(meter);
        self.control.set_deadline(self.start, self.chain.manager.request_timeout);
    }

    /// Limits of the route in the place of the connection manager's; zero: none.
    pub(super) fn set(&self, idle: Option<Duration>, duration: Option<Duration>) {
        let manager = &self.chain.manager;
        let chosen = |own: Option<Duration>, general: Option<Duration>| own.or(general).filter(|time| !time.is_zero());
        let idle = chosen(idle, manager.stream_idle_timeout);
        let duration = chosen(duration, manager.common.max_stream_duration);
        self.control.establish(self.start, idle, duration);
    }

    /// All of the request was read.
    pub(super) fn is_received(&self) -> bool {
        self.meter.as_ref().is_none_or(|meter| meter.is_complete())
    }

    /// What came as a body was none.
    pub(super) fn is_broken(&self) -> bool {
        self.meter.as_ref().is_some_and(|meter| meter.is_broken())
    }

    /// The limit that has passed before there was an answer.
    pub(super) fn overdue(&self, cx: &mut Task<'_>) -> Option<Reply> {
        self.control.watch(cx);
        let kill = self.control.kill_code()?;
        self.count(kill);
        self.control.pardon(kill);
        // Whoever is late: the client with its request, or the upstream with its answer (`maybeRequestTimeoutCode`).
        let status = if self.is_received() { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::REQUEST_TIMEOUT };
        Some(match kill {
            Kill::Deadline => {
                Reply::new(StatusCode::REQUEST_TIMEOUT, "request_overall_timeout").body("request timeout")
            }
            Kill::Idle => {
                Reply::new(status, "stream_idle_timeout").body("stream timeout").flag(Flag::StreamIdleTimeout)
            }
            Kill::MaxDuration | Kill::Drained | Kill::HostRemoved => {
                let reply = Reply::new(status, "max_duration_timeout").flag(Flag::DurationTimeout);
                reply.body("downstream duration timeout").grpc(4)
            }
        })
    }

    fn count(&self, kill: Kill) {
        self.chain.stats.inc(match kill {
            Kill::Deadline => HttpStat::DownstreamRqTimeout,
            Kill::Idle => HttpStat::DownstreamRqIdleTimeout,
            Kill::MaxDuration | Kill::Drained | Kill::HostRemoved => HttpStat::DownstreamRqMaxDurationReached,
        });
    }
}

impl Live {
    pub(super) fn new(exchange: Exchange, context: Arc<Context>) -> Box<Self> {
        let Exchange { flow, chain, .. } = &exchange;
        chain.stats.inc(HttpStat::DownstreamRqTotal);
        chain.stats.inc(HttpStat::DownstreamRqActive);
        chain.stats.inc(match flow.protocol {
            Protocol::Http10 | Protocol::Http11 => HttpStat::DownstreamRqHttp1Total,
            Protocol::Http2 => HttpStat::DownstreamRqHttp2Total,
        });
        let limits = Limits::new(chain, flow.start, Registered::new());
        Box::new(Self { exchange, limits, context, stage: Stage::Waiting })
    }

    pub(super) fn touch(&self) {
        self.limits.control.touch();
    }

    /// The limit that has passed while the answer is sent: it is cut short.
    pub(super) fn cut(&mut self, cx: &mut Task<'_>) -> Option<&'static str> {
        self.limits.control.watch(cx);
        let kill = self.limits.control.kill_code().filter(|_| self.stage == Stage::Answering)?;
        self.limits.count(kill);
        self.stage = Stage::Cut;
        let (flag, details) = match kill {
            Kill::Deadline => (None, "request_overall_timeout"),
            Kill::Idle => (Some(Flag::StreamIdleTimeout), "stream_idle_timeout"),
            Kill::MaxDuration | Kill::Drained | Kill::HostRemoved => {
                (Some(Flag::DurationTimeout), "max_duration_timeout")
            }
        };
        let flow = &mut self.exchange.flow;
        flag.into_iter().for_each(|flag| flow.flags.set(flag));
        flow.details = details.into();
        self.exchange.chain.stats.inc(HttpStat::DownstreamRqTxReset);
        Some(details)
    }

    /// The head of the answer goes to the codec; `bare`: nothing follows it.
    pub(super) fn answer(&mut self, bare: bool) {
        self.exchange.flow.timing.response_start = Some(Instant::now());
        self.stage = if bare { Stage::Complete } else { Stage::Answering };
        if bare {
            self.answered();
        }
    }

    pub(super) fn sent(&mut self, n: u64) {
        let flow = &mut self.exchange.flow;
        flow.sent += n;
        if flow.timing.upstream_response_start.is_some() {
            flow.timing.upstream_body_start.get_or_insert_with(Instant::now);
        }
    }

    /// The last byte of the upstream's answer was read, where it is one.
    fn answered(&mut self) {
        let timing = &mut self.exchange.flow.timing;
        if timing.upstream_response_start.is_some() {
            timing.upstream_response_end.get_or_insert_with(Instant::now);
        }
    }

    pub(super) fn trailers(&mut self, trailers: &HeaderMap) {
        // gRPC's status is in there, which logs and statistics want.
        self.exchange.flow.trailers = Some(trailers.clone());
    }

    /// The last byte of the answer is given to the codec.
    pub(super) fn complete(&mut self) {
        if self.stage == Stage::Answering {
            self.stage = Stage::Complete;
            self.answered();
        }
    }

    /// The answer's body broke off.
    pub(super) fn broken(&mut self, error: &BodyError) {
        if self.stage == Stage::Answering {
            self.stage = Stage::Cut;
            self.exchange.chain.stats.inc(HttpStat::DownstreamRqTxReset);
            if let BodyError::Upstream(flag, details) = error {
                self.exchange.flow.flags.set(*flag);
                self.exchange.flow.details = details.to_string().into();
            }
            tracing::debug!(id = self.exchange.flow.id, %error, "the answer broke off");
        }
    }

    /// The client has gone before the end.
    fn abandoned(&mut self) {
        let flow = &mut self.exchange.flow;
        self.exchange.chain.stats.inc(HttpStat::DownstreamRqRxReset);
        if flow.protocol == Protocol::Http2 && !self.context.is_gone() {
            flow.flags.set(Flag::DownstreamRemoteReset);
            flow.details = "http2.remote_reset".into();
        } else {
            flow.flags.set(Flag::DownstreamConnectionTermination);
            flow.details = "downstream_remote_disconnect".into();
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Waiting | Stage::Answering) {
            self.abandoned();
        }
        let received = self.limits.is_received();
        let Exchange { flow, chain, span, .. } = &mut self.exchange;
        let now = Instant::now();
        // Of what was cut short there is no last byte.
        flow.timing.response_end = (self.stage == Stage::Complete).then_some(now);
        if let Some(meter) = &self.limits.meter {
            flow.received = meter.received();
            flow.timing.request_end = meter.ended();
        }
        if self.stage == Stage::Complete {
            if !received {
                chain.stats.inc(HttpStat::DownstreamRqResponseBeforeRqComplete);
            }
            if flow.health_check {
                chain.stats.inc(HttpStat::TracingHealthCheck);
            } else {
                let took = now.saturating_duration_since(flow.start).as_millis();
                chain.stats.record(HttpStat::DownstreamRqTime, u64::try_from(took).unwrap_or(u64::MAX));
            }
        }
        chain.stats.dec(HttpStat::DownstreamRqActive);
        if let Some(span) = span.take() {
            span.finish(flow);
        }
        chain.logs.write(flow, LogType::DownstreamEnd);
        self.context.end();
    }
}
