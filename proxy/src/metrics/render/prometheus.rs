//! `/stats/prometheus`, through metrics-exporter-prometheus.
//!
//! The exporter is fed with sums when somebody scrapes: a recorder per family and per batch of scopes, rendered and
//! dropped, so that ten thousand clusters never stand in it at once. Histograms it could only take value by value, so
//! those lines are written here.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use metrics::{Key, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::tags::{Tagged, label};
use super::{Query, Tags, by_name, full_name, shown, worker_name};
use crate::metrics::histogram::{BOUNDS, Histogram};
use crate::metrics::scope::AnyScope;
use crate::metrics::stat::{Kind, StatDef};
use crate::metrics::{FamilyView, Registry};

/// Series that stand in the exporter at once.
const BATCH: usize = 512;

/// Writes the metrics in Prometheus' text format, names and labels as Envoy's.
///
/// # Errors
/// Those of `out`.
pub fn prometheus(registry: &Registry, tags: &Tags, query: &Query, out: &mut impl Write) -> io::Result<()> {
    let mut result = Ok(());
    registry.families(|family| {
        if result.is_ok() {
            result = write_family(&family, tags, query, out);
        }
    });
    result?;
    if query.wants(Kind::Counter) {
        write_sni(registry, tags, query, out)?;
    }
    if query.text_readouts && query.wants_texts() {
        write_texts(registry, tags, query, out)?;
    }
    Ok(())
}

fn write_family(family: &FamilyView, tags: &Tags, query: &Query, out: &mut impl Write) -> io::Result<()> {
    for scopes in alike(family, tags) {
        write_group(&FamilyView { scopes, ..*family }, tags, query, out)?;
    }
    Ok(())
}

/// Scopes by what their names leave in a metric's name: `tcp.a.b.` gives `envoy_tcp_b_…{envoy_tcp_prefix="a"}`, and
/// the lines of one metric must stand together.
fn alike(family: &FamilyView, tags: &Tags) -> Vec<Vec<Arc<dyn AnyScope>>> {
    let mut groups: BTreeMap<String, Vec<Arc<dyn AnyScope>>> = BTreeMap::new();
    let mut name = String::new();
    for scope in &family.scopes {
        full_name(&mut name, family.prefix, scope.name(), "_");
        groups.entry(tags.split(&name).name).or_default().push(Arc::clone(scope));
    }
    groups.into_values().collect()
}

fn write_group(family: &FamilyView, tags: &Tags, query: &Query, out: &mut impl Write) -> io::Result<()> {
    // Several statistics may be one metric, told apart by a label: the type is said once.
    let mut typed = String::new();
    for index in by_name(family.defs) {
        let def = &family.defs[index];
        if !query.wants(def.kind) {
            continue;
        }
        if def.kind == Kind::Histogram {
            write_histograms(family, index, (tags, query), out)?;
            continue;
        }
        let mut sink = Sink { typed: std::mem::take(&mut typed), ..Sink::new(def.kind, out) };
        let mut name = String::new();
        for scope in family.scopes.iter().filter(|scope| query.lists(scope.as_ref(), index, def)) {
            full_name(&mut name, family.prefix, scope.name(), def.name);
            if query.names(&name) {
                sink.add(tags.split(&name), shown(def, scope.value(index)))?;
            }
        }
        sink.flush()?;
        typed = sink.typed;
        if def.per_worker {
            write_workers(family, (index, def), (tags, query), out)?;
        }
    }
    Ok(())
}

fn write_workers(
    family: &FamilyView,
    (index, def): (usize, &StatDef),
    (tags, query): (&Tags, &Query),
    out: &mut impl Write,
) -> io::Result<()> {
    let mut sink = Sink::new(def.kind, out);
    let mut name = String::new();
    for scope in &family.scopes {
        for worker in 0..scope.workers() {
            let value = shown(def, scope.worker_value(worker, index));
            worker_name(&mut name, family.prefix, scope.name(), worker, def.name);
            if !(query.used_only && value == 0) && query.names(&name) {
                sink.add(tags.split(&name), value)?;
            }
        }
    }
    sink.flush()
}

/// Gathers series of one kind, and writes them through a recorder of the exporter's, batch by batch.
struct Sink<'a, W> {
    kind: Kind,
    batch: Vec<(Tagged, u64)>,
    /// Name of the last type line written.
    typed: String,
    out: &'a mut W,
}

