//! Asking the gate of a chain for a connection.

use std::time::Instant;

use config::model::address::Address;

use super::{Facts, Gate, Peer};
use crate::control::Registered;
use crate::error::CloseReason;
use crate::report::Report;
use crate::report::flow::Flow;

/// Asks, and notes what was decided in the report. A connection that is denied is held as long as `delay_deny` says,
/// unless it is ended from outside before.
///
/// # Errors
/// It is denied: nothing may be read from it or sent upstream.
pub(crate) async fn ask(
    gate: &Gate,
    report: &mut Report,
    control: &Registered,
    peer: Option<Peer<'_>>,
) -> Result<(), CloseReason> {
    if gate.is_open() {
        return Ok(());
    }
    let ruling = gate.rule(&facts(report.flow(), peer));
    let delay = ruling.denied.as_ref().map(|denial| denial.delay);
    report.flow_mut().ruling = Some(Box::new(ruling));
    let Some(delay) = delay else { return Ok(()) };
    if let Some(delay) = delay {
        control.set_deadline(Instant::now(), Some(delay));
        control.deadline().await;
    }
    Err(CloseReason::RbacDenied)
}

/// What is known of a connection.
pub fn facts<'a>(flow: &'a Flow, peer: Option<Peer<'a>>) -> Facts<'a> {
    let local = match &flow.local {
        Address::Socket(local) => Some(*local),
        Address::Pipe { .. } => None,
    };
    Facts {
        peer,
        server_name: flow.sni.as_deref().unwrap_or_default(),
        local,
        remote: flow.remote,
        direct_remote: flow.direct_remote.or(flow.remote),
        request: None,
    }
}
