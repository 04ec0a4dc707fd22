//! The filter chains of one of the control plane's own listeners, ready to serve.

use std::net::SocketAddr;
use std::sync::Arc;

use config::model::chain::{FilterChain, Handler as Kind};
use config::model::listener::Listener;

use super::forward::Upstreams;
use super::manager::Manager;
use crate::lifecycle::drain::{Drain, Trigger};
use crate::listener::{ChainState, Chains, Facts};
use crate::tls::Downstream;

/// One chain. It stays the same value while its configuration does.
pub(super) struct Chain {
    pub(super) config: Arc<FilterChain>,
    pub(super) action: Action,
    /// Tells its connections to go.
    pub(super) trigger: Trigger,
}

/// What a chain does.
pub(super) enum Action {
    /// Serve HTTP, behind TLS where the chain's state has it.
    Http(Manager),
    /// Refuse every connection, for this reason.
    Refuse(Box<str>),
}

/// All chains of one version.
pub(super) struct ChainSet {
    matcher: Chains,
    chains: Vec<Arc<Chain>>,
}

/// What is known of a connection when its chain is chosen.
pub(super) struct Seen {
    pub(super) local: Option<SocketAddr>,
    pub(super) peer: Option<SocketAddr>,
    /// `None`: the bytes are no ClientHello, or nobody looked.
    pub(super) hello: Option<Hello>,
}

/// What the ClientHello says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) server_name: Option<Box<[u8]>>,
    pub(super) alpn: Vec<Box<[u8]>>,
}

impl ChainSet {
    /// Keeps those of `before` that have not changed.
    pub(super) fn new(listener: &Listener, before: Option<&Self>, upstreams: &Upstreams) -> Self {
        let mut chains = Vec::new();
        let matcher = Chains::new(listener, |config| {
            chains.push(before.and_then(|b| b.by_id(config.id)).cloned().unwrap_or_else(|| {
                let chain = Chain::new(config, upstreams);
                if let Action::Refuse(why) = &chain.action {
                    tracing::warn!(listener = &*listener.name, chain = &*config.name, why, "chain refuses connections");
                }
                Arc::new(chain)
            }));
            let contexts = upstreams.clusters.tls();
            let tls = Downstream::of(config, contexts, &upstreams.registry, &listener.stat_name);
            ChainState::new(config, &upstreams.registry, tls)
        });
        Self { matcher, chains }
    }

    /// The chain that takes the connection, and its rate limits.
    pub(super) fn find(&self, seen: &Seen) -> Option<(&Arc<Chain>, &Arc<ChainState>)> {
        let alpn = seen.hello.as_ref().map(|hello| &*hello.alpn).unwrap_or_default();
        let state = self.matcher.find(&Facts {
            local: seen.local,
            remote: seen.peer,
            direct_remote: seen.peer,
            server_name: seen.hello.as_ref().and_then(|hello| hello.server_name.as_deref()),
            tls: seen.hello.is_some(),
            alpn: alpn.iter().map(|name| &**name),
        })?;
        self.by_id(state.chain.id).map(|chain| (chain, state))
    }

    pub(super) fn all(&self) -> Vec<Arc<Chain>> {
        self.chains.clone()
    }

    /// Those that `other` does not have.
    pub(super) fn without(&self, other: &Self) -> Vec<Arc<Chain>> {
        self.chains.iter().filter(|chain| other.by_id(chain.config.id).is_none()).cloned().collect()
    }

    fn by_id(&self, id: u128) -> Option<&Arc<Chain>> {
        self.chains.iter().find(|chain| chain.config.id == id)
    }
}

impl Chain {
    fn new(config: &Arc<FilterChain>, upstreams: &Upstreams) -> Self {
        let action = match &config.handler {
            Kind::System(http) => Action::Http(Manager::new(Arc::clone(http), config.tls.is_some(), upstreams.clone())),
            Kind::Unsupported(what) => Action::Refuse(what.to_string().into()),
            // A manager of a system listener is always one of its own.
            Kind::TcpProxy(_) | Kind::DirectResponse(_) | Kind::Http(_) => {
                Action::Refuse("the control plane's own listeners serve HTTP only".into())
            }
        };
        let (trigger, _) = Drain::new();
        Self { config: Arc::clone(config), action, trigger }
    }
}
