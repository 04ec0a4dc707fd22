//! `envoy.filters.http.compressor`.

mod body;
mod encoder;
mod negotiate;

use std::sync::Arc;

use config::model::http_filter::{
    self as model, CompressorPerRoute, Direction, Library, ResponseDirection, RuntimeFlag,
};
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, TRANSFER_ENCODING, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::Body as _;
use proxy::metrics::{CompressionStat, CompressorStat, Scope};
use proxy::report::http::joined;
use proxy::shared::Shared;

use self::body::Compressed;
use self::negotiate::{Candidate, Choice};
use super::states::State;
use super::{Call, PerRoute};
use crate::http::body::Body;

static STATUS: HeaderName = HeaderName::from_static("x-envoy-compression-status");

/// The filter.
#[derive(Debug)]
pub(super) struct Compressor {
    config: Arc<model::Compressor>,
    stats: Arc<Scope<CompressorStat>>,
    request: Arc<Scope<CompressionStat>>,
    response: Arc<Scope<CompressionStat>>,
}

/// What the client takes, as one filter on the request's way saw it.
#[derive(Debug)]
pub(super) struct Accepted {
    header: Option<Box<[u8]>>,
    candidate: Candidate,
    /// Made by the first filter that asks, on the answer's way; all others keep to it.
    choice: std::sync::OnceLock<Choice>,
}

/// Why an answer is not compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    ContentLengthTooSmall,
    ContentTypeNotAllowed,
    EtagNotAllowed,
    StatusCodeNotAllowed,
    Other,
}

impl Compressor {
    pub(super) fn compile(config: &Arc<model::Compressor>, prefix: &str, shared: &Shared) -> Self {
        let name = format!("{}.{}", config.name, config.library.stat_name());
        let response = if config.response.named { format!("{name}.response") } else { name.clone() };
        Self {
            config: Arc::clone(config),
            stats: shared.registry.compressor(prefix, &name),
            request: shared.registry.compression(prefix, &format!("{name}.request")),
            response: shared.registry.compression(prefix, &response),
        }
    }

