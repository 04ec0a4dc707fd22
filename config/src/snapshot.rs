//! The configuration at one moment: immutable, joined and warmed.

mod summary;

pub use summary::{Counts, Finding, What};

use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use rpds::HashTrieMapSync;

use crate::model::cluster::Cluster;
use crate::model::endpoint::Assignment;
use crate::model::hcm::RouteRef;
use crate::model::listener::Listener;
use crate::model::route::RouteConfiguration;
use crate::model::tls::{Secret, SecretRef};
use crate::reject::{Ignored, Rejection, Unsupported};

/// Everything in force. Persistent maps: a new snapshot costs what changed, not what there is.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts applied changes.
    pub generation: u64,
    /// By resource name.
    pub listeners: HashTrieMapSync<Arc<str>, Arc<ListenerEntry>>,
    /// Listeners that wait for their secrets or routes; a predecessor is in `listeners` and serves meanwhile.
    pub warming_listeners: HashTrieMapSync<Arc<str>, Arc<ListenerEntry>>,
    /// By resource name; only clusters whose endpoints and secrets are known, or need none, or are waited for no longer.
    pub clusters: HashTrieMapSync<Arc<str>, Arc<ClusterEntry>>,
    /// Clusters that wait for their first assignment or for their secrets.
    pub warming: HashTrieMapSync<Arc<str>, Arc<ClusterEntry>>,
    /// The last good version of each secret, by name and source.
    pub secrets: HashTrieMapSync<Arc<SecretRef>, Arc<SecretEntry>>,
    /// Secrets that resources in force or warming refer to and that have not come, sorted by name.
    pub missing_secrets: Arc<[Arc<SecretRef>]>,
    /// The last good version of each route configuration, by name and source.
    pub routes: HashTrieMapSync<Arc<RouteRef>, Arc<RouteEntry>>,
    /// The newest rejection of each resource that has one not yet made good, by (kind, name).
    pub rejected: HashTrieMapSync<(Kind, Arc<str>), Arc<Rejected>>,
    /// Raw assignments by name, for `/config_dump?include_eds`.
    pub endpoints: HashTrieMapSync<Arc<str>, Arc<Source>>,
    /// Fields of assignments that are set and not honoured, by name; only where there are any.
    pub endpoint_notes: HashTrieMapSync<Arc<str>, Arc<[Ignored]>>,
    /// Chains whose new version can't be run, so that the last good one stays, by listener; only where there are any.
    pub held: HashTrieMapSync<Arc<str>, Arc<HeldChains>>,
    /// Clusters that only the xDS client connects to, with TLS of its own: that the data path can't is no finding.
    pub control_planes: Arc<[Arc<str>]>,
    /// Raw runtime layers by (kind, name), for `/config_dump`.
    pub other: HashTrieMapSync<(Kind, Arc<str>), Arc<Source>>,
}

/// A listener and where it came from.
#[derive(Debug)]
pub struct ListenerEntry {
    /// Parsed.
    pub listener: Arc<Listener>,
    /// Raw.
    pub source: Arc<Source>,
    /// Fields set and not honoured.
    pub ignored: Box<[Ignored]>,
    /// Chains that refuse their connections: (chain name, why).
    pub unsupported: Box<[(Arc<str>, Unsupported)]>,
}

/// Chains of one listener that run their last good version: (chain name, why the new one can't be run).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldChains(pub Box<[(Arc<str>, Unsupported)]>);

impl Deref for HeldChains {
    type Target = [(Arc<str>, Unsupported)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A cluster, its endpoints, and where they came from.
#[derive(Debug)]
pub struct ClusterEntry {
    /// Parsed.
    pub cluster: Arc<Cluster>,
    /// Endpoints; names are still to be resolved for DNS clusters.
    pub assignment: Arc<Assignment>,
    /// Raw.
    pub source: Arc<Source>,
    /// Fields set and not honoured.
    pub ignored: Box<[Ignored]>,
}

/// A secret and where it came from.
#[derive(Clone, Debug)]
pub struct SecretEntry {
    /// Parsed; the one place where its key is.
    pub secret: Secret,
    /// Raw, but for keys and passwords: `[redacted]` stands in their place.
    pub source: Arc<Source>,
    /// Fields set and not honoured.
    pub ignored: Box<[Ignored]>,
    /// xxh3-128 of what was received.
    pub received: u128,
}

/// A route configuration and where it came from.
#[derive(Clone, Debug)]
pub struct RouteEntry {
    /// Parsed; or what in it can't be run, so that its requests are refused.
    pub config: Result<Arc<RouteConfiguration>, Unsupported>,
    /// Raw.
    pub source: Arc<Source>,
    /// Fields set and not honoured.
    pub ignored: Box<[Ignored]>,
    /// Why the newest version can't be run, so that the last good one stays.
    pub held: Option<Unsupported>,
}

/// A raw resource.
#[derive(Debug)]
pub struct Source {
    /// Encoded message, without its `Any` wrapper.
    pub body: Bytes,
    /// The control plane's version; empty for static resources.
    pub version: Arc<str>,
    /// When it was applied.
    pub updated: SystemTime,
    /// From the bootstrap file.
    pub fixed: bool,
}

/// A resource that was refused.
#[derive(Debug)]
pub struct Rejected {
    /// Why.
    pub rejection: Rejection,
    /// Its version.
    pub version: Arc<str>,
    /// When.
    pub at: SystemTime,
    /// What was refused.
    pub body: Bytes,
}

/// The resource types of xDS that we subscribe to, in the order they must be applied (ADS ordering).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// CDS.
    Cluster,
    /// EDS.
    Endpoints,
    /// LDS.
    Listener,
    /// RDS.
    Route,
    /// SDS.
    Secret,
    /// RTDS.
    Runtime,
}

impl Kind {
    /// All, in order.
    pub const ALL: [Self; 6] =
        [Self::Cluster, Self::Endpoints, Self::Listener, Self::Route, Self::Secret, Self::Runtime];

    /// Its `type.googleapis.com/…`.
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Runtime => "type.googleapis.com/envoy.service.runtime.v3.Runtime",
        }
    }
}

/// What changed between two snapshots, by name; an engine applies this and no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Listeners added, replaced or removed.
    pub listeners: Vec<Arc<str>>,
    /// Clusters (or their endpoints) added, replaced or removed.
    pub clusters: Vec<Arc<str>>,
    /// Secrets added, replaced or gone. What refers to them has not changed by that.
    pub secrets: Vec<Arc<SecretRef>>,
    /// Route configurations added, replaced or gone. What refers to them has not changed by that.
    pub routes: Vec<Arc<RouteRef>>,
}

impl Changes {
    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        let Self { listeners, clusters, secrets, routes } = self;
        listeners.is_empty() && clusters.is_empty() && secrets.is_empty() && routes.is_empty()
    }
}
