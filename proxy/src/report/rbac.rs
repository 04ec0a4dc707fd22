//! What the operators about permissions yield, as Envoy 1.40 was seen to print it.

use config::model::rbac::Noted;

use super::flow::Flow;
use super::value::Value;

/// `%DYNAMIC_METADATA(namespace[:key])%`: what RBAC filters noted is all there is.
pub(super) fn metadata<'a>(flow: &'a Flow, argument: &str) -> Value<'a> {
    let Some(notes) = flow.ruling.as_deref().map(|ruling| &ruling.notes) else { return Value::Absent };
    match argument.split_once(':') {
        Some((namespace, key)) => match notes.get(namespace, key) {
            Some(Noted::Text(text)) => Value::Text(text.into()),
            Some(Noted::Bool(value)) => Value::Json(value.to_string()),
            None => Value::Absent,
        },
        None => {
            let all = notes.all(argument).into_iter().map(|(key, value)| match value {
                Noted::Text(text) => (key, text.into()),
                Noted::Bool(value) => (key, value.into()),
            });
            let all: serde_json::Map<String, serde_json::Value> = all.collect();
            if all.is_empty() { Value::Absent } else { Value::Json(serde_json::Value::Object(all).to_string()) }
        }
    }
}

/// Ours: the policy that decided, `none` where none matched.
pub(super) fn policy(flow: &Flow) -> Value<'_> {
    let Some(ruling) = flow.ruling.as_deref() else { return Value::Absent };
    let policy = match &ruling.denied {
        Some(denied) => denied.policy.as_deref(),
        None => ruling.policy.as_deref(),
    };
    Value::Text(policy.unwrap_or("none").into())
}