    fn per_route<'a>(at: usize, call: &Call<'a>) -> Option<&'a CompressorPerRoute> {
        call.route.specific(at, |config| match config {
            PerRoute::Compressor(config) => Some(&**config),
            _ => None,
        })
    }

    pub(super) fn request(&self, at: usize, call: &mut Call<'_>, body: &mut Body) {
        let per_route = Self::per_route(at, call);
        let response = &self.config.response;
        let header = joined(&call.flow.request.headers, ACCEPT_ENCODING.as_str()).map(|value| value.into());
        let candidate = Candidate {
            encoding: self.library(per_route).content_encoding(),
            content_types: Arc::clone(&self.config),
            choose_first: self.config.choose_first,
        };
        let accepted = Accepted { header, candidate, choice: std::sync::OnceLock::new() };
        call.states.put(at, State::Compressor(accepted));
        let remove = match per_route {
            Some(CompressorPerRoute::Overrides { remove_accept_encoding: Some(remove), .. }) => *remove,
            _ => response.remove_accept_encoding,
        };
        if remove && is_on(response, per_route, call.shared) {
            call.flow.request.headers.remove(ACCEPT_ENCODING);
        }
        self.compress_request(call, body);
    }

    fn compress_request(&self, call: &mut Call<'_>, body: &mut Body) {
        let Some(direction) = &self.config.request else {
            self.request.inc(CompressionStat::NotCompressed);
            return;
        };
        let headers = &mut call.flow.request.headers;
        let compresses = !body.is_end_stream()
            && flag(&direction.common.enabled, call.shared)
            && is_long_enough(headers, &direction.common, &self.request)
            && is_type_allowed(headers, &direction.common)
            && !headers.contains_key(CONTENT_ENCODING)
            && is_transfer_allowed(headers, self.config.library.content_encoding());
        if !compresses {
            self.request.inc(CompressionStat::NotCompressed);
            return;
        }
        self.request.inc(CompressionStat::Compressed);
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(self.config.library.content_encoding()));
        let plain = std::mem::take(body);
        *body = Compressed::wrap(plain, &self.config.library, &self.request);
    }

    fn library<'a>(&'a self, per_route: Option<&'a CompressorPerRoute>) -> &'a Library {
        match per_route {
            Some(CompressorPerRoute::Overrides { library: Some(library), .. }) => library,
            _ => &self.config.library,
        }
    }

    pub(super) fn response(&self, at: usize, call: &mut Call<'_>, response: &mut Response<Body>) {
        let direction = &self.config.response;
        let per_route = Self::per_route(at, call);
        let library = self.library(per_route);
        let on = is_on(direction, per_route, call.shared);
        let refusal = self.refusal(direction, on, response);
        let compressible = on && refusal.is_none();
        let end = response.body().is_end_stream();
        let long_enough = on && refusal != Some(Refusal::ContentLengthTooSmall);
        // Where the answer tells of it, Envoy asks what the client takes last, and for the length once more.
        let asks = if direction.status_header { compressible } else { long_enough };
        if direction.status_header && on && !long_enough {
            self.response.inc(CompressionStat::ContentLengthTooSmall);
        }
        let accepted = !end && asks && self.is_accepted(at, call, response.headers(), library);
        let compresses =
            !end && compressible && accepted && is_transfer_allowed(response.headers(), library.content_encoding());
        if on && direction.status_header {
            let length = response.headers().get(CONTENT_LENGTH).cloned();
            self.tell(response.headers_mut(), library, (compresses, refusal, length));
        }
        if compressible {
            insert_vary(response.headers_mut());
        }
        if !compresses {
            self.response.inc(CompressionStat::NotCompressed);
            return;
        }
        self.response.inc(CompressionStat::Compressed);
        let headers = response.headers_mut();
        sanitize_etag(headers, direction.weaken_etag);
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(library.content_encoding()));
        let plain = std::mem::take(response.body_mut());
        *response.body_mut() = Compressed::wrap(plain, library, &self.response);
    }

    fn refusal(&self, direction: &ResponseDirection, on: bool, response: &Response<Body>) -> Option<Refusal> {
        let headers = response.headers();
        if !on || response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Some(Refusal::Other);
        }
        if !is_long_enough(headers, &direction.common, &self.response) {
            return Some(Refusal::ContentLengthTooSmall);
        }
        if direction.uncompressible.contains(&response.status()) {
            return Some(Refusal::StatusCodeNotAllowed);
        }
        if !is_type_allowed(headers, &direction.common) {
            return Some(Refusal::ContentTypeNotAllowed);
        }
        if has_token(headers, &CACHE_CONTROL, "no-transform") {
            return Some(Refusal::Other);
        }
        if direction.disable_on_etag && !direction.weaken_etag && headers.contains_key(ETAG) {
            self.stats.inc(CompressorStat::NotCompressedEtag);
            return Some(Refusal::EtagNotAllowed);
        }
        headers.contains_key(CONTENT_ENCODING).then_some(Refusal::Other)
    }

    /// Whether the client's choice is this filter; it is made once for all compressors of a chain.
    fn is_accepted(&self, at: usize, call: &Call<'_>, headers: &HeaderMap, library: &Library) -> bool {
        let Some(State::Compressor(own)) = call.states.get(at) else { return false };
        let Some(header) = &own.header else {
            self.stats.inc(CompressorStat::NoAcceptHeader);
            return false;
        };
        let all = || {
            call.states.all().filter_map(|state| match state {
                State::Compressor(accepted) => Some(accepted),
                _ => None,
            })
        };
        let made = all().find_map(|accepted| accepted.choice.get());
        let choice = made.unwrap_or_else(|| {
            own.choice.get_or_init(|| {
                let candidates: Vec<&Candidate> = all().map(|accepted| &accepted.candidate).collect();
                negotiate::choose(header, content_type(headers), &candidates)
            })
        });
        let used = choice.encoding() == Some(library.content_encoding());
        self.stats.inc(match (choice, used) {
            (Choice::Encoding(_), true) => CompressorStat::HeaderCompressorUsed,
            (Choice::Encoding(_), false) => CompressorStat::HeaderCompressorOvershadowed,
            (Choice::Identity, _) => CompressorStat::HeaderIdentity,
            (Choice::Any(_), _) => CompressorStat::HeaderWildcard,
            (Choice::Invalid, _) => CompressorStat::HeaderNotValid,
        });
        used
    }

    fn tell(
        &self,
        headers: &mut HeaderMap,
        library: &Library,
        (compressed, refusal, length): (bool, Option<Refusal>, Option<HeaderValue>),
    ) {
        let encoding = library.content_encoding();
        let text = match (compressed, refusal) {
            (true, _) => {
                let length = length.as_ref().and_then(|length| length.to_str().ok()).unwrap_or_default();
                format!("{encoding};Compressed;OriginalLength={length}")
            }
            (false, Some(Refusal::ContentLengthTooSmall)) => format!("{encoding};ContentLengthTooSmall"),
            (false, Some(Refusal::ContentTypeNotAllowed)) => format!("{encoding};ContentTypeNotAllowed"),
            (false, Some(Refusal::EtagNotAllowed)) => format!("{encoding};EtagNotAllowed"),
            (false, Some(Refusal::StatusCodeNotAllowed)) => format!("{encoding};StatusCodeNotAllowed"),
            (false, Some(Refusal::Other) | None) => return,
        };
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.append(STATUS.clone(), value);
        }
    }
}

