//! Deadlines, by time and by what they are for.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Ends of waits.
#[derive(Debug)]
pub(super) struct Deadlines<K> {
    by_time: BTreeMap<(Instant, u64), K>,
    by_key: HashMap<K, (Instant, u64)>,
    /// Tells waits apart that end at the same moment.
    started: u64,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { by_time: BTreeMap::new(), by_key: HashMap::new(), started: 0 }
    }
}

impl<K: Clone + Eq + Hash> Deadlines<K> {
    /// Starts a wait in the place of the one before; one without end for a timeout of zero.
    pub(super) fn start(&mut self, key: &K, timeout: Duration) {
        self.stop(key);
        let Some(at) = Instant::now().checked_add(timeout).filter(|_| !timeout.is_zero()) else { return };
        self.started += 1;
        self.by_time.insert((at, self.started), key.clone());
        self.by_key.insert(key.clone(), (at, self.started));
    }

    /// Ends a wait.
    pub(super) fn stop(&mut self, key: &K) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&at);
        }
    }

    /// The end of the wait that is over first.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((at, _), _)| *at)
    }

    /// Ends the waits that are over.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<K> {
        let mut keys = Vec::new();
        while let Some(first) = self.by_time.first_entry().filter(|first| first.key().0 <= now) {
            let key = first.remove();
            self.by_key.remove(&key);
            keys.push(key);
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_end_in_order_and_a_new_one_takes_the_place_of_the_old() {
        let mut deadlines = Deadlines::default();
        let second = Duration::from_secs(1);
        deadlines.start(&"b", second * 2);
        deadlines.start(&"a", second);
        deadlines.start(&"c", Duration::ZERO);
        deadlines.start(&"a", second * 3);
        let (first, last) = (deadlines.next(), Instant::now() + second * 4);
        assert!(first.is_some_and(|first| first > Instant::now() + second));
        assert!(deadlines.expired(Instant::now()).is_empty());
        deadlines.stop(&"d");
        assert_eq!(deadlines.expired(last), ["b", "a"]);
        assert_eq!(deadlines.next(), None);
    }
}