impl<'a, W: Write> Sink<'a, W> {
    fn new(kind: Kind, out: &'a mut W) -> Self {
        Self { kind, batch: Vec::new(), typed: String::new(), out }
    }

    fn add(&mut self, series: Tagged, value: u64) -> io::Result<()> {
        if self.batch.len() >= BATCH {
            self.flush()?;
        }
        self.batch.push((series, value));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let recorder = PrometheusBuilder::new().build_recorder();
        let metadata = Metadata::new(module_path!(), Level::INFO, None);
        for (series, value) in self.batch.drain(..) {
            let labels = series.tags.into_iter().map(|(name, value)| Label::new(name, value)).collect::<Vec<_>>();
            let key = Key::from_parts(metric_name(&series.name), labels);
            match self.kind {
                Kind::Gauge => recorder.register_gauge(&key, &metadata).set(value as f64),
                Kind::Counter | Kind::Histogram => recorder.register_counter(&key, &metadata).absolute(value),
            }
        }
        let rendered = recorder.handle().render();
        let (types, mut lines): (Vec<_>, Vec<_>) =
            rendered.lines().filter(|line| !line.is_empty()).partition(|line| line.starts_with('#'));
        lines.sort_unstable();
        for line in types {
            if self.typed != line {
                writeln!(self.out, "{line}")?;
                line.clone_into(&mut self.typed);
            }
        }
        for line in lines {
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }
}

/// `envoy_…`, but for our own.
fn metric_name(name: &str) -> String {
    let name = label(name);
    match name.strip_prefix("zonegate_") {
        Some("listener_close") => "zonegate_listener_close_total".to_owned(),
        Some(_) => name,
        None => format!("envoy_{name}"),
    }
}

fn write_histograms(
    family: &FamilyView,
    index: usize,
    (tags, query): (&Tags, &Query),
    out: &mut impl Write,
) -> io::Result<()> {
    let def = &family.defs[index];
    let (mut name, mut typed) = (String::new(), String::new());
    for scope in family.scopes.iter().filter(|scope| query.lists(scope.as_ref(), index, def)) {
        full_name(&mut name, family.prefix, scope.name(), def.name);
        if !query.names(&name) {
            continue;
        }
        let series = tags.split(&name);
        let metric = metric_name(&series.name);
        if typed != metric {
            writeln!(out, "# TYPE {metric} histogram")?;
            typed.clone_from(&metric);
        }
        write_histogram(&metric, &labels(&series), &scope.histogram(index), out)?;
    }
    Ok(())
}

fn write_histogram(metric: &str, labels: &[String], histogram: &Histogram, out: &mut impl Write) -> io::Result<()> {
    let mut sum = 0;
    let bounds = BOUNDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
    for (bound, values) in bounds.zip(histogram.buckets) {
        sum += values;
        let bound = format!("le=\"{bound}\"");
        let all = labels.iter().chain([&bound]).map(String::as_str).collect::<Vec<_>>().join(",");
        writeln!(out, "{metric}_bucket{{{all}}} {sum}")?;
    }
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    writeln!(out, "{metric}_sum{labels} {}", histogram.sum)?;
    writeln!(out, "{metric}_count{labels} {sum}")
}

fn labels(series: &Tagged) -> Vec<String> {
    series.tags.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect()
}

fn write_sni(registry: &Registry, all: &Tags, query: &Query, out: &mut impl Write) -> io::Result<()> {
    for series in crate::metrics::sni::SERIES {
        let mut sink = Sink::new(Kind::Counter, &mut *out);
        registry.sni().each(|name, totals| {
            let full = format!("zonegate.sni.{name}.{}", series.name);
            if !query.names(&full) {
                return Ok(());
            }
            let tags = vec![("sni".to_owned(), name.to_owned())];
            let tagged = Tagged { name: format!("zonegate.sni.{}", series.name), tags };
            sink.add(all.add_fixed(tagged), (series.value)(totals))
        })?;
        sink.flush()?;
    }
    Ok(())
}

fn write_texts(registry: &Registry, tags: &Tags, query: &Query, out: &mut impl Write) -> io::Result<()> {
    for (name, value) in registry.texts().iter().filter(|(name, _)| query.names(name)) {
        let mut series = tags.split(name);
        series.tags.push(("text_value".to_owned(), value.to_string()));
        let mut sink = Sink::new(Kind::Gauge, &mut *out);
        sink.add(series, 0)?;
        sink.flush()?;
    }
    Ok(())
}

/// A label's value as the text format wants it.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
