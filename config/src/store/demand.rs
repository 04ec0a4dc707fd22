//! Who refers to which secret or route configuration, and who waits for one (Envoy: the init targets of `SdsApi` and
//! of RDS). Both are called secrets here.
//!
//! Ten thousand clusters that name the same two secrets are ten thousand counts and, while a secret is missing, ten
//! thousand entries in its list; whatever happens to a secret costs what waits for it.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::warming::Deadlines;
use crate::model::hcm::RouteRef;
use crate::model::tls::{SecretRef, SecretSource};
use crate::snapshot::Kind;

/// A listener or a cluster.
pub(super) type User = (Kind, Arc<str>);

/// What is referred to: a secret, a route configuration.
pub(super) trait Wanted: Eq + Hash {
    /// How long it is waited for.
    fn initial_fetch_timeout(&self) -> Duration;
}

impl Wanted for SecretRef {
    fn initial_fetch_timeout(&self) -> Duration {
        self.initial_fetch_timeout
    }
}

impl Wanted for RouteRef {
    fn initial_fetch_timeout(&self) -> Duration {
        self.initial_fetch_timeout
    }
}

/// All secrets (or route configurations) that resources in force or warming refer to.
#[derive(Debug)]
pub(super) struct Demands<K> {
    secrets: HashMap<Arc<K>, Demand>,
    /// How many secrets a resource waits for.
    missing: HashMap<User, usize>,
    deadlines: Deadlines<Arc<K>>,
    /// Others are referred to than before.
    changed: bool,
}

#[derive(Debug)]
struct Demand {
    /// Resources that refer to it; one that is both in force and warming counts twice.
    users: usize,
    /// Nobody waits for it any more: it has come, or was refused, or its time is over.
    settled: bool,
    waiting: HashSet<User>,
}

impl<K> Default for Demands<K> {
    fn default() -> Self {
        Self { secrets: HashMap::new(), missing: HashMap::new(), deadlines: Deadlines::default(), changed: false }
    }
}

impl<K: Wanted> Demands<K> {
    /// A resource refers to these; `held` are there already.
    pub(super) fn refer(&mut self, secrets: &[Arc<K>], held: impl Fn(&Arc<K>) -> bool) {
        for secret in secrets {
            if let Some(demand) = self.secrets.get_mut(secret) {
                demand.users += 1;
                continue;
            }
            self.changed = true;
            let settled = held(secret);
            if !settled {
                self.deadlines.start(secret, secret.initial_fetch_timeout());
            }
            self.secrets.insert(Arc::clone(secret), Demand { users: 1, settled, waiting: HashSet::new() });
        }
    }

    /// Takes back [`Demands::refer`]; returns those that nobody refers to any more.
    pub(super) fn release(&mut self, secrets: &[Arc<K>]) -> Vec<Arc<K>> {
        let mut free = Vec::new();
        for secret in secrets {
            let Some(demand) = self.secrets.get_mut(secret) else { continue };
            demand.users -= 1;
            if demand.users == 0 {
                self.changed = true;
                self.secrets.remove(secret);
                self.deadlines.stop(secret);
                free.push(Arc::clone(secret));
            }
        }
        free
    }

    /// Lets a resource wait for those of its secrets that are not settled; false: there is none.
    pub(super) fn wait(&mut self, user: &User, secrets: &[Arc<K>]) -> bool {
        let mut missing = 0;
        for secret in secrets {
            if let Some(demand) = self.secrets.get_mut(secret).filter(|demand| !demand.settled) {
                missing += usize::from(demand.waiting.insert(user.clone()));
            }
        }
        if missing > 0 {
            self.missing.insert(user.clone(), missing);
        }
        missing > 0
    }

    /// A resource waits no more; to be called with what it waited for.
    pub(super) fn stop_waiting(&mut self, user: &User, secrets: &[Arc<K>]) {
        if self.missing.remove(user).is_some() {
            for secret in secrets {
                if let Some(demand) = self.secrets.get_mut(secret) {
                    demand.waiting.remove(user);
                }
            }
        }
    }

    /// Whether a resource waits for secrets.
    pub(super) fn is_waiting(&self, user: &User) -> bool {
        self.missing.contains_key(user)
    }

    /// A secret is waited for no more; returns the resources that waited for nothing else.
    pub(super) fn settle(&mut self, secret: &Arc<K>) -> Vec<User> {
        let Some(demand) = self.secrets.get_mut(secret) else { return Vec::new() };
        if std::mem::replace(&mut demand.settled, true) {
            return Vec::new();
        }
        self.deadlines.stop(secret);
        let mut ready = Vec::new();
        for user in std::mem::take(&mut demand.waiting) {
            let Some(missing) = self.missing.get_mut(&user) else { continue };
            *missing -= 1;
            if *missing == 0 {
                self.missing.remove(&user);
                ready.push(user);
            }
        }
        ready.sort_unstable();
        ready
    }

    /// Whether other secrets are referred to than when it was last asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether somebody refers to a secret.
    pub(super) fn contains(&self, secret: &K) -> bool {
        self.secrets.contains_key(secret)
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.secrets.keys()
    }

    /// The end of the wait that is over first.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Secrets whose time is over.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Arc<K>> {
        self.deadlines.expired(now)
    }
}

impl Demands<SecretRef> {
    /// The names that are asked of one source, sorted.
    pub(super) fn names(&self, source: &SecretSource) -> Vec<Arc<str>> {
        let of_source = self.secrets.keys().filter(|secret| secret.source == *source);
        let mut names: Vec<_> = of_source.map(|secret| Arc::clone(&secret.name)).collect();
        names.sort_unstable();
        names
    }
}
