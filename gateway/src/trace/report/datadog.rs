//! Datadog's spans: msgpack to `/v0.4/traces` of its agent, each trace's spans in a list of their own.

use std::time::SystemTime;

use bytes::{BufMut, Bytes, BytesMut};
use config::model::tracing::{Datadog, HttpService, REPORT_TIMEOUT};
use proxy::export::Packed;

use super::{Report, nanos};
use crate::trace::context;

/// What Envoy calls each span; what it is about is its resource.
const NAME: &str = "envoy.proxy";

#[derive(Debug)]
pub(super) struct Encoder {
    service: Box<str>,
}

/// The agent.
pub(super) fn service(config: &Datadog) -> HttpService {
    HttpService {
        cluster: config.cluster.clone(),
        authority: config.authority.clone(),
        path: "/v0.4/traces".into(),
        https: false,
        timeout: REPORT_TIMEOUT,
        headers: Box::default(),
    }
}

/// A batch: a list of traces, which here are of one span each, as the agent puts them together anyway.
pub(super) fn pack(items: &[Bytes]) -> Packed {
    let mut all = Msgpack::default();
    all.array(items.len());
    for item in items {
        all.array(1);
        all.0.put_slice(item);
    }
    let headers = vec![
        ("datadog-meta-lang", "rust".to_owned()),
        ("datadog-meta-tracer-version", env!("CARGO_PKG_VERSION").to_owned()),
        ("x-datadog-trace-count", items.len().to_string()),
    ];
    Packed { body: all.0.freeze(), headers }
}

impl Encoder {
    pub(super) fn new(config: &Datadog) -> Self {
        Self { service: config.service_name.clone() }
    }

    pub(super) fn span(&self, report: &Report<'_>, end: SystemTime) -> Bytes {
        let of = report.context;
        // The first span of ours in a trace says how it was sampled.
        let local_root = of.parent.is_none() || of.remote_parent;
        let low = u64::try_from(of.trace & u128::from(u64::MAX)).unwrap_or_default();
        let mut meta: Vec<(&str, String)> = report.tags.iter().map(|(k, v)| (&**k, v.clone())).collect();
        if of.begins && local_root {
            meta.push(("_dd.p.dm", "-0".to_owned()));
            meta.push(("_dd.p.tid", format!("{:016x}", of.trace >> 64)));
        }
        let mut out = Msgpack::default();
        out.map(12);
        out.pair("service", &self.service);
        out.pair("name", NAME);
        out.pair("resource", &report.name);
        out.pair("type", "web");
        out.number("trace_id", low);
        out.number("span_id", of.span);
        out.number("parent_id", of.parent.unwrap_or_default());
        out.number("start", nanos(report.start));
        out.number("duration", nanos(end).saturating_sub(nanos(report.start)));
        out.number("error", u64::from(report.failed()));
        out.text("meta");
        out.map(meta.len());
        meta.iter().for_each(|(name, value)| out.pair(name, value));
        out.text("metrics");
        let mut metrics = vec![("process_id", f64::from(std::process::id()))];
        if local_root {
            metrics.push(("_sampling_priority_v1", f64::from(context::priority(of))));
        }
        if of.begins && local_root {
            metrics.push(("_dd.agent_psr", 1.0));
        }
        out.map(metrics.len());
        for (name, value) in metrics {
            out.text(name);
            out.float(value);
        }
        out.0.freeze()
    }
}

/// <https://github.com/msgpack/msgpack/blob/master/spec.md>, as much of it as is needed.
#[derive(Default)]
struct Msgpack(BytesMut);

impl Msgpack {
    fn array(&mut self, length: usize) {
        self.0.put_u8(0xdd);
        self.length(length);
    }

    fn map(&mut self, length: usize) {
        self.0.put_u8(0xdf);
        self.length(length);
    }

    fn text(&mut self, text: &str) {
        self.0.put_u8(0xdb);
        self.length(text.len());
        self.0.put_slice(text.as_bytes());
    }

    fn float(&mut self, value: f64) {
        self.0.put_u8(0xcb);
        self.0.put_f64(value);
    }

    fn pair(&mut self, name: &str, value: &str) {
        self.text(name);
        self.text(value);
    }

    fn number(&mut self, name: &str, value: u64) {
        self.text(name);
        self.0.put_u8(0xcf);
        self.0.put_u64(value);
    }

    fn length(&mut self, length: usize) {
        self.0.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    }
}
