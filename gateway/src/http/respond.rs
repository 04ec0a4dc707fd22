//! The head of an answer on its way out, whoever gave it.

use config::model::hcm::ServerHeader;
use http::header::{CONNECTION, SERVER, TRANSFER_ENCODING, UPGRADE, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use hyper::body::Body as _;
use proxy::metrics::{HttpStat, Scope};
use proxy::report::http::{Protocol, ResponseHead};

use super::body::Body;
use super::exchange::Exchange;
use super::live::Live;
use super::outgoing::Outgoing;

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static FORCE_TRACE: HeaderName = HeaderName::from_static("x-envoy-force-trace");

/// What every answer gets on its way out, and the end of the request's first half.
pub(super) fn send(mut live: Box<Live>, response: Response<Body>) -> Response<Outgoing> {
    let (mut parts, body) = response.into_parts();
    let http1 = live.exchange.flow.protocol != Protocol::Http2;
    let upgraded = is_upgraded(&live.exchange, parts.status);
    dress(&mut live.exchange, &mut parts.headers, upgraded);
    if super::drain::closes(&live, parts.status, upgraded) && http1 && !upgraded {
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
    if let Some((tunnel, client)) = exchange.tunnel.take().zip(exchange.upgrade.take()) {
        live.answer(false);
        tokio::spawn(super::tunnel::run(live, tunnel, client));
        return Response::from_parts(parts, Outgoing::none());
    }
    let none = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let bare = upgraded || none || exchange.flow.request.method == Method::HEAD || body.is_end_stream();
    let trailers = !http1 || exchange.chain.manager.http1.enable_trailers;
    live.answer(bare);
    Response::from_parts(parts, Outgoing::new(body, live, !trailers))
}

/// What the route does to answers of our own.
pub(super) fn finalise_local(exchange: &mut Exchange, response: &mut Response<Body>) {
    let Some(matched) = &exchange.matched else { return };
    exchange.flow.response = None;
    matched.finalize_local(response.headers_mut(), &exchange.flow);
}

/// What the route does to the upstream's answers.
pub(super) fn finalise(exchange: &mut Exchange, response: &mut Response<Body>) {
    let Some(matched) = &exchange.matched else { return };
    let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
    exchange.flow.response = Some(ResponseHead { status, headers });
    matched.finalize_response(&mut exchange.flow);
    if let Some(head) = exchange.flow.response.take() {
        *response.headers_mut() = head.headers;
    }
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
