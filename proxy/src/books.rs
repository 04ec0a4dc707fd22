//! The control side's own metrics: what was configured, and how the control plane's streams are doing.

use std::sync::Arc;

use config::snapshot::{Changes, Kind, Snapshot};
use config::xds::Status;
use config::xds::status::KindStatus;

use crate::metrics::{ClusterManagerStat, ControlPlaneStat, Registry, Scope, SubscriptionStat, ZonegateStat};

/// Handles held for good, so that the series are there from the start.
#[derive(Debug)]
pub(crate) struct Books {
    clusters: Arc<Scope<ClusterManagerStat>>,
    control_plane: Arc<Scope<ControlPlaneStat>>,
    cds: Arc<Scope<SubscriptionStat>>,
    lds: Arc<Scope<SubscriptionStat>>,
    ours: Arc<Scope<ZonegateStat>>,
    seen: [bool; Kind::ALL.len()],
    known_clusters: usize,
}

impl Books {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            clusters: registry.cluster_manager(),
            control_plane: registry.control_plane(),
            cds: registry.cds(),
            lds: registry.lds(),
            ours: registry.zonegate(),
            seen: [false; Kind::ALL.len()],
            known_clusters: 0,
        }
    }

    /// The first answer of this kind has come.
    pub(crate) fn saw(&mut self, kind: Kind) {
        self.seen[kind as usize] = true;
    }

    /// Whether an answer of this kind has come.
    pub(crate) fn seen(&self, kind: Kind) -> bool {
        self.seen[kind as usize]
    }

    /// Counts what changed.
    pub(crate) fn applied(&mut self, snapshot: &Snapshot, changes: &Changes) {
        let now = snapshot.clusters.size();
        let grown = now.saturating_sub(self.known_clusters) as u64;
        let shrunk = self.known_clusters.saturating_sub(now) as u64;
        self.clusters.add(ClusterManagerStat::ClusterAdded, grown);
        self.clusters.add(ClusterManagerStat::ClusterRemoved, shrunk);
        let rest = (changes.clusters.len() as u64).saturating_sub(grown + shrunk);
        self.clusters.add(ClusterManagerStat::ClusterModified, rest);
        self.known_clusters = now;
        self.clusters.set(ClusterManagerStat::ActiveClusters, count(now));
        self.clusters.set(ClusterManagerStat::WarmingClusters, count(snapshot.warming.size()));
    }

    /// Carries over what the control plane's client has counted since `before`.
    pub(crate) fn status(&self, before: &Status, now: &Status) {
        self.control_plane.set(ControlPlaneStat::ConnectedState, i64::from(now.connection.is_up()));
        subscription(&self.cds, &before.kinds[Kind::Cluster], &now.kinds[Kind::Cluster]);
        subscription(&self.lds, &before.kinds[Kind::Listener], &now.kinds[Kind::Listener]);
        self.ours.set(ZonegateStat::XdsSilent, count(now.silent().count()));
    }
}

fn subscription(scope: &Scope<SubscriptionStat>, before: &KindStatus, now: &KindStatus) {
    let carry = |stat, before: u64, now: u64| scope.add(stat, now.saturating_sub(before));
    carry(SubscriptionStat::UpdateAttempt, before.update_attempt, now.update_attempt);
    carry(SubscriptionStat::UpdateSuccess, before.update_success, now.update_success);
    carry(SubscriptionStat::UpdateRejected, before.update_rejected, now.update_rejected);
    carry(SubscriptionStat::UpdateFailure, before.update_failure, now.update_failure);
    carry(SubscriptionStat::InitFetchTimeout, before.init_fetch_timeout, now.init_fetch_timeout);
    if now.version != before.version {
        // Envoy publishes the xxHash64 of the version text.
        scope.set(SubscriptionStat::Version, xxhash_rust::xxh64::xxh64(now.version.as_bytes(), 0).cast_signed());
    }
    if let Some(at) = now.updated.filter(|_| now.updated != before.updated) {
        let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        scope.set(SubscriptionStat::UpdateTime, i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
