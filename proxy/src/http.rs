//! The seam towards the HTTP engine, which is in another crate: chains that serve HTTP hand their connections over here.
//!
//! The proxy knows listeners, TLS, permissions and reports; the engine knows HTTP. A program without an engine
//! (zone ingress) refuses such chains.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use config::model::chain::FilterChain;
use config::model::listener::Listener;
use config::snapshot::{Changes, Snapshot};

use crate::control::Control;
use crate::error::CloseReason;
use crate::lifecycle::drain::Watch;
use crate::metrics::{ListenerStat, Scope};
use crate::report::flow::Flow;
use crate::shared::Shared;
use crate::stream::Stream;

/// Serves one connection until it is over.
pub type Serving = Pin<Box<dyn Future<Output = CloseReason> + Send>>;

/// An HTTP engine; one in a process. It is called on the control runtime only.
pub trait HttpServer: Debug + Send + Sync {
    /// Who this process is to the control plane (`node.id`, `node.cluster`); once, before anything else.
    fn introduce(&self, id: &str, cluster: &str);

    /// What serves the connections of a chain; `None`: the chain does not end in an HTTP connection manager. Called
    /// once for each distinct chain, before any listener takes connections for it.
    fn chain(&self, chain: &Arc<FilterChain>, listener: &Listener, shared: &Arc<Shared>) -> Option<Arc<dyn HttpChain>>;

    /// Route configurations that have changed; before listeners learn of theirs.
    fn apply(&self, snapshot: &Snapshot, changes: &Changes);
}

/// Serves the connections of one chain, for as long as the chain's configuration stays the same.
pub trait HttpChain: Debug + Send + Sync {
    /// Serves one connection. The future runs on the worker that accepted it.
    fn serve(self: Arc<Self>, connection: HttpConnection) -> Serving;
}

/// A connection whose chain is found, whose TLS is established and whose client is permitted.
#[derive(Debug)]
pub struct HttpConnection {
    /// The client's end.
    pub stream: Stream,
    /// What was read of it already.
    pub head: Box<[u8]>,
    /// What is known of it; constant from here on.
    pub flow: Arc<Flow>,
    /// What all connections share.
    pub shared: Arc<Shared>,
    /// Statistics of the listener it came in on.
    pub stats: Arc<Scope<ListenerStat>>,
    /// Its part that the worker can reach: limits on its life, and its end from outside.
    pub control: Arc<Control>,
    /// Whether its chain or listener is on its way out.
    pub drain: Watch,
}
