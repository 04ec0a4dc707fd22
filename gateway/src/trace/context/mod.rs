//! Whose child a span is, and what is told to those upstream.

mod b3;
mod datadog;
mod w3c;

pub(super) use self::datadog::priority;

use std::time::{SystemTime, UNIX_EPOCH};

use config::model::tracing::Provider;
use http::{HeaderMap, HeaderName, HeaderValue};
use proxy::report::http::TraceIds;

/// One span's place in its trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Context {
    /// ID of the trace; 0: none was told, only a decision.
    pub(super) trace: u128,
    /// ID of the span.
    pub(super) span: u64,
    /// ID of its parent.
    pub(super) parent: Option<u64>,
    /// The parent is another process' span.
    pub(super) remote_parent: bool,
    /// It will be reported.
    pub(super) sampled: bool,
    /// What those before us decided.
    pub(super) decided: Option<bool>,
    /// `tracestate`, as it came.
    pub(super) state: Box<str>,
    /// How it was told to us.
    pub(super) form: Form,
    /// Datadog's priority, as it came.
    pub(super) priority: Option<i32>,
    /// Datadog: the trace began here.
    pub(super) begins: bool,
}

/// How a context was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// In headers of its own for each part.
    #[default]
    Several,
    /// In one `b3`.
    Single,
    /// In `traceparent`.
    W3c,
}

/// What was told makes no sense: there is no span then, as with Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Context {
    /// The first span of a trace: with one ID for both, where the trace's has 64 bits or its low half is the span's.
    pub(super) fn root(long: bool, timestamp: bool) -> Self {
        let (low, mut high) = (not_zero(), if long { fastrand::u64(..) } else { 0 });
        if timestamp && long {
            high = seconds() << 32 | high & 0xffff_ffff;
        }
        Self {
            trace: u128::from(high) << 64 | u128::from(low),
            span: low,
            parent: None,
            remote_parent: false,
            sampled: false,
            decided: None,
            state: Box::default(),
            form: Form::default(),
            priority: None,
            begins: true,
        }
    }

    /// The same as Datadog has it: the high half is the time.
    pub(super) fn datadog_root() -> Self {
        let root = Self::root(false, false);
        Self { trace: u128::from(seconds() << 32) << 64 | root.trace, ..root }
    }

    /// The next span below.
    pub(super) fn child(&self, remote_parent: bool) -> Self {
        let parent = Some(self.span).filter(|span| *span != 0);
        let begins = self.begins && !remote_parent;
        Self { span: not_zero(), parent, remote_parent, begins, ..self.clone() }
    }

    /// Only a decision was told.
    pub(super) fn is_bare(&self) -> bool {
        self.trace == 0
    }

    pub(super) fn ids(&self) -> TraceIds {
        let short = self.trace >> 64 == 0;
        TraceIds { trace: self.trace, short, span: self.span, sampled: self.sampled }
    }

    /// What a request says of the span that it belongs to.
    pub(super) fn extract(provider: &Provider, headers: &HeaderMap) -> Result<Option<Self>, Malformed> {
        match provider {
            Provider::OpenTelemetry(_) => w3c::extract(headers),
            Provider::Zipkin(zipkin) => match b3::extract(headers)? {
                Some(found) => Ok(Some(found)),
                None if zipkin.w3c => w3c::extract(headers),
                None => Ok(None),
            },
            Provider::Datadog(_) => match datadog::extract(headers) {
                Some(found) => Ok(Some(found)),
                None => Ok(w3c::extract(headers).unwrap_or_default().map(datadog::of_w3c)),
            },
        }
    }

    /// Tells those upstream.
    pub(super) fn inject(&self, provider: &Provider, headers: &mut HeaderMap) {
        match provider {
            Provider::OpenTelemetry(_) => {
                w3c::inject(self, headers);
                set(headers, w3c::STATE, &self.state);
            }
            Provider::Zipkin(zipkin) => {
                b3::inject(self, headers);
                if zipkin.w3c {
                    w3c::inject(self, headers);
                }
            }
            Provider::Datadog(_) => datadog::inject(self, headers),
        }
    }

    fn empty() -> Self {
        let root = Self::root(false, false);
        Self { trace: 0, span: 0, begins: false, ..root }
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// 0 means "none" everywhere.
fn not_zero() -> u64 {
    fastrand::u64(1..)
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
