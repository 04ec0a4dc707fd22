//! Batches to collectors of logs, spans and metrics, through a cluster: one task and one connection for each, on the
//! control runtime. Who reports never waits: what does not fit into the bounded queue is dropped, and the collector's
//! owner counts it.

mod client;
pub mod otlp;
#[cfg(test)]
mod tests;
pub mod wire;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use client::{Client, SendError, Target};

use crate::upstream::Clusters;

/// Bounds of a queue, and when it is emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most items that wait.
    pub items: usize,
    /// Most bytes that wait.
    pub bytes: usize,
    /// So many items are sent at once.
    pub flush_items: usize,
    /// So many bytes are sent at once.
    pub flush_bytes: usize,
    /// All are sent after this time.
    pub interval: Duration,
}

/// A batch as it is sent.
#[derive(Debug)]
pub struct Packed {
    /// The body; for gRPC the message.
    pub body: Bytes,
    /// Headers that go with it: name (lower-case) and value.
    pub headers: Vec<(&'static str, String)>,
}

impl From<Bytes> for Packed {
    fn from(body: Bytes) -> Self {
        Self { body, headers: Vec::new() }
    }
}

/// How a batch is put together, and who is told how it went.
pub trait Reporter: fmt::Debug + Send + Sync {
    /// Puts items together, in the order of being reported.
    fn pack(&self, items: Vec<Bytes>) -> Packed;

    /// The time was over.
    fn timer(&self) {}

    /// A batch of so many went out, or did not.
    fn done(&self, items: u64, result: Result<(), SendError>);
}

/// The end that is reported to. The task behind it ends with it, after what waits was sent.
#[derive(Debug)]
pub struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Bytes>,
    bytes: usize,
    closed: bool,
}

impl Outbox {
    /// Starts the task that sends what is reported.
    pub fn start(target: Target, reporter: Arc<dyn Reporter>, limits: Limits, clusters: &Arc<Clusters>) -> Self {
        let shared = Arc::new(Shared { limits, state: Mutex::default(), bell: Notify::new() });
        let client = Client::new(target, clusters);
        clusters.control().spawn(run(Arc::clone(&shared), client, reporter));
        Self(shared)
    }

    /// Hands an item over. `false`: there was no room.
    pub fn push(&self, item: Bytes) -> bool {
        let Limits { items, bytes, flush_items, flush_bytes, .. } = self.0.limits;
        let mut state = self.0.lock();
        if state.items.len() >= items || state.bytes + item.len() > bytes {
            return false;
        }
        let before = state.bytes;
        state.bytes += item.len();
        state.items.push_back(item);
        if state.items.len() == flush_items || (before < flush_bytes && state.bytes >= flush_bytes) {
            drop(state);
            self.0.bell.notify_one();
        }
        true
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.bell.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits, and whether anything may still come.
    fn take(&self) -> (VecDeque<Bytes>, bool) {
        let mut state = self.lock();
        state.bytes = 0;
        (std::mem::take(&mut state.items), state.closed)
    }
}

async fn run(shared: Arc<Shared>, mut client: Client, reporter: Arc<dyn Reporter>) {
    let mut due = Instant::now() + shared.limits.interval;
    loop {
        tokio::select! {
            () = shared.bell.notified() => {}
            () = tokio::time::sleep_until(due) => {
                due = Instant::now() + shared.limits.interval;
                reporter.timer();
            }
        }
        let (items, closed) = shared.take();
        if !items.is_empty() {
            let count = items.len() as u64;
            let result = client.send(reporter.pack(items.into())).await;
            reporter.done(count, result);
        }
        if closed {
            return;
        }
    }
}
