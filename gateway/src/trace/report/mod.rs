//! Finished spans to their collector.

mod datadog;
mod otlp;
mod zipkin;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use config::model::tracing::{Exporter, Provider};
use http::Method;
use proxy::export::{Limits, Outbox, Packed, Reporter, SendError, Target, otlp as wire};
use proxy::metrics::{Scope, TracerStat};
use proxy::report::http::HttpFlow;
use proxy::shared::Shared;

use super::context::Context;
use super::tags::Tags;

/// Bytes of spans that may wait for a collector.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A finished span.
pub(super) struct Report<'a> {
    pub(super) context: &'a Context,
    pub(super) name: Cow<'a, str>,
    pub(super) kind: Kind,
    pub(super) start: SystemTime,
    pub(super) tags: Tags<'a>,
    pub(super) flow: &'a HttpFlow,
}

/// Whose side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Server,
    Client,
}

impl Report<'_> {
    fn failed(&self) -> bool {
        self.tags.iter().any(|(name, value)| name == "error" && value == "true")
    }
}

/// Where finished spans go.
#[derive(Debug)]
pub(super) struct Reports {
    encoder: Encoder,
    outbox: Option<Outbox>,
    stats: Arc<Scope<TracerStat>>,
}

#[derive(Debug)]
enum Encoder {
    OpenTelemetry,
    Zipkin(zipkin::Encoder),
    Datadog(datadog::Encoder),
}

impl Reports {
    /// Starts what sends them.
    pub(super) fn new(provider: &Provider, shared: &Shared) -> Self {
        let node = shared.node();
        let (name, encoder, target, pack) = match provider {
            Provider::OpenTelemetry(otel) => {
                let target = otel.exporter.as_ref().map(|exporter| match exporter {
                    Exporter::Grpc(service) => Target::Grpc { service: service.clone(), path: wire::TRACES },
                    Exporter::Http(service) => http(service, Method::POST, "application/x-protobuf"),
                });
                let resource = otlp::resource(otel);
                let scope = if otel.scope { wire::scope("envoy", env!("CARGO_PKG_VERSION")) } else { Bytes::new() };
                ("opentelemetry", Encoder::OpenTelemetry, target, Pack::Otlp { resource, scope })
            }
            Provider::Zipkin(config) => {
                let target = http(&config.collector, Method::POST, zipkin::content_type(config.encoding));
                let encoder = zipkin::Encoder::new(config.encoding, &node.cluster, config.shared_span);
                ("zipkin", Encoder::Zipkin(encoder), Some(target), Pack::Zipkin(config.encoding))
            }
            Provider::Datadog(config) => {
                let target = http(&datadog::service(config), Method::POST, "application/msgpack");
                let encoder = Encoder::Datadog(datadog::Encoder::new(config));
                ("datadog", encoder, Some(target), Pack::Datadog)
            }
        };
        let stats = shared.registry.tracer(name);
        let limits = limits(provider);
        let batches = Batches { pack, stats: Arc::clone(&stats), name };
        let outbox = target.map(|target| Outbox::start(target, Arc::new(batches), limits, &shared.clusters));
        Self { encoder, outbox, stats }
    }

    /// Encodes and queues a span. Never waits.
    pub(super) fn report(&self, report: Report<'_>) {
        let Some(outbox) = &self.outbox else { return };
        let end = SystemTime::now();
        let item = match &self.encoder {
            Encoder::OpenTelemetry => otlp::span(&report, end),
            Encoder::Zipkin(encoder) => encoder.span(&report, end),
            Encoder::Datadog(encoder) => encoder.span(&report, end),
        };
        if !outbox.push(item) {
            self.stats.inc(TracerStat::SpansDropped);
        }
    }
}

fn http(service: &config::model::tracing::HttpService, method: Method, content_type: &'static str) -> Target {
    Target::Http { service: service.clone(), method, content_type }
}

/// Envoy's: when so many spans wait, or so often.
fn limits(provider: &Provider) -> Limits {
    let (items, flush_items, seconds) = match provider {
        Provider::OpenTelemetry(otel) => (otel.max_cache_size.max(1), 512.min(otel.max_cache_size.max(1)), 5),
        Provider::Zipkin(_) => (4096, 5, 5),
        Provider::Datadog(_) => (4096, usize::MAX, 2),
    };
    let interval = Duration::from_secs(seconds);
    Limits { items, bytes: MOST_BYTES, flush_items, flush_bytes: MOST_BYTES / 2, interval }
}

#[derive(Debug)]
struct Batches {
    pack: Pack,
    stats: Arc<Scope<TracerStat>>,
    name: &'static str,
}

#[derive(Debug)]
enum Pack {
    Otlp { resource: Bytes, scope: Bytes },
    Zipkin(config::model::tracing::ZipkinEncoding),
    Datadog,
}

impl Reporter for Batches {
    fn pack(&self, items: Vec<Bytes>) -> Packed {
        match &self.pack {
            Pack::Otlp { resource, scope } => wire::request(resource, scope, items).into(),
            Pack::Zipkin(encoding) => zipkin::pack(*encoding, &items).into(),
            Pack::Datadog => datadog::pack(&items),
        }
    }

    fn timer(&self) {
        self.stats.inc(TracerStat::TimerFlushed);
    }

    fn done(&self, items: u64, result: Result<(), SendError>) {
        match result {
            Ok(()) => {
                self.stats.inc(TracerStat::ReportsSent);
                self.stats.add(TracerStat::SpansSent, items);
            }
            Err(error) => {
                tracing::warn!(tracer = self.name, %error, spans = items, "spans lost");
                self.stats.add(TracerStat::SpansDropped, items);
                self.stats.inc(match error {
                    SendError::NoCluster(_) => TracerStat::ReportsSkippedNoCluster,
                    SendError::Refused(_) => TracerStat::ReportsDropped,
                    SendError::Unreachable | SendError::Timeout => TracerStat::ReportsFailed,
                });
            }
        }
    }
}

fn nanos(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// A collector, for tests of what comes before it.
#[cfg(test)]
pub(super) fn testing_service() -> config::model::tracing::HttpService {
    config::model::tracing::HttpService {
        cluster: "z".into(),
        authority: "z".into(),
        path: "/".into(),
        https: false,
        timeout: Duration::from_secs(1),
        headers: Box::default(),
    }
}
