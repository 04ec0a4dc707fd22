//! How many handshakes may be under way at a time.
//!
//! A handshake is memory and, once the ClientHello is there, a signature: a flood of them must not take what
//! established connections need. When all places are taken the newest comes away empty-handed, so that those already
//! begun are finished.

use std::sync::atomic::{AtomicU32, Ordering};

/// Places for handshakes of one side.
#[derive(Debug)]
pub(crate) struct Handshakes {
    most: AtomicU32,
    running: AtomicU32,
}

impl Handshakes {
    /// So many at a time.
    pub(crate) const fn new(most: u32) -> Self {
        Self { most: AtomicU32::new(most), running: AtomicU32::new(0) }
    }

    /// So many from now on.
    pub(crate) fn limit(&self, most: u32) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// A place until the permit is dropped; `None`: all are taken.
    pub(crate) fn begin(&self) -> Option<Handshake<'_>> {
        let before = self.running.fetch_add(1, Ordering::Relaxed);
        let permit = Handshake(self);
        (before < self.most.load(Ordering::Relaxed)).then_some(permit)
    }

    /// Handshakes at this moment.
    #[cfg(test)]
    pub(crate) fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }
}

/// One handshake.
#[derive(Debug)]
pub(crate) struct Handshake<'a>(&'a Handshakes);

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_shed() {
        let places = Handshakes::new(2);
        let (first, second) = (places.begin(), places.begin());
        assert!(first.is_some() && second.is_some() && places.begin().is_none());
        assert_eq!(places.running(), 2, "one that is shed holds no place");
        drop(first);
        assert!(places.begin().is_some());
        assert!(Handshakes::new(0).begin().is_none());
    }
}
