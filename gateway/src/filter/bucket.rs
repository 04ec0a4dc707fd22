//! A token bucket as Envoy's `AtomicTokenBucketImpl`: it fills evenly, and is one number, the moment at which it was
//! empty.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use config::model::http_filter::TokenBucket;

/// A bucket that several workers share.
#[derive(Debug)]
pub(super) struct Bucket {
    max: f64,
    /// Tokens a second.
    rate: f64,
    origin: Instant,
    /// Seconds after `origin` at which it was empty, as bits of a double; may be before `origin`.
    empty_at: AtomicU64,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(config: &TokenBucket) -> Self {
        let max = f64::from(config.max_tokens);
        let rate = f64::from(config.tokens_per_fill) / config.fill_interval.as_secs_f64();
        Self { max, rate, origin: Instant::now(), empty_at: AtomicU64::new((-max / rate).to_bits()) }
    }

    /// Tokens a second.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// Most tokens it holds.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was a u32")]
    pub(super) fn max(&self) -> u64 {
        self.max as u64
    }

    /// Takes `tokens`, if there are as many.
    pub(super) fn take(&self, tokens: f64, now: Instant) -> bool {
        let now = self.seconds(now);
        let mut old = self.empty_at.load(Relaxed);
        loop {
            let total = self.max.min((now - f64::from_bits(old)) * self.rate);
            if total < tokens {
                return false;
            }
            let new = now - (total - tokens) / self.rate;
            match self.empty_at.compare_exchange_weak(old, new.to_bits(), Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(seen) => old = seen,
            }
        }
    }

    /// Whole tokens that are there.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a u32, and not negative")]
    pub(super) fn remaining(&self, now: Instant) -> u64 {
        self.tokens(now).max(0.0) as u64
    }

    /// Seconds until there is a whole token again, rounded up.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "finite and positive")]
    pub(super) fn reset_seconds(&self, now: Instant) -> u64 {
        let missing = 1.0 - self.tokens(now);
        if missing <= 0.0 { 0 } else { (missing / self.rate).ceil() as u64 }
    }

    fn tokens(&self, now: Instant) -> f64 {
        let empty_at = f64::from_bits(self.empty_at.load(Relaxed));
        self.max.min((self.seconds(now) - empty_at) * self.rate)
    }

    fn seconds(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.origin).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_fills_evenly_up_to_its_rim() {
        let bucket =
            Bucket::new(&TokenBucket { max_tokens: 2, tokens_per_fill: 1, fill_interval: Duration::from_secs(10) });
        let at = |seconds: u64| bucket.origin + Duration::from_millis(seconds * 1000);
        assert!(bucket.take(1.0, at(0)) && bucket.take(1.0, at(0)) && !bucket.take(1.0, at(9)));
        assert_eq!((bucket.remaining(at(0)), bucket.reset_seconds(at(0)), bucket.reset_seconds(at(9))), (0, 10, 1));
        assert!(bucket.take(1.0, at(10)) && !bucket.take(1.0, at(19)));
        assert_eq!((bucket.remaining(at(60)), bucket.reset_seconds(at(60)), bucket.max()), (2, 0, 2));
        assert!(!bucket.take(3.0, at(90)) && bucket.take(2.0, at(90)) && !bucket.take(1.0, at(90)));
    }
}
