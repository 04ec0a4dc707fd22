//! How the control plane's connection and each kind's subscription are doing: what Envoy shows as
//! `control_plane.*`, `cluster_manager.cds.*`, `listener_manager.lds.*` and the like.

use std::sync::Arc;
use std::time::SystemTime;

use super::protocol::PerKind;
use super::rpc::Service;
use super::settle::Outcome;
use crate::snapshot::Kind;

/// Counters count from the start of the process.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Which stream this is about.
    pub service: Service,
    /// Where the connection is.
    pub connection: Connection,
    /// `control_plane.identifier`: what the control plane calls itself in its responses.
    pub identifier: Arc<str>,
    /// Streams opened.
    pub opened: u64,
    /// Streams or attempts that ended with an error.
    pub failed: u64,
    /// Streams that ended as they should, such as at the server's maximum age.
    pub closed: u64,
    /// Times that a stream was found to be up and silent.
    pub silences: u64,
    /// Responses of a type that was not asked for.
    pub unknown: u64,
    /// Why the last stream or attempt failed.
    pub last_error: Option<Failure>,
    /// By kind.
    pub kinds: PerKind<KindStatus>,
}

/// The state of the connection to the control plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connection {
    /// Not started, or stopped.
    #[default]
    Idle,
    /// On its way.
    Connecting,
    /// A stream is up since then.
    Connected(SystemTime),
    /// Waiting before the next attempt, since then.
    Waiting(SystemTime),
}

/// Something that went wrong, and when.
#[derive(Clone, Debug)]
pub struct Failure {
    /// In words.
    pub text: Arc<str>,
    /// When.
    pub at: SystemTime,
}

/// One kind's subscription.
#[derive(Clone, Debug, Default)]
pub struct KindStatus {
    /// `update_attempt`: responses, plus requests that failed with their stream.
    pub update_attempt: u64,
    /// `update_success`: responses that were accepted whole.
    pub update_success: u64,
    /// `update_rejected`: responses of which something was refused.
    pub update_rejected: u64,
    /// `update_failure`: streams that ended with an error while this kind was subscribed.
    pub update_failure: u64,
    /// `init_fetch_timeout`: times that it was asked for and not answered in time.
    pub init_fetch_timeout: u64,
    /// Single resources refused.
    pub resources_rejected: u64,
    /// Resources in force.
    pub resources: usize,
    /// `version_text` of the last response.
    pub version: Arc<str>,
    /// When the last response came.
    pub updated: Option<SystemTime>,
    /// The last NACK's words; gone with the next response that is accepted whole.
    pub error: Option<Failure>,
    /// Asked for, not answered, and too late by now.
    pub silent: bool,
}

impl Failure {
    pub(crate) fn now(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), at: SystemTime::now() }
    }
}

impl Connection {
    /// `control_plane.connected_state`.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Connected(_))
    }
}

impl Status {
    /// The kinds that were asked for and left unanswered for too long.
    pub fn silent(&self) -> impl Iterator<Item = Kind> {
        self.kinds.iter().filter(|(_, status)| status.silent).map(|(kind, _)| kind)
    }

    /// Books one answered response.
    pub(crate) fn answered(&mut self, outcome: &Outcome, held: usize) {
        let kind = &mut self.kinds[outcome.kind];
        kind.update_attempt += 1;
        kind.resources = held;
        kind.version = Arc::clone(&outcome.version);
        kind.updated = Some(SystemTime::now());
        kind.resources_rejected += outcome.rejected as u64;
        kind.silent = false;
        match &outcome.error {
            None => {
                kind.update_success += 1;
                kind.error = None;
            }
            Some(text) => {
                kind.update_rejected += 1;
                kind.error = Some(Failure::now(Arc::clone(text)));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_nack_is_remembered_until_all_is_well_again() {
        let outcome = |error: Option<&str>| Outcome {
            kind: Kind::Listener,
            version: "7".into(),
            accepted: 2,
            rejected: usize::from(error.is_some()),
            error: error.map(Arc::from),
        };
        let mut status = Status::default();
        status.kinds[Kind::Listener].silent = true;
        assert_eq!(status.silent().collect::<Vec<_>>(), [Kind::Listener]);
        status.answered(&outcome(Some("a: name: bad")), 2);
        let kind = &status.kinds[Kind::Listener];
        assert_eq!((kind.update_attempt, kind.update_success, kind.update_rejected), (1, 0, 1));
        assert_eq!(&*kind.error.as_ref().unwrap().text, "a: name: bad");
        assert_eq!(status.silent().count(), 0);
        status.answered(&outcome(None), 3);
        let kind = &status.kinds[Kind::Listener];
        assert_eq!((kind.update_attempt, kind.update_success, kind.update_rejected), (2, 1, 1));
        assert!(kind.error.is_none());
        assert_eq!((kind.resources, &*kind.version, kind.resources_rejected), (3, "7", 1));
    }
}
