//! Histograms over Envoy's default buckets (`source/common/stats/histogram_impl.cc`).

/// Upper bounds, inclusive; a further bucket takes the rest.
pub const BOUNDS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// Numbers a histogram takes in a slot: its buckets and its sum, in whole pages.
pub(super) const WIDTH: usize = 24;
/// Position of the sum among them.
pub(super) const SUM: usize = BOUNDS.len() + 1;

/// What was recorded, summed over workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Values per bucket of [`BOUNDS`], not cumulated, then those above the last bound.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// Sum of the values.
    pub sum: u64,
}

impl Histogram {
    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// The bucket `value` falls in.
pub(super) fn bucket(value: u64) -> usize {
    let value = value as f64;
    BOUNDS.iter().position(|bound| value <= *bound).unwrap_or(BOUNDS.len())
}
