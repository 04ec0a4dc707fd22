//! Heads of answers: what of them concerns the connection only, and our own where there is none.

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName, TRANSFER_ENCODING, UPGRADE};

use super::reset::Reset;
use crate::http::Reply;

/// `keep-alive`.
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// `proxy-connection`.
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Takes off what was meant for us.
pub(super) fn strip(headers: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE, KEEP_ALIVE, PROXY_CONNECTION] {
        headers.remove(name);
    }
}

/// What the client is told of a stream that ended early, word by word as by Envoy.
pub(super) fn reset(reset: &Reset, is_retry: bool) -> Reply {
    let reason = reset.reason.text();
    let retried = if is_retry { "retried and the latest " } else { "" };
    let mut body =
        format!("upstream connect error or disconnect/reset before headers. {retried}reset reason: {reason}");
    let mut details = format!("upstream_reset_before_response_started{{{reason}");
    if !reset.transport.is_empty() {
        body.push_str(", transport failure reason: ");
        body.push_str(&reset.transport);
        details.push(',');
        details.push_str(&reset.transport);
    }
    details.push('}');
    let details: String = details.chars().map(|c| if c.is_ascii_whitespace() { '_' } else { c }).collect();
    Reply::new(reset.reason.status(), details).body(body).flag(reset.reason.flag())
}

#[cfg(test)]
mod tests {
    use proxy::error::ConnectError;

    use super::*;
    use crate::upstream::reset::Reason;

    #[test]
    fn the_texts_are_envoys() {
        let reply = reset(&Reset::connect(ConnectError::Refused, None), false);
        assert_eq!(
            reply.body,
            "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, \
             transport failure reason: delayed connect error: Connection refused"
        );
        assert_eq!(
            reply.details,
            "upstream_reset_before_response_started{remote_connection_failure,delayed_connect_error:_Connection_refused}"
        );
        let reply = reset(&Reset::new(Reason::ConnectionTermination), true);
        assert_eq!(
            reply.body,
            "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: \
             connection termination"
        );
        assert_eq!((reply.status.as_u16(), reply.flags.short()), (503, "UC".to_owned()));
    }
}
