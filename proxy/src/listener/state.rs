//! What a filter chain keeps at run time. It lives as long as the chain's configuration stays the same.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use config::model::chain::{FilterChain, Handler, LocalRateLimit, NetworkFilter};

use crate::http::HttpChain;
use crate::lifecycle::drain::{Drain, Trigger};
use crate::metrics::{LocalRateLimitStat, Registry, Scope, TcpStat};
use crate::rbac::Gate;
use crate::report::tls::wants_certificates;
use crate::tls::Downstream;

/// A chain and its counters and token buckets.
#[derive(Debug)]
pub struct ChainState {
    /// As configured.
    pub chain: Arc<FilterChain>,
    buckets: Box<[Bucket]>,
    /// Its permissions.
    pub(crate) gate: Gate,
    tcp: OnceLock<Arc<Scope<TcpStat>>>,
    /// Certificates are kept while connections live: logs of its tcp_proxy may print or judge by them, or it is HTTP.
    pub(crate) logs_certificates: bool,
    /// TLS with its clients.
    pub(crate) tls: Option<Box<Downstream>>,
    /// What serves its connections, where that is HTTP.
    pub(crate) http: Option<Arc<dyn HttpChain>>,
    /// Told when the chain is on its way out.
    pub(crate) drain: Trigger,
}

impl ChainState {
    /// `tls`: for a chain that has it.
    pub(crate) fn new(chain: &Arc<FilterChain>, registry: &Registry, tls: Option<Downstream>) -> Arc<Self> {
        Self::serving(chain, registry, tls, None)
    }

    /// The same for a chain that an HTTP engine may serve.
    pub(crate) fn serving(
        chain: &Arc<FilterChain>,
        registry: &Registry,
        tls: Option<Downstream>,
        http: Option<Arc<dyn HttpChain>>,
    ) -> Arc<Self> {
        let buckets = chain.filters.iter().filter_map(|filter| match filter {
            NetworkFilter::LocalRateLimit(limit) => {
                Some(Bucket::new(Arc::clone(limit), registry.local_rate_limit(&limit.stat_prefix)))
            }
            NetworkFilter::Rbac(_) => None,
        });
        let more = match &chain.handler {
            Handler::TcpProxy(proxy) => proxy.more.as_deref(),
            Handler::DirectResponse(_) | Handler::Http(_) | Handler::System(_) | Handler::Unsupported(_) => None,
        };
        Arc::new(Self {
            chain: Arc::clone(chain),
            buckets: buckets.collect(),
            gate: Gate::new(&chain.filters, registry),
            tcp: OnceLock::new(),
            // HTTP tells them on, judges by them and logs them.
            logs_certificates: http.is_some() || more.is_some_and(|more| wants_certificates(&more.access_logs)),
            tls: tls.map(Box::new),
            http,
            drain: Drain::new().0,
        })
    }

    /// The statistics of its tcp_proxy, made at the first connection.
    pub(crate) fn tcp(&self, prefix: &str, registry: &Registry) -> &Arc<Scope<TcpStat>> {
        self.tcp.get_or_init(|| registry.tcp(prefix))
    }

    /// Takes a token of every rate limit; false: one had none left.
    pub(crate) fn admit(&self, now: Instant) -> bool {
        self.buckets.iter().all(|bucket| bucket.take(now))
    }
}

/// A token bucket that refills at whole intervals, as Envoy's timer does.
#[derive(Debug)]
struct Bucket {
    limit: Arc<LocalRateLimit>,
    stats: Arc<Scope<LocalRateLimitStat>>,
    start: Instant,
    /// The interval of the last refill in the upper half, tokens in the lower.
    state: AtomicU64,
}

impl Bucket {
    fn new(limit: Arc<LocalRateLimit>, stats: Arc<Scope<LocalRateLimitStat>>) -> Self {
        let state = AtomicU64::new(u64::from(limit.max_tokens));
        Self { limit, stats, start: Instant::now(), state }
    }

    fn take(&self, now: Instant) -> bool {
        if !self.limit.enabled {
            return true;
        }
        let nanos = self.limit.fill_interval.as_nanos().max(1);
        let elapsed = now.saturating_duration_since(self.start).as_nanos() / nanos;
        let interval = u32::try_from(elapsed).unwrap_or(u32::MAX);
        let taken = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
            let (last, tokens) = ((state >> 32) as u32, state as u32);
            let fills = interval.saturating_sub(last);
            let tokens =
                tokens.saturating_add(fills.saturating_mul(self.limit.tokens_per_fill)).min(self.limit.max_tokens);
            Some((u64::from(interval.max(last)) << 32) | u64::from(tokens.checked_sub(1)?))
        });
        if taken.is_err() {
            self.stats.inc(LocalRateLimitStat::RateLimited);
        }
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bucket(max_tokens: u32, tokens_per_fill: u32, enabled: bool) -> Bucket {
        let limit = LocalRateLimit {
            stat_prefix: "x".into(),
            max_tokens,
            tokens_per_fill,
            fill_interval: Duration::from_secs(1),
            share_key: None,
            enabled,
        };
        Bucket::new(Arc::new(limit), Registry::new(1).local_rate_limit("x"))
    }

    #[test]
    fn refills_at_whole_intervals_and_never_beyond_its_size() {
        let bucket = bucket(3, 2, true);
        let at = |ms| bucket.start + Duration::from_millis(ms);
        assert_eq!([0, 1, 2, 3].map(|ms| bucket.take(at(ms))), [true, true, true, false]);
        assert!(!bucket.take(at(999)));
        assert_eq!([1000, 1001, 1002].map(|ms| bucket.take(at(ms))), [true, true, false]);
        let later: Vec<_> = (0..5).map(|ms| bucket.take(at(60_000 + ms))).collect();
        assert_eq!(later, [true, true, true, false, false]);
        assert_eq!(bucket.stats.get(LocalRateLimitStat::RateLimited), 5);
    }

    #[test]
    fn limits_nothing_while_it_is_disabled() {
        let bucket = bucket(1, 1, false);
        assert!((0..10).all(|_| bucket.take(bucket.start)));
    }
}
