//! Whether a request is tried again, when, and on which hosts (Envoy: `RetryStateImpl`).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::model::metadata::Fields;
use config::model::route::{HostPredicate, ResetHeader, ResetHeaderFormat, RetryOn, RetryPolicy};
use http::HeaderMap;
use proxy::metrics::ClusterStat;
use proxy::report::http::{Flag, ResponseHead};
use proxy::upstream::{Cluster, Host, Pick, Predicates, Priority, RetryPermit};

use super::grpc;
use super::reset::Reason;
use crate::route::retry::Retries;

/// The retries of one request.
#[derive(Debug)]
pub(super) struct Retrying {
    retries: Retries,
    /// The next back-off is below this.
    next: Duration,
    max: Duration,
    /// Held from the decision to retry to the next decision.
    permit: Option<RetryPermit>,
    tried: Vec<Arc<Host>>,
    omitted: Box<[Fields]>,
    priority: Priority,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The client gets what there is.
    No,
    /// The client gets what there is, though more tries would have been right; the response flag says why not.
    Refused(Flag),
    /// Another try, so much later.
    After(Duration),
}

/// Envoy's base of back-offs.
const BASE: Duration = Duration::from_millis(25);

impl Retrying {
    pub(super) fn new(retries: Retries, priority: Priority) -> Self {
        let policy = retries.policy.as_deref();
        let base = policy.and_then(|policy| policy.back_off.base).unwrap_or(BASE).max(Duration::from_millis(1));
        let max = policy.and_then(|policy| policy.back_off.max).unwrap_or(base * 10).max(base);
        let metadata = |predicate: &HostPredicate| match predicate {
            HostPredicate::OmitMetadata(fields) => Some(fields.clone()),
            HostPredicate::PreviousHosts | HostPredicate::OmitCanary => None,
        };
        let omitted = policy.map(|policy| policy.hosts.iter().filter_map(metadata).collect()).unwrap_or_default();
        Self { next: base, max, permit: None, tried: Vec::new(), omitted, priority, retries }
    }

    /// A try goes there.
    pub(super) fn tried(&mut self, host: &Arc<Host>) {
        self.tried.push(Arc::clone(host));
    }

    /// What a retry asks of the balancer.
    pub(super) fn pick<'a>(&'a self, pick: Pick<'a>) -> Pick<'a> {
        let Some(policy) = self.retries.policy.as_deref().filter(|_| !self.tried.is_empty()) else { return pick };
        let has = |predicate: &HostPredicate| policy.hosts.iter().any(|one| one == predicate);
        Pick {
            tried: if has(&HostPredicate::PreviousHosts) { &self.tried } else { &[] },
            predicates: Predicates {
                canary: has(&HostPredicate::OmitCanary),
                metadata: &self.omitted,
                attempts: Some(policy.host_attempts),
            },
            retry_priority: policy.priority.map(|priority| (priority.update_frequency.max(1), &*self.tried)),
            ..pick
        }
    }

    /// After an answer.
    pub(super) fn answered(&mut self, head: &ResponseHead, cluster: &Arc<Cluster>) -> Verdict {
        let again = self.wants(head);
        self.judge(again, cluster, |policy| reset_interval(policy, &head.headers))
    }

    /// After a stream that ended early; `started`: something of the request was sent.
    pub(super) fn reset(&mut self, reason: Reason, started: bool, cluster: &Arc<Cluster>) -> Verdict {
        let on = self.retries.on;
        let any = RetryOn::RESET.union(RetryOn::SERVER_ERROR).union(RetryOn::GATEWAY_ERROR);
        let again = reason != Reason::Overflow
            && (on.intersects(any)
                || (on.intersects(RetryOn::RESET_BEFORE_REQUEST) && !started)
                || (on.intersects(RetryOn::REFUSED_STREAM) && reason == Reason::RemoteRefusedStreamReset)
                || (on.intersects(RetryOn::CONNECT_FAILURE) && reason.is_connect_failure()));
        self.judge(again, cluster, |_| None)
    }

