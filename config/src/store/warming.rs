//! Until when clusters wait for their endpoints.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Deadlines of warming clusters, by time and by name.
#[derive(Debug, Default)]
pub(super) struct Warming {
    by_time: BTreeSet<(Instant, Arc<str>)>,
    by_name: HashMap<Arc<str>, Instant>,
}

impl Warming {
    /// Starts a wait; one without end for a timeout of zero.
    pub(super) fn start(&mut self, name: &Arc<str>, timeout: Duration) {
        self.stop(name);
        let Some(at) = Instant::now().checked_add(timeout).filter(|_| !timeout.is_zero()) else { return };
        self.by_time.insert((at, Arc::clone(name)));
        self.by_name.insert(Arc::clone(name), at);
    }

    /// Ends a wait.
    pub(super) fn stop(&mut self, name: &Arc<str>) {
        if let Some((name, at)) = self.by_name.remove_entry(name) {
            self.by_time.remove(&(at, name));
        }
    }

    /// The end of the wait that is over first.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Ends the waits that are over.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        while let Some((at, name)) = self.by_time.pop_first() {
            if at > now {
                self.by_time.insert((at, name));
                break;
            }
            self.by_name.remove(&name);
            names.push(name);
        }
        names
    }
}
