//! Quantiles of a histogram, for `/stats`.

use crate::metrics::histogram::{BOUNDS, Histogram};

/// Envoy's quantiles (`HistogramSettings`).
pub(super) const ALL: [f64; 10] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0];

/// The values at [`ALL`], linear within a bucket; above the last bound there is only that bound.
pub(super) fn of(histogram: &Histogram) -> [f64; ALL.len()] {
    let count = histogram.count() as f64;
    ALL.map(|quantile| at(histogram, quantile * count))
}

fn at(histogram: &Histogram, rank: f64) -> f64 {
    let mut below = 0.0;
    let mut lower = 0.0;
    for (bound, values) in BOUNDS.iter().zip(histogram.buckets) {
        let values = values as f64;
        if values > 0.0 && below + values >= rank {
            return lower + (bound - lower) * ((rank - below) / values);
        }
        below += values;
        lower = *bound;
    }
    lower
}
