//! Raw resources in, snapshots out: parse, keep the last good version, join, warm, diff.

use std::sync::Arc;

use bytes::Bytes;

use crate::reject::Rejection;
use crate::snapshot::{Changes, Kind, Snapshot};

/// One raw resource.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Name as the transport gave it (delta) or as read from the body (state of the world).
    pub name: Arc<str>,
    /// Version of this resource (delta) or of the response (state of the world).
    pub version: Arc<str>,
    /// Encoded message, the `value` of its `Any`.
    pub body: Bytes,
}

/// A response's worth of one kind.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Which kind.
    pub kind: Kind,
    /// Added or replaced.
    pub upserts: Vec<Resource>,
    /// Gone.
    pub removed: Vec<Arc<str>>,
    /// State of the world: whatever of this kind is not in `upserts` (and not static) is gone.
    pub complete: bool,
    /// From the bootstrap file: never removed by the control plane.
    pub fixed: bool,
}

/// What came of a batch.
#[derive(Debug, Default)]
pub struct Applied {
    /// Refused resources: (name, version, why). They keep their last good version.
    pub rejected: Vec<(Arc<str>, Arc<str>, Rejection)>,
    /// What the data path must apply.
    pub changes: Changes,
}

/// Holds what is in force. Lives on the control runtime; readers get [`Snapshot`]s.
#[derive(Debug, Default)]
pub struct Store {
    snapshot: Arc<Snapshot>,
}

impl Store {
    /// Applies one batch.
    pub fn apply(&mut self, _batch: Batch) -> Applied {
        Applied::default()
    }

    /// What is in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    /// The names of `kind` that the resources in force refer to (EDS, RDS, SDS), sorted.
    pub fn wanted(&self, _kind: Kind) -> Vec<Arc<str>> {
        Vec::new()
    }
}
