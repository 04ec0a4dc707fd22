//! An HTTP connection manager with inline routes: which route takes a request, and what is added on both ways.

use std::sync::Arc;
use std::time::Instant;

use config::model::http::{Action, HeaderAdd, HeaderMatch, HttpManager, PathMatch, Route, VirtualHost};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;

use super::forward::{self, Upstreams};
use super::path;
use super::reply::{self, Body, Holding};
use super::serve::{Handler, Limits};
use crate::metrics::{HttpStat, Scope};

/// A manager at work. Cheap to clone.
#[derive(Clone)]
pub(super) struct Manager {
    shared: Arc<Shared>,
    /// Whether the connection is over TLS.
    tls: bool,
}

struct Shared {
    config: Arc<HttpManager>,
    stats: Arc<Scope<HttpStat>>,
    upstreams: Upstreams,
    /// `server:`.
    name: HeaderValue,
}

impl Manager {
    pub(super) fn new(config: Arc<HttpManager>, tls: bool, upstreams: Upstreams) -> Self {
        let stats = upstreams.registry.http(&config.stat_prefix);
        let name = HeaderValue::from_str(&config.server_name).unwrap_or(HeaderValue::from_static("envoy"));
        Self { shared: Arc::new(Shared { config, stats, upstreams, name }), tls }
    }

    /// The connection's limits.
    pub(super) fn limits(&self) -> Limits {
        let config = &self.shared.config;
        let default = Limits::default();
        let or =
            |configured: Option<std::time::Duration>, default| configured.filter(|d| !d.is_zero()).unwrap_or(default);
        let idle = or(config.idle_timeout, default.idle);
        Limits {
            // hyper's clock for the head also runs between requests.
            head: or(config.request_headers_timeout, idle),
            idle,
            stall: or(config.stream_idle_timeout, default.stall),
        }
    }

    /// Counts a connection until the guard is dropped.
    pub(super) fn connection(&self) -> ConnectionGuard {
        let stats = Arc::clone(&self.shared.stats);
        stats.inc(HttpStat::DownstreamCxTotal);
        stats.inc(HttpStat::DownstreamCxActive);
        if self.tls {
            stats.inc(HttpStat::DownstreamCxSslTotal);
            stats.inc(HttpStat::DownstreamCxSslActive);
        }
        ConnectionGuard { stats, tls: self.tls, start: Instant::now() }
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        if !is_sound(&request) {
            return reply::empty(StatusCode::BAD_REQUEST);
        }
        if request.headers().contains_key(header::UPGRADE) || request.method() == Method::CONNECT {
            self.shared.stats.inc(HttpStat::DownstreamRqWsOnNonWsRoute);
            let mut refused = reply::empty(StatusCode::FORBIDDEN);
            refused.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return refused;
        }
        if self.shared.config.normalize_path {
            let Some(uri) = normalized(&request) else {
                self.shared.stats.inc(HttpStat::DownstreamRqFailedPathNormalization);
                return reply::empty(StatusCode::BAD_REQUEST);
            };
            *request.uri_mut() = uri;
        }
        let Some(route) = self.route(&request) else { return reply::empty(StatusCode::NOT_FOUND) };
        let mut response = match &route.action {
            Action::Direct { status, body } => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                reply::text(status, body.clone())
            }
            Action::Cluster { cluster, prefix_rewrite, timeout } => {
                if let Some(rewrite) = prefix_rewrite
                    && let Some(uri) = rewritten(&request, &route.path, rewrite)
                {
                    *request.uri_mut() = uri;
                }
                add(request.headers_mut(), &route.request_headers);
                forwarded(request.headers_mut(), self.tls);
                let deadlines = forward::Deadlines { route: *timeout, stall: self.limits().stall };
                forward::forward(&self.shared.upstreams, cluster, request, deadlines).await
            }
        };
        add(response.headers_mut(), &route.response_headers);
        response
    }

    fn route<'a>(&'a self, request: &Request<Incoming>) -> Option<&'a Route> {
        let host = authority(request).to_ascii_lowercase();
        let host = virtual_host(&self.shared.config.virtual_hosts, &host)?;
        let path = request.uri().path();
        host.routes.iter().find(|route| {
            let by_path = match &route.path {
                PathMatch::Prefix(prefix) => path.starts_with(&**prefix),
                PathMatch::Exact(exact) => path == &**exact,
            };
            by_path && route.headers.iter().all(|m| header_matches(m, request.headers()))
        })
    }
}

impl Handler for Manager {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let stats = &self.shared.stats;
        let guard = RequestGuard::new(Arc::clone(stats));
        stats.inc(match request.version() {
            Version::HTTP_2 => HttpStat::DownstreamRqHttp2Total,
            _ => HttpStat::DownstreamRqHttp1Total,
        });
        let mut response = self.answer(request).await;
        response.headers_mut().insert(header::SERVER, self.shared.name.clone());
        match response.status().as_u16() / 100 {
            1 => stats.inc(HttpStat::DownstreamRq1xx),
            2 => stats.inc(HttpStat::DownstreamRq2xx),
            3 => stats.inc(HttpStat::DownstreamRq3xx),
            4 => stats.inc(HttpStat::DownstreamRq4xx),
            _ => stats.inc(HttpStat::DownstreamRq5xx),
        }
        stats.inc(HttpStat::DownstreamRqCompleted);
        response.map(|body| Holding::wrap(body, guard))
    }
}

