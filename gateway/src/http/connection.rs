//! One connection: which HTTP it speaks, and what drives it until its end.

use std::error::Error as _;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use config::model::hcm::{Codec, CommonHttp};
use proxy::control::Kill;
use proxy::error::CloseReason;
use proxy::http::HttpConnection;
use proxy::metrics::HttpStat;

use super::chain::Chain;
use super::context::Context;
use super::io::Io;
use super::{http1, http2};

/// What an HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves one connection until it is over.
pub(super) async fn serve(chain: Arc<Chain>, connection: HttpConnection) -> CloseReason {
    let alpn = connection.stream.alpn().map(<[u8]>::to_vec);
    let (context, stream, head) = Context::new(chain, connection);
    let counted = Counted::new(&context);
    let limits = &context.chain.manager.common;
    context.control.establish(context.flow.start, limits.idle_timeout, lifetime(limits));
    let mut io = Io::new(stream, head.into_vec(), Arc::clone(&context));
    let reason = match choose(&context, alpn.as_deref(), &mut io).await {
        Err(reason) => reason,
        Ok(true) => Box::pin(http2::serve(Arc::clone(&context), io.without_gate())).await,
        Ok(false) => http1::serve(Arc::clone(&context), io).await,
    };
    context.set_gone();
    counted.end(&reason);
    reason
}

/// `max_connection_duration` with its jitter, which is only ever more.
fn lifetime(limits: &CommonHttp) -> Option<Duration> {
    let more = fastrand::f64() * limits.max_connection_duration_jitter / 100.0;
    limits.max_connection_duration.map(|max| max.mul_f64(1.0 + more))
}

/// Whether HTTP/2 is spoken (Envoy's codec `AUTO`: ALPN, else what the first bytes are).
async fn choose(context: &Context, alpn: Option<&[u8]>, io: &mut Io) -> Result<bool, CloseReason> {
    match (context.chain.manager.codec, alpn) {
        (Codec::Http1, _) => return Ok(false),
        (Codec::Http2, _) | (Codec::Auto, Some(b"h2")) => return Ok(true),
        (Codec::Auto, Some(b"http/1.1" | b"http/1.0")) => return Ok(false),
        (Codec::Auto, _) => {}
    }
    poll_fn(|cx| {
        context.control.watch(cx);
        loop {
            if let Some(is_http2) = is_preface(io.held()) {
                return Poll::Ready(Ok(is_http2));
            }
            if let Some(reason) = ended(context) {
                return Poll::Ready(Err(reason));
            }
            // An idle connection holds no buffer.
            if io.held().is_empty() && ready!(io.poll_readable(cx)).is_err() {
                return Poll::Ready(Err(CloseReason::DownstreamReset));
            }
            match ready!(io.poll_hold(cx)) {
                Ok(0) => return Poll::Ready(Err(CloseReason::Done)),
                // What may become a preface is a head that is awaited.
                Ok(_) => context.begin_head(),
                Err(_) => return Poll::Ready(Err(CloseReason::DownstreamReset)),
            }
        }
    })
    .await
}

/// `None`: it may still become one.
fn is_preface(bytes: &[u8]) -> Option<bool> {
    let n = bytes.len().min(PREFACE.len());
    if bytes[..n] != PREFACE[..n] {
        return Some(false);
    }
    (n == PREFACE.len()).then_some(true)
}

/// The end from outside of a connection without a request.
fn ended(context: &Context) -> Option<CloseReason> {
    let kill = context.control.kill_code()?;
    let stats = &context.chain.stats;
    Some(match kill {
        Kill::Idle | Kill::Deadline => {
            stats.inc(HttpStat::DownstreamCxIdleTimeout);
            CloseReason::IdleTimeout
        }
        Kill::MaxDuration => {
            stats.inc(HttpStat::DownstreamCxMaxDurationReached);
            CloseReason::MaxDuration
        }
        Kill::Drained => CloseReason::Drained,
        Kill::HostRemoved => CloseReason::HostRemoved,
    })
}

/// What hyper's end of a connection means.
pub(super) fn reason(context: &Context, ended: Result<(), hyper::Error>) -> CloseReason {
    let Err(error) = ended else { return CloseReason::Done };
    tracing::debug!(id = context.flow.id, %error, "HTTP connection ended");
    if is_misconduct(&error) {
        context.chain.stats.inc(HttpStat::DownstreamCxProtocolError);
    }
    CloseReason::DownstreamReset
}

/// The HTTP/2 codec has ended the connection for what the client sent.
fn is_misconduct(error: &hyper::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            return h2.is_library();
        }
        source = cause.source();
    }
    false
}

/// The connection in the statistics of its connection manager.
struct Counted {
    context: Arc<Context>,
    start: Instant,
    ended: bool,
}

impl Counted {
    fn new(context: &Arc<Context>) -> Self {
        let stats = &context.chain.stats;
        stats.inc(HttpStat::DownstreamCxTotal);
        stats.inc(HttpStat::DownstreamCxActive);
        if context.flow.tls.is_some() {
            stats.inc(HttpStat::DownstreamCxSslTotal);
            stats.inc(HttpStat::DownstreamCxSslActive);
        }
        Self { context: Arc::clone(context), start: Instant::now(), ended: false }
    }

    fn end(mut self, reason: &CloseReason) {
        let remote = matches!(reason, CloseReason::Done | CloseReason::DownstreamReset);
        self.count(remote);
    }

    fn count(&mut self, remote: bool) {
        self.ended = true;
        let stats = &self.context.chain.stats;
        let busy = self.context.active() > 0;
        stats.inc(if remote { HttpStat::DownstreamCxDestroyRemote } else { HttpStat::DownstreamCxDestroyLocal });
        if busy {
            stats.inc(HttpStat::DownstreamCxDestroyActiveRq);
            stats.inc(match remote {
                true => HttpStat::DownstreamCxDestroyRemoteActiveRq,
                false => HttpStat::DownstreamCxDestroyLocalActiveRq,
            });
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.ended {
            self.context.set_gone();
            self.count(false);
        }
        let stats = &self.context.chain.stats;
        stats.inc(HttpStat::DownstreamCxDestroy);
        stats.dec(HttpStat::DownstreamCxActive);
        if self.context.flow.tls.is_some() {
            stats.dec(HttpStat::DownstreamCxSslActive);
        }
        let lived = self.start.elapsed().as_millis();
        stats.record(HttpStat::DownstreamCxLengthMs, u64::try_from(lived).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preface_is_told_however_it_is_cut() {
        for n in 0..PREFACE.len() {
            assert_eq!(is_preface(&PREFACE[..n]), None);
        }
        assert_eq!(is_preface(PREFACE), Some(true));
        assert_eq!(is_preface(b"PRI * HTTP/1"), Some(false));
        assert_eq!(is_preface(b"G"), Some(false));
    }
}
