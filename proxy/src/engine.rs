//! The one value that everything hangs off: what is in force, and the parts that run it.
//!
//! ```text
//! xDS, files, bootstrap --Batch--> Engine --Snapshot + Changes--> Clusters, Listeners, System
//!                                     '-- View (ArcSwap) --> admin server, metrics
//! ```
//! It lives on the control runtime and is called there only; nothing is queued between it and the data path.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use config::model::tls::{GrpcSource, SecretRef, SecretSource, WatchedFile};
use config::reject::{FieldPath, Rejection};
use config::runtime::Layers;
use config::snapshot::{Changes, ClusterEntry, Kind, Snapshot};
use config::source::file::FileSource;
use config::store::{Applied, Batch, Store};
use config::xds::status::KindStatus;
use config::xds::{Sink, Status};

use crate::books::{Books, merged};
use crate::expiry::Expiry;
use crate::lifecycle::drain::{DrainListeners, Strategy};
use crate::lifecycle::ready::{Block, Readiness, Stage};
use crate::listener::{BindError, Listeners};
use crate::runtime::Workers;
use crate::shared::Shared;
use crate::system::{StatusReader, System};

/// What others may read at any time.
#[derive(Debug, Default)]
pub struct View {
    /// The configuration in force.
    pub snapshot: ArcSwap<Snapshot>,
    /// The control plane's connection; one entry for each stream of its own.
    pub status: ArcSwap<Status>,
    /// The streams to servers of secrets of their own (SPIRE's agent), by cluster.
    pub secret_servers: ArcSwap<BTreeMap<Arc<str>, Arc<Status>>>,
}

/// A running proxy's control side.
pub struct Engine {
    store: Store,
    view: Arc<View>,
    shared: Arc<Shared>,
    listeners: Listeners,
    system: System,
    readiness: Readiness,
    waiting: Waiting,
    books: Books,
    expiry: Expiry,
    runtime: Layers,
}

/// What the first configuration is waited for.
#[derive(Debug, Default)]
struct Waiting {
    clusters: Option<Block>,
    listeners: Option<Block>,
    /// Kinds that somebody will send.
    expected: Vec<Kind>,
}

/// Parts made before the engine.
pub struct Parts {
    /// What connections share.
    pub shared: Arc<Shared>,
    /// The control plane's own listeners.
    pub system: System,
    /// `/ready`.
    pub readiness: Readiness,
    /// How long connections of removed chains may live on.
    pub drain_time: Duration,
    /// How soon connections that can be told are told to end.
    pub drain_strategy: Strategy,
    /// Runtime values of the bootstrap.
    pub runtime: Layers,
    /// Clusters of the xDS client.
    pub control_planes: Arc<[Arc<str>]>,
}

impl Engine {
    /// Nothing configured yet.
    pub fn new(parts: Parts, workers: &Workers) -> Self {
        let Parts { shared, system, readiness, drain_time, drain_strategy, runtime, control_planes } = parts;
        shared.attach_readiness(readiness.clone());
        let handles = workers.handles().cloned().collect();
        let mut listeners = Listeners::new(Arc::clone(&shared), handles, drain_time, drain_strategy);
        let values = runtime.resolve(&Snapshot::default());
        shared.runtime.store(Arc::new(values.clone()));
        listeners.set_runtime(values);
        let books = Books::new(&shared.registry);
        Self {
            store: Store::default().with_control_planes(control_planes),
            view: Arc::default(),
            shared,
            listeners,
            system,
            readiness,
            waiting: Waiting::default(),
            books,
            expiry: Expiry::default(),
            runtime,
        }
    }

    /// What others may read at any time.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    /// What connections share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Where the control plane's own listeners listen.
    pub fn system_status(&self) -> StatusReader {
        self.system.status()
    }

    /// The listeners of the data path.
    pub fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// The first configuration of these kinds has to arrive before the process is ready.
    pub fn await_first(&mut self, clusters: bool, listeners: bool) {
        let block = |stage, what: &str| self.readiness.block(stage, what);
        let snapshot = self.store.snapshot();
        let kinds = [(Kind::Cluster, clusters), (Kind::Listener, listeners)];
        self.waiting = Waiting {
            // Static ones may wait for secrets too.
            clusters: (clusters || !snapshot.warming.is_empty()).then(|| block(Stage::Clusters, "clusters")),
            listeners: (listeners || !snapshot.warming_listeners.is_empty())
                .then(|| block(Stage::Listeners, "listeners")),
            expected: kinds.into_iter().filter(|(_, expected)| *expected).map(|(kind, _)| kind).collect(),
        };
    }

