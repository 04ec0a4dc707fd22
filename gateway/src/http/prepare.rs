//! What is done to every request before its route is looked for, in Envoy's order
//! (`ActiveStream::decodeHeaders`, `ConnectionManagerUtility::mutateRequestHeaders`).

use config::model::hcm::{Manager, StripPort};
use http::header::{LOCATION, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proxy::metrics::HttpStat;
use proxy::report::http::{HttpFlow, RequestHead};

use config::model::address::Address;

use super::chain::Chain;
use super::exchange::Exchange;
use super::forwarded::{self, Judged};
use super::path::{self, Normal};
use super::reply::Reply;
use super::{hop, local, request_id, respond, validate, xfcc};

static INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");
static EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");
static SERVICE_CLUSTER: HeaderName = HeaderName::from_static("x-envoy-downstream-service-cluster");
static SERVICE_NODE: HeaderName = HeaderName::from_static("x-envoy-downstream-service-node");

/// Taken off requests that come from outside for the first time.
const EDGE_ONLY: [HeaderName; 5] = [
    HeaderName::from_static("x-envoy-decorator-operation"),
    HeaderName::from_static("x-envoy-downstream-service-cluster"),
    HeaderName::from_static("x-envoy-downstream-service-node"),
    HeaderName::from_static("x-envoy-original-path"),
    HeaderName::from_static("x-envoy-original-host"),
];

/// Taken off all requests that are not from inside.
const INSIDE_ONLY: [HeaderName; 14] = [
    HeaderName::from_static("x-envoy-retriable-status-codes"),
    HeaderName::from_static("x-envoy-retriable-header-names"),
    HeaderName::from_static("x-envoy-retry-on"),
    HeaderName::from_static("x-envoy-retry-grpc-on"),
    HeaderName::from_static("x-envoy-max-retries"),
    HeaderName::from_static("x-envoy-upstream-alt-stat-name"),
    HeaderName::from_static("x-envoy-upstream-rq-timeout-ms"),
    HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms"),
    HeaderName::from_static("x-envoy-upstream-rq-timeout-alt-response"),
    HeaderName::from_static("x-envoy-expected-rq-timeout-ms"),
    HeaderName::from_static("x-envoy-force-trace"),
    HeaderName::from_static("x-envoy-ip-tags"),
    HeaderName::from_static("x-envoy-original-url"),
    HeaderName::from_static("x-envoy-hedge-on-per-try-timeout"),
];

/// Makes a request one that may be routed, or answers it. `own`: `internal_only_headers` of the route configuration.
pub(super) fn prepare(exchange: &mut Exchange, own: &[HeaderName]) -> Result<(), Reply> {
    hop::strip(&mut exchange.flow.request)?;
    validate::check(exchange)?;
    normalise_path(exchange)?;
    let Exchange { flow, chain, .. } = exchange;
    let manager = &*chain.manager;
    normalise_host(manager, flow);
    directed(chain, flow)?;
    let judged = forwarded::judge(chain, flow).inspect_err(|_| {
        chain.stats.inc(HttpStat::DownstreamRqRejectedViaIpDetection);
    })?;
    clean(&mut flow.request.headers, judged, own);
    introduce(chain, flow, judged);
    request_id::set(manager, flow, judged.edge);
    xfcc::set(manager, flow);
    Ok(())
}

fn normalise_path(exchange: &mut Exchange) -> Result<(), Reply> {
    let head = &mut exchange.flow.request;
    if !head.has_path() {
        return Ok(());
    }
    let stats = &exchange.chain.stats;
    let (status, location) = match path::normalise(&exchange.chain.manager, &head.path) {
        Normal::Same => return Ok(()),
        Normal::Changed(path) => {
            head.path = path;
            return Ok(());
        }
        Normal::Redirect(path) if !local::is_grpc(&head.headers) => (StatusCode::TEMPORARY_REDIRECT, Some(path)),
        // gRPC clients follow no redirects.
        Normal::Redirect(_) | Normal::Rejected => (StatusCode::BAD_REQUEST, None),
    };
    let reply = Reply::new(status, "path_normalization_failed");
    let location = location.as_ref().map(PathAndQuery::as_str).and_then(|path| HeaderValue::from_str(path).ok());
    Err(match location {
        Some(location) => {
            stats.inc(HttpStat::DownstreamRqRedirectedWithNormalizedPath);
            reply.header(LOCATION, location)
        }
        None => {
            stats.inc(HttpStat::DownstreamRqFailedPathNormalization);
            reply
        }
    })
}

/// `strip_port_mode`, `strip_trailing_host_dot`.
fn normalise_host(manager: &Manager, flow: &mut HttpFlow) {
    let own = match &flow.connection.local {
        Address::Socket(local) => Some(local.port()),
        Address::Pipe { .. } => None,
    };
    let head: &mut RequestHead = &mut flow.request;
    if manager.strip_trailing_host_dot
        && let Some(whole) = without_dot(&head.authority)
    {
        head.authority = whole;
    }
    let Ok(host) = head.authority.to_str() else { return };
    let (name, Some(port)) = split_port(host) else { return };
    let goes = match manager.strip_port {
        StripPort::Keep => false,
        StripPort::Any => true,
        StripPort::Matching => port.parse().ok() == own,
    };
    if goes && let Ok(name) = HeaderValue::from_str(name) {
        head.authority = name;
    }
}

/// A client that holds a connection under one name may send requests for another on it, whose own listener has other
/// certificates, routes and permissions (RFC 9110 §7.4). An option of our own.
fn directed(chain: &Chain, flow: &HttpFlow) -> Result<(), Reply> {
    let host = flow.request.authority.to_str().map_or("", |host| split_port(host).0);
    if chain.is_host(host.as_bytes()) {
        return Ok(());
    }
    Err(Reply::new(StatusCode::MISDIRECTED_REQUEST, "zonegate_misdirected"))
}

fn without_dot(authority: &HeaderValue) -> Option<HeaderValue> {
    let (name, port) = split_port(authority.to_str().ok()?);
    let name = name.strip_suffix('.')?;
    let whole = port.map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
    HeaderValue::try_from(whole).ok()
}

/// `host:port`, `[v6]:port`; a port is digits.
fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            if digits { (name, Some(port)) } else { (host, None) }
        }
        _ => (host, None),
    }
}

