//! Several sources in front of one sink: each learns what the others have changed.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::Notify;

use super::file::FileSource;
use crate::model::tls::{GrpcSource, WatchedFile};
use crate::snapshot::{ClusterEntry, Kind};
use crate::store::{Applied, Batch};
use crate::xds::status::KindStatus;
use crate::xds::{Sink, Status};

/// One source's view of the shared sink.
pub(super) struct Relay<'a, S> {
    pub(super) sink: &'a RefCell<S>,
    /// Which of the clients it is; `None`: the files.
    pub(super) own: Option<usize>,
    pub(super) files_changed: &'a Notify,
    pub(super) wants_changed: &'a [Notify],
    pub(super) secrets_wanted: &'a Notify,
}

impl<S: Sink> Sink for Relay<'_, S> {
    fn apply(&mut self, batch: Batch) -> Applied {
        let refers = matches!(batch.kind, Kind::Cluster | Kind::Listener);
        let applied = self.sink.borrow_mut().apply(batch);
        // A secret may refer to files.
        if refers || !applied.changes.secrets.is_empty() {
            self.files_changed.notify_one();
        }
        if refers {
            self.secrets_wanted.notify_one();
            let others = self.wants_changed.iter().enumerate().filter(|(index, _)| Some(*index) != self.own);
            others.for_each(|(_, other)| other.notify_one());
        }
        applied
    }

    fn wanted(&self, kind: Kind) -> Vec<Arc<str>> {
        self.sink.borrow().wanted(kind)
    }

    fn files(&self) -> Vec<FileSource> {
        self.sink.borrow().files()
    }

    fn secret_servers(&self) -> Vec<(GrpcSource, Vec<Arc<str>>)> {
        self.sink.borrow().secret_servers()
    }

    fn secret_files(&self) -> Vec<WatchedFile> {
        self.sink.borrow().secret_files()
    }

    fn reread_secret_files(&mut self) {
        self.sink.borrow_mut().reread_secret_files();
    }

    fn cluster(&self, name: &str) -> Option<Arc<ClusterEntry>> {
        self.sink.borrow().cluster(name)
    }

    fn secret_server_status(&mut self, server: &GrpcSource, status: Option<&Status>) {
        self.sink.borrow_mut().secret_server_status(server, status);
    }

    fn status(&mut self, status: &Status) {
        self.sink.borrow_mut().status(status);
    }

    fn file_status(&mut self, source: &FileSource, status: &KindStatus) {
        self.sink.borrow_mut().file_status(source, status);
    }
}

/// Waits for all of a few futures.
pub(super) async fn all<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    let mut open: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    poll_fn(|cx| {
        open.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if open.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
