//! The control side's own metrics: what was configured, and how the control plane's streams are doing.

mod secrets;

use std::sync::Arc;
use std::time::SystemTime;

use config::model::tls::SecretRef;
use config::snapshot::{Changes, Counts, Kind, Snapshot};
use config::store::Applied;
use config::xds::Status;
use config::xds::status::KindStatus;

use crate::expiry;
use crate::metrics::{
    ClusterManagerStat, ControlPlaneStat, ListenerManagerStat, Registry, Scope, ServerStat, SubscriptionStat,
    ZonegateStat,
};
use secrets::Secrets;

/// Handles held for good, so that the series are there from the start.
#[derive(Debug)]
pub(crate) struct Books {
    registry: Arc<Registry>,
    clusters: Arc<Scope<ClusterManagerStat>>,
    control_plane: Arc<Scope<ControlPlaneStat>>,
    cds: Arc<Scope<SubscriptionStat>>,
    lds: Arc<Scope<SubscriptionStat>>,
    ours: Arc<Scope<ZonegateStat>>,
    seen: [bool; Kind::ALL.len()],
    known_clusters: usize,
    secrets: Secrets,
    listeners: Arc<Scope<ListenerManagerStat>>,
}

impl Books {
    pub(crate) fn new(registry: &Arc<Registry>) -> Self {
        for name in [CDS_VERSION, LDS_VERSION, IDENTIFIER] {
            registry.set_text(name, "");
        }
        Self {
            registry: Arc::clone(registry),
            clusters: registry.cluster_manager(),
            control_plane: registry.control_plane(),
            cds: registry.cds(),
            lds: registry.lds(),
            ours: registry.zonegate(),
            seen: [false; Kind::ALL.len()],
            known_clusters: 0,
            secrets: Secrets::default(),
            listeners: registry.listener_manager(),
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
        self.secrets.changed(snapshot, &changes.secrets);
    }

    /// What waits, whether or not anything changed for the data path.
    pub(crate) fn warming(&self, snapshot: &Snapshot) {
        self.clusters.set(ClusterManagerStat::WarmingClusters, count(snapshot.warming.size()));
        self.listeners.set(ListenerManagerStat::TotalListenersWarming, count(snapshot.warming_listeners.size()));
    }

    /// The secrets that resources refer to from now on.
    pub(crate) fn wanted<'a>(&mut self, snapshot: &Snapshot, wanted: impl Iterator<Item = &'a Arc<SecretRef>>) {
        self.secrets.follow(&self.registry, snapshot, wanted);
    }

    /// A batch of secrets: what was sent, with its version, and what came of it.
    pub(crate) fn secrets(&self, sent: &[(Arc<SecretRef>, Arc<str>)], applied: &Applied) {
        self.secrets.batch(sent, applied);
    }

    /// Secrets that did not come in time.
    pub(crate) fn overdue(&self, overdue: &[Arc<SecretRef>]) {
        self.secrets.overdue(overdue);
    }

    /// Files of secrets that were read again.
    pub(crate) fn reread(&self, applied: &Applied) {
        self.secrets.reread(applied);
    }

    /// Carries over what the control plane's client has counted since `before`.
    pub(crate) fn status(&self, before: &Status, now: &Status) {
        self.control_plane.set(ControlPlaneStat::ConnectedState, i64::from(now.connection.is_up()));
        subscription(&self.cds, &before.kinds[Kind::Cluster], &now.kinds[Kind::Cluster]);
        subscription(&self.lds, &before.kinds[Kind::Listener], &now.kinds[Kind::Listener]);
        self.ours.set(ZonegateStat::XdsSilent, count(now.silent().count()));
        let version = |status: &Status, kind| Arc::clone(&status.kinds[kind].version);
        self.text(CDS_VERSION, &version(before, Kind::Cluster), &version(now, Kind::Cluster));
        self.text(LDS_VERSION, &version(before, Kind::Listener), &version(now, Kind::Listener));
        self.text(IDENTIFIER, &before.identifier, &now.identifier);
    }

