//! The verbs that both protocols share, and a small table with one place per kind.

use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::time::Instant;

use super::settle::{Delivery, Outcome, Unsettled};
use super::subscription::{Interest, Subscription};
use crate::snapshot::Kind;
use crate::store::{Applied, Batch};

/// An xDS client without I/O. It outlives streams: what is held carries over to the next one.
pub trait Machine {
    /// What it sends.
    type Request;
    /// What it reads.
    type Response;

    /// A new stream begins: every subscription is asked again, in ADS order.
    fn open(&mut self);

    /// States the whole interest in `kind`; what changed is asked at once.
    fn subscribe(&mut self, kind: Kind, interest: Interest) -> Subscribed;

    /// Reads a response. One of a type that was not asked for is NACKed without more, and the error tells which.
    ///
    /// # Errors
    /// The text of that NACK.
    fn receive(&mut self, response: Self::Response, now: Instant) -> Result<Delivery, Arc<str>>;

    /// Answers a response: an ACK, or a NACK that names each refused resource.
    fn settle(&mut self, unsettled: Unsettled, applied: &Applied, now: Instant) -> Outcome;

    /// What is to be sent next.
    fn next_request(&mut self) -> Option<Self::Request>;

    /// Whether anything of this kind is asked for.
    fn asks(&self, kind: Kind) -> bool;

    /// Whether all names that are asked for are held.
    fn is_satisfied(&self, kind: Kind) -> bool;

    /// How many resources are held.
    fn held(&self, kind: Kind) -> usize;

    /// When the first resource with a time to live is due.
    fn next_expiry(&self) -> Option<Instant>;

    /// Removes what has outlived its time.
    fn expire(&mut self, now: Instant) -> Vec<Batch>;
}

/// What became of a change of interest.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "the store keeps what nobody tells it to drop"]
pub struct Subscribed {
    /// Something was asked for that was not asked for before, so an answer is due.
    pub asked: bool,
    /// Names that were held and are wanted no more, for the store to drop.
    pub dropped: Vec<Arc<str>>,
}

/// What expired of one kind, as a batch.
pub(super) fn expired(kind: Kind, subscription: &mut Subscription, now: Instant) -> Option<Batch> {
    let removed = subscription.expire(now);
    (!removed.is_empty()).then(|| Batch::removal(kind, removed))
}

/// One value per kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerKind<T>([T; Kind::ALL.len()]);

impl<T> PerKind<T> {
    /// In ADS order.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &T)> {
        Kind::ALL.into_iter().zip(&self.0)
    }

    /// In ADS order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Kind, &mut T)> {
        Kind::ALL.into_iter().zip(&mut self.0)
    }
}

impl<T> Index<Kind> for PerKind<T> {
    type Output = T;

    fn index(&self, kind: Kind) -> &T {
        &self.0[kind as usize]
    }
}

impl<T> IndexMut<Kind> for PerKind<T> {
    fn index_mut(&mut self, kind: Kind) -> &mut T {
        &mut self.0[kind as usize]
    }
}
