//! No request may be lost while routes, listeners, clusters and endpoints change, while upstreams restart, and while one
//! of two gateways goes. One test at a time: each wants the machine for itself.
//!
//! Sized for a machine that does other things, too; `GATEWAY_LOAD=full` for 2,000 changes, 200 connections that stay and
//! 500 new ones a second.

mod changes;
mod drain;
mod load;
mod restarts;
mod upstream;
mod world;

use std::sync::OnceLock;

use tokio::sync::{Mutex, MutexGuard};

/// What is done to the gateways.
struct Size {
    changes: u32,
    long: usize,
    rate: u64,
}

fn size() -> Size {
    match std::env::var("GATEWAY_LOAD").as_deref() {
        Ok("full") => Size { changes: 2000, long: 200, rate: 500 },
        _ => Size { changes: 200, long: 60, rate: 100 },
    }
}

/// Waits for the other tests of this program.
async fn alone() -> MutexGuard<'static, ()> {
    static TURN: OnceLock<Mutex<()>> = OnceLock::new();
    TURN.get_or_init(Mutex::default).lock().await
}
