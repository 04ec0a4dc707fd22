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
    /// Requests for hosts that a chain's server names do not have get 421.
    strict_hosts: bool,
}

/// The switch for that: `true` or `1`.
const MISDIRECTED: &str = "ZONEGATE_MISDIRECTED";

impl Server {
    /// For a [`proxy::app::Role`].
    pub fn install() -> Arc<dyn HttpServer> {
        Arc::new(Self::default())
    }

    /// The same where the world comes in, with its options.
    pub fn install_gateway() -> Arc<dyn HttpServer> {
        let said = std::env::var(MISDIRECTED).ok();
        Arc::new(Self { strict_hosts: matches!(said.as_deref(), Some("true" | "1")), ..Self::default() })
    }

    fn place(&self, chain: &FilterChain, listener: &Listener) -> Place {
        let checked = self.strict_hosts && chain.tls.is_some();
        Place {
            tls: chain.tls.is_some(),
            egress: listener.direction == Direction::Outbound,
            hosts: if checked { chain.matches.server_names.clone() } else { Box::default() },
        }
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
        Some(Chain::new(manager, self.place(chain, listener), shared, (self.common(shared), routes)))
    }

    fn apply(&self, snapshot: &Snapshot, changes: &Changes) {
        self.book.apply(snapshot, &changes.routes);
    }
}
