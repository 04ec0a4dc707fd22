//! The RBAC filters of a chain, with their counters.

use std::sync::Arc;
use std::time::Duration;

use config::model::chain::NetworkFilter;
use config::model::rbac::{Policies, Rbac};

use super::{Facts, Notes, Verdict, evaluate};
use crate::metrics::{RbacPolicyStat, RbacShadowStat, RbacStat, Registry, Scope};

/// What a decision is counted under when no policy matched; what Envoy's detail says then.
const NONE: &str = "none";

/// All RBAC filters of a chain, in order.
#[derive(Debug)]
pub struct Gate {
    guards: Box<[Guard]>,
}

/// What all filters of a chain decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruling {
    /// The first that denied; those after it were not asked.
    pub denied: Option<Denial>,
    /// The policy that allowed, of the last filter that was asked.
    pub policy: Option<Arc<str>>,
    /// For access logs.
    pub notes: Notes,
}

/// Why a connection is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The policy that matched; `None`: none did.
    pub policy: Option<Arc<str>>,
    /// The connection is held so long before it is closed.
    pub delay: Option<Duration>,
}

impl Denial {
    /// `%CONNECTION_TERMINATION_DETAILS%`, as Envoy.
    pub fn detail(&self) -> String {
        detail(self.policy.as_deref())
    }
}

/// Envoy's words for a denial, with no white space in them.
pub fn detail(policy: Option<&str>) -> String {
    let policy = policy.filter(|policy| !policy.is_empty()).unwrap_or(NONE);
    format!("rbac_access_denied_matched_policy[{}]", policy.replace([' ', '\t', '\n', '\r', '\u{b}', '\u{c}'], "_"))
}

/// A policy's name and its counters.
type Counted = (Arc<str>, Arc<Scope<RbacPolicyStat>>);

/// One filter.
#[derive(Debug)]
struct Guard {
    rbac: Arc<Rbac>,
    stats: Arc<Scope<RbacStat>>,
    shadow_stats: Arc<Scope<RbacShadowStat>>,
    /// Ours: decisions by policy, sorted by name.
    policies: Box<[Counted]>,
}

impl Gate {
    /// Of a chain's filters.
    pub fn new(filters: &[NetworkFilter], registry: &Registry) -> Self {
        let guards = filters.iter().filter_map(|filter| match filter {
            NetworkFilter::Rbac(rbac) => Some(Guard::new(rbac, registry)),
            NetworkFilter::LocalRateLimit(_) => None,
        });
        Self { guards: guards.collect() }
    }

    /// The chain has no such filter: everything is allowed.
    pub fn is_open(&self) -> bool {
        self.guards.is_empty()
    }

    /// Asks the filters, in order, and counts.
    pub fn rule(&self, facts: &Facts<'_>) -> Ruling {
        let mut ruling = Ruling::default();
        for guard in &self.guards {
            guard.rule(facts, &mut ruling);
            if ruling.denied.is_some() {
                break;
            }
        }
        ruling
    }
}

impl Guard {
    fn new(rbac: &Arc<Rbac>, registry: &Registry) -> Self {
        let names = |policies: &Option<Policies>| -> Vec<Arc<str>> {
            policies.iter().flat_map(Policies::names).map(Arc::clone).collect()
        };
        let mut names = [names(&rbac.enforced), names(&rbac.shadow), vec![NONE.into()]].concat();
        names.sort_unstable();
        names.dedup();
        let scope = |name: Arc<str>| {
            let scope = registry.rbac_policy(&rbac.stat_prefix, &name);
            (name, scope)
        };
        Self {
            rbac: Arc::clone(rbac),
            stats: registry.rbac(&rbac.stat_prefix),
            shadow_stats: registry.rbac_shadow(&rbac.stat_prefix, &rbac.shadow_prefix),
            policies: names.into_iter().map(scope).collect(),
        }
    }

    fn rule(&self, facts: &Facts<'_>, ruling: &mut Ruling) {
        // First, as in Envoy: what it notes, the rules in force may look at.
        if let Some(shadow) = &self.rbac.shadow {
            let verdict = evaluate(shadow, facts, &ruling.notes);
            let (total, of_policy) = match verdict.allowed {
                true => (RbacShadowStat::ShadowAllowed, RbacPolicyStat::ShadowAllowed),
                false => (RbacShadowStat::ShadowDenied, RbacPolicyStat::ShadowDenied),
            };
            self.shadow_stats.inc(total);
            self.count(&verdict, of_policy);
            ruling.notes.note_shadow(&self.rbac.shadow_prefix, &verdict);
        }
        let Some(enforced) = &self.rbac.enforced else { return };
        let verdict = evaluate(enforced, facts, &ruling.notes);
        let (total, of_policy) = match verdict.allowed {
            true => (RbacStat::Allowed, RbacPolicyStat::Allowed),
            false => (RbacStat::Denied, RbacPolicyStat::Denied),
        };
        self.stats.inc(total);
        self.count(&verdict, of_policy);
        ruling.notes.note_log(&verdict);
        let policy = verdict.policy.map(Arc::clone);
        if verdict.allowed {
            ruling.policy = policy;
        } else {
            ruling.policy = None;
            ruling.denied = Some(Denial { policy, delay: self.rbac.delay_deny });
        }
    }

    fn count(&self, verdict: &Verdict<'_>, stat: RbacPolicyStat) {
        let name = verdict.policy.map_or(NONE, |policy| &**policy);
        if let Ok(at) = self.policies.binary_search_by(|(known, _)| (**known).cmp(name))
            && let Some((_, scope)) = self.policies.get(at)
        {
            scope.inc(stat);
        }
    }
}
