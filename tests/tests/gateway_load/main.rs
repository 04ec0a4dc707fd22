//! No request may be lost while routes, listeners, clusters and endpoints change, while upstreams restart, and while one
//! of two gateways goes. One test at a time: each wants the machine for itself.
//!
//! `GATEWAY_CHANGES=2000` for the full number of changes.

mod changes;
mod drain;
mod load;
mod restarts;
mod upstream;
mod world;

use std::sync::OnceLock;

use tokio::sync::{Mutex, MutexGuard};

/// Waits for the other tests of this program.
async fn alone() -> MutexGuard<'static, ()> {
    static TURN: OnceLock<Mutex<()>> = OnceLock::new();
    TURN.get_or_init(Mutex::default).lock().await
}