    /// What has waited long enough for endpoints or secrets is put in force without. To be called every second or so:
    /// it also warns of certificates that are about to expire.
    pub fn expire_warming(&mut self, now: Instant) {
        let before = self.store.snapshot();
        let applied = self.store.expire_warming(now);
        self.books.overdue(&applied.overdue);
        self.put_all_in_force(&before, &applied.changes);
        self.settle_waiting();
        self.expiry.warn(&self.store.snapshot(), now);
    }

    /// Puts changes in force that no listener's version of its own brought, such as a secret that listeners waited for.
    fn put_all_in_force(&mut self, before: &Snapshot, changes: &Changes) {
        for (name, error) in self.put_in_force(changes) {
            self.revert(before, &name, &error);
        }
        self.view.snapshot.store(self.store.snapshot());
    }

    /// What is shown is what serves: the last version that has its sockets.
    fn revert(&mut self, before: &Snapshot, name: &Arc<str>, error: &BindError) -> Rejection {
        let rejection = Rejection { path: FieldPath("address".into()), reason: error.to_string().into() };
        self.store.revert_listener(name, before.listeners.get(name), &rejection);
        tracing::warn!(listener = %name, %rejection, "the listener has no socket, its last good version stays in force");
        rejection
    }

    /// When [`expire_warming`](Self::expire_warming) has something to do next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.store.next_deadline()
    }

    /// `POST /drain_listeners` and SIGUSR2. What speaks HTTP is told; over TCP nothing can be, so there listeners that
    /// stay (`skip_exit`) change nothing. The control plane's own listeners stay in any case.
    pub fn drain_listeners(&mut self, what: DrainListeners) {
        if what.graceful {
            self.listeners.announce_drain(what.inbound_only);
        }
        if !what.skip_exit {
            self.listeners.stop_accepting(what.inbound_only, what.graceful);
        }
    }

    /// The process is about to end: what speaks HTTP is told.
    pub fn announce_end(&self) {
        self.listeners.announce_drain(false);
    }

    /// The end: nothing is accepted any more.
    pub fn stop(mut self) {
        self.listeners.stop_accepting(false, false);
    }

    fn put_in_force(&mut self, changes: &Changes) -> Vec<(Arc<str>, BindError)> {
        let snapshot = self.store.snapshot();
        self.view.snapshot.store(Arc::clone(&snapshot));
        self.books.warming(&snapshot);
        if changes.is_empty() {
            return Vec::new();
        }
        let secrets = changes
            .secrets
            .iter()
            .map(|name| (Arc::clone(name), snapshot.secrets.get(name).map(|entry| entry.secret.clone())));
        self.shared.tls.apply(secrets);
        self.shared.clusters.apply(&snapshot, changes);
        if let Some(http) = &self.shared.http {
            http.apply(&snapshot, changes);
        }
        let failed = self.listeners.apply(&snapshot, changes);
        self.system.apply(&snapshot, changes);
        self.books.applied(&snapshot, changes);
        failed
    }

    /// Lets the process become ready once nothing is missing any more.
    fn settle_waiting(&mut self) {
        let snapshot = self.store.snapshot();
        let has_come = |kind| self.books.seen(kind) || !self.waiting.expected.contains(&kind);
        let clusters = snapshot.warming.is_empty() && has_come(Kind::Cluster);
        let listeners = snapshot.warming_listeners.is_empty() && has_come(Kind::Listener);
        if clusters {
            self.waiting.clusters = None;
        }
        if self.waiting.clusters.is_none() && listeners {
            self.waiting.listeners = None;
        }
    }

    fn tell_status(&self, now: Status) {
        self.books.status(&self.view.status.load(), &now);
        self.view.status.store(Arc::new(now));
    }

    fn tell_refusals(&self, applied: &Applied) {
        let snapshot = self.store.snapshot();
        let refusing = snapshot.listeners.values().map(|entry| entry.unsupported.len()).sum::<usize>();
        let line = (refusing > 0).then(|| format!("{refusing} filter chains refuse their connections, see /zonegate"));
        self.readiness.set_detail("unsupported chains", line.as_deref());
        for (name, version, rejection) in &applied.rejected {
            tracing::warn!(%name, %version, %rejection, "resource refused, its last good version stays in force");
        }
        let rejected = snapshot.rejected.size();
        let line = (rejected > 0).then(|| format!("{rejected} resources are refused, see /zonegate"));
        self.readiness.set_detail("refused resources", line.as_deref());
    }
}

