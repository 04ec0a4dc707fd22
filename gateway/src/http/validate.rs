//! The one step between the codec and everything else: what is no proper request goes no further
//! (`ConnectionManagerImpl::ActiveStream::decodeHeaders`, `HeaderUtility::requestHeadersValid`).

use http::{HeaderValue, Method, StatusCode};
use proxy::metrics::HttpStat;
use proxy::report::http::{Flag, Protocol};

use config::model::hcm::Underscores;

use super::exchange::Exchange;
use super::reply::Reply;

/// Refuses what Envoy refuses, with its status and details.
pub(super) fn check(exchange: &mut Exchange) -> Result<(), Reply> {
    count_headers(exchange)?;
    underscores(exchange)?;
    default_host(exchange);
    let head = &exchange.flow.request;
    if head.authority.is_empty() {
        return Err(Reply::new(StatusCode::BAD_REQUEST, "missing_host_header"));
    }
    if !is_authority(head.authority.as_bytes()) {
        let reply = Reply::new(StatusCode::BAD_REQUEST, "http.invalid_authority").body("Bad Request");
        return Err(reply.flag(Flag::DownstreamProtocolError));
    }
    if head.has_path() && !head.path.as_str().starts_with('/') {
        exchange.chain.stats.inc(HttpStat::DownstreamRqNonRelativePath);
        return Err(Reply::new(StatusCode::NOT_FOUND, "absolute_path_rejected"));
    }
    Ok(())
}

/// `max_headers_count`: of HTTP/1 the gate has counted.
fn count_headers(exchange: &Exchange) -> Result<(), Reply> {
    let most = exchange.chain.manager.common.max_headers_count as usize;
    if exchange.flow.protocol == Protocol::Http2 && exchange.flow.request.headers.len() > most {
        let reply = Reply::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "http2.too_many_headers");
        return Err(reply.flag(Flag::DownstreamProtocolError));
    }
    Ok(())
}

fn underscores(exchange: &mut Exchange) -> Result<(), Reply> {
    let action = exchange.chain.manager.common.underscores;
    let headers = &mut exchange.flow.request.headers;
    if action == Underscores::Allow || !headers.keys().any(|name| name.as_str().contains('_')) {
        return Ok(());
    }
    if action == Underscores::Drop {
        let names: Vec<_> = headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
        names.iter().for_each(|name| drop(headers.remove(name)));
        return Ok(());
    }
    let details = match exchange.flow.protocol {
        Protocol::Http2 => "http2.unexpected_underscore",
        Protocol::Http10 | Protocol::Http11 => "http1.unexpected_underscore",
    };
    Err(Reply::new(StatusCode::BAD_REQUEST, details).body("Bad Request").flag(Flag::DownstreamProtocolError))
}

/// `default_host_for_http_10`.
fn default_host(exchange: &mut Exchange) {
    if exchange.flow.protocol != Protocol::Http10 {
        return;
    }
    // That 1.0 is not accepted the gate has said.
    let http1 = &exchange.chain.manager.http1;
    if exchange.flow.request.authority.is_empty()
        && let Some(host) = &http1.default_host_for_http_10
        && let Ok(host) = HeaderValue::from_str(host)
    {
        exchange.flow.request.authority = host;
    }
}

/// `HeaderUtility::authorityIsValid`, without user information, which is nobody's host.
fn is_authority(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=[]_~".contains(byte))
}

/// Whether the client waits for a go-ahead (RFC 9110 §10.1.1).
pub(super) fn expects_continue(head: &proxy::report::http::RequestHead) -> bool {
    head.method != Method::CONNECT
        && head
            .headers
            .get(http::header::EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
