//! MurmurHash2, 64-bit variant A, as libstdc++'s `std::hash` uses it (Austin Appleby, public domain).

/// libstdc++'s seed (Envoy: `MurmurHash::STD_HASH_SEED`).
const SEED: u64 = 0xc70f_6907;
const M: u64 = 0xc6a4_a793_5bd1_e995;
const R: u32 = 47;

/// The hash of `bytes` with libstdc++'s seed.
pub(super) fn murmur2(bytes: &[u8]) -> u64 {
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(M);
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let mut k = little_endian(word).wrapping_mul(M);
        k = (k ^ (k >> R)).wrapping_mul(M);
        hash = (hash ^ k).wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash = (hash ^ little_endian(rest)).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> R)).wrapping_mul(M);
    hash ^ (hash >> R)
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Envoy's own vectors (`test/common/common/hash_test.cc`).
    #[test]
    fn envoy_vectors() {
        assert_eq!(murmur2(b"foo"), 9_631_199_822_919_835_226);
        assert_eq!(murmur2(b"bar"), 11_474_628_671_133_349_555);
        assert_eq!(murmur2(b"foo\nbar"), 16_306_510_975_912_980_159);
        assert_eq!(murmur2(b"lyft"), 12_847_078_931_730_529_320);
        assert_eq!(murmur2(b""), 6_142_509_188_972_423_790);
    }
}
