//! What the process starts with: who it is, where its configuration comes from, and what is fixed from the start.
//!
//! [`envoy`] reads an Envoy bootstrap (YAML, JSON or binary); [`kuma`] asks a Kuma control plane for one.

pub mod envoy;
pub mod kuma;
pub mod overload;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;

use self::overload::Overload;
use crate::model::address::Address;
use crate::reject::{Ignored, Rejection};
use crate::runtime::Layers;
use crate::source::file::FileSource;
use crate::store::Batch;
use crate::xds::client::{Client, Protocol};
use crate::xds::target::Target;
use crate::xds::token::{Metadata, Secret};

/// An Envoy bootstrap, understood.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Who we are, as the control plane is told.
    pub node: Node,
    /// The admin server; `None`: none is started.
    pub admin: Option<Admin>,
    /// Static resources in the order to apply them: secrets, clusters, listeners.
    pub fixed: Vec<Batch>,
    /// Where everything else comes from.
    pub dynamic: Dynamic,
    /// `stats_config`.
    pub stats: Stats,
    /// `cluster_manager.local_cluster_name`: the cluster of this process and its like, for zone-aware routing.
    pub local_cluster: Option<Arc<str>>,
    /// `overload_manager`.
    pub overload: Overload,
    /// `layered_runtime`.
    pub runtime: Layers,
    /// The whole message, for `/config_dump` (`BootstrapConfigDump.bootstrap`).
    pub raw: Bytes,
    /// What is set and not honoured.
    pub ignored: Box<[Ignored]>,
}

/// `admin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub address: Address,
    /// Where its requests are logged.
    pub access_logs: Vec<PathBuf>,
}

/// `dynamic_resources`, and what the static ones refer to.
#[derive(Clone, Debug, Default)]
pub struct Dynamic {
    /// `ads_config`.
    pub ads: Option<Ads>,
    /// `lds_config`.
    pub listeners: Option<Source>,
    /// `cds_config`.
    pub clusters: Option<Source>,
    /// RTDS layers to ask of ADS (`layered_runtime`).
    pub layers: Vec<Arc<str>>,
    /// Files that static clusters name for their endpoints.
    pub files: Vec<FileSource>,
}

/// Where resources of one kind come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The aggregated stream.
    Ads,
    /// A file, watched.
    File(FileSource),
    /// A stream of its own.
    Stream(Box<Ads>),
}

/// An xDS server and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Ads {
    /// Incremental or state of the world.
    pub protocol: Protocol,
    /// Where it is.
    pub target: Target,
    /// Sent with each stream, the token among it.
    pub metadata: Vec<Metadata>,
    /// Longest response in bytes; `None`: our default.
    pub max_message: Option<usize>,
    /// The static cluster that the target was read from; it serves this stream, not the data path.
    pub cluster: Option<Arc<str>>,
}

/// `stats_config`.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// `stats_tags`, in order.
    pub tags: Vec<StatsTag>,
    /// `use_all_default_tags`; Envoy's default is true.
    pub default_tags: bool,
}

/// One `stats_tags` entry. Its expression is Envoy's (ECMAScript), not ours, so it is kept as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsTag {
    /// Name of the tag.
    pub name: Arc<str>,
    /// What it is.
    pub value: TagValue,
}

/// How a tag gets its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagValue {
    /// First capture group: cut out of the name; second: the value.
    Regex(Arc<str>),
    /// The same for all.
    Fixed(Arc<str>),
    /// Envoy's own expression of that name.
    Default,
}

/// Why there is no bootstrap.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The file.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not JSON, not YAML, or not a bootstrap.
    #[error("{origin}: {source}")]
    Text {
        /// File, or the option that carried it.
        origin: String,
        /// Where and why.
        source: crate::json::JsonError,
    },
    /// Not a bootstrap in binary form.
    #[error("{origin}: not an Envoy bootstrap: {source}")]
    Binary {
        /// File.
        origin: String,
        /// The decoder's words.
        source: prost::DecodeError,
    },
    /// A form that is not read.
    #[error("{0}: a bootstrap in protobuf's text form is not read; write it as YAML or JSON")]
    TextForm(PathBuf),
    /// Understood and refused.
    #[error("bootstrap: {0}")]
    Rejected(#[from] Rejection),
}

impl Dynamic {
    /// Static clusters that the xDS client connects to itself, TLS included: not the data path's.
    pub fn control_planes(&self) -> Arc<[Arc<str>]> {
        let own = [&self.listeners, &self.clusters].into_iter().flatten();
        let own = own.filter_map(|s| if let Source::Stream(ads) = s { Some(&**ads) } else { None });
        self.ads.iter().chain(own).filter_map(|ads| ads.cluster.clone()).collect()
    }
}

impl Bootstrap {
    /// The token file that was named on the command line is read at every stream, in the place of the token that the
    /// control plane copied into the bootstrap.
    pub fn read_token_from(&mut self, path: &Path) {
        let own = [&mut self.dynamic.listeners, &mut self.dynamic.clusters].into_iter().filter_map(|s| match s {
            Some(Source::Stream(ads)) => Some(&mut **ads),
            _ => None,
        });
        for ads in self.dynamic.ads.iter_mut().chain(own) {
            for entry in &mut ads.metadata {
                if entry.key.eq_ignore_ascii_case("authorization") && matches!(entry.value, Secret::Inline(_)) {
                    entry.value = Secret::File(path.to_owned());
                }
            }
        }
    }
}

impl Ads {
    /// A client for it.
    pub fn client(&self, node: Node) -> Client {
        let mut client = Client::new(self.target.clone(), node, self.protocol);
        client.metadata.clone_from(&self.metadata);
        client.max_message = self.max_message.unwrap_or(client.max_message);
        client
    }
}
