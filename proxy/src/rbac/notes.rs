//! What RBAC filters note about a connection: Envoy's dynamic metadata, for access logs and for filters after them.

use std::sync::Arc;

use config::model::rbac::Noted;

use super::Verdict;

/// Namespace of what shadow rules found.
const SHADOW: &str = "envoy.filters.network.rbac";
/// Namespace of what access logs are told.
const COMMON: &str = "envoy.common";
const LOG_HINT: &str = "access_log_hint";
const RESULT: &str = "shadow_engine_result";
const POLICY: &str = "shadow_effective_policy_id";

/// Notes of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    shadow: Vec<Shadow>,
    log: Option<bool>,
}

/// What the shadow rules of one filter found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shadow {
    /// Stands before the keys.
    prefix: Arc<str>,
    allowed: bool,
    policy: Option<Arc<str>>,
}

impl Notes {
    /// Of shadow rules.
    pub(super) fn note_shadow(&mut self, prefix: &Arc<str>, verdict: &Verdict<'_>) {
        let policy = verdict.policy.filter(|policy| !policy.is_empty()).map(Arc::clone);
        match self.shadow.iter_mut().find(|shadow| shadow.prefix == *prefix) {
            // Envoy merges: a policy noted before stays where now none matched.
            Some(shadow) => {
                shadow.allowed = verdict.allowed;
                shadow.policy = policy.or(shadow.policy.take());
            }
            None => self.shadow.push(Shadow { prefix: Arc::clone(prefix), allowed: verdict.allowed, policy }),
        }
    }

    /// Of rules in force.
    pub(super) fn note_log(&mut self, verdict: &Verdict<'_>) {
        self.log = verdict.log.or(self.log);
    }

    /// Nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.shadow.is_empty() && self.log.is_none()
    }

    /// The value of a key.
    pub fn get(&self, namespace: &str, key: &str) -> Option<Noted<'_>> {
        self.all(namespace).into_iter().find_map(|(name, value)| (name == key).then_some(value))
    }

    /// All of a namespace, sorted by key.
    pub fn all(&self, namespace: &str) -> Vec<(String, Noted<'_>)> {
        let mut all = Vec::new();
        match namespace {
            SHADOW => {
                for Shadow { prefix, allowed, policy } in &self.shadow {
                    if let Some(policy) = policy {
                        all.push((format!("{prefix}{POLICY}"), Noted::Text(policy)));
                    }
                    all.push((format!("{prefix}{RESULT}"), Noted::Text(if *allowed { "allowed" } else { "denied" })));
                }
            }
            COMMON => all.extend(self.log.map(|log| (LOG_HINT.to_owned(), Noted::Bool(log)))),
            _ => {}
        }
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }
}
