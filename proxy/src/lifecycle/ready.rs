//! Readiness: a set of drop guards. Whoever has to finish something first holds a [`Block`]; when the last one is
//! dropped the process is live, and stays so.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// What `/ready` says: `envoy.admin.v3.ServerInfo.State`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Serving.
    Live,
    /// Health checks are failed on purpose: `POST /healthcheck/fail`, or the process is about to end.
    Draining,
    /// Waiting for clusters.
    PreInitializing,
    /// Clusters are known; waiting for the rest.
    Initializing,
}

impl State {
    /// Envoy's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "LIVE",
            Self::Draining => "DRAINING",
            Self::PreInitializing => "PRE_INITIALIZING",
            Self::Initializing => "INITIALIZING",
        }
    }

    /// Envoy's number for it, as in the gauge `server.state`.
    pub const fn number(self) -> u8 {
        match self {
            Self::Live => 0,
            Self::Draining => 1,
            Self::PreInitializing => 2,
            Self::Initializing => 3,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a [`Block`] waits for; decides between the two states before [`State::Live`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The first set of clusters.
    Clusters,
    /// Anything after that.
    Listeners,
}

/// Whether the process is ready. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Readiness {
    shared: Arc<Shared>,
}

impl Readiness {
    /// Not ready until the returned block, and all made meanwhile, are dropped.
    pub fn new() -> (Self, Block) {
        let inner =
            Inner { blocks: BTreeMap::new(), next: 0, live: false, terminating: false, details: BTreeMap::new() };
        let shared = Shared {
            since: Instant::now(),
            failed: AtomicBool::new(false),
            inner: Mutex::new(inner),
            became_live: Notify::new(),
        };
        let readiness = Self { shared: Arc::new(shared) };
        let block = readiness.block(Stage::Clusters, "start");
        (readiness, block)
    }

    /// One more thing to wait for. Once the process was live it only shows in [`Report::waiting`].
    pub fn block(&self, stage: Stage, what: impl Into<Arc<str>>) -> Block {
        let mut inner = self.shared.lock();
        let id = inner.next;
        inner.next += 1;
        inner.blocks.insert(id, (stage, what.into()));
        Block { shared: Arc::clone(&self.shared), id }
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.shared.lock().state(self.fails_health_checks())
    }

    /// `POST /healthcheck/fail` (true) and `/healthcheck/ok` (false).
    pub fn fail_health_check(&self, fail: bool) {
        self.shared.failed.store(fail, Ordering::Relaxed);
    }

    /// Health checks are failed on purpose.
    pub fn fails_health_checks(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// The process was told to end: the readiness reporter says so from now on.
    pub fn terminate(&self) {
        self.shared.lock().terminating = true;
    }

    /// [`terminate`](Self::terminate) was called.
    pub fn is_terminating(&self) -> bool {
        self.shared.lock().terminating
    }

    /// Sets the line that `topic` shows in `/ready`, or takes it away: `("xds", "control plane stream silent")`.
    /// It changes nothing about being ready.
    pub fn set_detail(&self, topic: &'static str, line: Option<&str>) {
        let mut inner = self.shared.lock();
        match line {
            Some(line) => inner.details.insert(topic, line.into()),
            None => inner.details.remove(topic),
        };
    }

    /// Everything there is to say.
    pub fn report(&self) -> Report {
        let inner = self.shared.lock();
        Report {
            state: inner.state(self.fails_health_checks()),
            waiting: inner.blocks.values().map(|(_, what)| Arc::clone(what)).collect(),
            details: inner.details.iter().map(|(topic, line)| (*topic, Arc::clone(line))).collect(),
        }
    }

    /// Ends when the last block is gone.
    pub async fn live(&self) {
        loop {
            let live = self.shared.became_live.notified();
            if self.shared.lock().live {
                return;
            }
            live.await;
        }
    }
}

/// [`Readiness::report`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The state.
    pub state: State,
    /// What is waited for.
    pub waiting: Vec<Arc<str>>,
    /// (topic, line) of what is not as it should be, by topic.
    pub details: Vec<(&'static str, Arc<str>)>,
}

/// Holds readiness back until it is dropped.
#[derive(Debug)]
#[must_use = "dropped at once, it holds nothing back"]
pub struct Block {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        let done = inner.blocks.remove(&self.id);
        let elapsed = self.shared.since.elapsed();
        if let Some((_, what)) = done {
            tracing::debug!(what = &*what, left = inner.blocks.len(), ?elapsed, "no longer waited for");
        }
        // At the end of the process whoever still waits lets go: that is not being ready.
        if inner.blocks.is_empty() && !inner.live && !inner.terminating {
            inner.live = true;
            tracing::info!(?elapsed, "ready");
            self.shared.became_live.notify_waiters();
        }
    }
}

#[derive(Debug)]
struct Shared {
    since: Instant,
    failed: AtomicBool,
    inner: Mutex<Inner>,
    became_live: Notify,
}

#[derive(Debug)]
struct Inner {
    blocks: BTreeMap<u64, (Stage, Arc<str>)>,
    next: u64,
    live: bool,
    terminating: bool,
    details: BTreeMap<&'static str, Arc<str>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Envoy's `Utility::serverState`: a failed health check shows only once everything is initialized.
    fn state(&self, failed: bool) -> State {
        if !self.live {
            let clusters = self.blocks.values().any(|(stage, _)| *stage == Stage::Clusters);
            return if clusters { State::PreInitializing } else { State::Initializing };
        }
        if failed { State::Draining } else { State::Live }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn goes_through_the_states_as_blocks_fall() {
        let (readiness, start) = Readiness::new();
        let clusters = readiness.block(Stage::Clusters, "clusters");
        let listeners = readiness.block(Stage::Listeners, "listeners");
        assert_eq!(readiness.state(), State::PreInitializing);
        drop(start);
        assert_eq!(readiness.state(), State::PreInitializing);
        assert_eq!(readiness.report().waiting, [Arc::from("clusters"), Arc::from("listeners")]);
        drop(clusters);
        assert_eq!(readiness.state(), State::Initializing);
        readiness.fail_health_check(true);
        assert_eq!(readiness.state(), State::Initializing, "Envoy looks at the init manager first");
        drop(listeners);
        assert_eq!(readiness.state(), State::Draining);
        readiness.fail_health_check(false);
        assert_eq!(readiness.state(), State::Live);
    }

    #[test]
    fn once_live_a_new_block_does_not_take_it_back() {
        let (readiness, start) = Readiness::new();
        drop(start);
        let _late = readiness.block(Stage::Clusters, "late");
        assert_eq!(readiness.state(), State::Live);
        assert_eq!(readiness.report().waiting, [Arc::from("late")]);
    }

    #[test]
    fn the_end_of_the_process_is_no_readiness() {
        let (readiness, start) = Readiness::new();
        readiness.terminate();
        drop(start);
        assert_eq!(readiness.state(), State::Initializing);
    }

    #[test]
    fn details_come_and_go_without_touching_the_state() {
        let (readiness, start) = Readiness::new();
        drop(start);
        readiness.set_detail("xds", Some("control plane stream silent"));
        readiness.set_detail("dns", Some("slow"));
        readiness.set_detail("dns", None);
        let report = readiness.report();
        assert_eq!(report.state, State::Live);
        assert_eq!(report.details, [("xds", Arc::from("control plane stream silent"))]);
    }

    #[tokio::test(start_paused = true)]
    async fn wakes_those_who_wait_for_live() {
        let (readiness, start) = Readiness::new();
        assert!(timeout(Duration::from_secs(1), readiness.live()).await.is_err());
        let waiter = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.live().await }
        });
        tokio::task::yield_now().await;
        drop(start);
        assert!(timeout(Duration::from_secs(1), waiter).await.is_ok());
        readiness.live().await;
    }
}
