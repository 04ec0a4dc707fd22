//! OTLP (<https://github.com/open-telemetry/opentelemetry-proto>): what spans, log records and metrics have in common.

use bytes::Bytes;

use super::wire::Message;

/// `opentelemetry.proto.collector.trace.v1.TraceService/Export`.
pub const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// `opentelemetry.proto.collector.logs.v1.LogsService/Export`.
pub const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
/// `opentelemetry.proto.collector.metrics.v1.MetricsService/Export`.
pub const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// `AnyValue` with a string.
pub fn text(value: &str) -> Message {
    // A oneof: an empty string is one, too.
    Message::new().message(1, value)
}

/// `KeyValue`.
pub fn pair(key: &str, value: impl AsRef<[u8]>) -> Message {
    Message::new().bytes(1, key).message(2, value)
}

/// `KeyValue` with a string.
pub fn attribute(key: &str, value: &str) -> Message {
    pair(key, text(value))
}

/// `Resource`.
pub fn resource<'a>(attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Bytes {
    Message::new().each(1, attributes.into_iter().map(|(key, value)| attribute(key, value))).finish()
}

/// `InstrumentationScope`.
pub fn scope(name: &str, version: &str) -> Bytes {
    Message::new().bytes(1, name).bytes(2, version).finish()
}

/// `Export…ServiceRequest` with one resource and one scope, which has the same shape for spans, log records and
/// metrics.
pub fn request<T: AsRef<[u8]>>(resource: &[u8], scope: &[u8], items: impl IntoIterator<Item = T>) -> Bytes {
    let scoped = Message::new().bytes(1, scope).each(2, items);
    let of_resource = Message::new().message(1, resource).message(2, scoped);
    Message::new().message(1, of_resource).finish()
}
