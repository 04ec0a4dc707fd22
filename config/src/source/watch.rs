//! Tells when one of a set of files may have changed. Events say *that*, never *what*: the reader looks for itself.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::model::tls::WatchedFile;

/// Events that follow each other within this time count as one, so that a file is not read half written.
const QUIET: Duration = Duration::from_millis(50);
/// A file that is written to without pause is read all the same.
const LONGEST: Duration = Duration::from_secs(1);

/// Watches the directories of files, not the files: a file that is moved into place is another one.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    relevant: Arc<Mutex<Relevant>>,
    changed: Arc<Notify>,
    /// By directory, whether it is being watched.
    directories: HashMap<PathBuf, bool>,
}

#[derive(Default)]
struct Relevant {
    files: HashSet<PathBuf>,
    /// Anything that happens in these counts (`watched_directory`).
    directories: HashSet<PathBuf>,
}

impl Relevant {
    fn concerns(&self, event: &Event) -> bool {
        match event.kind {
            // Our own reading must not wake us.
            EventKind::Access(kind) => {
                if kind != AccessKind::Close(AccessMode::Write) {
                    return false;
                }
            }
            EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => {}
        }
        // No path: the queue of the kernel ran over.
        event.paths.is_empty() || event.paths.iter().any(|path| self.is_relevant(path))
    }

    fn is_relevant(&self, path: &Path) -> bool {
        let directory = path.parent();
        let watched = directory.is_some_and(|directory| self.directories.contains(directory));
        // Kubernetes swaps a directory of that name under the links to its files.
        let swapped = || path.file_name().is_some_and(|name| name == "..data");
        watched || self.files.contains(path) || (swapped() && self.files.iter().any(|file| file.parent() == directory))
    }
}

impl Watch {
    pub(super) fn new() -> Self {
        let (relevant, changed) = (Arc::<Mutex<Relevant>>::default(), Arc::new(Notify::new()));
        let (filter, wake) = (Arc::clone(&relevant), Arc::clone(&changed));
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let filter = filter.lock().unwrap_or_else(PoisonError::into_inner);
            if event.is_ok_and(|event| filter.concerns(&event) || event.need_rescan()) {
                wake.notify_one();
            }
        });
        let watcher = watcher.inspect_err(|error| tracing::error!(%error, "files cannot be watched")).ok();
        Self { watcher, relevant, changed, directories: HashMap::new() }
    }

    /// Watches what these files need, and nothing else. False if a directory cannot be watched, such as one that does
    /// not exist yet: to be tried again.
    pub(super) fn set(&mut self, files: impl Iterator<Item = WatchedFile>) -> bool {
        let mut relevant = Relevant::default();
        for WatchedFile { path, watched_directory } in files {
            match watched_directory {
                Some(directory) => relevant.directories.insert(absolute(&directory)),
                None => relevant.files.insert(absolute(&path)),
            };
        }
        let parents = relevant.files.iter().filter_map(|file| file.parent());
        let wanted: HashSet<PathBuf> =
            parents.map(Path::to_owned).chain(relevant.directories.iter().cloned()).collect();
        *self.relevant.lock().unwrap_or_else(PoisonError::into_inner) = relevant;
        let Some(watcher) = &mut self.watcher else { return false };
        self.directories.retain(|directory, watched| {
            let keep = wanted.contains(directory);
            if !keep && *watched {
                let _ = watcher.unwatch(directory);
            }
            keep
        });
        for directory in wanted {
            let watched = self.directories.entry(directory.clone()).or_default();
            if !*watched {
                *watched = watcher.watch(&directory, RecursiveMode::NonRecursive).is_ok();
            }
        }
        self.directories.values().all(|watched| *watched)
    }

    /// Waits until something has happened and settled.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
        let _ = tokio::time::timeout(LONGEST, async {
            while tokio::time::timeout(QUIET, self.changed.notified()).await.is_ok() {}
        })
        .await;
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
