//! `envoy.filters.http.cors`.

use std::sync::Arc;

use config::model::http_filter::CorsPolicy;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use proxy::metrics::{CorsStat, Scope};
use proxy::shared::Shared;

use super::states::State;
use super::{Call, PerRoute, enabled};
use crate::http::body::Body;
use crate::http::reply::Reply;

static REQUEST_PRIVATE: HeaderName = HeaderName::from_static("access-control-request-private-network");
static ALLOW_PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// The filter.
#[derive(Debug)]
pub(super) struct Cors {
    stats: Arc<Scope<CorsStat>>,
}

/// What the answer is told.
#[derive(Debug)]
pub(super) struct Asked {
    origin: HeaderValue,
    credentials: bool,
    expose: Option<HeaderValue>,
}

impl Cors {
    pub(super) fn compile(prefix: &str, shared: &Shared) -> Self {
        Self { stats: shared.registry.cors(prefix) }
    }

    pub(super) fn request(&self, at: usize, call: &mut Call<'_>) -> Option<Reply> {
        let policies: Vec<&CorsPolicy> = call.route.all(at).filter_map(of_cors).collect();
        let first = policies.first()?;
        let on = first.enabled.as_ref().is_none_or(|fraction| enabled(fraction, call.shared));
        let shadow = first.shadow.as_ref().is_some_and(|fraction| enabled(fraction, call.shared));
        if !on && !shadow {
            return None;
        }
        let head = &call.flow.request;
        let origin = head.headers.get(ORIGIN).filter(|origin| !origin.is_empty())?.clone();
        if !is_allowed(&policies, origin.as_bytes()) {
            self.stats.inc(CorsStat::OriginInvalid);
            let forward = policies.iter().find_map(|policy| policy.forward_not_matching).unwrap_or(true);
            let refused = on && !forward && is_preflight(&head.method, &head.headers);
            // Told what would be allowed, but not to whom.
            return refused.then(|| preflight(&policies, None, &head.headers));
        }
        self.stats.inc(CorsStat::OriginValid);
        if !on {
            return None;
        }
        let credentials = has_credentials(&policies);
        let expose = text(&policies, |policy| &policy.expose);
        let reply =
            is_preflight(&head.method, &head.headers).then(|| preflight(&policies, Some(&origin), &head.headers));
        call.states.put(at, State::Cors(Asked { origin, credentials, expose }));
        reply
    }
}

fn has_credentials(policies: &[&CorsPolicy]) -> bool {
    policies.iter().find_map(|policy| policy.credentials).unwrap_or(false)
}

fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.get(ACCESS_CONTROL_REQUEST_METHOD).is_some_and(|wanted| !wanted.is_empty())
}

/// The levels' first list of origins decides.
fn is_allowed(policies: &[&CorsPolicy], origin: &[u8]) -> bool {
    let list = policies.iter().map(|policy| &policy.origins).find(|origins| !origins.is_empty());
    list.is_some_and(|list| list.iter().any(|text| text.matches(b"*") || text.matches(origin)))
}

/// The levels' first text.
fn text(policies: &[&CorsPolicy], of: impl Fn(&CorsPolicy) -> &str) -> Option<HeaderValue> {
    let text = policies.iter().map(|policy| of(policy)).find(|text| !text.is_empty())?;
    HeaderValue::from_str(text).ok()
}

fn preflight(policies: &[&CorsPolicy], origin: Option<&HeaderValue>, asked: &HeaderMap) -> Reply {
    let mut reply = Reply::new(StatusCode::OK, "cors_response");
    let headers = &mut reply.headers;
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    if has_credentials(policies) {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
    }
    type List = (HeaderName, fn(&CorsPolicy) -> &str);
    let lists: [List; 3] = [
        (ACCESS_CONTROL_ALLOW_METHODS, |policy| &policy.methods),
        (ACCESS_CONTROL_ALLOW_HEADERS, |policy| &policy.headers),
        (ACCESS_CONTROL_MAX_AGE, |policy| &policy.max_age),
    ];
    for (name, of) in lists {
        if let Some(value) = text(policies, of) {
            headers.insert(name, value);
        }
    }
    let private = policies.iter().find_map(|policy| policy.private_network).unwrap_or(false);
    if private && asked.get(&REQUEST_PRIVATE).is_some_and(|value| value == "true") {
        headers.insert(ALLOW_PRIVATE.clone(), TRUE);
    }
    reply
}

/// Tells the browser that it may read the answer.
pub(super) fn response(at: usize, call: &mut Call<'_>, response: &mut Response<Body>) {
    let Some(State::Cors(Asked { origin, credentials, expose })) = call.states.get(at) else { return };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if *credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
    }
    if let Some(expose) = expose {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
    }
}

fn of_cors(config: &PerRoute) -> Option<&CorsPolicy> {
    match config {
        PerRoute::Cors(policy) => Some(policy),
        _ => None,
    }
}
