//! Zipkin's spans, version 2, as JSON or protobuf (<https://zipkin.io/zipkin-api/>).

use std::time::SystemTime;

use bytes::{BufMut, Bytes, BytesMut};
use config::model::tracing::ZipkinEncoding;
use proxy::export::wire::Message;
use serde_json::{Map, Value, json};

use super::{Kind, Report, nanos};

#[derive(Debug)]
pub(super) struct Encoder {
    encoding: ZipkinEncoding,
    service: Box<str>,
    shared: bool,
}

pub(super) const fn content_type(encoding: ZipkinEncoding) -> &'static str {
    match encoding {
        ZipkinEncoding::Json => "application/json",
        ZipkinEncoding::Proto => "application/x-protobuf",
    }
}

/// A batch.
pub(super) fn pack(encoding: ZipkinEncoding, items: &[Bytes]) -> Bytes {
    match encoding {
        ZipkinEncoding::Proto => Message::new().each(1, items).finish(),
        ZipkinEncoding::Json => {
            let mut all = BytesMut::with_capacity(items.iter().map(|item| item.len() + 1).sum::<usize>() + 2);
            all.put_u8(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    all.put_u8(b',');
                }
                all.put_slice(item);
            }
            all.put_u8(b']');
            all.freeze()
        }
    }
}

impl Encoder {
    pub(super) fn new(encoding: ZipkinEncoding, service: &str, shared: bool) -> Self {
        Self { encoding, service: service.into(), shared }
    }

    pub(super) fn span(&self, report: &Report<'_>, end: SystemTime) -> Bytes {
        match self.encoding {
            ZipkinEncoding::Json => self.json(report, end),
            ZipkinEncoding::Proto => self.proto(report, end),
        }
    }

    /// Envoy names a request's span after its host.
    fn name(&self, report: &Report<'_>) -> String {
        let fallback = || String::from_utf8_lossy(report.flow.request.authority.as_bytes()).into_owned();
        match &*report.name {
            "ingress" | "egress" => fallback(),
            name => name.to_owned(),
        }
    }

    fn json(&self, report: &Report<'_>, end: SystemTime) -> Bytes {
        let context = report.context;
        let (kind, event) = match report.kind {
            Kind::Server => ("SERVER", "ss"),
            Kind::Client => ("CLIENT", "cr"),
        };
        let tags: Map<String, Value> =
            report.tags.iter().map(|(name, value)| (name.to_string(), value.as_str().into())).collect();
        let mut span = json!({
            "traceId": context.ids().trace_id(),
            "id": context.ids().span_id(),
            "name": self.name(report),
            "kind": kind,
            "timestamp": micros(report.start),
            "duration": micros(end).saturating_sub(micros(report.start)).max(1),
            "localEndpoint": {"serviceName": &*self.service},
            "annotations": [{"timestamp": micros(end), "value": event}],
            "tags": tags,
        });
        if let Some(parent) = context.parent {
            span["parentId"] = format!("{parent:016x}").into();
        }
        if self.shared && report.kind == Kind::Server {
            span["shared"] = true.into();
        }
        span.to_string().into()
    }

    fn proto(&self, report: &Report<'_>, end: SystemTime) -> Bytes {
        let context = report.context;
        let (kind, event) = match report.kind {
            Kind::Server => (2, "ss"),
            Kind::Client => (1, "cr"),
        };
        let whole = context.trace.to_be_bytes();
        let trace = if context.ids().short { whole.get(8..).unwrap_or(&whole) } else { &whole };
        let parent = context.parent.map(u64::to_be_bytes);
        let annotation = Message::new().fixed64(1, micros(end)).bytes(2, event);
        let tags = report.tags.iter().map(|(name, value)| Message::new().bytes(1, &**name).bytes(2, value));
        Message::new()
            .bytes(1, trace)
            .bytes(2, parent.as_ref().map_or(&[][..], |id| id))
            .bytes(3, context.span.to_be_bytes())
            .varint(4, kind)
            .bytes(5, self.name(report))
            .fixed64(6, micros(report.start))
            .varint(7, micros(end).saturating_sub(micros(report.start)).max(1))
            .message(8, Message::new().bytes(1, &*self.service))
            .message(10, annotation)
            .each(11, tags)
            .varint(13, u64::from(self.shared && report.kind == Kind::Server))
            .finish()
    }
}

fn micros(time: SystemTime) -> u64 {
    nanos(time) / 1000
}
