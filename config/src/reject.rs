//! What is said about a resource that is refused, or of which a part is not honoured.

mod context;
mod unknown;

pub(crate) use context::{Context, IsSet, immaterial};
pub(crate) use unknown::fields as wire_fields;

use std::fmt;
use std::sync::Arc;

/// A place in a resource, in proto field names: `filter_chains[2].filters[0].typed_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FieldPath(pub Box<str>);

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a resource is refused; it keeps its last good version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct Rejection {
    /// Where.
    pub path: FieldPath,
    /// Why, in one sentence for people.
    pub reason: Box<str>,
}

/// Something that this version can't run, so that what hangs on it refuses connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// What it is: a type URL or a field.
    pub what: Arc<str>,
    /// Where it stands.
    pub path: FieldPath,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.what, self.path)
    }
}

/// A field that was set and is not honoured: reported once, the resource is in use all the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ignored {
    /// Where.
    pub path: FieldPath,
    /// What its absence means for the user.
    pub note: &'static str,
}
