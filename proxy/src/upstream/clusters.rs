//! All clusters by name.

use std::sync::Arc;

use arc_swap::ArcSwap;
use config::snapshot::{Changes, Snapshot};
use rpds::HashTrieMapSync;
use tokio::runtime::Handle;

use super::cluster::Cluster;
use super::host_set::HostSet;

/// All clusters at run time.
#[derive(Debug)]
pub struct Clusters {
    map: ArcSwap<HashTrieMapSync<Arc<str>, Arc<Cluster>>>,
    #[expect(dead_code, reason = "health checks, sweeps and DNS follow in the next change")]
    control: Handle,
}

impl Clusters {
    /// None yet. Health checks, outlier sweeps and DNS will run on `control`.
    pub fn new(control: Handle) -> Arc<Self> {
        Arc::new(Self { map: ArcSwap::default(), control })
    }

    /// Takes over what changed. Hosts keep their state by address. For one control task: calls must not overlap.
    pub fn apply(&self, snapshot: &Snapshot, changes: &Changes) {
        let mut map = HashTrieMapSync::clone(&self.map.load());
        for name in &changes.clusters {
            match (snapshot.clusters.get(name), map.get(name)) {
                (None, None) => {}
                (None, Some(_)) => {
                    map.remove_mut(name);
                }
                (Some(entry), None) => {
                    let hosts = HostSet::build(&entry.assignment, &HostSet::default());
                    map.insert_mut(Arc::clone(name), Arc::new(Cluster::new(Arc::clone(entry), hosts)));
                }
                (Some(entry), Some(cluster)) => {
                    let hosts = HostSet::build(&entry.assignment, &cluster.hosts());
                    cluster.replace(Arc::clone(entry), hosts);
                }
            }
        }
        self.map.store(Arc::new(map));
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
