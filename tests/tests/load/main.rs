//! Nothing may be lost while everything changes. One test at a time: each wants the machine for itself.

mod away;
mod changes;
mod drain;
mod mesh;

use std::sync::OnceLock;

use tokio::sync::{Mutex, MutexGuard};

/// Waits for the other tests of this program.
async fn alone() -> MutexGuard<'static, ()> {
    static TURN: OnceLock<Mutex<()>> = OnceLock::new();
    TURN.get_or_init(Mutex::default).lock().await
}
