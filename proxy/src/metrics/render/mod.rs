//! What somebody reads: Envoy's `/stats` as text and JSON, and Prometheus' text.
//!
//! All write as they go: what is in memory does not grow with the number of clusters times statistics.

mod json;
mod prometheus;
mod quantiles;
mod tags;
#[cfg(test)]
mod tests;
mod text;

use regex::Regex;

use super::scope::AnyScope;
use super::stat::{Kind, StatDef};
use super::{FamilyView, Registry};

pub use json::json;
pub use prometheus::prometheus;
pub use tags::{TagSpecifier, Tags, TagsError};
pub use text::text;

/// What is asked for, as the query of Envoy's `/stats` has it.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// `usedonly`: only what was written at least once.
    pub used_only: bool,
    /// `filter`: only names in which it is found.
    pub filter: Option<Regex>,
    /// `text_readouts`: Prometheus only; texts as gauges of value 0 with a label `text_value`.
    pub text_readouts: bool,
    /// `type`: only this kind.
    pub kind: Option<KindFilter>,
    /// `histogram_buckets`.
    pub histograms: Histograms,
}

/// `type` of a [`Query`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindFilter {
    /// `Counters`.
    Counters,
    /// `Gauges`.
    Gauges,
    /// `Histograms`.
    Histograms,
    /// `TextReadouts`.
    TextReadouts,
}

/// `histogram_buckets` of a [`Query`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Histograms {
    /// Quantiles.
    #[default]
    Summary,
    /// Values at or below each bound.
    Cumulative,
    /// Values in each bucket.
    Disjoint,
}

impl Query {
    fn wants(&self, kind: Kind) -> bool {
        match self.kind {
            None => true,
            Some(KindFilter::Counters) => kind == Kind::Counter,
            Some(KindFilter::Gauges) => kind == Kind::Gauge,
            Some(KindFilter::Histograms) => kind == Kind::Histogram,
            Some(KindFilter::TextReadouts) => false,
        }
    }

    fn wants_texts(&self) -> bool {
        matches!(self.kind, None | Some(KindFilter::TextReadouts))
    }

    fn names(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.is_match(name))
    }

    /// Whether the statistic is listed at all, its name aside.
    fn lists(&self, scope: &dyn AnyScope, index: usize, def: &StatDef) -> bool {
        self.wants(def.kind) && (!(self.used_only || def.when_used) || scope.stat_used(index))
    }
}

/// Takes one counter or gauge: its full name and value.
type See<'a, E> = &'a mut dyn FnMut(&str, u64) -> Result<(), E>;

/// Calls `see` with every counter and gauge that `query` asks for, by family, scope and name.
fn numbers<E>(registry: &Registry, query: &Query, see: See<'_, E>) -> Result<(), E> {
    let mut result = Ok(());
    registry.families(|family| {
        if result.is_ok() {
            result = family_numbers(&family, query, see);
        }
    });
    result?;
    registry.sni().numbers(&mut |name, value| {
        if query.wants(Kind::Counter) && query.names(name) {
            return see(name, value);
        }
        Ok(())
    })
}

fn family_numbers<E>(family: &FamilyView, query: &Query, see: See<'_, E>) -> Result<(), E> {
    let order = by_name(family.defs);
    let mut name = String::new();
    for scope in &family.scopes {
        for &index in &order {
            let def = &family.defs[index];
            if def.kind == Kind::Histogram || !query.lists(scope.as_ref(), index, def) {
                continue;
            }
            full_name(&mut name, family.prefix, scope.name(), def.name);
            if query.names(&name) {
                see(&name, shown(def, scope.value(index)))?;
            }
        }
        worker_numbers(family, scope.as_ref(), query, see)?;
    }
    Ok(())
}

/// `listener.<address>.worker_<n>.…`
fn worker_numbers<E>(family: &FamilyView, scope: &dyn AnyScope, query: &Query, see: See<'_, E>) -> Result<(), E> {
    let mut name = String::new();
    for worker in 0..scope.workers() {
        for (index, def) in family.defs.iter().enumerate().filter(|(_, def)| def.per_worker) {
            let value = shown(def, scope.worker_value(worker, index));
            if !query.wants(def.kind) || (query.used_only && value == 0) {
                continue;
            }
            worker_name(&mut name, family.prefix, scope.name(), worker, def.name);
            if query.names(&name) {
                see(&name, value)?;
            }
        }
    }
    Ok(())
}

/// What is printed. A gauge summed while one worker takes off what another's number does not show yet is below zero for
/// a moment: 0, then. But what is left of a limit may be the largest number ("no limit"), and a version is a hash.
fn shown(def: &StatDef, value: u64) -> u64 {
    let negative = def.kind == Kind::Gauge && value.cast_signed() < 0;
    let any_number = def.name == "version" || def.name.contains(".remaining_");
    if negative && !any_number { 0 } else { value }
}

/// Positions of `defs` in the order of their names.
fn by_name(defs: &[StatDef]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..defs.len()).collect();
    order.sort_unstable_by_key(|&index| defs[index].name);
    order
}

/// `<prefix><scope>.<stat>`; a scope without a name stands for its prefix alone.
fn full_name(name: &mut String, prefix: &str, scope: &str, stat: &str) {
    name.clear();
    name.push_str(prefix);
    if !scope.is_empty() {
        name.push_str(scope);
        name.push('.');
    }
    name.push_str(stat);
}

fn worker_name(name: &mut String, prefix: &str, scope: &str, worker: usize, stat: &str) {
    full_name(name, prefix, scope, "");
    name.push_str(&format!("worker_{worker}.{stat}"));
}
