//! What filters keep from a request for its answer.

use std::fmt;

use super::{compress, cors, fault, grpc_stats, local_rate_limit};

/// What filters keep from a request for its answer. Owns nothing until one does.
#[derive(Default)]
pub struct States(Vec<(usize, State)>);

/// What one filter keeps.
#[derive(Debug)]
pub(super) enum State {
    Limited(local_rate_limit::Seen),
    Fault(fault::Active),
    Compressor(compress::Accepted),
    Cors(cors::Asked),
    HealthCheck,
    Grpc(grpc_stats::Call),
    Skipped,
}

impl States {
    /// What the filter at this position keeps.
    pub(super) fn get(&self, at: usize) -> Option<&State> {
        self.0.iter().find(|(known, _)| *known == at).map(|(_, state)| state)
    }

    /// The same, and it is forgotten.
    pub(super) fn take(&mut self, at: usize) -> Option<State> {
        let found = self.0.iter().position(|(known, _)| *known == at)?;
        Some(self.0.swap_remove(found).1)
    }

    /// The filter at this position keeps something.
    pub(super) fn put(&mut self, at: usize, state: State) {
        self.0.push((at, state));
    }

    /// All compressors' decisions see each other.
    pub(super) fn all(&self) -> impl Iterator<Item = &State> {
        self.0.iter().map(|(_, state)| state)
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}
