//! The engine as the proxy sees it.

use std::sync::{Arc, OnceLock};

use config::model::chain::{FilterChain, Handler};
use config::model::listener::{Direction, Listener};
use config::snapshot::{Changes, Snapshot};
use proxy::http::{HttpChain, HttpServer};
use proxy::shared::Shared;

use super::chain::{Chain, Common, Node, Place};
use super::own_ip::own_ip;
use super::routes::Book;
use crate::upstream::Pools;

/// The HTTP engine; one in a process.
#[derive(Debug, Default)]
pub struct Server {
    book: Book,
    node: OnceLock<Node>,
    common: OnceLock<Common>,
}

impl Server {
    /// For a [`proxy::app::Role`].
    pub fn install() -> Arc<dyn HttpServer> {
        Arc::new(Self::default())
    }

    fn common(&self, shared: &Shared) -> &Common {
        self.common.get_or_init(|| Common {
            pools: Pools::new(shared.registry.workers()),
            own_ip: own_ip(),
            node: self.node.get().cloned().unwrap_or_default(),
        })
    }
}

impl HttpServer for Server {
    fn introduce(&self, id: &str, cluster: &str) {
        let _ = self.node.set(Node { id: id.into(), cluster: cluster.into() });
    }

    fn chain(&self, chain: &Arc<FilterChain>, listener: &Listener, shared: &Arc<Shared>) -> Option<Arc<dyn HttpChain>> {
        let Handler::Http(manager) = &chain.handler else { return None };
        let routes = self.book.routes(&manager.routes);
        let place = Place { tls: chain.tls.is_some(), egress: listener.direction == Direction::Outbound };
        Some(Chain::new(manager, place, shared, (self.common(shared), routes)))
    }

    fn apply(&self, snapshot: &Snapshot, changes: &Changes) {
        self.book.apply(snapshot, &changes.routes);
    }
}
