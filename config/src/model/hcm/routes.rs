//! Where the routes of a connection manager come from.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::model::route::RouteConfiguration;

/// Where routes come from (`route_specifier`).
#[derive(Clone, Debug)]
pub enum Routes {
    /// `route_config`.
    Inline(Arc<RouteConfiguration>),
    /// `rds`: what [`crate::snapshot::Snapshot::routes`] has of it; no route where there is none.
    Rds(Arc<RouteRef>),
}

/// `Rds`: which route configuration, and who has it. Name and source alone make it equal to another.
#[derive(Clone, Debug)]
pub struct RouteRef {
    /// `route_config_name`.
    pub name: Arc<str>,
    /// `config_source`.
    pub source: RouteSource,
    /// How long a listener waits for it before it is served without (default 15 s, zero: for ever).
    pub initial_fetch_timeout: Duration,
}

impl PartialEq for RouteRef {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.source == other.source
    }
}

impl Eq for RouteRef {}

impl Hash for RouteRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.source.hash(state);
    }
}

impl fmt::Display for RouteRef {
    /// The name, and the source where it is not the control plane.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            RouteSource::Ads => f.write_str(&self.name),
            RouteSource::File { path, .. } => write!(f, "{} ({})", self.name, path.display()),
        }
    }
}

/// Who has the routes (`rds.config_source`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteSource {
    /// The aggregated stream (`ads`, `self`).
    Ads,
    /// A file with a DiscoveryResponse (`path`, `path_config_source`).
    File {
        /// The file.
        path: PathBuf,
        /// Read again when something is moved within this folder, instead of when the file is.
        watched_directory: Option<PathBuf>,
    },
}
