//! Which names a cluster resolves, and what they resolved to.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use config::model::address::{Address, Target};
use config::model::cluster::{Discovery, Dns};
use config::model::endpoint::Endpoint;
use config::snapshot::ClusterEntry;

use super::{Answer, run};
use crate::upstream::cluster::Cluster;
use crate::upstream::tasks::Running;

/// Addresses by name.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Answers {
    by_name: BTreeMap<Arc<str>, Vec<IpAddr>>,
    /// All addresses of a name are those of one endpoint.
    logical: bool,
    /// There are names of which nothing was heard yet, neither an answer nor a failure.
    waiting: bool,
}

/// For clusters that resolve nothing.
pub(in crate::upstream) static NONE: Answers = Answers { by_name: BTreeMap::new(), logical: false, waiting: false };

/// An address to connect to, and more of the same endpoint.
pub(in crate::upstream) type Place<'a> = (Address, Cow<'a, [SocketAddr]>);

impl Answers {
    /// Where an endpoint is, as far as known: a host each.
    pub(in crate::upstream) fn places<'a>(&'a self, endpoint: &'a Endpoint) -> impl Iterator<Item = Place<'a>> {
        let none: &[IpAddr] = &[];
        let (one, each, port): (Option<Place<'a>>, _, _) = match &endpoint.target {
            Target::Address(at) => (Some((at.clone(), Cow::Borrowed(&*endpoint.additional_addresses))), none, 0),
            Target::Name { host, port } => match (host.parse::<IpAddr>(), self.by_name.get(host)) {
                (Ok(ip), _) => (Some((Address::Socket(SocketAddr::new(ip, *port)), Cow::default())), none, *port),
                (Err(_), Some(found)) if self.logical => (logical(found, *port), none, *port),
                (Err(_), found) => (None, found.map_or(none, |f| f), *port),
            },
        };
        let each = each.iter().map(move |ip| (Address::Socket(SocketAddr::new(*ip, port)), Cow::default()));
        one.into_iter().chain(each)
    }

    /// Whether the first word on some name is still to come.
    pub(in crate::upstream) fn waiting(&self) -> bool {
        self.waiting
    }
}

fn logical(found: &[IpAddr], port: u16) -> Option<Place<'static>> {
    let mut all = found.iter().map(|ip| SocketAddr::new(*ip, port));
    let first = all.next()?;
    Some((Address::Socket(first), Cow::Owned(all.collect())))
}

/// The names a cluster resolves.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Lookups {
    settings: Option<Box<Dns>>,
    /// The tasks, and whether anything was heard of the name since it is configured.
    running: BTreeMap<Arc<str>, (Running, bool)>,
    answers: Answers,
}

impl Lookups {
    /// Addresses found so far.
    pub(in crate::upstream) fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Takes note of an answer; whether the hosts may be others now.
    pub(in crate::upstream) fn resolved(&mut self, name: &Arc<str>, mut answer: Answer) -> bool {
        // A name may have been given up meanwhile.
        if !self.running.contains_key(name) {
            return false;
        }
        if self.answers.logical {
            // The order says which address is the endpoint's.
            let mut met = BTreeSet::new();
            answer.addresses.retain(|address| met.insert(*address));
        } else {
            // The order of records means nothing and often changes.
            answer.addresses.sort_unstable();
            answer.addresses.dedup();
        }
        let first = self.heard(name);
        let same = self.answers.by_name.get(name).is_some_and(|old| *old == answer.addresses);
        if !same {
            self.answers.by_name.insert(Arc::clone(name), answer.addresses);
        }
        first || !same
    }

    /// Takes note that there was no answer; whether the hosts may be others now.
    pub(in crate::upstream) fn failed(&mut self, name: &str) -> bool {
        self.heard(name)
    }

    /// Whether that was the last word waited for.
    fn heard(&mut self, name: &str) -> bool {
        if let Some((_, heard)) = self.running.get_mut(name) {
            *heard = true;
        }
        let waited = self.answers.waiting;
        self.answers.waiting = self.running.values().any(|(_, heard)| !heard);
        waited && !self.answers.waiting
    }

    /// Forgets what `entry` does not name, before hosts are built from it.
    pub(in crate::upstream) fn prepare(&mut self, entry: &ClusterEntry) {
        let Discovery::Dns { dns, .. } = &entry.cluster.discovery else {
            *self = Self::default();
            return;
        };
        let names: BTreeSet<&Arc<str>> = names(entry).collect();
        if self.settings.as_ref() != Some(dns) {
            // Addresses stay known until they are heard of anew.
            self.running.clear();
            self.settings = Some(dns.clone());
        }
        self.running.retain(|name, _| names.contains(name));
        self.answers.by_name.retain(|name, _| names.contains(name));
        self.answers.logical = dns.logical;
        self.answers.waiting = names.iter().any(|name| !self.running.get(*name).is_some_and(|(_, heard)| *heard));
    }

    /// Resolves the names of `entry`.
    pub(in crate::upstream) fn sync(&mut self, cluster: &Arc<Cluster>, entry: &ClusterEntry) {
        let Some(dns) = &self.settings else { return };
        for name in names(entry) {
            if !self.running.contains_key(name) {
                let task = run(Arc::downgrade(cluster), Arc::clone(name), dns.clone());
                let running = Running::new(&cluster.shared().control.spawn(task));
                self.running.insert(Arc::clone(name), (running, false));
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
