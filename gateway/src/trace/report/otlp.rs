//! OpenTelemetry's spans (`opentelemetry.proto.trace.v1.Span`).

use std::time::SystemTime;

use bytes::Bytes;
use config::model::tracing::OpenTelemetry;
use proxy::export::otlp;
use proxy::export::wire::Message;

use super::{Kind, Report, nanos};

/// `SpanFlags`: sampled, and whether it is known and true that the parent is another process'.
const SAMPLED: u32 = 1;
const KNOWS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
/// `Status.StatusCode.STATUS_CODE_ERROR`.
const ERROR: u64 = 2;

pub(super) fn span(report: &Report<'_>, end: SystemTime) -> Bytes {
    let context = report.context;
    let kind = match report.kind {
        Kind::Server => 2,
        Kind::Client => 3,
    };
    let parent = context.parent.map(u64::to_be_bytes);
    let remote = if context.parent.is_some() && context.remote_parent { IS_REMOTE } else { 0 };
    let attributes = report.tags.iter().filter(|(name, _)| !name.is_empty());
    let message = Message::new()
        .bytes(1, context.trace.to_be_bytes())
        .bytes(2, context.span.to_be_bytes())
        .bytes(3, &*context.state)
        .bytes(4, parent.as_ref().map_or(&[][..], |id| id))
        .bytes(5, &*report.name)
        .varint(6, kind)
        .fixed64(7, nanos(report.start))
        .fixed64(8, nanos(end))
        .each(9, attributes.map(|(name, value)| otlp::attribute(name, value)));
    let message = if report.failed() { message.message(15, Message::new().varint(3, ERROR)) } else { message };
    message.fixed32(16, SAMPLED | KNOWS_REMOTE | remote).finish()
}

/// The resource that all spans are of.
pub(super) fn resource(otel: &OpenTelemetry) -> Bytes {
    const SDK: [(&str, &str); 3] = [
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.name", "zonegate"),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
    ];
    let mut all: Vec<(&str, &str)> = Vec::new();
    if otel.service_attribute {
        all.push(("service.name", &otel.service_name));
    }
    if otel.sdk_attributes {
        all.extend(SDK);
    }
    for (key, value) in &otel.resource {
        all.retain(|(known, _)| *known != &**key);
        all.push((key, value));
    }
    otlp::resource(all)
}
