//! All clusters by name.

use std::sync::{Arc, OnceLock, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
use config::model::cluster::Discovery;
use config::model::endpoint::Locality;
use config::snapshot::{Changes, ClusterEntry, Snapshot};
use rpds::HashTrieMapSync;
use tokio::runtime::Handle;

use super::cluster::Cluster;
use super::dns::{Resolve, System};
use super::health::events::Sinks;
use super::zones::Peers;
use crate::metrics::{ClusterStat, Registry};
use crate::tls::Contexts;

/// All clusters at run time.
#[derive(Debug)]
pub struct Clusters {
    map: ArcSwap<HashTrieMapSync<Arc<str>, Arc<Cluster>>>,
    shared: Arc<Shared>,
}

/// What all clusters use.
#[derive(Debug)]
pub(super) struct Shared {
    /// Where health checks, outlier sweeps and DNS run.
    pub(super) control: Handle,
    /// Statistics.
    pub(super) registry: Arc<Registry>,
    /// DNS.
    pub(super) resolver: Arc<dyn Resolve>,
    /// TLS contexts.
    pub(super) tls: Arc<Contexts>,
    /// Files of health check events.
    pub(super) sinks: Sinks,
    /// For zone-aware routing.
    pub(super) local: OnceLock<Local>,
    /// What is known of the proxies like this one.
    pub(super) peers: ArcSwapOption<Peers>,
}

/// Where this process is, and which cluster it and its like are.
#[derive(Debug)]
pub(super) struct Local {
    /// `local_cluster_name`.
    pub(super) cluster: Arc<str>,
    /// Of the node.
    pub(super) locality: Locality,
    /// All clusters.
    pub(super) clusters: Weak<Clusters>,
}

impl Clusters {
    /// None yet. Health checks, outlier sweeps and DNS (by the system's settings) will run on `control`.
    pub fn new(registry: Arc<Registry>, control: Handle) -> Arc<Self> {
        Self::with_resolver(registry, control, Arc::new(System::default()))
    }

    /// The same with another source of addresses.
    pub fn with_resolver(registry: Arc<Registry>, control: Handle, resolver: Arc<dyn Resolve>) -> Arc<Self> {
        let tls = Arc::default();
        let sinks = Sinks::new(control.clone());
        let (local, peers) = Default::default();
        let shared = Shared { sinks, control, registry, resolver, tls, local, peers };
        Arc::new(Self { map: ArcSwap::default(), shared: Arc::new(shared) })
    }

    /// The control runtime.
    pub fn control(&self) -> &Handle {
        &self.shared.control
    }

    /// Turns zone-aware routing on: this process is one of that cluster's endpoints, and there. To be said once, before
    /// any cluster is known.
    pub fn set_local(self: &Arc<Self>, cluster: Arc<str>, locality: Locality) {
        let _first = self.shared.local.set(Local { cluster, locality, clusters: Arc::downgrade(self) });
    }

    /// Takes over what changed, at a cost in proportion to that. Hosts keep their state by address. For one control
    /// task: calls must not overlap.
    pub fn apply(&self, snapshot: &Snapshot, changes: &Changes) {
        let old = self.map.load();
        let peers = self.shared.peers.load_full();
        let mut map = HashTrieMapSync::clone(&old);
        for name in &changes.clusters {
            match (snapshot.clusters.get(name), old.get(name)) {
                (None, None) => {}
                (None, Some(cluster)) => {
                    map.remove_mut(name);
                    cluster.retire();
                }
                (Some(entry), Some(cluster)) if same_stats(entry, cluster) => update(cluster, entry),
                (Some(entry), known) => {
                    if let Some(cluster) = known {
                        cluster.retire();
                    }
                    let cluster = Cluster::new(Arc::clone(entry), &self.shared);
                    update(&cluster, entry);
                    map.insert_mut(Arc::clone(name), cluster);
                }
            }
        }
        self.map.store(Arc::new(map));
        if self.shared.peers.load().as_ref().map(Arc::as_ptr) != peers.as_ref().map(Arc::as_ptr) {
            // Those that are new were built before this was known.
            let new = |name: &&Arc<str>| !old.contains_key(*name);
            let new: Vec<Arc<Cluster>> =
                changes.clusters.iter().filter(new).filter_map(|name| self.get(name)).collect();
            new.iter().for_each(|cluster| cluster.refresh());
        }
    }

    /// TLS contexts, of listeners too.
    pub fn tls(&self) -> &Arc<Contexts> {
        &self.shared.tls
    }

    /// The cluster of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Cluster>> {
        self.map.load().get(name).cloned()
    }

    /// All of them at this moment.
    pub fn all(&self) -> Arc<HashTrieMapSync<Arc<str>, Arc<Cluster>>> {
        self.map.load_full()
    }
}

impl Drop for Clusters {
    fn drop(&mut self) {
        self.map.load().values().for_each(|cluster| cluster.retire());
    }
}

/// A cluster that counts under another name from now on starts anew.
fn same_stats(entry: &ClusterEntry, cluster: &Cluster) -> bool {
    entry.cluster.stat_name == cluster.peek().entry().cluster.stat_name
}

fn update(cluster: &Arc<Cluster>, entry: &Arc<ClusterEntry>) {
    if let Discovery::Eds { .. } = entry.cluster.discovery {
        cluster.stats().inc(ClusterStat::UpdateAttempt);
        cluster.stats().inc(ClusterStat::UpdateSuccess);
    }
    cluster.replace(Arc::clone(entry));
}
