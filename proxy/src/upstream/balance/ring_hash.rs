//! RING_HASH: Ketama as Envoy builds it, so that both send a hash to the same host.

use config::model::cluster::{HashFunction, RingHash};
use xxhash_rust::xxh64::xxh64;

use super::murmur::murmur2;

/// Points on the ring, sorted: (hash, index of the host).
#[derive(Debug)]
pub(super) struct Ring(Box<[(u64, u32)]>);

impl Ring {
    /// Each host gets points `key_0`, `key_1`, …; the lightest a whole number of them, as far as the maximum allows.
    pub(super) fn new(keys: &[String], shares: &[f64], options: RingHash) -> Self {
        let lightest = shares.iter().copied().fold(1.0, f64::min);
        let scale = (lightest * options.minimum_size as f64).ceil() / lightest;
        let scale = scale.min(options.maximum_size as f64);
        let mut points = Vec::new();
        let (mut current, mut target) = (0.0, 0.0);
        let mut name = String::new();
        for ((key, share), index) in keys.iter().zip(shares).zip(0_u32..) {
            target += scale * share;
            let mut i = 0_u64;
            while current < target {
                name.clear();
                name.push_str(key);
                name.push('_');
                name.push_str(&i.to_string());
                points.push((hash(name.as_bytes(), options.function), index));
                i += 1;
                current += 1.0;
            }
        }
        points.sort_by_key(|(hash, _)| *hash);
        Self(points.into())
    }

    /// The first point at or after `hash`, and `attempt` points further.
    pub(super) fn find(&self, hash: u64, attempt: u32) -> Option<usize> {
        let n = self.0.len();
        if n == 0 {
            return None;
        }
        let at = self.0.partition_point(|(point, _)| *point < hash) % n;
        self.0.get((at + attempt as usize) % n).map(|(_, index)| *index as usize)
    }
}

fn hash(bytes: &[u8], function: HashFunction) -> u64 {
    match function {
        HashFunction::XxHash => xxh64(bytes, 0),
        HashFunction::MurmurHash2 => murmur2(bytes),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn options(minimum_size: u64, maximum_size: u64, function: HashFunction) -> RingHash {
        RingHash { minimum_size, maximum_size, function }
    }

    fn keys(ports: std::ops::Range<u16>) -> Vec<String> {
        ports.map(|p| format!("127.0.0.1:{p}")).collect()
    }

    /// `RingHashLoadBalancerTest.Basic` of Envoy: six hosts, twelve points, and where hashes fall.
    #[test]
    fn envoy_ring() {
        let ring = Ring::new(&keys(90..96), &[1.0 / 6.0; 6], options(12, 8 << 20, HashFunction::XxHash));
        assert_eq!(ring.0.len(), 12);
        let hosts = |hash| ring.find(hash, 0).unwrap() + 90;
        assert_eq!(hosts(0), 94);
        assert_eq!(hosts(u64::MAX), 94);
        assert_eq!(hosts(3_551_244_743_356_806_947), 95);
        assert_eq!(hosts(3_551_244_743_356_806_948), 93);
        assert_eq!(hosts(16_117_243_373_044_804_880), 90);
    }

    /// `RingHashLoadBalancerTest.BasicWithMurmur2` of Envoy.
    #[test]
    fn envoy_murmur_ring() {
        let ring = Ring::new(&keys(80..86), &[1.0 / 6.0; 6], options(12, 8 << 20, HashFunction::MurmurHash2));
        let hosts = |hash| ring.find(hash, 0).unwrap() + 80;
        assert_eq!(hosts(0), 85);
        assert_eq!(hosts(1_358_027_074_129_602_068), 85);
        assert_eq!(hosts(1_358_027_074_129_602_069), 83);
        assert_eq!(hosts(10_150_910_876_324_007_730), 82);
    }

    #[test]
    fn sizes() {
        let even = Ring::new(&keys(1..4), &[1.0 / 3.0; 3], options(1024, 8 << 20, HashFunction::XxHash));
        assert_eq!(even.0.len(), 1026, "each host a whole number of points");
        let capped = Ring::new(&keys(1..4), &[1.0 / 3.0; 3], options(1024, 10, HashFunction::XxHash));
        assert_eq!(capped.0.len(), 10);
        let uneven = Ring::new(&keys(1..3), &[0.25, 0.75], options(4, 8 << 20, HashFunction::XxHash));
        assert_eq!(uneven.0.iter().filter(|p| p.1 == 1).count(), 3);
        assert_eq!(Ring::new(&[], &[], options(4, 8, HashFunction::XxHash)).find(1, 0), None);
    }

    #[test]
    fn removal_moves_only_its_own() {
        let before = Ring::new(&keys(1..11), &[0.1; 10], options(1024, 8 << 20, HashFunction::XxHash));
        let after = Ring::new(&keys(1..10), &[1.0 / 9.0; 9], options(1024, 8 << 20, HashFunction::XxHash));
        let moved = (0..10_000_u64)
            .map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15))
            .filter(|h| before.find(*h, 0) != Some(9) && before.find(*h, 0) != after.find(*h, 0))
            .count();
        assert!(moved < 1500, "{moved} of 10000 moved");
    }
}
