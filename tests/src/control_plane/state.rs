//! What the control plane holds and what it has heard.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use config::snapshot::Kind;
use tokio::sync::watch;
use tonic::Status;

use super::Options;

/// A request as it arrived, of either protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Counts streams from 1.
    pub stream: u64,
    /// `None` for a type that is not one of ours.
    pub kind: Option<Kind>,
    /// As sent.
    pub type_url: String,
    /// The node's id, if the request had a node.
    pub node: Option<String>,
    /// `response_nonce`.
    pub nonce: String,
    /// `version_info` (state of the world).
    pub version: String,
    /// `resource_names`, or `resource_names_subscribe`.
    pub names: Vec<String>,
    /// `resource_names_unsubscribe`.
    pub unsubscribed: Vec<String>,
    /// `initial_resource_versions`.
    pub initial_versions: BTreeMap<String, String>,
    /// `error_detail.message`.
    pub error: Option<String>,
    /// Whether it came over the incremental protocol.
    pub delta: bool,
}

impl Request {
    /// Whether it accepts a response. (A state-of-the-world request that changes names looks the same.)
    pub fn is_ack(&self) -> bool {
        !self.nonce.is_empty() && self.error.is_none()
    }
}

/// The answer of `/bootstrap`.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// HTTP status.
    pub status: u16,
    /// Sent as `application/json`.
    pub body: Bytes,
}

#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) body: Bytes,
    pub(super) version: String,
}

pub(super) struct State {
    pub(super) resources: BTreeMap<Kind, BTreeMap<String, Stored>>,
    /// Of a whole kind, as the state of the world needs it.
    versions: HashMap<Kind, u64>,
    clock: u64,
    pub(super) requests: Vec<Request>,
    pub(super) tokens: Vec<Option<String>>,
    /// Open streams by node.
    pub(super) open: HashMap<String, usize>,
    /// When the last stream of a node ended.
    left: HashMap<String, Instant>,
    pub(super) refused_streams: usize,
    streams: u64,
    pub(super) bootstrap: Bootstrap,
    pub(super) bootstrap_requests: Vec<serde_json::Value>,
    pub(super) mute: bool,
}

impl State {
    /// `None` before anything was ever set: a node without a snapshot is not answered.
    pub(super) fn version(&self, kind: Kind) -> Option<String> {
        let version = self.versions.get(&kind).copied().unwrap_or_default();
        (self.clock > 0).then(|| format!("{kind:?}-{version}"))
    }
}

/// Changes that are published together.
pub struct Edit<'a> {
    state: &'a mut State,
    endpoints_after_clusters: bool,
}

impl Edit<'_> {
    /// Adds or replaces.
    pub fn set(&mut self, kind: Kind, name: &str, body: impl Into<Bytes>) {
        let version = format!("r{}", self.touch(kind));
        let stored = Stored { body: body.into(), version };
        self.state.resources.entry(kind).or_default().insert(name.to_owned(), stored);
    }

    /// Removes.
    pub fn remove(&mut self, kind: Kind, name: &str) {
        self.touch(kind);
        self.state.resources.entry(kind).or_default().remove(name);
    }

    fn touch(&mut self, kind: Kind) -> u64 {
        self.state.clock += 1;
        let clock = self.state.clock;
        self.state.versions.insert(kind, clock);
        if kind == Kind::Cluster && self.endpoints_after_clusters {
            self.state.versions.insert(Kind::Endpoints, clock);
        }
        clock
    }
}

/// The state, and the wires that tell streams of a change or of their end.
pub(super) struct Shared {
    pub(super) options: Options,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    ended: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn new(options: Options) -> Self {
        let state = State {
            resources: BTreeMap::new(),
            versions: HashMap::new(),
            clock: 0,
            requests: Vec::new(),
            tokens: Vec::new(),
            open: HashMap::new(),
            left: HashMap::new(),
            refused_streams: 0,
            streams: 0,
            bootstrap: Bootstrap { status: 404, body: Bytes::new() },
            bootstrap_requests: Vec::new(),
            mute: options.quirks.mute,
        };
        Self { options, state: Mutex::new(state), changed: watch::Sender::new(0), ended: watch::Sender::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state())
    }

    pub(super) fn edit(&self, change: impl FnOnce(&mut Edit<'_>)) {
        let endpoints_after_clusters = self.options.quirks.endpoints_after_clusters;
        change(&mut Edit { state: &mut self.state(), endpoints_after_clusters });
        self.changed.send_modify(|count| *count += 1);
    }

    pub(super) fn edit_quietly<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state())
    }

    pub(super) fn mute(&self, mute: bool) {
        self.state().mute = mute;
        self.changed.send_modify(|count| *count += 1);
    }

    pub(super) fn drop_streams(&self) {
        self.ended.send_modify(|count| *count += 1);
    }

    pub(super) fn streams_gone(&self) {
        // A control plane that starts anew remembers nobody.
        let mut state = self.state();
        state.open.clear();
        state.left.clear();
    }

    /// Books a new stream and gives the wires it listens to.
    pub(super) fn stream(
        &self,
        token: Option<String>,
    ) -> Result<(u64, watch::Receiver<u64>, watch::Receiver<u64>), Status> {
        let mut state = self.state();
        state.tokens.push(token.clone());
        if self.options.token.is_some() && self.options.token != token {
            return Err(Status::unauthenticated("authentication failed"));
        }
        state.streams += 1;
        Ok((state.streams, self.changed.subscribe(), self.ended.subscribe()))
    }

    pub(super) fn hear(&self, request: Request) {
        self.state().requests.push(request);
    }

    /// Takes the place of a node's one stream.
    pub(super) fn enter(self: &std::sync::Arc<Self>, node: &str) -> Result<Seat, Status> {
        let mut state = self.state();
        let open = state.open.get(node).copied().unwrap_or_default();
        let quirks = &self.options.quirks;
        let lingers = state.left.get(node).is_some_and(|left| left.elapsed() < quirks.linger);
        if (open > 0 || lingers) && quirks.one_stream_per_node {
            state.refused_streams += 1;
            return Err(Status::unknown("there is already an active stream from this node, try again later"));
        }
        *state.open.entry(node.to_owned()).or_default() += 1;
        Ok(Seat { shared: std::sync::Arc::clone(self), node: node.to_owned() })
    }
}

/// A node's stream, for as long as this lives.
pub(super) struct Seat {
    shared: std::sync::Arc<Shared>,
    pub(super) node: String,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if let Some(open) = state.open.get_mut(&self.node) {
            *open = open.saturating_sub(1);
            state.left.insert(self.node.clone(), Instant::now());
        }
    }
}
