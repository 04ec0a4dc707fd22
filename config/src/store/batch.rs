//! What the store is given, and what comes of it.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::tls::{SecretRef, SecretSource};
use crate::reject::Rejection;
use crate::snapshot::{Changes, Kind};

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
    /// State of the world: whatever of this kind is not in `upserts` (and not static) is gone. Endpoints that a cluster
    /// refers to stay all the same, as in Envoy: such a response need not hold them all.
    pub complete: bool,
    /// From the bootstrap file: never removed by the control plane.
    pub fixed: bool,
    /// Where it comes from. Secrets of the same name from two sources are two secrets; all else has one name, whoever
    /// sends it.
    pub from: SecretSource,
}

impl Batch {
    /// Added or replaced resources of the control plane.
    pub fn new(kind: Kind, upserts: Vec<Resource>) -> Self {
        Self { kind, upserts, removed: Vec::new(), complete: false, fixed: false, from: SecretSource::Ads }
    }

    /// Resources that the control plane has no more.
    pub fn removal(kind: Kind, removed: Vec<Arc<str>>) -> Self {
        Self { removed, ..Self::new(kind, Vec::new()) }
    }
}

/// What came of a batch.
#[derive(Debug, Default)]
pub struct Applied {
    /// Refused resources: (name, version, why). They keep their last good version.
    pub rejected: Vec<(Arc<str>, Arc<str>, Rejection)>,
    /// What the data path must apply.
    pub changes: Changes,
    /// Secrets that have not come within their `initial_fetch_timeout`.
    pub overdue: Vec<Arc<SecretRef>>,
}
