//! What the operator about permissions yields.

use super::flow::Flow;
use super::value::Value;

/// Ours: the policy that decided, `none` where none matched.
pub(super) fn policy(flow: &Flow) -> Value<'_> {
    let Some(ruling) = flow.ruling.as_deref() else { return Value::Absent };
    let policy = match &ruling.denied {
        Some(denied) => denied.policy.as_deref(),
        None => ruling.policy.as_deref(),
    };
    Value::Text(policy.unwrap_or("none").into())
}
