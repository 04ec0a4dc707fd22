//! Hosts and paths on their way upstream.

use bytes::Bytes;
use config::model::route::{Forward, HostRewrite, PathMatch, PathRewrite, RouteMatch};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};
use proxy::report::Formatter;
use proxy::report::http::{HttpFlow, RequestHead};

use super::matches::without_query;
use super::mutation;
use proxy::report::http::Side;

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-envoy-original-host");
const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");

/// The host of `host_rewrite_specifier`, but `auto_host_rewrite`, which the endpoint decides.
pub(super) fn host(forward: &Forward, flow: &mut HttpFlow, keep_original: bool) {
    let path = || without_query(flow.request.path.as_str()).as_bytes();
    let host = match forward.host_rewrite.as_deref() {
        None | Some(HostRewrite::Auto) => None,
        Some(HostRewrite::Literal(host)) => Some(host.clone()),
        Some(HostRewrite::Header(name)) => flow.request.headers.get(name).cloned(),
        Some(HostRewrite::PathRegex(rewrite)) => {
            HeaderValue::from_maybe_shared(Bytes::from(rewrite.replace_all(path()))).ok()
        }
        Some(HostRewrite::Format(template)) => {
            Some(mutation::header_value(Formatter::new(template.clone()).text(flow)))
        }
    };
    if let Some(host) = host.filter(|host| !host.is_empty()) {
        set_host(&mut flow.request, host, forward.append_forwarded_host, keep_original);
    }
}

/// Replaces the authority. `append`: the old one is added to `x-forwarded-host`, unless it is the last there;
/// `keep_original`: it is told in `x-envoy-original-host`.
pub fn set_host(head: &mut RequestHead, host: HeaderValue, append: bool, keep_original: bool) {
    let old = std::mem::replace(&mut head.authority, host);
    if old.is_empty() {
        return;
    }
    if append {
        let known = head.headers.get(&FORWARDED_HOST).map(HeaderValue::as_bytes);
        let last = known.and_then(|known| known.rsplit(|b| *b == b',').find(|host| !host.is_empty()));
        if last != Some(old.as_bytes()) {
            mutation::append(&mut head.headers, FORWARDED_HOST, old.clone(), Side::Request);
        }
    }
    if keep_original {
        head.headers.insert(ORIGINAL_HOST, old);
    }
}

/// The path of a route's rewrite.
pub(super) fn path(rewrite: &PathRewrite, matches: &RouteMatch, flow: &HttpFlow) -> Option<PathAndQuery> {
    let path = flow.request.path.as_str();
    let bare = without_query(path);
    let (new, replaced) = match rewrite {
        PathRewrite::Prefix(prefix) => (prefix.as_bytes().to_vec(), matched_length(matches, bare)),
        PathRewrite::Regex(regex) => (regex.replace_all(bare.as_bytes()), bare.len()),
        PathRewrite::Template(template) => {
            let PathMatch::Template(matched) = &matches.path else { return None };
            (template.rewrite(matched, bare.as_bytes())?, bare.len())
        }
        PathRewrite::Format(template) => {
            let new = Formatter::new(template.clone()).text(flow);
            (Some(new).filter(|new| !new.is_empty())?.into_bytes(), bare.len())
        }
    };
    joined(new, path.get(replaced..)?)
}

/// How much of the path a prefix rewrite replaces.
pub(super) fn matched_length(matches: &RouteMatch, bare: &str) -> usize {
    match &matches.path {
        PathMatch::Prefix(text) | PathMatch::Exact(text) | PathMatch::SeparatedPrefix(text) => text.len(),
        PathMatch::Regex(_) | PathMatch::Connect | PathMatch::Template(_) => bare.len(),
    }
}

/// A new path with what stays of the old one; `None`: there would be nothing.
pub(super) fn joined(mut new: Vec<u8>, rest: &str) -> Option<PathAndQuery> {
    new.extend_from_slice(rest.as_bytes());
    if new.is_empty() {
        return None;
    }
    // A path is never without its slash on the wire.
    if !matches!(new.first(), Some(b'/')) {
        new.insert(0, b'/');
    }
    PathAndQuery::from_maybe_shared(Bytes::from(new)).ok()
}

/// Replaces the path. `keep_original`: the old one is told in `x-envoy-original-path`.
pub(super) fn set_path(flow: &mut HttpFlow, path: PathAndQuery, keep_original: bool) {
    let old = std::mem::replace(&mut flow.request.path, path);
    if keep_original && let Ok(value) = HeaderValue::from_str(old.as_str()) {
        flow.request.headers.insert(ORIGINAL_PATH, value);
    }
    flow.original_path.get_or_insert(old);
}
