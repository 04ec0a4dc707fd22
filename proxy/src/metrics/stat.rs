//! What a family of statistics is: a closed set of names that index an array.

/// What kind of statistic it is, in Envoy's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Distribution over Envoy's default buckets.
    Histogram,
}

/// One statistic of a [`StatSet`].
#[derive(Clone, Copy, Debug)]
pub struct StatDef {
    /// Envoy's dotted name below the scope, e.g. `upstream_cx_total`.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Listed only once it was used: Envoy creates it only where the feature behind it is configured.
    pub when_used: bool,
    /// Envoy also lists it per worker, as `worker_<n>.<name>`.
    pub per_worker: bool,
}

/// A closed set of statistics; an enum made by `stat_set!`. The order is the order in memory: what is written
/// together stands together.
pub trait StatSet: Copy + Send + Sync + 'static {
    /// What stands before the scope's own name, with the dot: `cluster.`.
    const PREFIX: &'static str;
    /// All of them, by index.
    const DEFS: &'static [StatDef];
    /// Position in [`DEFS`](Self::DEFS).
    fn index(self) -> usize;
}

/// Declares a [`StatSet`]: `counter Name = "envoy.name" [when_used],`.
macro_rules! stat_set {
    (@kind counter) => { $crate::metrics::stat::Kind::Counter };
    (@kind gauge) => { $crate::metrics::stat::Kind::Gauge };
    (@kind histogram) => { $crate::metrics::stat::Kind::Histogram };
    (@def $kind:ident $name:literal) => { stat_set!(@build $kind $name false false) };
    (@def $kind:ident $name:literal when_used) => { stat_set!(@build $kind $name true false) };
    (@def $kind:ident $name:literal per_worker) => { stat_set!(@build $kind $name false true) };
    (@build $kind:ident $name:literal $when_used:literal $per_worker:literal) => {
        $crate::metrics::stat::StatDef {
            name: $name,
            kind: stat_set!(@kind $kind),
            when_used: $when_used,
            per_worker: $per_worker,
        }
    };
    (
        $(#[$meta:meta])*
        $vis:vis enum $set:ident at $prefix:literal {
            $($kind:ident $variant:ident = $name:literal $([$mark:ident])?,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // each is the statistic of the name beside it
        $vis enum $set { $($variant,)* }

        impl $crate::metrics::stat::StatSet for $set {
            const PREFIX: &'static str = $prefix;
            const DEFS: &'static [$crate::metrics::stat::StatDef] = &[$(stat_set!(@def $kind $name $($mark)?),)*];

            #[inline]
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}
