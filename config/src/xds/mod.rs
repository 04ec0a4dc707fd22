//! xDS over one aggregated stream (ADS), incremental or state of the world.
//!
//! [`delta::Delta`] and [`sotw::Sotw`] hold the protocol: plain state machines without I/O, messages in, messages and
//! [`Batch`]es out, with the same verbs: *open* a stream, *subscribe*, *receive*, *settle*.
//! [`client::Client`] is the only part that knows sockets and time. What a resource means is the business of the
//! [`Sink`], usually a [`Store`](crate::store::Store) with an engine behind it; nothing is queued between the two.

pub mod backoff;
pub mod client;
pub mod delta;
mod expiry;
mod protocol;
mod resource;
mod rpc;
mod session;
mod settle;
pub mod sotw;
pub mod status;
mod subscription;
pub mod target;
pub mod token;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use protocol::{Machine, PerKind, Subscribed};
pub use settle::{Delivery, Outcome, Unsettled};
pub use status::{KindStatus, Status};
pub use subscription::Interest;

use crate::model::tls::{GrpcSource, WatchedFile};
use crate::snapshot::{ClusterEntry, Kind};
use crate::source::file::FileSource;
use crate::store::{Applied, Batch};

pub(crate) use resource::{Entry, Refused, bundled};

/// Where configuration goes, and who says what else is needed. Lives on the control runtime; never called twice at once.
pub trait Sink {
    /// Puts a batch in force and says what of it was refused. A batch may be empty: the control plane answered that
    /// there is nothing.
    fn apply(&mut self, batch: Batch) -> Applied;

    /// Every name of `kind` to be asked of the control plane, sorted: what resources in force **or warming** refer to.
    fn wanted(&self, kind: Kind) -> Vec<Arc<str>>;

    /// Files that resources in force or warming refer to (`path_config_source` of an EDS, RDS or SDS reference).
    fn files(&self) -> Vec<FileSource> {
        Vec::new()
    }

    /// Servers of their own that secrets are asked of, and the names that each is asked for, sorted.
    fn secret_servers(&self) -> Vec<(GrpcSource, Vec<Arc<str>>)> {
        Vec::new()
    }

    /// Files with certificates and keys that secrets refer to, to be watched.
    fn secret_files(&self) -> Vec<WatchedFile> {
        Vec::new()
    }

    /// Something may have happened to one of [`Sink::secret_files`].
    fn reread_secret_files(&mut self) {}

    /// A cluster in force.
    fn cluster(&self, _name: &str) -> Option<Arc<ClusterEntry>> {
        None
    }

    /// Called whenever something in `status` has changed. With several streams, `status.service` tells which it is.
    fn status(&mut self, status: &Status);

    /// [`Sink::status`] of the stream to a server of secrets; `None`: it is asked no more.
    fn secret_server_status(&mut self, _server: &GrpcSource, _status: Option<&Status>) {}

    /// Called when a file was read, or could not be.
    fn file_status(&mut self, _source: &FileSource, _status: &KindStatus) {}
}

/// The kind that a type URL names, whatever its authority; `None` for a type that we never ask for.
pub(crate) fn kind_of(type_url: &str) -> Option<Kind> {
    let name = type_url.rsplit('/').next()?;
    Kind::ALL.into_iter().find(|kind| kind.type_url().rsplit('/').next() == Some(name))
}