    fn wants(&self, head: &ResponseHead) -> bool {
        let on = |word| self.retries.on.intersects(word);
        let status = head.status.as_u16();
        // Another Envoy limits the rate: only who says so asks it again.
        if head.headers.contains_key("x-envoy-ratelimited") {
            return on(RetryOn::RATE_LIMITED);
        }
        (on(RetryOn::SERVER_ERROR) && (500..600).contains(&status))
            || (on(RetryOn::GATEWAY_ERROR) && matches!(status, 502..=504))
            || (on(RetryOn::RETRIABLE_4XX) && status == 409)
            || (on(RetryOn::STATUS_CODES) && self.retries.is_retriable_status(head.status))
            || (on(RetryOn::HEADERS) && self.retries.has_retriable_header(head))
            || grpc::status(&head.headers).and_then(grpc_word).is_some_and(on)
    }

    fn judge(
        &mut self,
        again: bool,
        cluster: &Arc<Cluster>,
        asked: impl FnOnce(&RetryPolicy) -> Option<Duration>,
    ) -> Verdict {
        let stats = cluster.stats();
        let was_retry = self.permit.take().is_some();
        if !again {
            if was_retry {
                stats.inc(ClusterStat::UpstreamRqRetrySuccess);
            }
            return Verdict::No;
        }
        if self.retries.remaining == 0 {
            stats.inc(ClusterStat::UpstreamRqRetryLimitExceeded);
            return Verdict::Refused(Flag::UpstreamRetryLimitExceeded);
        }
        self.retries.remaining -= 1;
        let Ok(permit) = cluster.admit_retry(self.priority) else {
            return Verdict::Refused(Flag::UpstreamOverflow);
        };
        self.permit = Some(permit);
        stats.inc(ClusterStat::UpstreamRqRetry);
        let asked = self.retries.policy.as_deref().and_then(asked);
        Verdict::After(match asked.filter(|interval| interval.as_millis() > 1) {
            Some(interval) => {
                stats.inc(ClusterStat::UpstreamRqRetryBackoffRatelimited);
                // Not before the endpoint said; somewhat later, so that not all come at once.
                interval + interval.mul_f64(fastrand::f64() / 2.0)
            }
            None => {
                stats.inc(ClusterStat::UpstreamRqRetryBackoffExponential);
                self.back_off()
            }
        })
    }

    /// Exponential, with full jitter.
    fn back_off(&mut self) -> Duration {
        let most = self.next;
        self.next = (most * 2).min(self.max);
        most.mul_f64(fastrand::f64())
    }
}

const fn grpc_word(status: u16) -> Option<RetryOn> {
    Some(match status {
        1 => RetryOn::GRPC_CANCELLED,
        4 => RetryOn::GRPC_DEADLINE_EXCEEDED,
        8 => RetryOn::GRPC_RESOURCE_EXHAUSTED,
        13 => RetryOn::GRPC_INTERNAL,
        14 => RetryOn::GRPC_UNAVAILABLE,
        _ => return None,
    })
}

/// `rate_limited_retry_back_off`: how long the endpoint asks us to wait.
fn reset_interval(policy: &RetryPolicy, headers: &HeaderMap) -> Option<Duration> {
    let limited = policy.rate_limited.as_deref()?;
    let interval = |header: &ResetHeader| {
        let seconds: u64 = headers.get(&header.name)?.to_str().ok()?.trim().parse().ok()?;
        let interval = match header.format {
            ResetHeaderFormat::Seconds => Duration::from_secs(seconds),
            ResetHeaderFormat::UnixTimestamp => {
                let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
                at.duration_since(SystemTime::now()).ok()?
            }
        };
        (interval <= limited.max).then_some(interval)
    };
    limited.headers.iter().find_map(interval)
}
