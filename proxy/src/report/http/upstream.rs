//! The upstream side of a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::model::address::Address;
use config::model::metadata::Metadata;

use super::Wire;
use super::head::Protocol;
use crate::error::ConnectError;
use crate::report::flow::TlsSide;

/// Where a request went: the last attempt.
#[derive(Debug)]
pub struct Upstream {
    /// Cluster name.
    pub cluster: Arc<str>,
    /// Its name in metrics and `%UPSTREAM_CLUSTER%` (`alt_stat_name`), where it differs.
    pub stat_name: Option<Arc<str>>,
    /// The cluster's metadata, where it has some.
    pub cluster_metadata: Option<Arc<Metadata>>,
    /// The endpoint, once chosen.
    pub host: Option<Address>,
    /// The endpoint's `hostname`, where it has one.
    pub hostname: Option<Arc<str>>,
    /// The endpoint's metadata, where it has some.
    pub host_metadata: Option<Arc<Metadata>>,
    /// The connection that took the request; `None`: there was none.
    pub connection: Option<Arc<UpstreamConnection>>,
    /// Why the last attempt to connect failed.
    pub failure: Option<ConnectError>,
    /// TLS that did not come about.
    pub failed_tls: Option<Box<TlsSide>>,
    /// The (last) attempt waited so long for a connection, or for there being none.
    pub waited: Option<Duration>,
    /// Bytes on the wire to and from endpoints, of all attempts.
    pub wire: Wire,
    /// Endpoints that took attempts before this one, oldest first.
    pub tried: Vec<Address>,
}

/// What requests on one upstream connection share.
#[derive(Debug)]
pub struct UpstreamConnection {
    /// Unique within the process (`%UPSTREAM_CONNECTION_ID%`).
    pub id: u64,
    /// The endpoint's address that was connected to.
    pub remote: Address,
    /// Our own address.
    pub local: Option<SocketAddr>,
    /// What is spoken.
    pub protocol: Protocol,
    /// The server name that was sent.
    pub server_name: Option<Box<str>>,
    /// TLS, where the cluster asks for it.
    pub tls: Option<Box<TlsSide>>,
    /// `US_CX_BEG`: the attempt to connect began.
    pub started: Instant,
    /// `US_CX_END`: connected.
    pub connected: Instant,
}

impl Upstream {
    /// Nothing chosen yet.
    pub fn to(cluster: &Arc<str>) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            stat_name: None,
            cluster_metadata: None,
            host: None,
            hostname: None,
            host_metadata: None,
            connection: None,
            failure: None,
            failed_tls: None,
            waited: None,
            wire: Wire::default(),
            tried: Vec::new(),
        }
    }
}
