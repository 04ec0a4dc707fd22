//! The one value that everything hangs off: workers, listeners, clusters, metrics.

use std::sync::Arc;

use crate::listener::Listeners;
use crate::runtime::Workers;
use crate::shared::Shared;

/// A running proxy.
#[derive(Debug)]
pub struct Engine {
    /// Data-path threads.
    pub workers: Workers,
    /// What connections share.
    pub shared: Arc<Shared>,
    /// Data-path listeners.
    pub listeners: Listeners,
}
