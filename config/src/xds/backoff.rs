//! How long to wait before the next attempt.

use std::time::Duration;

/// Exponential, with jitter: attempt *n* waits between one half and the whole of `2 · base · 2^n`, at most `max`.
///
/// Envoy draws from zero to the whole; a floor keeps a proxy from calling again while the control plane still holds
/// its broken stream ("there is already an active stream from this node").
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    attempt: u32,
}

impl Default for Backoff {
    /// 0.5 s … 30 s, as Envoy's for gRPC streams.
    fn default() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(30))
    }
}

impl Backoff {
    /// The shortest wait and the longest.
    pub fn new(base: Duration, max: Duration) -> Self {
        Self { base, max, attempt: 0 }
    }

    /// The next wait.
    pub fn delay(&mut self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.attempt.saturating_add(1));
        let ceiling = self.base.saturating_mul(doubled).min(self.max);
        self.attempt = self.attempt.saturating_add(1);
        ceiling.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// It went well: begin again.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_never_fall_below_the_base() {
        let mut backoff = Backoff::default();
        let mut ceiling = 1.0_f64;
        for _ in 0..200 {
            let delay = backoff.delay().as_secs_f64();
            assert!((ceiling / 2.0..=ceiling).contains(&delay), "{delay} is not within half of {ceiling}");
            ceiling = (ceiling * 2.0).min(30.0);
        }
        backoff.reset();
        assert!(backoff.delay() <= Duration::from_secs(1));
    }

    #[test]
    fn waits_differ() {
        let delays: std::collections::HashSet<_> = (0..20).map(|_| Backoff::default().delay()).collect();
        assert!(delays.len() > 10, "{delays:?}");
    }
}
