//! What would become of a connection, by the parts that decide about living ones: the choice of the filter chain and
//! its RBAC filters. Nothing is opened and nothing is counted. For `reach`, which reads configurations.

use std::net::SocketAddr;
use std::sync::Arc;

use config::model::chain::FilterChain;
use config::model::listener::Listener;

use crate::listener::{ChainState, Chains, Facts as Arrival, inspects};
use crate::metrics::Registry;
use crate::rbac::{Facts, Peer};

/// What is known of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// As sent in the ClientHello; empty: none.
    pub server_name: &'a [u8],
    /// In the client's order.
    pub alpn: &'a [String],
    /// Where the client connected to.
    pub local: Option<SocketAddr>,
    /// The client.
    pub remote: Option<SocketAddr>,
    /// Of its certificate, which is taken for verified; none: it sent no certificate.
    pub uri_sans: &'a [Box<str>],
}

impl<'a> Connection<'a> {
    /// As `listener` sees it: without a ClientHello that is read, no name and no protocols are known.
    #[must_use]
    pub fn at(self, listener: &Listener) -> Self {
        if inspects(listener) { self } else { Self { server_name: b"", alpn: &[], ..self } }
    }

    /// As the RBAC filters of `chain` see it: an identity is known where TLS ends.
    pub fn facts(&self, chain: &FilterChain) -> Facts<'a> {
        let verified = !self.uri_sans.is_empty();
        let peer = Peer { uri_sans: self.uri_sans, dns_sans: &[], subject: "", verified };
        Facts {
            peer: chain.tls.is_some().then_some(peer),
            server_name: self.server_name,
            local: self.local,
            remote: self.remote,
            direct_remote: self.remote,
            request: None,
        }
    }
}

/// What becomes of it.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// No filter chain takes it.
    NoChain,
    /// Its chain denies it.
    Denied {
        /// The chain.
        chain: Arc<FilterChain>,
        /// The policy that decides; `None`: none matches.
        policy: Option<Arc<str>>,
    },
    /// Its chain lets it through to its last filter.
    Permitted {
        /// The chain.
        chain: Arc<FilterChain>,
        /// The policy that decides; `None`: nobody is asked, or none matches and that is enough.
        policy: Option<Arc<str>>,
    },
}

impl Verdict {
    /// The chain that takes it.
    pub fn chain(&self) -> Option<&Arc<FilterChain>> {
        match self {
            Self::NoChain => None,
            Self::Denied { chain, .. } | Self::Permitted { chain, .. } => Some(chain),
        }
    }
}

/// Judges a TLS connection to `listener`.
pub fn judge(listener: &Listener, connection: &Connection<'_>) -> Verdict {
    let connection = &connection.at(listener);
    let registry = Registry::new(1);
    let chains = Chains::new(listener, |chain| ChainState::new(chain, &registry, None));
    let arrival = Arrival {
        local: connection.local,
        remote: connection.remote,
        direct_remote: connection.remote,
        server_name: Some(connection.server_name).filter(|name| !name.is_empty()),
        tls: inspects(listener),
        alpn: connection.alpn.iter().map(String::as_bytes),
    };
    let Some(state) = chains.find(&arrival) else { return Verdict::NoChain };
    let chain = Arc::clone(&state.chain);
    let ruling = state.gate.rule(&connection.facts(&chain));
    match ruling.denied {
        Some(denial) => Verdict::Denied { chain, policy: denial.policy },
        None => Verdict::Permitted { chain, policy: ruling.policy },
    }
}
