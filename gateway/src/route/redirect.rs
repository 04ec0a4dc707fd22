//! Where clients are sent to: the `location` of redirects, as Envoy's `Utility::newUri` puts it together.

use bytes::Bytes;
use config::model::route::{Redirect, RedirectPath, RedirectScheme, RouteMatch};
use http::HeaderValue;
use http::uri::PathAndQuery;
use proxy::report::Formatter;
use proxy::report::http::HttpFlow;

use super::matches::without_query;
use super::rewrite;

/// A redirect's `location`. The request's path is rewritten where the redirect rewrites it, as in Envoy's logs.
pub(super) fn location(
    (redirect, matches): (&Redirect, &RouteMatch),
    flow: &mut HttpFlow,
    keep_original: bool,
) -> Option<HeaderValue> {
    if let Some(path) = rewritten(redirect, matches, flow) {
        rewrite::set_path(flow, path, keep_original);
    }
    let formatted = match &redirect.path {
        Some(RedirectPath::Format(template)) => Some(Formatter::new(template.clone()).text(flow)),
        _ => None,
    };
    let wanted = match (&redirect.path, formatted.as_deref()) {
        (Some(RedirectPath::Path(path)), _) => Some(&**path),
        (_, Some(path)) if !path.is_empty() => Some(path),
        _ => None,
    };
    let scheme = match &redirect.scheme {
        Some(RedirectScheme::Scheme(scheme)) => scheme,
        Some(RedirectScheme::Https) => "https",
        None => flow.request.scheme.as_str(),
    };
    let port = match redirect.port {
        0 => String::new(),
        port => format!(":{port}"),
    };
    let host = match &*redirect.host {
        "" => request_host(flow, scheme, !port.is_empty()),
        host => host.as_bytes(),
    };
    let path = redirect_path(wanted, flow.request.path.as_str(), redirect.strip_query);
    let text = [scheme.as_bytes(), b"://", host, port.as_bytes(), path.as_bytes()].concat();
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}

/// The path after `prefix_rewrite` or `regex_rewrite`.
fn rewritten(redirect: &Redirect, matches: &RouteMatch, flow: &HttpFlow) -> Option<PathAndQuery> {
    let path = flow.request.path.as_str();
    let bare = without_query(path);
    let (new, replaced) = match redirect.path.as_ref()? {
        RedirectPath::Prefix(prefix) => (prefix.as_bytes().to_vec(), rewrite::matched_length(matches, bare)),
        RedirectPath::Regex(regex) => (regex.replace_all(bare.as_bytes()), bare.len()),
        RedirectPath::Path(_) | RedirectPath::Format(_) => return None,
    };
    rewrite::joined(new, path.get(replaced..)?)
}

/// The path with its query: `wanted`, which may have a query of its own, else the request's.
fn redirect_path(wanted: Option<&str>, current: &str, strip_query: bool) -> String {
    let own_query = wanted.is_some_and(|wanted| wanted.contains('?'));
    let mut path = match wanted {
        Some(wanted) if own_query => wanted.to_owned(),
        Some(wanted) => format!("{wanted}{}", current.find('?').map_or("", |at| &current[at..])),
        None => current.to_owned(),
    };
    if !path.starts_with('/') {
        path.insert(0, '/');
    }
    if strip_query && !own_query {
        path.truncate(path.find('?').unwrap_or(path.len()));
    }
    path
}

/// The request's host: without its port where the redirect names one, or where the scheme changes and the port was the
/// old scheme's.
fn request_host<'a>(flow: &'a HttpFlow, scheme: &str, new_port: bool) -> &'a [u8] {
    let host = flow.request.authority.as_bytes();
    let end = match host.first() {
        Some(b'[') => host.windows(2).rposition(|pair| pair == b"]:").map(|at| at + 1),
        _ => host.iter().rposition(|b| *b == b':'),
    };
    let Some(end) = end else { return host };
    let forwarded = flow.request.headers.get("x-forwarded-proto").map(HeaderValue::as_bytes).unwrap_or_default();
    let default_port: &[u8] = match forwarded.to_ascii_lowercase().as_slice() {
        b"https" => b":443",
        b"http" => b":80",
        _ => b"",
    };
    let is_old = forwarded != scheme.as_bytes() && &host[end..] == default_port;
    if new_port || is_old { &host[..end] } else { host }
}

/// The same place with `https` (`require_tls`).
pub(super) fn to_tls(flow: &HttpFlow) -> Option<HeaderValue> {
    let text = [b"https://", flow.request.authority.as_bytes(), flow.request.path.as_str().as_bytes()].concat();
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}

/// The request's own place, which Envoy tells in direct responses of status 201 and 3xx.
pub(super) fn own(flow: &HttpFlow) -> Option<HeaderValue> {
    if !flow.request.has_path() {
        return None;
    }
    let scheme = flow.request.scheme.as_str();
    let text = [scheme.as_bytes(), b"://", request_host(flow, scheme, false), flow.request.path.as_str().as_bytes()];
    HeaderValue::from_maybe_shared(Bytes::from(text.concat())).ok()
}