fn flag(RuntimeFlag { key, default }: &RuntimeFlag, shared: &Shared) -> bool {
    let known = if key.is_empty() { None } else { shared.runtime.load().switch(key) };
    known.unwrap_or(*default)
}

fn is_on(direction: &ResponseDirection, per_route: Option<&CompressorPerRoute>, shared: &Shared) -> bool {
    match per_route {
        Some(CompressorPerRoute::Disabled) => false,
        Some(CompressorPerRoute::Overrides { response: true, .. }) => true,
        Some(CompressorPerRoute::Overrides { .. }) | None => flag(&direction.common.enabled, shared),
    }
}

/// As its header says; one without is, be it that it has no body at all.
fn is_long_enough(headers: &HeaderMap, direction: &Direction, stats: &Scope<CompressionStat>) -> bool {
    let Some(length) = headers.get(CONTENT_LENGTH) else { return true };
    let length = length.to_str().ok().and_then(|length| length.trim_ascii().parse::<u64>().ok());
    let enough = length.is_some_and(|length| length >= u64::from(direction.min_content_length));
    if !enough {
        stats.inc(CompressionStat::ContentLengthTooSmall);
    }
    enough
}

/// Without its parameters.
fn content_type(headers: &HeaderMap) -> &[u8] {
    let value = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

fn is_type_allowed(headers: &HeaderMap, direction: &Direction) -> bool {
    let has = headers.contains_key(CONTENT_TYPE);
    !has || direction.content_types.iter().any(|text| text.matches(content_type(headers)))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    values.into_iter().any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

fn is_transfer_allowed(headers: &HeaderMap, encoding: &str) -> bool {
    ![encoding, "gzip", "deflate"].iter().any(|known| has_token(headers, &TRANSFER_ENCODING, known))
}

fn insert_vary(headers: &mut HeaderMap) {
    const NAME: HeaderValue = HeaderValue::from_static("Accept-Encoding");
    let Some(vary) = joined(headers, VARY.as_str()) else {
        headers.insert(VARY, NAME);
        return;
    };
    if has_token(headers, &VARY, "accept-encoding") {
        return;
    }
    let new = [&vary, &b", Accept-Encoding"[..]].concat();
    if let Ok(new) = HeaderValue::from_bytes(&new) {
        headers.insert(VARY, new);
    }
}

/// A strong one is not this body's any more.
fn sanitize_etag(headers: &mut HeaderMap, weaken: bool) {
    let Some(etag) = headers.get(ETAG).map(HeaderValue::as_bytes) else { return };
    if matches!(etag, [b'w' | b'W', b'/', ..]) {
        return;
    }
    match HeaderValue::from_bytes(&[b"W/", etag].concat()) {
        Ok(weak) if weaken => headers.insert(ETAG, weak),
        _ => headers.remove(ETAG),
    };
}
