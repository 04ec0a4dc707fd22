//! What a snapshot has of HTTP: by chain, its filters and its routes.

use std::fmt;
use std::sync::Arc;

use config::model::chain::{FilterChain, Handler};
use config::model::hcm::{Manager, Routes};
use config::model::route::RouteConfiguration;
use config::snapshot::Snapshot;
use serde_json::{Value, json};

/// One chain that serves HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HttpChain {
    listener: String,
    chain: String,
    /// Names, the router not among them.
    filters: Vec<String>,
    /// Name of the route configuration.
    routes: String,
    /// Its virtual hosts and all their routes; `None`: it is not there (yet).
    sizes: Option<(usize, usize)>,
}

/// All of them.
pub(super) fn chains(snapshot: &Snapshot) -> Vec<HttpChain> {
    let mut found = Vec::new();
    for (name, entry) in snapshot.all_listeners() {
        for chain in entry.listener.chains.iter().chain(&entry.listener.default_chain) {
            if let Handler::Http(manager) = &chain.handler {
                found.push(HttpChain::of(snapshot, name, chain, manager));
            }
        }
    }
    // The snapshot's maps have no order.
    found.sort_by(|a, b| (&a.listener, &a.chain).cmp(&(&b.listener, &b.chain)));
    found
}

impl HttpChain {
    fn of(snapshot: &Snapshot, listener: &str, chain: &FilterChain, manager: &Manager) -> Self {
        let (routes, config) = match &manager.routes {
            Routes::Inline(config) => (&config.name, Some(config)),
            Routes::Rds(of) => (&of.name, snapshot.routes.get(of).and_then(|entry| entry.config.as_ref().ok())),
        };
        let count = |config: &Arc<RouteConfiguration>| {
            (config.virtual_hosts.len(), config.virtual_hosts.iter().map(|host| host.routes.len()).sum())
        };
        Self {
            listener: listener.to_owned(),
            chain: chain.name.to_string(),
            filters: manager.filters.iter().map(|filter| filter.name.to_string()).collect(),
            routes: routes.to_string(),
            sizes: config.map(count),
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "listener": self.listener,
            "chain": self.chain,
            "filters": self.filters,
            "route_config": self.routes,
            "virtual_hosts": self.sizes.map(|(hosts, _)| hosts),
            "routes": self.sizes.map(|(_, routes)| routes),
        })
    }
}

impl fmt::Display for HttpChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listener, chain, filters, routes, sizes } = self;
        let filters = if filters.is_empty() { "none".to_owned() } else { filters.join(", ") };
        write!(f, "HTTP: listener \"{listener}\" chain \"{chain}\": filters: {filters}; routes \"{routes}\": ")?;
        match sizes {
            Some((hosts, routes)) => write!(f, "{hosts} virtual hosts, {routes} routes"),
            None => f.write_str("from the control plane"),
        }
    }
}
