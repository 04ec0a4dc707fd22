//! All clusters by name.

use std::sync::Arc;

use arc_swap::ArcSwap;
use config::model::cluster::Discovery;
use config::snapshot::{Changes, ClusterEntry, Snapshot};
use rpds::HashTrieMapSync;
use tokio::runtime::Handle;

use super::cluster::Cluster;
use super::dns::{Resolve, System};
use super::health::events::Sinks;
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
}

impl Clusters {
    /// None yet. Health checks, outlier sweeps and DNS (by the system's settings) will run on `control`.
    pub fn new(registry: Arc<Registry>, control: Handle) -> Arc<Self> {
        Self::with_resolver(registry, control, Arc::new(System::default()))
    }

    /// The same with another source of addresses.
    pub fn with_resolver(registry: Arc<Registry>, control: Handle, resolver: Arc<dyn Resolve>) -> Arc<Self> {
        let tls = Arc::default();
        let shared = Shared { sinks: Sinks::new(control.clone()), control, registry, resolver, tls };
        Arc::new(Self { map: ArcSwap::default(), shared: Arc::new(shared) })
    }

    /// The control runtime.
    pub fn control(&self) -> &Handle {
        &self.shared.control
    }

    /// Takes over what changed, at a cost in proportion to that. Hosts keep their state by address. For one control
    /// task: calls must not overlap.
    pub fn apply(&self, snapshot: &Snapshot, changes: &Changes) {
        let old = self.map.load();
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
