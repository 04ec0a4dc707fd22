//! Versions, cipher suites, groups, and sessions that may be resumed.

use std::sync::Arc;
use std::time::Duration;

use rustls::{CipherSuite, NamedGroup};

use super::{SecretRef, TicketKeys};

/// `TlsParameters`, as far as rustls has what is asked. At least one version is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// TLS 1.2 may be spoken.
    pub tls12: bool,
    /// TLS 1.3 may be spoken.
    pub tls13: bool,
    /// Suites of TLS 1.2 in order of preference; `None`: all that there are, in our own order. Those of TLS 1.3 can't be
    /// chosen (nor in Envoy).
    pub cipher_suites: Option<Box<[CipherSuite]>>,
    /// Groups of the key exchange in order of preference; `None`: all that there are, in our own order.
    pub groups: Option<Box<[NamedGroup]>>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { tls12: true, tls13: true, cipher_suites: None, groups: None }
    }
}

/// Which sessions a server resumes.
#[derive(Clone, Debug)]
pub struct Resumption {
    /// Tickets, kept by the client.
    pub tickets: Tickets,
    /// Session IDs (TLS 1.2), kept by the server.
    pub stateful: bool,
    /// `session_timeout`: how long a session lasts; `None`: the library's default.
    pub lifetime: Option<Duration>,
}

/// Keys that seal session tickets.
#[derive(Clone, Debug)]
pub enum Tickets {
    /// `disable_stateless_session_resumption`.
    Off,
    /// This process' own, changed regularly.
    Own,
    /// `session_ticket_keys`: the first seals, all open.
    Keys(Arc<TicketKeys>),
    /// `session_ticket_keys_sds_secret_config`.
    Sds(Arc<SecretRef>),
}
