//! `/ready` and `/init_dump`.

use std::fmt::Write as _;

use http::{Response, StatusCode};
use serde_json::json;

use super::answer;
use super::state::AdminState;
use crate::lifecycle::ready::State;
use crate::system::reply::Body;

/// Chains that are named one by one.
const NAMED: usize = 20;

/// The state on the first line, as Envoy; below it, whatever is not as it should be.
pub(super) fn ready(state: &AdminState) -> Response<Body> {
    let report = state.readiness.report();
    let mut text = format!("{}\n", report.state);
    for what in &report.waiting {
        let _ = writeln!(text, "waiting for {what}");
    }
    for (topic, line) in &report.details {
        let _ = writeln!(text, "{topic}: {line}");
    }
    let refusing = refusing(state);
    for line in refusing.iter().take(NAMED) {
        let _ = writeln!(text, "{line}");
    }
    if refusing.len() > NAMED {
        let _ = writeln!(text, "and {} more chains that refuse, see /zonegate", refusing.len() - NAMED);
    }
    let status = if report.state == State::Live { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::text(status, text)
}

/// Chains that refuse their connections, each with its reason.
fn refusing(state: &AdminState) -> Vec<String> {
    let snapshot = state.view.snapshot.load();
    let mut lines: Vec<String> = snapshot
        .listeners
        .iter()
        .flat_map(|(listener, entry)| {
            entry
                .unsupported
                .iter()
                .map(move |(chain, why)| format!("chain {chain} of listener {listener} refuses: {why}"))
        })
        .collect();
    lines.sort_unstable();
    lines
}

/// `envoy.admin.v3.UnreadyTargetsDumps`.
pub(super) fn init_dump(state: &AdminState) -> Response<Body> {
    let waiting = state.readiness.report().waiting;
    if waiting.is_empty() {
        return answer::json(&json!({}));
    }
    let names: Vec<&str> = waiting.iter().map(|what| &**what).collect();
    answer::json(&json!({"unready_targets_dumps": [{"name": "init manager Server", "target_names": names}]}))
}
