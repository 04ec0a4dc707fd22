//! Metrics as OTLP has them (`opentelemetry/proto/metrics/v1/metrics.proto`), from the lines of Prometheus' text, as
//! kuma-dp makes them (`app/kuma-dp/pkg/dataplane/metrics/metrics_format_mapper.go`).

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};

use super::lines::{Sample, Series, labels, unescape};
use super::policy::Policy;
use crate::export::otlp;
use crate::export::wire::Message;
use crate::metrics::Kind;

/// A request holds about so much: collectors take 4 MiB unless told otherwise.
const LARGEST: usize = 1 << 20;
/// What collectors know kuma-dp's metrics by.
const SCOPE: &str = "kuma";
/// The name that OpenTelemetry's SDK gives kuma-dp, and so the `job` of its series behind a collector.
const SERVICE: &str = "unknown_service:kuma-dp";
/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u64 = 2;

/// Gathers data points and hands requests on.
pub(super) struct Otlp<F> {
    added: Vec<(String, String)>,
    now: u64,
    name: String,
    kind: Kind,
    points: Vec<Bytes>,
    histogram: Buckets,
    metrics: Vec<Bytes>,
    /// Bytes in `points` and `metrics`.
    size: usize,
    send: F,
}

/// The lines of one series of a histogram so far.
#[derive(Default)]
struct Buckets {
    bounds: Vec<f64>,
    cumulative: Vec<u64>,
    sum: f64,
}

impl<F: FnMut(Bytes) -> io::Result<()>> Otlp<F> {
    /// As of now; `send` takes the requests.
    pub(super) fn new(policy: &Policy, send: F) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            added: policy.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            now: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            name: String::new(),
            kind: Kind::Gauge,
            points: Vec::new(),
            histogram: Buckets::default(),
            metrics: Vec::new(),
            size: 0,
            send,
        }
    }

    /// Hands the rest on.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.close();
        self.size = 0;
        if self.metrics.is_empty() {
            return Ok(());
        }
        let resource = otlp::resource([("service.name", SERVICE)]);
        let scope = otlp::scope(SCOPE, env!("CARGO_PKG_VERSION"));
        (self.send)(otlp::request(&resource, &scope, self.metrics.drain(..)))
    }

    /// Ends the metric whose points were gathered.
    fn close(&mut self) {
        if self.points.is_empty() {
            return;
        }
        let data = Message::new().each(1, self.points.drain(..));
        let (field, data) = match self.kind {
            Kind::Gauge => (5, data),
            Kind::Counter => (7, data.varint(2, CUMULATIVE).varint(3, 1)),
            Kind::Histogram => (9, data.varint(2, CUMULATIVE)),
        };
        self.metrics.push(Message::new().bytes(1, &self.name).message(field, data).finish());
    }

    fn attributes(&self, own: &str) -> Vec<Message> {
        let kept = labels(own).filter(|(name, _)| *name != "le" && self.added.iter().all(|(added, _)| added != name));
        let own = kept.map(|(name, value)| otlp::attribute(name, &unescape(value)));
        own.chain(self.added.iter().map(|(name, value)| otlp::attribute(name, value))).collect()
    }

    fn point(&mut self, point: Message) -> io::Result<()> {
        let point = point.finish();
        self.size += point.len();
        self.points.push(point);
        if self.size >= LARGEST { self.flush() } else { Ok(()) }
    }

    fn histogram(&mut self, sample: Sample<'_>) -> io::Result<()> {
        let Sample { name, labels: own, value } = sample;
        if name.ends_with("_bucket") {
            let bound = labels(own).find(|(name, _)| *name == "le").map_or("+Inf", |(_, bound)| bound);
            self.histogram.bounds.extend(bound.parse().ok().filter(|bound: &f64| bound.is_finite()));
            self.histogram.cumulative.push(value.parse().unwrap_or(0));
            return Ok(());
        }
        if name.ends_with("_sum") {
            self.histogram.sum = value.parse().unwrap_or(0.0);
            return Ok(());
        }
        let Buckets { bounds, cumulative, sum } = std::mem::take(&mut self.histogram);
        let (mut counts, mut edges, mut before) = (BytesMut::new(), BytesMut::new(), 0);
        for all in cumulative {
            counts.put_u64_le(all.saturating_sub(before));
            before = all;
        }
        bounds.into_iter().for_each(|bound| edges.put_f64_le(bound));
        let point = Message::new().fixed64(3, self.now).fixed64(4, value.parse().unwrap_or(0)).eight(5, sum.to_bits());
        self.point(point.bytes(6, counts).bytes(7, edges).each(9, self.attributes(own)))
    }
}

impl<F: FnMut(Bytes) -> io::Result<()>> Series for Otlp<F> {
    fn metric(&mut self, name: &str, kind: Kind) -> io::Result<()> {
        self.close();
        name.clone_into(&mut self.name);
        self.kind = kind;
        self.histogram = Buckets::default();
        Ok(())
    }

    fn sample(&mut self, sample: Sample<'_>) -> io::Result<()> {
        if self.kind == Kind::Histogram {
            return self.histogram(sample);
        }
        let value: f64 = sample.value.parse().unwrap_or(0.0);
        let point = Message::new().fixed64(3, self.now).eight(4, value.to_bits());
        self.point(point.each(7, self.attributes(sample.labels)))
    }
}
