//! Between a machine and a sink: what is asked when, what is answered, who is late. No sockets here.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::protocol::{Machine, PerKind, Subscribed};
use super::subscription::Interest;
use super::{Sink, Status};
use crate::snapshot::{ClusterEntry, Kind};
use crate::store::{Applied, Batch};

/// What is asked over the stream besides the names that the sink wants.
#[derive(Clone, Debug)]
pub struct Interests {
    /// Kinds of which everything is asked: clusters and listeners, unless they come from files.
    pub all: Vec<Kind>,
    /// RTDS layers that the bootstrap names.
    pub layers: Vec<Arc<str>>,
    /// Whether the endpoints, routes and secrets that the sink wants are asked here.
    pub named: bool,
}

impl Default for Interests {
    fn default() -> Self {
        Self { all: vec![Kind::Cluster, Kind::Listener], layers: Vec::new(), named: true }
    }
}

/// Limits in time.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// A kind that is asked for and not answered for so long is reported as silent.
    pub silence: Duration,
    /// Listeners are asked for when the clusters' endpoints and secrets are there, and after this time in any case.
    /// So a listener does not open its port on clusters without endpoints. (Envoy: `initial_fetch_timeout` of EDS.)
    pub first_fetch: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { silence: Duration::from_secs(30), first_fetch: Duration::from_secs(15) }
    }
}

/// Kinds whose names resources of other kinds refer to.
const NAMED: [Kind; 3] = [Kind::Endpoints, Kind::Route, Kind::Secret];

/// One control plane's state, over all its streams.
pub(super) struct Session<'a, M, S> {
    pub(super) machine: M,
    pub(super) status: Status,
    sink: &'a RefCell<S>,
    interests: Interests,
    patience: Patience,
    /// By when an answer is due.
    due: PerKind<Option<Instant>>,
    /// Listeners wait for the clusters, until then at most.
    staged: Option<Instant>,
}

impl<'a, M: Machine, S: Sink> Session<'a, M, S> {
    pub(super) fn new(machine: M, sink: &'a RefCell<S>, interests: Interests, patience: Patience) -> Self {
        let (status, due) = (Status::default(), PerKind::default());
        Self { machine, status, sink, interests, patience, due, staged: None }
    }

    /// A stream begins.
    pub(super) fn open(&mut self, now: Instant) {
        let all = |kind| self.interests.all.contains(&kind);
        let stage = all(Kind::Cluster) && all(Kind::Listener) && !self.machine.asks(Kind::Listener);
        self.staged = stage.then(|| now + self.patience.first_fetch);
        for kind in self.interests.all.clone() {
            if kind != Kind::Listener || self.staged.is_none() {
                let _ = self.machine.subscribe(kind, Interest::All);
            }
        }
        if !self.interests.layers.is_empty() {
            let _ = self.machine.subscribe(Kind::Runtime, Interest::Names(self.interests.layers.clone()));
        }
        self.refresh(&NAMED, now);
        self.machine.open();
        for kind in Kind::ALL {
            let unanswered = self.interests.all.contains(&kind) || !self.machine.is_satisfied(kind);
            let waits = self.machine.asks(kind) && unanswered;
            self.due[kind] = waits.then(|| now + self.patience.silence);
        }
    }

    /// A cluster of the configuration in force.
    pub(super) fn cluster(&self, name: &str) -> Option<Arc<ClusterEntry>> {
        self.sink.borrow().cluster(name)
    }

    /// A response arrived.
    pub(super) fn receive(&mut self, response: M::Response, now: Instant) {
        let delivery = match self.machine.receive(response, now) {
            Ok(delivery) => delivery,
            Err(text) => {
                tracing::warn!(error = %text, "refused a response of the control plane");
                self.status.unknown += 1;
                return self.report();
            }
        };
        let kind = delivery.batch.kind;
        let applied = self.sink.borrow_mut().apply(delivery.batch);
        let outcome = self.machine.settle(delivery.unsettled, &applied, now);
        match &outcome.error {
            None => tracing::debug!(?kind, version = %outcome.version, accepted = outcome.accepted, "ACK"),
            Some(error) => tracing::warn!(?kind, version = %outcome.version, %error, "NACK"),
        }
        self.due[kind] = None;
        self.status.answered(&outcome, self.machine.held(kind));
        self.follow(kind, now);
        self.report();
    }

    /// Something else than this stream changed what the sink wants.
    pub(super) fn rethink(&mut self, now: Instant) {
        self.refresh(&NAMED, now);
    }

    /// When [`Self::tick`] is to be called.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        let due = self.due.iter().filter_map(|(_, due)| *due).min();
        [due, self.staged, self.machine.next_expiry()].into_iter().flatten().min()
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        for batch in self.machine.expire(now) {
            let kind = batch.kind;
            tracing::info!(?kind, names = ?batch.removed, "removed: their time to live is over");
            let _: Applied = self.sink.borrow_mut().apply(batch);
            self.status.kinds[kind].resources = self.machine.held(kind);
            self.follow(kind, now);
        }
        for kind in Kind::ALL {
            if self.due[kind].is_some_and(|due| due <= now) {
                self.due[kind] = None;
                self.status.silences += 1;
                self.status.kinds[kind].silent = true;
                self.status.kinds[kind].init_fetch_timeout += 1;
                let after = self.patience.silence;
                tracing::warn!(?kind, ?after, "the control plane's stream is up, but this kind was not answered");
            }
        }
        if self.staged.is_some_and(|until| until <= now) {
            tracing::warn!("asking for listeners though some clusters still lack endpoints or secrets");
            self.release_listeners(now);
        }
        self.report();
    }

    /// No stream: nothing is due.
    pub(super) fn closed(&mut self) {
        self.due = PerKind::default();
        self.staged = None;
    }

    pub(super) fn report(&mut self) {
        self.sink.borrow_mut().status(&self.status);
    }

    /// Asks for what a changed kind refers to.
    fn follow(&mut self, kind: Kind, now: Instant) {
        match kind {
            Kind::Cluster => self.refresh(&[Kind::Endpoints, Kind::Secret], now),
            Kind::Listener => self.refresh(&[Kind::Route, Kind::Secret], now),
            // These refer to nothing; names that they make superfluous go with the next cluster or listener, so that
            // one changed endpoint costs the same whatever the number of clusters.
            Kind::Endpoints | Kind::Route | Kind::Secret | Kind::Runtime => {}
        }
        let clusters_known = self.status.kinds[Kind::Cluster].updated.is_some();
        let satisfied = |kind| self.machine.is_satisfied(kind);
        if self.staged.is_some() && clusters_known && satisfied(Kind::Endpoints) && satisfied(Kind::Secret) {
            self.release_listeners(now);
        }
    }

    fn release_listeners(&mut self, now: Instant) {
        self.staged = None;
        let _ = self.machine.subscribe(Kind::Listener, Interest::All);
        self.due[Kind::Listener] = Some(now + self.patience.silence);
    }

    fn refresh(&mut self, kinds: &[Kind], now: Instant) {
        for &kind in kinds.iter().filter(|_| self.interests.named) {
            let names = self.sink.borrow().wanted(kind);
            let Subscribed { asked, dropped } = self.machine.subscribe(kind, Interest::Names(names));
            if asked && self.due[kind].is_none() {
                self.due[kind] = Some(now + self.patience.silence);
            }
            if !dropped.is_empty() {
                let batch = Batch::removal(kind, dropped);
                let _: Applied = self.sink.borrow_mut().apply(batch);
                self.status.kinds[kind].resources = self.machine.held(kind);
            }
        }
    }
}
