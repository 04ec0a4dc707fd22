//! STRICT_DNS and LOGICAL_DNS: names become hosts, again and again.
//!
//! What an answer does to the hosts is Envoy's `DnsClusterImpl`: a failure (no answer, SERVFAIL, …) leaves the last answer
//! in force; that a name has no addresses takes the hosts of STRICT_DNS away, and is a failure for LOGICAL_DNS. Hosts are
//! kept by address, and no connection ends because a name resolves to something else.

mod lookups;
mod system;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire_tests;

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use config::model::cluster::{Dns, DnsFamily};
use tokio::time::{sleep, timeout};

pub(super) use lookups::{Answers, Lookups, NONE, Place};
pub use system::System;

use super::cluster::Cluster;
use crate::metrics::ClusterStat;

/// One query may take this long, all its attempts included.
const LIMIT: Duration = Duration::from_secs(30);
/// The least pause between two queries for a name, whatever is configured.
const LEAST: Duration = Duration::from_millis(1);

/// What a name resolved to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// In the order of the answer; none when the name exists no more.
    pub addresses: Vec<IpAddr>,
    /// The shortest of the records' times to live; zero when nobody said.
    pub ttl: Duration,
}

/// No answer: the last one stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ResolveError(pub String);

/// A query under way.
pub type Query<'a> = Pin<Box<dyn Future<Output = Result<Answer, ResolveError>> + Send + 'a>>;

/// Resolves names. The system's resolver, or a fake one in tests.
pub trait Resolve: Send + Sync + fmt::Debug {
    /// Resolves `name` once. That a name does not exist is an [`Answer`] without addresses.
    fn resolve<'a>(&'a self, name: &'a str, family: DnsFamily) -> Query<'a>;
}

async fn run(cluster: Weak<Cluster>, name: Arc<str>, dns: Box<Dns>) {
    let mut failures = 0;
    loop {
        let Some(resolver) = cluster.upgrade().map(|c| {
            c.stats().inc(ClusterStat::UpdateAttempt);
            Arc::clone(&c.shared().resolver)
        }) else {
            return;
        };
        let result = match timeout(LIMIT, resolver.resolve(&name, dns.family)).await {
            Ok(result) => result,
            Err(_) => Err(ResolveError("no answer in time".into())),
        };
        let Some(cluster) = cluster.upgrade() else { return };
        let pause = match result {
            Ok(answer) if !(dns.logical && answer.addresses.is_empty()) => {
                if failures > 0 {
                    tracing::info!(cluster = %cluster.name(), name = &*name, failures, "name resolved again");
                }
                failures = 0;
                let pause = refresh_after(&dns, &answer);
                cluster.resolved(&name, answer);
                pause
            }
            Ok(_) => fail(&cluster, &name, &ResolveError("no addresses".into()), &dns, &mut failures),
            Err(error) => fail(&cluster, &name, &error, &dns, &mut failures),
        };
        drop(cluster);
        sleep(pause).await;
    }
}

fn fail(cluster: &Arc<Cluster>, name: &str, error: &ResolveError, dns: &Dns, failures: &mut u32) -> Duration {
    if *failures == 0 {
        tracing::warn!(cluster = %cluster.name(), name, %error, "name not resolved; the last addresses stay in use");
    }
    *failures = failures.saturating_add(1);
    cluster.unresolved(name);
    retry_after(dns, *failures)
}

fn refresh_after(dns: &Dns, answer: &Answer) -> Duration {
    let by_ttl = dns.respect_ttl && !answer.addresses.is_empty() && !answer.ttl.is_zero();
    let pause = if by_ttl { answer.ttl.max(dns.min_refresh) } else { dns.refresh_rate };
    pause.max(LEAST) + dns.jitter.mul_f64(fastrand::f64())
}

/// Envoy: a fixed pause, or exponential with full jitter. We keep half of the pause fixed, so that a dead name server
/// never makes for queries in a row.
fn retry_after(dns: &Dns, failures: u32) -> Duration {
    let Some((base, max)) = dns.failure_refresh else { return dns.refresh_rate.max(LEAST) };
    let pause = base.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)).min(max);
    (pause / 2 + (pause / 2).mul_f64(fastrand::f64())).max(LEAST)
}

impl Cluster {
    /// Takes over what a name resolved to.
    fn resolved(self: &Arc<Self>, name: &Arc<str>, answer: Answer) {
        self.stats().inc(ClusterStat::UpdateSuccess);
        let mut tasks = self.lock();
        let news = tasks.as_mut().is_some_and(|t| t.lookups().resolved(name, answer));
        if news {
            self.refresh_with(&mut tasks);
        } else {
            self.stats().inc(ClusterStat::UpdateNoRebuild);
        }
    }

    /// A name could not be resolved: what it resolved to before stays.
    fn unresolved(self: &Arc<Self>, name: &str) {
        self.stats().inc(ClusterStat::UpdateFailure);
        let mut tasks = self.lock();
        if tasks.as_mut().is_some_and(|t| t.lookups().failed(name)) {
            self.refresh_with(&mut tasks);
        }
    }
}
