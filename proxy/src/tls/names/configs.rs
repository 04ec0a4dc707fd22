//! rustls' configurations, each in two forms: for names that rustls takes, and for those that it does not.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::{ClientConfig, ServerConfig};
use sni::client_hello::ClientHello;

/// What servers of one context use.
#[derive(Debug)]
pub struct ServerConfigs {
    pub(in crate::tls) plain: Arc<ServerConfig>,
    pub(in crate::tls) masked: Arc<ServerConfig>,
    /// Both without ALPN, where they have any.
    silent: Option<Box<[Arc<ServerConfig>; 2]>>,
}

impl ServerConfigs {
    /// For the second form resumption is off. Neither takes early data: nothing here could tell a replay. Secrets may
    /// be extracted, since records are sealed and opened by us once a handshake is over (`super::super::records`).
    pub fn new(mut config: ServerConfig) -> Self {
        config.max_early_data_size = 0;
        config.send_half_rtt_data = false;
        config.enable_secret_extraction = true;
        let mut masked = config.clone();
        masked.session_storage = Arc::new(NoServerSessionStorage {});
        masked.ticketer = Arc::new(NoTickets);
        masked.send_tls13_tickets = 0;
        let silent = |config: &ServerConfig| {
            let mut silent = config.clone();
            silent.alpn_protocols = Vec::new();
            Arc::new(silent)
        };
        let any = !config.alpn_protocols.is_empty();
        let silent = any.then(|| Box::new([silent(&config), silent(&masked)]));
        Self { plain: Arc::new(config), masked: Arc::new(masked), silent }
    }

    /// For this client. One that offers protocols of which none is ours is answered without any, as by Envoy; rustls
    /// would end the handshake.
    pub(in crate::tls) fn of(&self, masked: bool, hello: &ClientHello<'_>) -> &Arc<ServerConfig> {
        let ours = &self.plain.alpn_protocols;
        let common = hello.alpn().any(|name| ours.iter().any(|own| own == name));
        let config = if masked { &self.masked } else { &self.plain };
        match &self.silent {
            Some(silent) if !common => silent.get(usize::from(masked)).unwrap_or(config),
            _ => config,
        }
    }
}

/// What clients of one context use.
#[derive(Debug)]
pub struct ClientConfigs {
    pub(in crate::tls) plain: Arc<ClientConfig>,
    pub(in crate::tls) masked: Arc<ClientConfig>,
}

impl ClientConfigs {
    /// As [`ServerConfigs::new`].
    pub fn new(mut config: ClientConfig) -> Self {
        config.enable_sni = true;
        config.enable_early_data = false;
        config.enable_secret_extraction = true;
        let mut masked = config.clone();
        masked.resumption = Resumption::disabled();
        Self { plain: Arc::new(config), masked: Arc::new(masked) }
    }
}

/// Gives out no ticket and knows none.
#[derive(Debug)]
pub(in crate::tls) struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _cipher: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
