//! Resources with a time to live: when each is gone unless the control plane renews it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

/// Deadlines by name, soonest first. Empty (and free) with control planes that set no `ttl`.
#[derive(Debug, Default)]
pub(super) struct Expiries {
    by_name: HashMap<Arc<str>, Instant>,
    by_time: BTreeSet<(Instant, Arc<str>)>,
}

impl Expiries {
    /// Sets the deadline of `name`, or takes it away. One too far to be told counts as none.
    pub(super) fn set(&mut self, name: &Arc<str>, ttl: Option<Duration>, now: Instant) {
        self.clear(name);
        if let Some(at) = ttl.and_then(|ttl| now.checked_add(ttl)) {
            self.by_name.insert(Arc::clone(name), at);
            self.by_time.insert((at, Arc::clone(name)));
        }
    }

    /// Forgets `name`.
    pub(super) fn clear(&mut self, name: &Arc<str>) {
        if let Some(at) = self.by_name.remove(name) {
            self.by_time.remove(&(at, Arc::clone(name)));
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out one name that is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Arc<str>> {
        if self.next()? > now {
            return None;
        }
        let (_, name) = self.by_time.pop_first()?;
        self.by_name.remove(&name);
        Some(name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_renewed_name_expires_at_its_newest_deadline_only() {
        let now = Instant::now();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut expiries = Expiries::default();
        expiries.set(&a, Some(Duration::from_secs(1)), now);
        expiries.set(&b, Some(Duration::from_secs(2)), now);
        expiries.set(&a, Some(Duration::from_secs(3)), now);
        assert_eq!(expiries.next(), Some(now + Duration::from_secs(2)));
        assert_eq!(expiries.pop_due(now + Duration::from_secs(1)), None);
        assert_eq!(expiries.pop_due(now + Duration::from_secs(3)), Some(b));
        assert_eq!(expiries.pop_due(now + Duration::from_secs(3)), Some(a));
        assert_eq!(expiries.next(), None);
    }

    #[test]
    fn no_ttl_and_an_endless_one_never_expire() {
        let now = Instant::now();
        let name: Arc<str> = "a".into();
        let mut expiries = Expiries::default();
        expiries.set(&name, Some(Duration::MAX), now);
        assert_eq!(expiries.next(), None);
        expiries.set(&name, Some(Duration::from_secs(1)), now);
        expiries.set(&name, None, now);
        assert_eq!(expiries.next(), None);
    }
}
