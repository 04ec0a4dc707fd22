//! Weighted turns without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// Deals out turns in proportion to weights: among any `total` consecutive turns (the sum of the weights) each index
/// comes exactly as often as its weight says, and its turns are spread evenly.
///
/// Envoy keeps an EDF schedule per worker. Here all workers share one counter: turn `k` falls on position
/// `k * step mod total` of the line of weights, `step` being coprime to `total` (so that every position comes once)
/// and near the golden section of it (so that neighbours in time are far apart in place).
#[derive(Debug)]
pub(crate) struct Wheel {
    /// Where the part of each index ends.
    ends: Box<[u64]>,
    step: u64,
    turn: AtomicU64,
}

impl Wheel {
    /// `None` when all weights are 0.
    pub(crate) fn new(weights: impl Iterator<Item = u64>, start: u64) -> Option<Self> {
        let mut ends: Box<[u64]> = weights.collect();
        // A short round is exact sooner.
        let common = ends.iter().fold(0, |common, weight| gcd(common, *weight)).max(1);
        let mut sum = 0_u64;
        for end in &mut ends {
            sum = sum.saturating_add(*end / common);
            *end = sum;
        }
        let total = ends.last().copied().filter(|total| *total > 0)?;
        Some(Self { step: step(total), ends, turn: AtomicU64::new(start % total) })
    }

    /// What an index counts, in proportion to the others.
    pub(crate) fn weight(&self, index: usize) -> u64 {
        let end = |index: usize| self.ends.get(index).copied().unwrap_or_default();
        end(index) - index.checked_sub(1).map_or(0, end)
    }

    /// The index whose turn it is.
    pub(crate) fn next(&self) -> usize {
        let total = self.ends.last().copied().unwrap_or(1);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % total;
        let position = u128::from(turn) * u128::from(self.step) % u128::from(total);
        self.ends.partition_point(|end| u128::from(*end) <= position)
    }
}

fn step(total: u64) -> u64 {
    // 0.618… in 64 binary digits.
    let golden = (u128::from(total) * 0x9E37_79B9_7F4A_7C15) >> 64;
    let golden = u64::try_from(golden).unwrap_or(1).max(1);
    (golden..total).find(|step| gcd(*step, total) == 1).unwrap_or(1)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_round_is_exact_and_spread() {
        let wheel = Wheel::new([5, 1, 1].into_iter(), 0).unwrap();
        let turns: Vec<usize> = (0..14).map(|_| wheel.next()).collect();
        assert_eq!(turns[..7].iter().filter(|i| **i == 0).count(), 5);
        assert_eq!(turns[..7], turns[7..]);
        // Never one after the other: the light ones are apart.
        let light: Vec<usize> = (0..7).filter(|i| turns[*i] != 0).collect();
        assert!(light[1] - light[0] > 1, "{turns:?}");
    }

    #[test]
    fn no_weight_no_wheel() {
        assert!(Wheel::new([0, 0].into_iter(), 3).is_none());
        assert!(Wheel::new(std::iter::empty(), 3).is_none());
    }

    #[test]
    fn huge_weights() {
        let wheel = Wheel::new([u64::from(u32::MAX), 1].into_iter(), 7).unwrap();
        assert!((0..1000).all(|_| wheel.next() < 2));
    }

    proptest! {
        #[test]
        fn every_window_is_exact(weights in prop::collection::vec(0_u64..50, 1..20), start: u64) {
            let total: u64 = weights.iter().sum();
            prop_assume!(total > 0);
            let wheel = Wheel::new(weights.iter().copied(), start).unwrap();
            let mut seen = vec![0; weights.len()];
            for _ in 0..total {
                seen[wheel.next()] += 1;
            }
            prop_assert_eq!(seen, weights);
        }
    }
}
