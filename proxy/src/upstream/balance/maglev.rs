//! MAGLEV (Eisenbud et al., NSDI 2016, listing 1) with weights as Envoy adds them.

use xxhash_rust::xxh64::xxh64;

/// Which host each slot belongs to. As narrow as the number of hosts allows: the default table has 65,537 slots.
#[derive(Debug)]
pub(super) enum Maglev {
    /// Up to 256 hosts.
    Narrow(Box<[u8]>),
    /// Up to 65,536 hosts.
    Middle(Box<[u16]>),
    /// More.
    Wide(Box<[u32]>),
}

struct Candidate {
    index: u32,
    offset: u64,
    skip: u64,
    share: f64,
    target: f64,
    next: u64,
}

const FREE: u32 = u32::MAX;

impl Maglev {
    /// `size` is prime.
    pub(super) fn new(keys: &[String], shares: &[f64], size: u64) -> Self {
        let table = fill(candidates(keys, shares, size), shares.iter().copied().fold(0.0, f64::max), size);
        match keys.len() {
            0..=256 => Self::Narrow(table.iter().map(|i| *i as u8).collect()),
            257..=65_536 => Self::Middle(table.iter().map(|i| *i as u16).collect()),
            _ => Self::Wide(table.into()),
        }
    }

    /// The host of `hash`.
    pub(super) fn find(&self, hash: u64, attempt: u32) -> Option<usize> {
        // Envoy: `hash ^= ~0ULL - attempt + 1` for retries.
        let hash = if attempt == 0 { hash } else { hash ^ (u64::MAX - u64::from(attempt) + 1) };
        let at = |n: usize| usize::try_from(hash.checked_rem(n as u64)?).ok();
        match self {
            Self::Narrow(t) => t.get(at(t.len())?).map(|i| usize::from(*i)),
            Self::Middle(t) => t.get(at(t.len())?).map(|i| usize::from(*i)),
            Self::Wide(t) => t.get(at(t.len())?).map(|i| *i as usize),
        }
    }
}

/// In the order of their keys, which makes the table independent of the order hosts came in.
fn candidates(keys: &[String], shares: &[f64], size: u64) -> Vec<Candidate> {
    let mut order: Vec<(&String, f64, u32)> =
        keys.iter().zip(shares).zip(0_u32..).map(|((key, share), index)| (key, *share, index)).collect();
    order.sort_by(|a, b| a.0.cmp(b.0));
    order
        .into_iter()
        .map(|(key, share, index)| Candidate {
            index,
            offset: xxh64(key.as_bytes(), 0) % size,
            skip: xxh64(key.as_bytes(), 1) % (size - 1).max(1) + 1,
            share,
            target: 0.0,
            next: 0,
        })
        .collect()
}

fn fill(mut candidates: Vec<Candidate>, largest: f64, size: u64) -> Vec<u32> {
    if candidates.is_empty() {
        return Vec::new();
    }
    let mut table = vec![FREE; usize::try_from(size).unwrap_or_default()];
    let mut left = table.len();
    let mut round = 1.0;
    while left > 0 {
        for candidate in &mut candidates {
            if left == 0 {
                break;
            }
            // A host with the largest share has a turn in every round, one with a third of it in every third.
            if round * candidate.share < candidate.target {
                continue;
            }
            candidate.target += largest;
            while !claim(&mut table, candidate, size) {}
            left -= 1;
        }
        round += 1.0;
    }
    table
}

/// Tries the candidate's next preference.
fn claim(table: &mut [u32], candidate: &mut Candidate, size: u64) -> bool {
    let at = u128::from(candidate.offset) + u128::from(candidate.skip) * u128::from(candidate.next);
    candidate.next += 1;
    match usize::try_from(at % u128::from(size)).ok().and_then(|at| table.get_mut(at)) {
        Some(slot) if *slot == FREE => {
            *slot = candidate.index;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn hosts(table: &Maglev, size: u64) -> Vec<usize> {
        (0..size).map(|h| table.find(h, 0).unwrap() + 90).collect()
    }

    fn keys(n: u16) -> Vec<String> {
        (0..n).map(|i| format!("127.0.0.1:{}", 90 + i)).collect()
    }

    /// `MaglevLoadBalancerTest.Basic` of Envoy: which host has which of seven slots.
    #[test]
    fn envoy_table() {
        let table = Maglev::new(&keys(6), &[1.0 / 6.0; 6], 7);
        assert_eq!(hosts(&table, 7), [92, 94, 90, 91, 95, 90, 93]);
    }

    /// `MaglevLoadBalancerTest.Weighted`: weights 1 and 2, seventeen slots.
    #[test]
    fn envoy_weighted_table() {
        let table = Maglev::new(&keys(2), &[1.0 / 3.0, 2.0 / 3.0], 17);
        let expected = [91, 90, 90, 91, 90, 91, 91, 90, 91, 91, 91, 91, 91, 90, 91, 90, 91];
        assert_eq!(hosts(&table, 17), expected);
    }

    #[test]
    fn order_does_not_matter() {
        let forward = keys(5);
        let backward: Vec<String> = forward.iter().rev().cloned().collect();
        let (a, b) = (Maglev::new(&forward, &[0.2; 5], 1009), Maglev::new(&backward, &[0.2; 5], 1009));
        assert!((0..1009).all(|h| forward[a.find(h, 0).unwrap()] == backward[b.find(h, 0).unwrap()]));
    }

    #[test]
    fn retries_look_elsewhere_and_none_has_none() {
        let table = Maglev::new(&keys(6), &[1.0 / 6.0; 6], 65_537);
        assert!((1..20).any(|attempt| table.find(5, attempt) != table.find(5, 0)));
        // `BasicWithRetryHostPredicate` of Envoy.
        let small = Maglev::new(&keys(6), &[1.0 / 6.0; 6], 7);
        assert_eq!([small.find(10, 0), small.find(10, 1), small.find(10, 2)], [Some(1), Some(0), Some(5)]);
        assert_eq!(Maglev::new(&[], &[], 7).find(1, 0), None);
    }
}