/// Takes off what only we, or only those inside, may say.
fn clean(headers: &mut HeaderMap, judged: Judged, own: &[HeaderName]) {
    if judged.internal {
        headers.insert(INTERNAL.clone(), HeaderValue::from_static("true"));
        return;
    }
    headers.remove(&INTERNAL);
    if judged.edge {
        EDGE_ONLY.iter().for_each(|name| drop(headers.remove(name)));
    }
    INSIDE_ONLY.iter().chain(own).for_each(|name| drop(headers.remove(name)));
}

/// `add_user_agent`, `via`, and who the client is for those behind us.
fn introduce(chain: &Chain, flow: &mut HttpFlow, judged: Judged) {
    let remote = flow.remote();
    let headers = &mut flow.request.headers;
    if let Some(agent) = chain.agent() {
        headers.insert(SERVICE_CLUSTER.clone(), agent.cluster.clone());
        if headers.get(USER_AGENT).is_none_or(HeaderValue::is_empty) {
            headers.insert(USER_AGENT, agent.cluster.clone());
        }
        if let Some(node) = &agent.node {
            headers.insert(SERVICE_NODE.clone(), node.clone());
        }
    }
    if let Some(via) = &chain.manager.via {
        respond::append_via(headers, via);
    }
    if judged.edge
        && let Some(remote) = remote
        && let Ok(address) = HeaderValue::try_from(remote.ip().to_string())
    {
        headers.insert(EXTERNAL_ADDRESS.clone(), address);
    }
}
