//! Load-balancing policies: which of several equally fit hosts is next.

mod least_request;
mod line;
mod maglev;
mod murmur;
mod ring_hash;
mod table;
#[cfg(test)]
mod tests;
mod wheel;

use std::sync::Arc;

use config::model::cluster::LbPolicy;

pub(super) use line::Line;
pub(super) use table::{Shares, Table};
pub(super) use wheel::Wheel;

use super::host::Host;

/// Chooses from a line. Hashing policies choose from a [`Table`] instead; asked here, they choose at random.
pub(super) fn choose<'a>(policy: &LbPolicy, line: &'a Line) -> Option<&'a Arc<Host>> {
    match policy {
        LbPolicy::RoundRobin => line.next(),
        LbPolicy::LeastRequest { choices, bias } => least_request::choose(line, *choices, *bias),
        LbPolicy::Random | LbPolicy::RingHash(_) | LbPolicy::Maglev { .. } => line.random(),
    }
}

/// Whether the policy chooses by hash.
pub(super) const fn hashes(policy: &LbPolicy) -> bool {
    matches!(policy, LbPolicy::RingHash(_) | LbPolicy::Maglev { .. })
}
