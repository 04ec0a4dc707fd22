//! A list of hosts to choose from, and whose turn it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::wheel::Wheel;
use crate::upstream::host::Host;

/// Hosts that are equally fit. Immutable but for the turns.
#[derive(Debug, Default)]
pub(crate) struct Line {
    hosts: Box<[Arc<Host>]>,
    /// Only where weights differ.
    wheel: Option<Box<Wheel>>,
    turn: AtomicUsize,
}

impl Line {
    /// Starts at a random turn, so that many instances started together do not all begin with the first host.
    pub(crate) fn new(hosts: Vec<Arc<Host>>, weigh: impl Fn(&Host) -> u64) -> Self {
        let first = hosts.first().map(|h| weigh(h));
        let even = hosts.iter().all(|h| Some(weigh(h)) == first);
        let wheel =
            if even { None } else { Wheel::new(hosts.iter().map(|h| weigh(h)), fastrand::u64(..)).map(Box::new) };
        let turn = AtomicUsize::new(if hosts.len() > 1 { fastrand::usize(..hosts.len()) } else { 0 });
        Self { hosts: hosts.into(), wheel, turn }
    }

    /// The hosts.
    pub(crate) fn hosts(&self) -> &[Arc<Host>] {
        &self.hosts
    }

    /// The weights, where they differ.
    pub(super) fn weights(&self) -> Option<&Wheel> {
        self.wheel.as_deref()
    }

    /// Weighted round robin.
    pub(super) fn next(&self) -> Option<&Arc<Host>> {
        let at = match (&self.wheel, self.hosts.len()) {
            (_, 0 | 1) => 0,
            (Some(wheel), _) => wheel.next(),
            (None, n) => self.turn.fetch_add(1, Ordering::Relaxed) % n,
        };
        self.hosts.get(at)
    }

    /// Any, weights not regarded.
    pub(super) fn random(&self) -> Option<&Arc<Host>> {
        match self.hosts.len() {
            0 => None,
            1 => self.hosts.first(),
            n => self.hosts.get(fastrand::usize(..n)),
        }
    }
}
