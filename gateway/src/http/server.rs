//! The engine as the proxy sees it.

use std::sync::Arc;

use config::model::chain::{FilterChain, Handler};
use config::model::listener::Listener;
use config::snapshot::{Changes, Snapshot};
use proxy::http::{HttpChain, HttpServer};
use proxy::shared::Shared;

use super::chain::Chain;

/// The HTTP engine; one in a process.
#[derive(Debug, Default)]
pub struct Server {}

impl Server {
    /// For a [`proxy::app::Role`].
    pub fn install() -> Arc<dyn HttpServer> {
        Arc::new(Self::default())
    }
}

impl HttpServer for Server {
    fn chain(&self, chain: &Arc<FilterChain>, _: &Listener, shared: &Arc<Shared>) -> Option<Arc<dyn HttpChain>> {
        let Handler::Http(manager) = &chain.handler else { return None };
        Some(Chain::new(manager, chain.tls.is_some(), shared))
    }

    fn apply(&self, _: &Snapshot, _: &Changes) {}
}