    fn text(&self, name: &str, before: &str, now: &str) {
        if now != before {
            self.registry.set_text(name, now);
        }
    }
}

const CDS_VERSION: &str = "cluster_manager.cds.version_text";
const LDS_VERSION: &str = "listener_manager.lds.version_text";
const IDENTIFIER: &str = "control_plane.identifier";

/// Sets `zonegate.config.…`. It goes over all resources, so it is for those who render, not for each change.
pub(crate) fn count_findings(registry: &Registry, snapshot: &Snapshot) {
    let Counts { rejected, ignored, unsupported, held } = snapshot.counts();
    let ours = registry.zonegate();
    ours.set(ZonegateStat::ConfigResourcesRejected, count(rejected));
    ours.set(ZonegateStat::ConfigFieldsIgnored, count(ignored));
    ours.set(ZonegateStat::ConfigChainsUnsupported, count(unsupported));
    ours.set(ZonegateStat::ConfigChainsHeld, count(held));
    // Envoy's number for "no certificate".
    let days =
        expiry::days_until_first(snapshot).map_or(u32::MAX.into(), |days| i64::try_from(days).unwrap_or(i64::MAX));
    registry.server().set(ServerStat::DaysUntilFirstCertExpiring, days);
}

/// What is known of all streams and files: what one has not been answered, another may have.
pub(crate) fn merged(known: &Status, now: &Status) -> Status {
    let mut merged = now.clone();
    for kind in Kind::ALL {
        let of = &mut merged.kinds[kind];
        if of.update_attempt == 0 && !of.silent && known.kinds[kind].update_attempt > 0 {
            *of = known.kinds[kind].clone();
        }
    }
    merged
}

fn subscription(scope: &Scope<SubscriptionStat>, before: &KindStatus, now: &KindStatus) {
    let carry = |stat, before: u64, now: u64| scope.add(stat, now.saturating_sub(before));
    carry(SubscriptionStat::UpdateAttempt, before.update_attempt, now.update_attempt);
    carry(SubscriptionStat::UpdateSuccess, before.update_success, now.update_success);
    carry(SubscriptionStat::UpdateRejected, before.update_rejected, now.update_rejected);
    carry(SubscriptionStat::UpdateFailure, before.update_failure, now.update_failure);
    carry(SubscriptionStat::InitFetchTimeout, before.init_fetch_timeout, now.init_fetch_timeout);
    if now.version != before.version {
        scope.set(SubscriptionStat::Version, version_hash(&now.version));
    }
    if let Some(at) = now.updated.filter(|_| now.updated != before.updated) {
        scope.set(SubscriptionStat::UpdateTime, millis(at));
    }
}

/// Envoy publishes the xxHash64 of the version text.
fn version_hash(version: &str) -> i64 {
    xxhash_rust::xxh64::xxh64(version.as_bytes(), 0).cast_signed()
}

/// Since 1970.
fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(kind: Kind, version: &str, attempts: u64) -> Status {
        let mut status = Status { identifier: "cp".into(), ..Status::default() };
        status.kinds[kind].version = version.into();
        status.kinds[kind].update_attempt = attempts;
        status
    }

    #[test]
    fn streams_of_their_own_do_not_hide_each_other() {
        let registry = Registry::new(1);
        let books = Books::new(&registry);
        let mut known = Status::default();
        let told = [(Kind::Cluster, "c1", 1), (Kind::Listener, "l1", 1), (Kind::Cluster, "c2", 2)];
        for (kind, version, attempts) in told {
            let now = merged(&known, &answered(kind, version, attempts));
            books.status(&known, &now);
            known = now;
        }
        assert_eq!(registry.cds().get(SubscriptionStat::UpdateAttempt), 2);
        assert_eq!(registry.lds().get(SubscriptionStat::UpdateAttempt), 1);
        let texts = registry.texts();
        let text = |name: &str| &*texts[name];
        assert_eq!((text(CDS_VERSION), text(LDS_VERSION), text(IDENTIFIER)), ("c2", "l1", "cp"));
    }
}
