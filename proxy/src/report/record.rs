//! Log records of OpenTelemetry (`opentelemetry.proto.logs.v1.LogRecord`) from a configured format.

use bytes::Bytes;
use config::model::access_log::{JsonNode, Template};

use super::format::plain;
use super::value::Subject;
use crate::export::otlp;
use crate::export::wire::Message;

/// Field numbers of `LogRecord`.
const TIME: u32 = 1;
const BODY: u32 = 5;
const ATTRIBUTES: u32 = 6;
const TRACE_ID: u32 = 9;
const SPAN_ID: u32 = 10;

/// The encoded record.
pub(super) fn record(
    body: Option<&JsonNode>,
    attributes: &[(Box<str>, JsonNode)],
    omit_empty: bool,
    subject: &Subject<'_>,
) -> Bytes {
    let start = subject.http.map_or(subject.flow.start_time, |http| http.start_time);
    let nanos = start.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let mut message = Message::new().fixed64(TIME, u64::try_from(nanos).unwrap_or(u64::MAX));
    if let Some(body) = body {
        message = message.message(BODY, any(body, omit_empty, subject));
    }
    message = message.each(ATTRIBUTES, pairs(attributes, omit_empty, subject));
    if let Some(ids) = subject.http.and_then(|http| http.trace) {
        message = message.bytes(TRACE_ID, ids.trace.to_be_bytes()).bytes(SPAN_ID, ids.span.to_be_bytes());
    }
    message.finish()
}

fn pairs(fields: &[(Box<str>, JsonNode)], omit_empty: bool, subject: &Subject<'_>) -> Vec<Message> {
    fields.iter().map(|(key, node)| otlp::pair(key, any(node, omit_empty, subject))).collect()
}

/// `AnyValue`.
fn any(node: &JsonNode, omit_empty: bool, subject: &Subject<'_>) -> Message {
    let text = |template: &Template| otlp::text(&plain(template, omit_empty, subject));
    match node {
        JsonNode::Template(template) => text(template),
        JsonNode::Bool(value) => Message::new().eight(4, u64::from(*value)),
        JsonNode::Number(value) => Message::new().eight(4, value.to_bits()),
        JsonNode::Object(fields) => {
            Message::new().message(6, Message::new().each(1, pairs(fields, omit_empty, subject)))
        }
        JsonNode::List(nodes) => {
            let values = nodes.iter().map(|node| any(node, omit_empty, subject));
            Message::new().message(5, Message::new().each(1, values))
        }
        JsonNode::Null => Message::new(),
    }
}