/// Counts a connection while it lives.
pub(super) struct ConnectionGuard {
    stats: Arc<Scope<HttpStat>>,
    tls: bool,
    start: Instant,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.stats.dec(HttpStat::DownstreamCxActive);
        self.stats.inc(HttpStat::DownstreamCxDestroy);
        if self.tls {
            self.stats.dec(HttpStat::DownstreamCxSslActive);
        }
        self.stats.record(HttpStat::DownstreamCxLengthMs, millis(self.start));
    }
}

/// Counts a request until its answer is through.
struct RequestGuard {
    stats: Arc<Scope<HttpStat>>,
    start: Instant,
}

impl RequestGuard {
    fn new(stats: Arc<Scope<HttpStat>>) -> Self {
        stats.inc(HttpStat::DownstreamRqTotal);
        stats.inc(HttpStat::DownstreamRqActive);
        Self { stats, start: Instant::now() }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.stats.dec(HttpStat::DownstreamRqActive);
        self.stats.record(HttpStat::DownstreamRqTime, millis(self.start));
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What hyper lets through although a proxy must not: two framings (RFC 9112 §6.1), no host or several (§3.2).
fn is_sound<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let framings = headers.contains_key(header::CONTENT_LENGTH) && headers.contains_key(header::TRANSFER_ENCODING);
    let hosts = headers.get_all(header::HOST).iter().count();
    let host = match request.version() {
        Version::HTTP_11 => hosts == 1,
        _ => hosts <= 1,
    };
    !framings && host
}

/// The host that was asked for, as sent.
fn authority<B>(request: &Request<B>) -> &str {
    let in_uri = request.uri().authority().map(http::uri::Authority::as_str);
    let header = || request.headers().get(header::HOST).and_then(|h| h.to_str().ok());
    in_uri.or_else(header).unwrap_or_default()
}

/// Envoy's order: exact, longest `*suffix`, longest `prefix*`, `*`.
fn virtual_host<'a>(hosts: &'a [VirtualHost], authority: &str) -> Option<&'a VirtualHost> {
    let rank = |domain: &str| {
        if domain == authority {
            return Some((3, domain.len()));
        }
        if domain == "*" {
            return Some((0, 0));
        }
        // A wildcard stands for at least one character.
        let longer = authority.len() >= domain.len();
        match (domain.strip_prefix('*'), domain.strip_suffix('*')) {
            (Some(suffix), _) if longer && authority.ends_with(suffix) => Some((2, domain.len())),
            (_, Some(prefix)) if longer && authority.starts_with(prefix) => Some((1, domain.len())),
            _ => None,
        }
    };
    let ranked = hosts.iter().filter_map(|host| host.domains.iter().filter_map(|d| rank(d)).max().map(|r| (r, host)));
    ranked.max_by_key(|(rank, _)| *rank).map(|(_, host)| host)
}

fn header_matches(wanted: &HeaderMatch, headers: &HeaderMap) -> bool {
    let values: Vec<&str> = headers.get_all(&*wanted.name).iter().filter_map(|v| v.to_str().ok()).collect();
    let matches = match &wanted.value {
        None => !values.is_empty(),
        Some(matcher) => !values.is_empty() && matcher.matches(&values.join(",")),
    };
    matches != wanted.invert
}

/// The URI with its path normalized.
fn normalized<B>(request: &Request<B>) -> Option<http::Uri> {
    let path = path::normalize(request.uri().path())?;
    with_path(request.uri(), &path)
}

/// The URI with what the route matched replaced.
fn rewritten<B>(request: &Request<B>, matched: &PathMatch, rewrite: &str) -> Option<http::Uri> {
    let (PathMatch::Prefix(matched) | PathMatch::Exact(matched)) = matched;
    let rest = request.uri().path().get(matched.len()..)?;
    with_path(request.uri(), &format!("{rewrite}{rest}"))
}

fn with_path(uri: &http::Uri, path: &str) -> Option<http::Uri> {
    let path = match uri.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.ok()?);
    http::Uri::from_parts(parts).ok()
}

fn add(headers: &mut HeaderMap, adds: &[HeaderAdd]) {
    for add in adds {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(&*add.name), HeaderValue::try_from(&*add.value)) else {
            continue;
        };
        if add.overwrite {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
}

/// What Envoy tells upstream about a request that has not been through a proxy before.
fn forwarded(headers: &mut HeaderMap, tls: bool) {
    let scheme = HeaderValue::from_static(if tls { "https" } else { "http" });
    headers.entry("x-forwarded-proto").or_insert(scheme);
    if let Ok(id) = HeaderValue::try_from(uuid()) {
        headers.entry("x-request-id").or_insert(id);
    }
}

/// A random UUID, RFC 9562 §5.4.
fn uuid() -> String {
    let bits = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | 4 << 76 | 2 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests;
