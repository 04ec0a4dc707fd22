//! STRICT_DNS and LOGICAL_DNS: names become hosts, again and again.

mod system;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use config::model::address::{Address, Target};
use config::model::cluster::{Discovery, Dns, DnsFamily};
use config::snapshot::ClusterEntry;
use tokio::time::{sleep, timeout};

pub use system::System;

use super::cluster::Cluster;
use super::tasks::Running;
use crate::metrics::ClusterStat;

/// One query may take this long, all its attempts included.
const LIMIT: Duration = Duration::from_secs(30);

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

/// Addresses by name.
#[derive(Debug, Default)]
pub(super) struct Answers(BTreeMap<Arc<str>, Vec<IpAddr>>);

/// For clusters that resolve nothing.
pub(super) static NONE: Answers = Answers(BTreeMap::new());

impl Answers {
    /// The addresses of an endpoint as far as known.
    pub(super) fn addresses(&self, target: &Target) -> impl Iterator<Item = Address> {
        let (known, resolved, port): (Option<Address>, &[IpAddr], u16) = match target {
            Target::Address(address) => (Some(address.clone()), &[], 0),
            Target::Name { host, port } => match host.parse::<IpAddr>() {
                Ok(ip) => (Some(Address::Socket(SocketAddr::new(ip, *port))), &[], *port),
                Err(_) => (None, self.0.get(host).map_or(&[], |list| list), *port),
            },
        };
        known.into_iter().chain(resolved.iter().map(move |ip| Address::Socket(SocketAddr::new(*ip, port))))
    }
}

/// The names a cluster resolves.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    settings: Option<Dns>,
    running: BTreeMap<Arc<str>, Running>,
    answers: Answers,
}

impl Lookups {
    /// Addresses found so far.
    pub(super) fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Takes note of an answer; whether it differs from the last.
    pub(super) fn resolved(&mut self, name: &Arc<str>, mut answer: Answer, logical: bool) -> bool {
        if logical {
            if answer.addresses.is_empty() {
                return false;
            }
            answer.addresses.truncate(1);
        } else {
            // The order of records means nothing and often changes.
            answer.addresses.sort_unstable();
            answer.addresses.dedup();
        }
        match self.answers.0.get_mut(name) {
            Some(old) if *old == answer.addresses => false,
            Some(old) => {
                *old = answer.addresses;
                true
            }
            // A name that was given up meanwhile.
            None if !self.running.contains_key(name) => false,
            None => {
                self.answers.0.insert(Arc::clone(name), answer.addresses);
                true
            }
        }
    }

    /// Resolves the names of `entry`, and no others.
    pub(super) fn sync(&mut self, cluster: &Arc<Cluster>, entry: &ClusterEntry) {
        let Discovery::Dns { dns, .. } = &entry.cluster.discovery else {
            *self = Self::default();
            return;
        };
        if self.settings.as_ref() != Some(dns) {
            self.running.clear();
            self.settings = Some(dns.clone());
        }
        let names: BTreeSet<&Arc<str>> = names(entry).collect();
        self.running.retain(|name, _| names.contains(name));
        self.answers.0.retain(|name, _| names.contains(name));
        for name in names {
            if !self.running.contains_key(name) {
                let task = run(Arc::downgrade(cluster), Arc::clone(name), dns.clone());
                let running = Running::new(&cluster.shared().control.spawn(task));
                self.running.insert(Arc::clone(name), running);
            }
        }
    }
}

fn names(entry: &ClusterEntry) -> impl Iterator<Item = &Arc<str>> {
    let endpoints = entry.assignment.localities.iter().flat_map(|l| &l.endpoints);
    endpoints.filter_map(|endpoint| match &endpoint.target {
        Target::Name { host, .. } if host.parse::<IpAddr>().is_err() => Some(host),
        _ => None,
    })
}

async fn run(cluster: Weak<Cluster>, name: Arc<str>, dns: Dns) {
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
                failures = 0;
                let pause = refresh_after(&dns, &answer);
                cluster.resolved(&name, answer, dns.logical);
                pause
            }
            Ok(_) => fail(&cluster, &name, &ResolveError("no addresses".into()), &dns, &mut failures),
            Err(error) => fail(&cluster, &name, &error, &dns, &mut failures),
        };
        drop(cluster);
        sleep(pause).await;
    }
}

fn fail(cluster: &Cluster, name: &str, error: &ResolveError, dns: &Dns, failures: &mut u32) -> Duration {
    cluster.stats().inc(ClusterStat::UpdateFailure);
    if *failures == 0 {
        tracing::warn!(cluster = %cluster.name(), name, %error, "name not resolved; the last addresses stay in use");
    }
    *failures = failures.saturating_add(1);
    retry_after(dns, *failures)
}

fn refresh_after(dns: &Dns, answer: &Answer) -> Duration {
    let by_ttl = dns.respect_ttl && !answer.addresses.is_empty() && !answer.ttl.is_zero();
    if by_ttl { answer.ttl } else { dns.refresh_rate.max(Duration::from_millis(1)) }
}

/// Envoy: a fixed pause, or exponential with full jitter. We keep half of the pause fixed, so that a dead name server
/// never makes for queries in a row.
fn retry_after(dns: &Dns, failures: u32) -> Duration {
    let Some((base, max)) = dns.failure_refresh else { return dns.refresh_rate.max(Duration::from_millis(1)) };
    let pause = base.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)).min(max);
    (pause / 2 + (pause / 2).mul_f64(fastrand::f64())).max(Duration::from_millis(1))
}

impl Cluster {
    /// Takes over what a name resolved to.
    fn resolved(self: &Arc<Self>, name: &Arc<str>, answer: Answer, logical: bool) {
        self.stats().inc(ClusterStat::UpdateSuccess);
        let mut tasks = self.lock();
        let news = tasks.as_mut().is_some_and(|t| t.resolved(name, answer, logical));
        if news {
            self.refresh_with(&mut tasks);
        } else {
            self.stats().inc(ClusterStat::UpdateNoRebuild);
        }
    }
}
