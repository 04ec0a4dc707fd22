//! Listeners, clusters and what they refer to, from files that are read again whenever they change.
//!
//! (Envoy: `path_config_source`.) A file that is broken or gone keeps in force what was read from it last.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hashbrown::HashSet;
use tokio::sync::Notify;
use tokio::sync::watch::Receiver;
use xxhash_rust::xxh3::xxh3_64;

pub use super::read::FileError;
use super::read::{Contents, read};
use super::watch::Watch;
use crate::model::tls::{SecretSource, WatchedFile};
use crate::snapshot::Kind;
use crate::store::{Applied, Batch, Resource};
use crate::xds::Sink;
use crate::xds::status::{Failure, KindStatus};

/// A file of resources.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileSource {
    /// What it holds.
    pub kind: Kind,
    /// Where it is.
    pub path: PathBuf,
    /// Watched in its place: anything that happens there makes the file be read again. For files behind links, such as
    /// Kubernetes' mounted ConfigMaps.
    pub watched_directory: Option<PathBuf>,
    /// The one resource that is wanted of it; `None`: all, and what it leaves out is removed.
    pub name: Option<Arc<str>>,
}

impl FileSource {
    /// Where a batch of it comes from.
    pub(super) fn origin(&self) -> SecretSource {
        let (path, watched_directory) = (self.path.clone(), self.watched_directory.clone());
        SecretSource::File { path, watched_directory }
    }

    fn watched(&self) -> WatchedFile {
        WatchedFile { path: self.path.clone(), watched_directory: self.watched_directory.clone() }
    }
}

/// How often a directory that cannot be watched is tried again, and its files read.
const RETRY: Duration = Duration::from_secs(2);

/// Reads and watches files.
#[derive(Debug)]
pub(super) struct Files {
    fixed: Vec<FileSource>,
    known: BTreeMap<FileSource, Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Of the content that was looked at last, good or bad; `None`: unreadable.
    hash: Option<u64>,
    held: HashSet<Arc<str>>,
    status: KindStatus,
}

impl Files {
    /// Those that the bootstrap names; the sink may name more.
    pub(super) fn new(fixed: Vec<FileSource>) -> Self {
        Self { fixed, known: BTreeMap::new() }
    }

    pub(super) async fn run<S: Sink>(mut self, sink: &RefCell<S>, files_changed: &Notify, mut stop: Receiver<bool>) {
        let mut watch = None;
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.forever(sink, files_changed, &mut watch) => {}
        }
    }

    async fn forever<S: Sink>(&mut self, sink: &RefCell<S>, files_changed: &Notify, watch: &mut Option<Watch>) {
        loop {
            let mut watching = true;
            if !self.wanted(sink).is_empty() || !sink.borrow().secret_files().is_empty() || watch.is_some() {
                let watch = watch.get_or_insert_with(Watch::new);
                // Watch before reading, so that no change falls in between; reading may bring up more files.
                loop {
                    let wanted = self.wanted(sink);
                    let files = wanted.iter().map(FileSource::watched).chain(sink.borrow().secret_files());
                    watching = watch.set(files);
                    self.forget_others(&wanted, sink);
                    sink.borrow_mut().reread_secret_files();
                    if !self.load(&wanted, sink).await {
                        break;
                    }
                }
            }
            let watch = watch.as_ref();
            tokio::select! {
                () = files_changed.notified() => {}
                () = async { match watch { Some(watch) => watch.changed().await, None => std::future::pending().await } } => {}
                () = tokio::time::sleep(RETRY), if !watching => {}
            }
        }
    }

    /// Sorted, so clusters come before endpoints and these before listeners.
    fn wanted<S: Sink>(&self, sink: &RefCell<S>) -> Vec<FileSource> {
        let mut wanted = sink.borrow().files();
        wanted.extend(self.fixed.iter().cloned());
        wanted.sort();
        wanted.dedup();
        wanted
    }

    fn forget_others<S: Sink>(&mut self, wanted: &[FileSource], sink: &RefCell<S>) {
        let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.known).into_iter().partition(|(source, _)| wanted.binary_search(source).is_ok());
        self.known = kept;
        for (source, known) in gone {
            let removed: Vec<_> = known.held.into_iter().collect();
            if !removed.is_empty() {
                let batch = Batch { from: source.origin(), ..Batch::removal(source.kind, removed) };
                let _: Applied = sink.borrow_mut().apply(batch);
            }
        }
    }

    /// Looks at each file; true as soon as one was put in force that may refer to further files.
    async fn load<S: Sink>(&mut self, wanted: &[FileSource], sink: &RefCell<S>) -> bool {
        for source in wanted {
            let known = self.known.entry(source.clone()).or_default();
            let first = known.status.update_attempt == 0;
            let content = tokio::fs::read(&source.path).await;
            let hash = content.as_ref().ok().map(|content| xxh3_64(content));
            if hash == known.hash && !first {
                continue;
            }
            known.hash = hash;
            known.status.update_attempt += 1;
            let contents = match content {
                Ok(content) => read(source.kind, &source.path, &content),
                Err(error) => Err(FileError::Unreadable { path: source.path.clone(), source: error }),
            };
            match contents {
                Ok(contents) => known.apply(source, contents, sink),
                Err(error) => {
                    tracing::error!(kind = ?source.kind, %error, "what was read from this file before stays in force");
                    known.status.update_failure += 1;
                    known.status.error = Some(Failure::now(error.to_string()));
                }
            }
            sink.borrow_mut().file_status(source, &known.status);
            if matches!(source.kind, Kind::Cluster | Kind::Listener) {
                return true;
            }
        }
        false
    }
}

