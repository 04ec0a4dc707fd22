//! What the client is told where no endpoint answered; words, flags and details are Envoy's.

use config::model::hcm::Router as Options;
use http::{HeaderName, HeaderValue, StatusCode};
use proxy::report::http::{Flag, HttpFlow};

use super::clock::Expiry;
use super::reset::{Reason, Reset};
use crate::http::Reply;

/// `x-envoy-overloaded`.
const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");

/// The cluster has no endpoint that may be used.
pub(super) fn no_host() -> Reply {
    Reply::new(StatusCode::SERVICE_UNAVAILABLE, "no_healthy_upstream")
        .body("no healthy upstream")
        .flag(Flag::NoHealthyUpstream)
}

/// The client went away while it was still sending; nobody will read this.
pub(super) fn client_gone() -> Reply {
    Reply::new(StatusCode::BAD_REQUEST, "downstream_remote_disconnect").flag(Flag::DownstreamConnectionTermination)
}

/// The stream ended early.
pub(super) fn reset(reset: &Reset, flow: &mut HttpFlow, options: &Options) -> Reply {
    if let Some(upstream) = flow.upstream.as_deref_mut() {
        upstream.failure = reset.connect;
    }
    let reply = text(reset, flow.attempts > 1);
    match reset.reason == Reason::Overflow && !options.suppress_envoy_headers {
        true => reply.header(OVERLOADED, HeaderValue::from_static("true")),
        false => reply,
    }
}

fn text(reset: &Reset, is_retry: bool) -> Reply {
    let reason = reset.reason.text();
    let retried = if is_retry { "retried and the latest " } else { "" };
    let body = format!("upstream connect error or disconnect/reset before headers. {retried}reset reason: {reason}");
    let mut details = format!("upstream_reset_before_response_started{{{reason}");
    if !reset.transport.is_empty() {
        // It is for those who run the mesh: Envoy 1.40 tells clients no more.
        details.push('|');
        details.push_str(&reset.transport);
    }
    details.push('}');
    let details = details.replace(|c: char| c.is_ascii_whitespace(), "_");
    Reply::new(reset.reason.status(), details).body(body).flag(reset.reason.flag())
}

/// It took too long; `complete`: the request was complete.
pub(super) fn expired(expiry: Expiry, complete: bool) -> Reply {
    let timeout = |details: &'static str| {
        Reply::new(StatusCode::GATEWAY_TIMEOUT, details)
            .body("upstream request timeout")
            .flag(Flag::UpstreamRequestTimeout)
    };
    match expiry {
        Expiry::Global => timeout("response_timeout"),
        Expiry::PerTry => timeout("upstream_per_try_timeout"),
        Expiry::PerTryIdle => timeout("upstream_per_try_idle_timeout").flag(Flag::StreamIdleTimeout),
        Expiry::MaxDuration => {
            // Whoever is still sending is told that it is the one who is late.
            let status = if complete { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::REQUEST_TIMEOUT };
            Reply::new(status, "upstream_max_stream_duration_reached")
                .body("upstream max stream duration reached")
                .flag(Flag::UpstreamMaxStreamDurationReached)
        }
    }
}

#[cfg(test)]
mod tests {
    use proxy::error::ConnectError;

    use super::*;

    #[test]
    fn the_texts_are_envoys() {
        let reply = text(&Reset::connect(ConnectError::Refused, None), false);
        assert_eq!(
            reply.body,
            "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
        );
        assert_eq!(
            reply.details,
            "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}"
        );
        let reply = text(&Reset::new(Reason::ConnectionTermination), true);
        assert_eq!(
            reply.body,
            "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: \
             connection termination"
        );
        assert_eq!((reply.status.as_u16(), reply.flags.short()), (503, "UC".to_owned()));
        assert_eq!(expired(Expiry::MaxDuration, false).status, StatusCode::REQUEST_TIMEOUT);
    }
}
