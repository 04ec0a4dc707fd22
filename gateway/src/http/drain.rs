//! Whether a connection ends with an answer.

use http::StatusCode;
use http::header::CONNECTION;
use proxy::metrics::HttpStat;
use proxy::report::http::Protocol;
use tokio::time::Instant;

use super::context::Context;
use super::live::Live;

/// Whether the connection is to end with this answer; it is marked then. HTTP/2 connections end with a GOAWAY, which
/// their driver sends.
pub(super) fn closes(live: &Live, status: StatusCode, upgraded: bool) -> bool {
    let (context, flow) = (&live.context, &live.exchange.flow);
    if context.is_closing() {
        return true;
    }
    let http1 = flow.protocol != Protocol::Http2;
    // A client that sends nonsense may have sent more of it (`ActiveStream::sendLocalReply`).
    let nonsense = http1 && status == StatusCode::BAD_REQUEST && flow.upstream.is_none();
    let asked = http1 && (wants_close(live) || stays_http(context, upgraded));
    let asked = asked || (http1 && is_cut_off(live, status));
    if !(asked || nonsense || is_drained(context) || has_had_enough(context) || is_overloaded(context)) {
        return false;
    }
    context.close();
    true
}

fn wants_close(live: &Live) -> bool {
    live.context.client_closes()
}

/// A body that is refused for its size would have to be read to its end before anything else.
fn is_cut_off(live: &Live, status: StatusCode) -> bool {
    status == StatusCode::PAYLOAD_TOO_LARGE && live.exchange.flow.upstream.is_none() && !live.limits.is_received()
}

/// A request for another protocol that did not get it: the bytes behind it came past the gate, and are no request.
fn stays_http(context: &Context, upgraded: bool) -> bool {
    !upgraded && context.is_last(context.requests())
}

/// The chain or the listener is on its way out.
fn is_drained(context: &Context) -> bool {
    let told = context.drain().current().is_some_and(|drain| drain.close_now(Instant::now(), fastrand::f64()));
    if told {
        context.chain.stats.inc(HttpStat::DownstreamCxDrainClose);
    }
    told
}

/// `disable_http_keepalive`.
fn is_overloaded(context: &Context) -> bool {
    let ends = context.shared.overload.ends_keepalive();
    if ends {
        context.chain.stats.inc(HttpStat::DownstreamCxOverloadDisableKeepalive);
    }
    ends
}

/// `max_requests_per_connection`.
fn has_had_enough(context: &Context) -> bool {
    let most = context.chain.manager.common.max_requests_per_connection;
    let reached = most.is_some_and(|most| most > 0 && context.requests() >= most);
    if reached {
        context.chain.stats.inc(HttpStat::DownstreamCxMaxRequestsReached);
    }
    reached
}

/// Whether a `Connection` header says so.
pub(super) fn asks_to_close(headers: &http::HeaderMap) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
    })
}