impl Known {
    fn apply<S: Sink>(&mut self, source: &FileSource, contents: Contents, sink: &RefCell<S>) {
        let Contents { version, resources } = contents;
        let mut failures = Vec::new();
        let mut upserts = Vec::new();
        let mut present = HashSet::new();
        // A resource without a readable name may be one that we hold.
        let mut complete = source.name.is_none();
        for item in resources {
            let entry = match item {
                Ok(entry) => entry,
                Err(refused) => {
                    failures.push(format!("{}: {}", refused.name, refused.rejection));
                    complete &= !refused.name.starts_with("resources[");
                    present.insert(refused.name);
                    continue;
                }
            };
            if source.name.as_ref().is_some_and(|name| *name != entry.name) {
                continue;
            }
            if !present.insert(Arc::clone(&entry.name)) {
                failures.push(format!("{}: occurs twice in this file", entry.name));
            } else if let Some(body) = entry.body {
                upserts.push(Resource { name: entry.name, version: entry.version, body });
            } else {
                failures.push(format!("{}: resource: is missing", entry.name));
            }
        }
        if let Some(name) = source.name.as_ref().filter(|name| source.kind == Kind::Secret && !present.contains(*name))
        {
            failures.push(format!("{name}: is not in this file"));
        }
        let removed: Vec<_> = self.held.iter().filter(|name| complete && !present.contains(*name)).cloned().collect();
        let names: Vec<_> = upserts.iter().map(|resource| Arc::clone(&resource.name)).collect();
        let from = source.origin();
        let batch = Batch { removed: removed.clone(), from, ..Batch::new(source.kind, upserts) };
        let applied = sink.borrow_mut().apply(batch);
        for name in &removed {
            self.held.remove(name);
        }
        let refused: HashSet<&str> = applied.rejected.iter().map(|(name, ..)| &**name).collect();
        self.held.extend(names.into_iter().filter(|name| !refused.contains(&**name)));
        failures.extend(applied.rejected.iter().map(|(name, _, rejection)| format!("{name}: {rejection}")));
        self.book(source, version, &failures);
    }

    fn book(&mut self, source: &FileSource, version: Arc<str>, failures: &[String]) {
        let status = &mut self.status;
        status.version = version;
        status.updated = Some(SystemTime::now());
        status.resources = self.held.len();
        status.resources_rejected += failures.len() as u64;
        if failures.is_empty() {
            status.update_success += 1;
            status.error = None;
            tracing::info!(kind = ?source.kind, path = %source.path.display(), resources = status.resources, "read");
        } else {
            let text = format!("{}: {}", source.path.display(), failures.join("; "));
            tracing::error!(kind = ?source.kind, error = %text, "refused; their last good versions stay in force");
            status.update_rejected += 1;
            status.error = Some(Failure::now(text));
        }
    }
}
