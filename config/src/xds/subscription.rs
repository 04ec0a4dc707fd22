//! What is asked of the control plane for one kind, and which versions are held.

use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;

use super::expiry::Expiries;
use super::settle::{Given, Outcome, Unsettled};
use crate::store::Applied;

/// The name that stands for all (xDS: "How the client specifies what resources to return").
pub(super) const WILDCARD: &str = "*";

/// What a client wants of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Whatever there is: clusters and listeners.
    All,
    /// These names; none means that nothing is asked.
    Names(Vec<Arc<str>>),
}

/// What an [`Interest`] changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) added: Vec<Arc<str>>,
    pub(super) dropped: Vec<Arc<str>>,
    /// Held before and of no interest any more.
    pub(super) forgotten: Vec<Arc<str>>,
}

impl Change {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.dropped.is_empty()
    }
}

/// One kind's subscription, as both protocols need it.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    /// Sorted, no name twice; `["*"]` for all.
    names: Vec<Arc<str>>,
    /// Version by name of what is in force. A refused version never gets here.
    held: HashMap<Arc<str>, Arc<str>>,
    expiries: Expiries,
    /// Whether this stream has seen a request of this kind.
    pub(super) sent: bool,
}

impl Subscription {
    pub(super) fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    pub(super) fn held(&self) -> &HashMap<Arc<str>, Arc<str>> {
        &self.held
    }

    pub(super) fn is_all(&self) -> bool {
        matches!(self.names.as_slice(), [only] if &**only == WILDCARD)
    }

    pub(super) fn wants(&self, name: &str) -> bool {
        self.is_all() || self.names.binary_search_by(|known| (**known).cmp(name)).is_ok()
    }

    /// Whether every name asked for is in force.
    pub(super) fn is_satisfied(&self) -> bool {
        self.is_all() || self.names.iter().all(|name| self.held.contains_key(name))
    }

    /// Takes over a new interest.
    pub(super) fn change(&mut self, interest: Interest) -> Change {
        let mut names = match interest {
            Interest::All => vec![Arc::from(WILDCARD)],
            Interest::Names(names) => names,
        };
        if !names.is_sorted_by(|a, b| a < b) {
            names.sort_unstable();
            names.dedup();
        }
        let mut change = difference(&self.names, &names);
        let had_all = self.is_all();
        self.names = names;
        change.forgotten = if self.is_all() {
            Vec::new()
        } else if had_all {
            self.held.keys().filter(|name| !self.wants(name)).cloned().collect()
        } else {
            change.dropped.iter().filter(|name| self.held.contains_key(*name)).cloned().collect()
        };
        change.forgotten.sort_unstable();
        for name in &change.forgotten {
            self.forget(name);
        }
        change
    }

    pub(super) fn forget(&mut self, name: &Arc<str>) {
        self.held.remove(name);
        self.expiries.clear(name);
    }

    /// Renews a version that is held, without a body; false if it is not the one that we hold.
    pub(super) fn heartbeat(&mut self, given: &Given, now: Instant) -> bool {
        let known = self.held.get(&given.name) == Some(&given.version);
        if known {
            self.expiries.set(&given.name, given.ttl, now);
        }
        known
    }

    /// Books what the store made of a delivery.
    pub(super) fn settle(&mut self, unsettled: Unsettled, applied: &Applied, now: Instant) -> Outcome {
        for name in &unsettled.removed {
            self.forget(name);
        }
        let refused: hashbrown::HashSet<&str> = applied.rejected.iter().map(|(name, ..)| &**name).collect();
        let mut accepted = unsettled.removed.len();
        for given in &unsettled.given {
            if refused.contains(&*given.name) {
                continue;
            }
            accepted += 1;
            self.expiries.set(&given.name, given.ttl, now);
            self.held.insert(Arc::clone(&given.name), Arc::clone(&given.version));
        }
        unsettled.outcome(applied, accepted)
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.next()
    }

    /// Takes out what has outlived its time.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Arc<str>> {
        let gone: Vec<_> = std::iter::from_fn(|| self.expiries.pop_due(now)).collect();
        for name in &gone {
            self.held.remove(name);
        }
        gone
    }
}

/// Both sorted; one walk.
fn difference(old: &[Arc<str>], new: &[Arc<str>]) -> Change {
    let mut change = Change::default();
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (Some(a), Some(b)) if a == b => {
                old.next();
                new.next();
            }
            (Some(a), Some(b)) if a < b => change.dropped.extend(old.next().cloned()),
            (Some(_), None) => change.dropped.extend(old.next().cloned()),
            (_, Some(_)) => change.added.extend(new.next().cloned()),
            (None, None) => return change,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<Arc<str>> {
        list.iter().map(|name| Arc::from(*name)).collect()
    }

    fn change(old: &[&str], new: &[&str]) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let mut subscription = Subscription::default();
        subscription.change(Interest::Names(names(old)));
        let change = subscription.change(Interest::Names(names(new)));
        (change.added, change.dropped)
    }

    #[test]
    fn only_the_difference_is_asked() {
        for (old, new, added, dropped) in [
            (vec![], vec!["a"], vec!["a"], vec![]),
            (vec!["a"], vec!["a"], vec![], vec![]),
            (vec!["a", "c"], vec!["b", "c", "d"], vec!["b", "d"], vec!["a"]),
            (vec!["a", "b"], vec![], vec![], vec!["a", "b"]),
            (vec!["a"], vec!["c", "b", "c"], vec!["b", "c"], vec!["a"]),
            (vec!["x"], vec!["a"], vec!["a"], vec!["x"]),
        ] {
            assert_eq!(change(&old, &new), (names(&added), names(&dropped)), "{old:?} -> {new:?}");
        }
    }

    #[test]
    fn what_is_no_longer_wanted_is_forgotten_only_if_it_was_held() {
        let mut subscription = Subscription::default();
        subscription.change(Interest::Names(names(&["a", "b", "c"])));
        subscription.held.insert("a".into(), "1".into());
        subscription.held.insert("c".into(), "1".into());
        let change = subscription.change(Interest::Names(names(&["c"])));
        assert_eq!(change.forgotten, names(&["a"]));
        assert!(subscription.is_satisfied());
        assert_eq!(subscription.held().len(), 1);
    }

    #[test]
    fn all_wants_everything_and_leaving_it_forgets_the_rest() {
        let mut subscription = Subscription::default();
        assert_eq!(subscription.change(Interest::All).added, names(&["*"]));
        assert!(subscription.wants("anything"));
        subscription.held.insert("a".into(), "1".into());
        subscription.held.insert("b".into(), "1".into());
        let change = subscription.change(Interest::Names(names(&["b"])));
        assert_eq!(change, Change { added: names(&["b"]), dropped: names(&["*"]), forgotten: names(&["a"]) });
        assert!(!subscription.wants("a"));
    }
}
