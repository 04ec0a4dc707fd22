//! `/stats`: a line each, as Envoy writes it.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::{Histograms, Query, by_name, full_name, numbers, quantiles};
use crate::metrics::histogram::{BOUNDS, Histogram};
use crate::metrics::registry::Registry;
use crate::metrics::stat::Kind;

/// Writes texts, then counters and gauges, then histograms.
///
/// Quantiles are interpolated within Envoy's default buckets (Envoy keeps finer ones), and the figure of the last
/// flush interval is always `nan`.
///
/// # Errors
/// Those of `out`.
pub fn text(registry: &Registry, query: &Query, out: &mut impl Write) -> io::Result<()> {
    if query.wants_texts() {
        for (name, value) in registry.texts().iter().filter(|(name, _)| query.names(name)) {
            writeln!(out, "{name}: \"{value}\"")?;
        }
    }
    numbers(registry, query, &mut |name, value| writeln!(out, "{name}: {value}"))?;
    if !query.wants(Kind::Histogram) {
        return Ok(());
    }
    let mut result = Ok(());
    registry.families(|family| {
        let order = by_name(family.defs);
        let mut name = String::new();
        for scope in &family.scopes {
            for &index in order.iter().filter(|&&index| family.defs[index].kind == Kind::Histogram) {
                full_name(&mut name, family.prefix, scope.name(), family.defs[index].name);
                if result.is_ok() && query.lists(scope.as_ref(), index, &family.defs[index]) && query.names(&name) {
                    result = writeln!(out, "{name}: {}", line(&scope.histogram(index), query.histograms));
                }
            }
        }
    });
    result
}

fn line(histogram: &Histogram, form: Histograms) -> String {
    if histogram.count() == 0 && form == Histograms::Summary {
        return "No recorded values".to_owned();
    }
    let mut line = String::new();
    match form {
        Histograms::Summary => {
            for (quantile, value) in quantiles::ALL.iter().zip(quantiles::of(histogram)) {
                let _ = write!(line, " P{}(nan,{value})", quantile * 100.0);
            }
        }
        Histograms::Cumulative | Histograms::Disjoint => {
            let mut sum = 0;
            for (bound, count) in BOUNDS.iter().zip(histogram.buckets) {
                sum = if form == Histograms::Cumulative { sum + count } else { count };
                let _ = write!(line, " B{bound}(0,{sum})");
            }
        }
    }
    line.split_off(1.min(line.len()))
}
