//! A scope: the statistics of one listener, cluster or prefix.

use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::histogram::{self, Histogram};
use super::slot::{Chain, PAGE};
use super::stat::{Kind, StatDef, StatSet};
use super::worker::current_worker;

/// The statistics of one named thing. An add is a thread-local read and an addition in this worker's own cache line;
/// memory is made when first used.
///
/// Every worker's number may be read at any time; sums over workers are not a snapshot of one instant.
pub struct Scope<S> {
    name: Box<str>,
    /// Written by threads that are no worker.
    shared: Chain,
    /// One per worker, single writer each.
    workers: OnceLock<Box<[Chain]>>,
    count: u16,
    set: PhantomData<fn(S)>,
}

impl<S: StatSet> Scope<S> {
    /// A scope of that name (without [`StatSet::PREFIX`]) for so many workers.
    pub fn new(name: &str, workers: usize) -> Self {
        let count = u16::try_from(workers).unwrap_or(u16::MAX);
        Self { name: name.into(), shared: Chain::default(), workers: OnceLock::new(), count, set: PhantomData }
    }

    /// Its name without the set's prefix.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds 1.
    #[inline]
    pub fn inc(&self, stat: S) {
        self.add(stat, 1);
    }

    /// Takes 1 off a gauge; not necessarily on the worker that added it.
    #[inline]
    pub fn dec(&self, stat: S) {
        self.add(stat, 1_u64.wrapping_neg());
    }

    /// Takes `n` off a gauge.
    #[inline]
    pub fn sub(&self, stat: S, n: u64) {
        self.add(stat, n.wrapping_neg());
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&self, stat: S, n: u64) {
        self.add_at(stat.index(), n);
    }

    /// Sets a gauge; for gauges that only control threads write.
    pub fn set(&self, stat: S, value: i64) {
        self.shared.cell(stat.index()).store(value.cast_unsigned());
    }

    /// Records a value in a histogram.
    pub fn record(&self, stat: S, value: u64) {
        let base = base(S::DEFS, stat.index());
        self.add_at(base + histogram::bucket(value), 1);
        self.add_at(base + histogram::SUM, value);
    }

    /// Sum of a counter.
    pub fn get(&self, stat: S) -> u64 {
        self.sum(stat.index())
    }

    /// Sum of a gauge.
    pub fn gauge(&self, stat: S) -> i64 {
        self.sum(stat.index()).cast_signed()
    }

    /// Anything was written.
    pub fn used(&self) -> bool {
        self.shared.is_used() || self.chains().iter().any(Chain::is_used)
    }

    /// Counters begin at 0 again (`POST /reset_counters`). Workers go on writing: what each holds now is subtracted in
    /// the shared slot, so no add is lost and nobody waits.
    pub fn reset_counters(&self) {
        for (index, _) in S::DEFS.iter().enumerate().filter(|(_, def)| def.kind == Kind::Counter) {
            let sum = self.sum(index);
            if sum != 0 {
                self.shared.cell(index).add_shared(sum.wrapping_neg());
            }
        }
    }

    /// Makes the statistic used, as writing a 0 would.
    #[cfg(test)]
    pub(crate) fn touch(&self, index: usize) {
        self.add_at(index, 0);
    }

    #[inline]
    fn add_at(&self, index: usize, n: u64) {
        match current_worker() {
            Some(worker) if worker < usize::from(self.count) => {
                let chains = self.workers.get_or_init(|| (0..self.count).map(|_| Chain::default()).collect());
                chains[worker].cell(index).add_alone(n);
            }
            _ => self.shared.cell(index).add_shared(n),
        }
    }

    fn chains(&self) -> &[Chain] {
        self.workers.get().map_or(&[], AsRef::as_ref)
    }

    fn sum(&self, index: usize) -> u64 {
        let all = std::iter::once(&self.shared).chain(self.chains());
        all.filter_map(|chain| chain.peek(index)).fold(0, |sum, cell| sum.wrapping_add(cell.load()))
    }
}

/// A scope of any set, for those who list them.
pub trait AnyScope: Send + Sync {
    /// Its name without the set's prefix.
    fn name(&self) -> &str;
    /// The counter or gauge at `index` of the set.
    fn value(&self, index: usize) -> u64;
    /// The same of one worker.
    fn worker_value(&self, worker: usize, index: usize) -> u64;
    /// The histogram at `index` of the set.
    fn histogram(&self, index: usize) -> Histogram;
    /// The statistic at `index` was written at least once.
    fn stat_used(&self, index: usize) -> bool;
    /// How many workers it has.
    fn workers(&self) -> usize;
}

impl<S: StatSet> AnyScope for Scope<S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn value(&self, index: usize) -> u64 {
        self.sum(index)
    }

    fn worker_value(&self, worker: usize, index: usize) -> u64 {
        self.chains().get(worker).and_then(|chain| chain.peek(index)).map_or(0, |cell| cell.load())
    }

    fn histogram(&self, index: usize) -> Histogram {
        let base = base(S::DEFS, index);
        let mut histogram = Histogram::default();
        for (at, bucket) in histogram.buckets.iter_mut().enumerate() {
            *bucket = self.sum(base + at);
        }
        histogram.sum = self.sum(base + histogram::SUM);
        histogram
    }

    fn stat_used(&self, index: usize) -> bool {
        let index = match S::DEFS.get(index) {
            Some(def) if def.kind == Kind::Histogram => base(S::DEFS, index) + histogram::SUM,
            _ => index,
        };
        let all = std::iter::once(&self.shared).chain(self.chains());
        all.filter_map(|chain| chain.peek(index)).any(super::slot::Cell::used)
    }

    fn workers(&self) -> usize {
        usize::from(self.count)
    }
}

impl<S: StatSet> fmt::Debug for Scope<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scope").field(&format_args!("{}{}", S::PREFIX, self.name)).finish()
    }
}

/// Where the numbers of the histogram at `index` begin: behind all counters and gauges, in pages of their own.
fn base(defs: &[StatDef], index: usize) -> usize {
    let nth = defs[..index.min(defs.len())].iter().filter(|def| def.kind == Kind::Histogram).count();
    defs.len().next_multiple_of(PAGE) + nth * histogram::WIDTH
}
