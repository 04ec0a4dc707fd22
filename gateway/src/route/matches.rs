//! Whether a request is what a route takes.

use config::model::route::{PathMatch, QueryTest, RouteMatch, RuntimeFraction, TlsMatch};
use config::runtime::Numbers;
use http::{HeaderMap, Method};
use proxy::report::http::{HttpFlow, RequestHead};

use super::{Env, header, query};

/// The path that routes see: without its query and fragment and, where asked, its parameters.
pub(super) fn matched_path(head: &RequestHead, without_parameters: bool) -> Option<&str> {
    let path = head.has_path().then(|| without_query(head.path.as_str()))?;
    match without_parameters {
        true => path.split(';').next(),
        false => Some(path),
    }
}

/// A path without its query and fragment.
pub(super) fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

/// Everything but a literal path, which the index has judged.
pub(super) fn holds(matches: &RouteMatch, path: Option<&str>, flow: &HttpFlow, env: &Env<'_>) -> bool {
    let RouteMatch { path: wanted, case_sensitive: _, grpc, fraction, headers, query, cookies, tls } = matches;
    path_holds(wanted, path, &flow.request)
        && fraction.as_deref().is_none_or(|fraction| chosen(fraction, env.runtime, env.random))
        && (!grpc || is_grpc(&flow.request))
        && header::request_matches(headers, &flow.request)
        && query.iter().all(|one| {
            let value = query::parameter(flow.request.path.as_str(), &one.name);
            match (&one.test, value) {
                (QueryTest::Present(present), value) => value.is_some() == *present,
                (QueryTest::Text(text), Some(value)) => text.matches(value.as_bytes()),
                (QueryTest::Text(_), None) => false,
            }
        })
        && cookies.iter().all(|one| {
            let value = query::cookie(&flow.request.headers, &one.name);
            value.is_some_and(|value| one.text.matches(value)) != one.invert
        })
        && tls.is_none_or(|tls| tls_holds(tls, flow))
}

fn path_holds(wanted: &PathMatch, path: Option<&str>, head: &RequestHead) -> bool {
    match (wanted, path) {
        (PathMatch::Connect, _) => head.method == Method::CONNECT,
        (_, None) => false,
        (PathMatch::Prefix(_) | PathMatch::Exact(_) | PathMatch::SeparatedPrefix(_), Some(_)) => true,
        (PathMatch::Regex(regex), Some(path)) => regex.is_match(path.as_bytes()),
        // Path parameters are part of it.
        (PathMatch::Template(template), Some(_)) => {
            template.regex.is_match(without_query(head.path.as_str()).as_bytes())
        }
    }
}

fn tls_holds(TlsMatch { presented, validated }: TlsMatch, flow: &HttpFlow) -> bool {
    let tls = flow.connection.tls.as_deref();
    presented.is_none_or(|wanted| wanted == tls.is_some_and(|tls| tls.has_certificate))
        && validated.is_none_or(|wanted| wanted == tls.is_some_and(|tls| tls.verified))
}

/// Whether a request with this random value is among the fraction. A number in the runtime is one of percent.
pub fn chosen(fraction: &RuntimeFraction, runtime: Option<&Numbers>, random: u64) -> bool {
    let RuntimeFraction { key, numerator, denominator } = fraction;
    let known = runtime.filter(|_| !key.is_empty()).and_then(|numbers| numbers.fraction(key));
    let (numerator, denominator) = known.unwrap_or((*numerator, (*denominator).max(1)));
    random % u64::from(denominator) < u64::from(numerator)
}

/// `application/grpc`, and `application/grpc+…`, but not `application/grpc-web`.
pub fn is_grpc(head: &RequestHead) -> bool {
    head.has_path() && has_grpc_type(&head.headers)
}

/// The content type is gRPC's.
pub(super) fn has_grpc_type(headers: &HeaderMap) -> bool {
    let content_type = headers.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    let rest = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+')))
}
