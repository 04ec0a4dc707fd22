//! Files.
use crate::snapshot::Kind;
use std::path::PathBuf;
use std::sync::Arc;

/// A file of resources.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileSource {
    /// What it holds.
    pub kind: Kind,
    /// Where it is.
    pub path: PathBuf,
    /// Watched in its place.
    pub watched_directory: Option<PathBuf>,
    /// The one resource.
    pub name: Option<Arc<str>>,
}
