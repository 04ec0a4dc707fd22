//! The control plane's own listeners (admin, readiness, metrics, dynamic configuration), served on the control runtime
//! by a small HTTP server.
//!
//! ```text
//! Snapshot --apply--> System -- one Running a listener -- one task an address: bind, accept
//!   connection: first bytes -> chain -> [TLS] -> HTTP: virtual host -> route -> direct answer | endpoint of a cluster
//! ```
//! A listener that did not change is not touched; one that did keeps the sockets whose addresses stay, and only the
//! connections of chains that are gone are drained.

mod chain;
mod connection;
mod forward;
pub(crate) mod io;
mod listener;
mod manager;
mod path;
pub(crate) mod reply;
pub(crate) mod serve;
pub mod socket;
mod status;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use config::snapshot::{Changes, Snapshot};
use hashbrown::HashMap;
use tokio::runtime::Handle;

use crate::lifecycle::ready::Readiness;
use crate::metrics::Registry;
use crate::upstream::Clusters;

pub use status::Status;

use forward::Upstreams;
use listener::{Running, Shared};
use status::Board;

/// What the listeners need of the rest of the engine.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where everything runs.
    pub control: Handle,
    /// Where routes lead.
    pub clusters: Arc<Clusters>,
    /// What is counted.
    pub registry: Arc<Registry>,
    /// Told of addresses that can't be listened on.
    pub readiness: Readiness,
    /// Time for the connections of a removed chain.
    pub drain_time: Duration,
}

/// All of the control plane's own listeners. Dropping it closes their sockets.
pub struct System {
    running: HashMap<Arc<str>, Running>,
    shared: Arc<Shared>,
}

impl System {
    /// None yet.
    pub fn new(parts: Parts) -> Self {
        let shared = Shared {
            control: parts.control,
            upstreams: Upstreams { clusters: parts.clusters, registry: parts.registry },
            board: Arc::new(Board::new(parts.readiness)),
            drain_time: parts.drain_time,
        };
        Self { running: HashMap::new(), shared: Arc::new(shared) }
    }

    /// Starts, replaces and stops what changed.
    pub fn apply(&mut self, snapshot: &Snapshot, changes: &Changes) {
        for name in &changes.listeners {
            let wanted = snapshot.listeners.get(name).map(|entry| &entry.listener).filter(|listener| listener.system);
            match (wanted, self.running.get_mut(name)) {
                (Some(listener), Some(running)) => running.update(listener),
                (Some(listener), None) => {
                    self.running.insert(Arc::clone(name), Running::start(listener, Arc::clone(&self.shared)));
                }
                (None, Some(_)) => {
                    if let Some(running) = self.running.remove(name) {
                        running.stop();
                    }
                }
                (None, None) => {}
            }
        }
    }

    /// A handle that tells what became of the addresses, for the admin server.
    pub fn status(&self) -> StatusReader {
        StatusReader { board: Arc::clone(&self.shared.board) }
    }

    /// Stops all listeners and drains their connections; ends with the process.
    pub fn stop(&mut self) {
        for (_, running) in self.running.drain() {
            running.stop();
        }
    }
}

/// Reads what became of the addresses.
#[derive(Clone, Debug)]
pub struct StatusReader {
    board: Arc<Board>,
}

impl StatusReader {
    /// Every address of every listener, by listener name.
    pub fn all(&self) -> Vec<Status> {
        self.board.all()
    }
}
