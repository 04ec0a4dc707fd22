//! Whether a line is written (`AccessLogFilter`), as Envoy's `access_log_impl.cc` decides it.

use config::model::access_log::{Filter, MetadataTest, ValueTest};
use config::model::metadata::Value as Meta;

use super::http::{self, Flag, Flags, TraceReason, grpc};
use super::value::{Subject, flags};
use super::{cel, metadata};

/// What a filter decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Write the line.
    Log,
    /// Don't.
    Skip,
    /// It could not be evaluated, or gave no boolean: not written, as with Envoy.
    Error,
}

impl From<bool> for Verdict {
    fn from(log: bool) -> Self {
        if log { Self::Log } else { Self::Skip }
    }
}

/// Evaluates `filter` over a connection or a request.
pub(super) fn evaluate(filter: &Filter, subject: &Subject<'_>) -> Verdict {
    let http = subject.http;
    match filter {
        Filter::Cel(filter) => cel::evaluate(filter, subject),
        Filter::And(filters) => first(filters, subject, Verdict::Skip),
        Filter::Or(filters) => first(filters, subject, Verdict::Log),
        Filter::StatusCode(comparison) => {
            let status = http.and_then(|http| http.status()).map_or(0, |status| status.as_u16());
            comparison.holds(status.into()).into()
        }
        Filter::Duration(comparison) => comparison.holds(millis(subject)).into(),
        Filter::NotHealthCheck => (!http.is_some_and(|http| http.health_check)).into(),
        Filter::Traceable => http.is_some_and(|http| http.trace_reason == TraceReason::ServiceForced).into(),
        Filter::Fraction { numerator, denominator, independent } => {
            fraction(subject, *numerator, *denominator, *independent).into()
        }
        Filter::Header(wanted) => match http {
            Some(http) => http.request.holds(wanted).into(),
            None => http::holds_without(wanted).into(),
        },
        Filter::ResponseFlags(wanted) => response_flags(wanted, subject).into(),
        Filter::GrpcStatus { statuses, exclude } => {
            let status = http.and_then(grpc::status).unwrap_or(UNKNOWN);
            let found = statuses.iter().any(|wanted| u32::try_from(*wanted) == Ok(status));
            (found != *exclude).into()
        }
        Filter::Metadata(test) => metadata_test(test, subject).into(),
        Filter::LogType { types, exclude } => {
            let found = types.iter().any(|wanted| **wanted == *subject.log_type.as_str());
            (found != *exclude).into()
        }
    }
}

/// gRPC's `UNKNOWN`.
const UNKNOWN: u32 = 2;

/// The first verdict that settles it; else the contrary.
fn first(filters: &[Filter], subject: &Subject<'_>, settles: Verdict) -> Verdict {
    for filter in filters {
        match evaluate(filter, subject) {
            Verdict::Error => return Verdict::Error,
            verdict if verdict == settles => return settles,
            Verdict::Log | Verdict::Skip => {}
        }
    }
    (settles == Verdict::Skip).into()
}

fn millis(subject: &Subject<'_>) -> u64 {
    let now = std::time::Instant::now();
    let time = match subject.http {
        Some(http) => http::duration(http, now),
        None => now.saturating_duration_since(subject.flow.start),
    };
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// By the request's ID, so that all logs of a request, and all proxies on its way, decide the same.
fn fraction(subject: &Subject<'_>, numerator: u32, denominator: u32, independent: bool) -> bool {
    let id = subject.http.and_then(|http| http.request_id.as_ref()).filter(|_| !independent);
    let stable = id.and_then(|id| http::request_id_random(id.as_bytes()));
    let random = stable.unwrap_or_else(|| fastrand::u64(..));
    random % u64::from(denominator.max(1)) < numerator.into()
}

fn response_flags(wanted: &[Box<str>], subject: &Subject<'_>) -> bool {
    let set: Flags = match subject.http {
        Some(http) => http.flags,
        None => flags(subject.flow.close.as_ref()).0.split(',').filter_map(Flag::parse).collect(),
    };
    match wanted {
        [] => !set.is_empty(),
        _ => wanted.iter().filter_map(|name| Flag::parse(name)).any(|flag| set.has(flag)),
    }
}

fn metadata_test(test: &MetadataTest, subject: &Subject<'_>) -> bool {
    let [first, rest @ ..] = &*test.path else { return test.if_absent };
    let noted = subject.http.and_then(|http| http.metadata.get(&test.namespace, first));
    match noted.and_then(|value| metadata::walk(value, rest)) {
        Some(value) => is(&test.value, value) != test.invert,
        None => test.if_absent,
    }
}

fn is(test: &ValueTest, value: &Meta) -> bool {
    match (test, value) {
        (ValueTest::Or(tests), _) => tests.iter().any(|test| is(test, value)),
        (ValueTest::Present(there), _) => *there,
        (ValueTest::Null, Meta::Null) => true,
        (ValueTest::Bool(wanted), Meta::Bool(value)) => wanted == value,
        (ValueTest::Number(wanted), Meta::Number(value)) => wanted == value,
        (ValueTest::Range(from, to), Meta::Number(value)) => (*from..*to).contains(value),
        (ValueTest::Text(text), Meta::String(value)) => text.matches(value.as_bytes()),
        (ValueTest::AnyOf(test), Meta::List(items)) => items.iter().any(|item| is(test, item)),
        _ => false,
    }
}
