//! From an outcome to the answer's head as it is sent.

use std::borrow::Cow;

use bytes::Bytes;
use config::model::hcm::ServerHeader;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, SERVER, TRANSFER_ENCODING, UPGRADE, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use hyper::body::Body as _;
use proxy::metrics::{HttpStat, Scope};
use proxy::report::http::{Protocol, ResponseHead};

use super::body::Body;
use super::exchange::Exchange;
use super::live::Live;
use super::outgoing::Outgoing;
use super::reply::Reply;

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static FORCE_TRACE: HeaderName = HeaderName::from_static("x-envoy-force-trace");

/// An answer of our own as HTTP (`Http::Utility::prepareLocalReply`); its flags and details go to the books.
pub(super) fn render(reply: Reply, exchange: &mut Exchange) -> Response<Body> {
    let Reply { status, body, details, flags, headers, grpc_status } = reply;
    let flow = &mut exchange.flow;
    flow.flags |= flags;
    flow.details = details;
    let grpc = is_grpc(&flow.request.headers);
    let mut response = Response::new(Body::Empty);
    *response.headers_mut() = headers;
    if grpc {
        render_grpc(response.headers_mut(), grpc_status.unwrap_or_else(|| grpc_of(status)), &body);
        return response;
    }
    *response.status_mut() = status;
    if !body.is_empty() {
        let bytes = match body {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain"));
        *response.body_mut() = Body::full(bytes);
    }
    response
}

fn render_grpc(headers: &mut HeaderMap, status: u8, message: &str) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS.clone(), HeaderValue::from(u16::from(status)));
    if !message.is_empty()
        && let Ok(message) = HeaderValue::from_str(&percent(message))
    {
        headers.insert(GRPC_MESSAGE.clone(), message);
    }
}

/// gRPC's percent-encoding of messages.
fn percent(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b'%';
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect::<String>()
        .into()
}

/// `Grpc::Utility::httpToGrpcStatus`.
fn grpc_of(status: StatusCode) -> u8 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// `Grpc::Common::hasGrpcContentType`.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return false };
    let Some(rest) = kind.as_bytes().strip_prefix(b"application/grpc") else { return false };
    matches!(rest.first(), None | Some(b'+'))
}

/// What every answer gets on its way out, and the end of the request's first half.
pub(super) fn send(mut live: Box<Live>, response: Response<Body>) -> Response<Outgoing> {
    let (mut parts, body) = response.into_parts();
    let upgraded = is_upgraded(&live.exchange, parts.status);
    dress(&mut live.exchange, &mut parts.headers, upgraded);
    let http1 = live.exchange.flow.protocol != Protocol::Http2;
    if super::drain::closes(&live, parts.status) && http1 && !upgraded {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    charge(&live.exchange, parts.status);
    let exchange = &mut live.exchange;
    // Only logs and spans read it again.
    let logs = &exchange.chain.logs;
    let headers = if logs.is_empty() { HeaderMap::new() } else { logs.needs().response.pick(&parts.headers) };
    if logs.needs().wire {
        exchange.flow.wire.answered(parts.status, &parts.headers, http1);
    }
    exchange.flow.response = Some(ResponseHead { status: parts.status, headers });
    let none = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let bare = upgraded || none || exchange.flow.request.method == Method::HEAD || body.is_end_stream();
    let trailers = !http1 || exchange.chain.manager.http1.enable_trailers;
    live.answer(bare);
    Response::from_parts(parts, Outgoing::new(body, live, !trailers))
}

/// The answer ends HTTP on this stream.
fn is_upgraded(exchange: &Exchange, status: StatusCode) -> bool {
    let connect = exchange.flow.request.method == Method::CONNECT && status.is_success();
    connect || status == StatusCode::SWITCHING_PROTOCOLS
}

/// `ConnectionManagerUtility::mutateResponseHeaders`, and the `server` header.
fn dress(exchange: &mut Exchange, headers: &mut HeaderMap, upgraded: bool) {
    let manager = &exchange.chain.manager;
    match manager.server_header {
        ServerHeader::Overwrite => drop(headers.insert(SERVER, manager.server_name.clone())),
        ServerHeader::AppendIfAbsent => drop(headers.entry(SERVER).or_insert_with(|| manager.server_name.clone())),
        ServerHeader::PassThrough => {}
    }
    if !upgraded {
        headers.remove(CONNECTION);
        headers.remove(UPGRADE);
    }
    headers.remove(TRANSFER_ENCODING);
    headers.remove(&KEEP_ALIVE);
    headers.remove(&PROXY_CONNECTION);
    let request = &exchange.flow.request.headers;
    if (manager.always_set_request_id_in_response || request.contains_key(&FORCE_TRACE))
        && let Some(id) = request.get(&REQUEST_ID)
    {
        headers.insert(REQUEST_ID.clone(), id.clone());
    }
    if let Some(via) = &manager.via {
        append_via(headers, via);
    }
}

/// `Utility::appendVia`.
pub(super) fn append_via(headers: &mut HeaderMap, via: &HeaderValue) {
    let joined = match headers.get(VIA) {
        Some(before) => HeaderValue::from_bytes(&[before.as_bytes(), b", ", via.as_bytes()].concat()).ok(),
        None => None,
    };
    headers.insert(VIA, joined.unwrap_or_else(|| via.clone()));
}

fn charge(exchange: &Exchange, status: StatusCode) {
    if exchange.flow.health_check {
        return;
    }
    let stats: &Scope<HttpStat> = &exchange.chain.stats;
    stats.inc(HttpStat::DownstreamRqCompleted);
    let class = match status.as_u16() / 100 {
        1 => HttpStat::DownstreamRq1xx,
        2 => HttpStat::DownstreamRq2xx,
        3 => HttpStat::DownstreamRq3xx,
        4 => HttpStat::DownstreamRq4xx,
        5 => HttpStat::DownstreamRq5xx,
        _ => return,
    };
    stats.inc(class);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        let rows = [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("application/grpcx", false),
            ("text/plain", false),
        ];
        for (kind, expected) in rows {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(is_grpc(&headers), expected, "{kind}");
        }
    }

    #[test]
    fn messages_of_grpc_are_ascii() {
        assert_eq!(percent("upstream connect error"), "upstream connect error");
        assert_eq!(percent("50%\né"), "50%25%0A%C3%A9");
    }
}
