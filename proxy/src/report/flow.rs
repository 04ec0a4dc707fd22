//! What one connection was: filled in as it goes on its way, read once when it is over (and once when it is
//! connected, where the configuration asks for that).

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use config::model::address::Address;
use config::model::chain::FilterChain;
use config::model::tls::Identity;
use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, ProtocolVersion};

use crate::error::{CloseReason, ConnectError};
use crate::rbac::{self, Ruling};
use crate::tls::peer::Peer;

/// Facts about one connection. Kept small: it lives as long as the connection does.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Unique within the process (`%CONNECTION_ID%`).
    pub id: u64,
    /// Accepted at.
    pub start: Instant,
    /// Accepted at, by the wall clock.
    pub start_time: SystemTime,
    /// The client: from the PROXY protocol where that is in use, else the socket's peer; `None` on a Unix socket.
    pub remote: Option<SocketAddr>,
    /// The socket's peer when the PROXY protocol said something else.
    pub direct_remote: Option<SocketAddr>,
    /// Where the client connected to.
    pub local: Address,
    /// Server name as sent, any bytes.
    pub sni: Option<Box<[u8]>>,
    /// JA3 and JA4 fingerprints, where the listener computes them.
    pub fingerprints: Option<Box<Fingerprints>>,
    /// TLS with the client, where we end it.
    pub tls: Option<Box<TlsSide>>,
    /// The chain that took the connection.
    pub chain: Option<Arc<FilterChain>>,
    /// What the chain's permissions said, where it has any.
    pub ruling: Option<Box<Ruling>>,
    /// What happened upstream; absent when it never came to that.
    pub upstream: Option<Box<Upstream>>,
    /// Bytes from the client.
    pub received: u64,
    /// Bytes to the client.
    pub sent: u64,
    /// Why it ended; `None` while it lives.
    pub close: Option<CloseReason>,
}

/// The upstream side of a [`Flow`].
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Cluster name.
    pub cluster: Arc<str>,
    /// Its name in metrics and `%UPSTREAM_CLUSTER%` (`alt_stat_name`), where it differs.
    pub stat_name: Option<Arc<str>>,
    /// The endpoint, once chosen.
    pub host: Option<Address>,
    /// Our own address towards it, once connected.
    pub local: Option<SocketAddr>,
    /// Attempts to connect.
    pub attempts: u32,
    /// The last attempt began at.
    pub started: Option<Instant>,
    /// Connected at.
    pub connected: Option<Instant>,
    /// Why the last attempt failed.
    pub failure: Option<ConnectError>,
    /// TLS with the endpoint, where the cluster asks for it.
    pub tls: Option<Box<TlsSide>>,
}

impl Flow {
    /// A connection accepted just now.
    pub fn new(id: u64, remote: Option<SocketAddr>, local: Address) -> Self {
        Self {
            id,
            start: Instant::now(),
            start_time: SystemTime::now(),
            remote,
            direct_remote: None,
            local,
            sni: None,
            fingerprints: None,
            tls: None,
            chain: None,
            ruling: None,
            upstream: None,
            received: 0,
            sent: 0,
            close: None,
        }
    }

    /// The client and where it connected to, as a header of the PROXY protocol says it; `None` on a Unix socket.
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        match (self.remote, &self.local) {
            (Some(remote), Address::Socket(local)) => Some((remote, *local)),
            _ => None,
        }
    }
}

impl Upstream {
    /// Nothing tried yet.
    pub fn to(cluster: &Arc<str>) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            stat_name: None,
            host: None,
            local: None,
            attempts: 0,
            started: None,
            connected: None,
            failure: None,
            tls: None,
        }
    }
}

/// Client fingerprints.
#[derive(Clone, Debug, Default)]
pub struct Fingerprints {
    /// JA3 hash.
    pub ja3: Option<Box<str>>,
    /// JA4.
    pub ja4: Option<Box<str>>,
}

/// TLS with one peer. Certificates are kept only where a log may ask for them.
#[derive(Clone, Debug, Default)]
pub struct TlsSide {
    /// What was agreed on; `None`: it did not come to that.
    pub version: Option<ProtocolVersion>,
    /// The same.
    pub suite: Option<CipherSuite>,
    /// The handshake was complete at.
    pub complete: Option<Instant>,
    /// The peer showed a certificate (that may have been refused).
    pub has_certificate: bool,
    /// It was verified; not so where anybody is let in.
    pub verified: bool,
    /// The peer's chain, leaf first.
    pub chain: Box<[CertificateDer<'static>]>,
    /// The certificate that we presented.
    pub presented: Option<Arc<Identity>>,
    /// Why there is no session: the check, the certificate, the name.
    pub failure: Option<Box<str>>,
    pub(crate) parsed: OnceLock<Option<Box<Peer>>>,
    pub(crate) own: OnceLock<Option<Box<Peer>>>,
}

impl TlsSide {
    /// Nothing but why there is no session.
    pub fn failed(failure: impl Into<Box<str>>) -> Self {
        Self { failure: Some(failure.into()), ..Self::default() }
    }

    /// The peer's certificate, read at the first call.
    pub fn peer(&self) -> Option<&Peer> {
        self.parsed.get_or_init(|| self.chain.first().and_then(|der| Peer::of(der)).map(Box::new)).as_deref()
    }

    /// Our own.
    pub fn local(&self) -> Option<&Peer> {
        let leaf = || self.presented.as_deref().and_then(|identity| identity.chain().first());
        self.own.get_or_init(|| leaf().and_then(|der| Peer::of(der)).map(Box::new)).as_deref()
    }

    /// The peer, as permissions ask for it.
    pub fn asked(&self) -> rbac::Peer<'_> {
        let verified = self.verified;
        match self.peer() {
            None => rbac::Peer { verified, ..rbac::Peer::default() },
            Some(Peer { uri_sans, dns_sans, subject, .. }) => rbac::Peer { uri_sans, dns_sans, subject, verified },
        }
    }

    /// Both ends have shown a certificate.
    pub fn is_mutual(&self) -> bool {
        self.has_certificate && self.failure.is_none()
    }
}