impl Sink for Engine {
    fn apply(&mut self, batch: Batch) -> Applied {
        let (kind, fixed) = (batch.kind, batch.fixed);
        let versions: Vec<_> = batch.upserts.iter().map(|r| (Arc::clone(&r.name), Arc::clone(&r.version))).collect();
        let from = if fixed { SecretSource::Static } else { batch.from.clone() };
        let before = self.store.snapshot();
        let mut applied = self.store.apply(batch);
        match kind {
            Kind::Secret => self.books.secrets(&of_source(&versions, &from), &applied),
            Kind::Cluster | Kind::Listener => self.books.wanted(&self.store.snapshot(), self.store.wanted_secrets()),
            Kind::Endpoints | Kind::Route | Kind::Runtime => {}
        }
        for (name, error) in self.put_in_force(&applied.changes) {
            let rejection = self.revert(&before, &name, &error);
            // A listener that had waited for this batch is not in it.
            if kind == Kind::Listener {
                let version = versions.iter().find(|(n, _)| *n == name).map(|(_, v)| Arc::clone(v)).unwrap_or_default();
                applied.rejected.push((name, version, rejection));
            }
        }
        drop(before);
        self.view.snapshot.store(self.store.snapshot());
        if kind == Kind::Runtime {
            let values = self.runtime.resolve(&self.store.snapshot());
            self.shared.runtime.store(Arc::new(values.clone()));
            self.listeners.set_runtime(values);
        }
        self.tell_refusals(&applied);
        if !fixed {
            self.books.saw(kind);
        }
        self.settle_waiting();
        applied
    }

    fn wanted(&self, kind: Kind) -> Vec<Arc<str>> {
        self.store.wanted(kind)
    }

    fn files(&self) -> Vec<FileSource> {
        self.store.files()
    }

    fn secret_servers(&self) -> Vec<(GrpcSource, Vec<Arc<str>>)> {
        self.store.secret_servers()
    }

    fn secret_files(&self) -> Vec<WatchedFile> {
        self.store.secret_files()
    }

    fn reread_secret_files(&mut self) {
        let before = self.store.snapshot();
        let applied = self.store.reread_files();
        self.books.reread(&applied);
        self.put_all_in_force(&before, &applied.changes);
        self.tell_refusals(&applied);
        self.settle_waiting();
    }

    fn cluster(&self, name: &str) -> Option<Arc<ClusterEntry>> {
        self.store.snapshot().clusters.get(name).cloned()
    }

    fn secret_server_status(&mut self, server: &GrpcSource, status: Option<&Status>) {
        let mut all = BTreeMap::clone(&self.view.secret_servers.load());
        match status {
            Some(status) => all.insert(Arc::clone(&server.cluster), Arc::new(status.clone())),
            None => all.remove(&server.cluster),
        };
        self.view.secret_servers.store(Arc::new(all));
    }

    fn status(&mut self, status: &Status) {
        let silent: Vec<_> = status.silent().map(|kind| format!("{kind:?}")).collect();
        let line =
            (!silent.is_empty()).then(|| format!("the control plane's stream is up and silent: {}", silent.join(", ")));
        self.readiness.set_detail("control plane", line.as_deref());
        let now = merged(&self.view.status.load(), status);
        self.tell_status(now);
    }

    fn file_status(&mut self, source: &FileSource, status: &KindStatus) {
        let mut now = Status::clone(&self.view.status.load());
        now.kinds[source.kind] = status.clone();
        self.tell_status(now);
    }
}

/// Secrets of one source with their versions.
fn of_source(versions: &[(Arc<str>, Arc<str>)], source: &SecretSource) -> Vec<(Arc<SecretRef>, Arc<str>)> {
    let secret = |name: &Arc<str>| SecretRef {
        name: Arc::clone(name),
        source: source.clone(),
        initial_fetch_timeout: Duration::ZERO,
    };
    versions.iter().map(|(name, version)| (Arc::new(secret(name)), Arc::clone(version))).collect()
}

#[cfg(test)]
mod tests;
