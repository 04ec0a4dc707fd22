//! `envoy.filters.http.rbac`.

use std::sync::Arc;

use config::model::http_filter::HttpRbac;
use config::model::matcher::HttpInput;
use config::model::metadata::Value;
use config::model::rbac::Policies;
use http::StatusCode;
use proxy::metrics::{RbacRuleStat, RbacShadowStat, RbacStat, Scope};
use proxy::rbac::{Facts, Notes, Peer, Request, Verdict, detail, evaluate};
use proxy::report::flow::TlsSide;
use proxy::shared::Shared;

use super::held::Held;
use super::{Call, PerRoute};
use crate::http::reply::Reply;

const NAMESPACE: &str = "envoy.filters.http.rbac";
const COMMON: &str = "envoy.common";

/// The filter.
#[derive(Debug)]
pub(super) struct Guard {
    config: Arc<HttpRbac>,
    prefix: Arc<str>,
    stats: Arc<Scope<RbacStat>>,
    shadow: Arc<Scope<RbacShadowStat>>,
    rules: Held<RbacRuleStat>,
}

impl Guard {
    pub(super) fn compile(config: &Arc<HttpRbac>, prefix: &str, shared: &Shared) -> Self {
        Self {
            stats: shared.registry.http_rbac(prefix, &config.rules_prefix),
            shadow: shared.registry.rbac_shadow(&format!("http.{prefix}"), &config.shadow_prefix),
            prefix: prefix.into(),
            rules: Held::default(),
            config: Arc::clone(config),
        }
    }

    pub(super) fn request(&self, at: usize, call: &mut Call<'_>) -> Option<Reply> {
        let own = call.route.specific(at, |config| match config {
            PerRoute::Rbac(config) => Some(&**config),
            _ => None,
        });
        let config = own.unwrap_or(&self.config);
        if let Some(shadow) = &config.shadow {
            self.try_shadow(config, shadow, call);
        }
        let enforced = config.enforced.as_ref()?;
        let verdict = ask(enforced, call);
        if let Some(log) = verdict.log {
            call.flow.metadata.set(COMMON, "access_log_hint", Value::Bool(log));
        }
        let policy = verdict.policy.map(Arc::clone).filter(|policy| !policy.is_empty());
        self.note(call, "enforced", &config.rules_prefix, (verdict.allowed, policy.as_ref()));
        self.stats.inc(if verdict.allowed { RbacStat::Allowed } else { RbacStat::Denied });
        if config.per_policy
            && let Some(policy) = &policy
        {
            let scope = self.rule(call, &self.config.rules_prefix, policy);
            scope.inc(if verdict.allowed { RbacRuleStat::Allowed } else { RbacRuleStat::Denied });
        }
        if verdict.allowed {
            return None;
        }
        Some(Reply::new(StatusCode::FORBIDDEN, detail(policy.as_deref())).body("RBAC: access denied"))
    }

    fn try_shadow(&self, config: &HttpRbac, shadow: &Policies<HttpInput>, call: &mut Call<'_>) {
        let verdict = ask(shadow, call);
        let policy = verdict.policy.map(Arc::clone).filter(|policy| !policy.is_empty());
        let (stat, rule) = match verdict.allowed {
            true => (RbacShadowStat::ShadowAllowed, RbacRuleStat::ShadowAllowed),
            false => (RbacShadowStat::ShadowDenied, RbacRuleStat::ShadowDenied),
        };
        self.shadow.inc(stat);
        if config.per_policy
            && let Some(policy) = &policy
        {
            let scope = self.rule(call, &self.config.shadow_prefix, policy);
            scope.inc(rule);
        }
        self.note(call, "shadow", &config.shadow_prefix, (verdict.allowed, policy.as_ref()));
    }

    fn rule(&self, call: &Call<'_>, rules: &str, policy: &str) -> Arc<Scope<RbacRuleStat>> {
        let name = format!("{rules}\0{policy}");
        self.rules.scope(&name, || call.shared.registry.rbac_rule(&self.prefix, rules, policy))
    }

    fn note(&self, call: &mut Call<'_>, mode: &str, prefix: &str, (allowed, policy): (bool, Option<&Arc<str>>)) {
        let metadata = &mut call.flow.metadata;
        if let Some(policy) = policy {
            let key = format!("{prefix}{mode}_effective_policy_id");
            metadata.set(NAMESPACE, &key, Value::String(Arc::clone(policy)));
        }
        let result = if allowed { "allowed" } else { "denied" };
        metadata.set(NAMESPACE, &format!("{prefix}{mode}_engine_result"), Value::String(result.into()));
    }
}

fn ask<'p>(policies: &'p Policies<HttpInput>, call: &Call<'_>) -> Verdict<'p> {
    let certificate = Certificate::of(call);
    evaluate(policies, &facts(call, &certificate), &Notes::default())
}

/// Who the client is, as far as it is known.
pub(super) struct Certificate<'a>(Option<Peer<'a>>);

impl<'a> Certificate<'a> {
    pub(super) fn of(call: &'a Call<'_>) -> Self {
        Self(call.flow.connection.tls.as_deref().map(TlsSide::asked))
    }
}

/// What is known of a request.
pub(super) fn facts<'a>(call: &'a Call<'_>, certificate: &Certificate<'a>) -> Facts<'a> {
    let flow = &*call.flow;
    let of_connection = proxy::rbac::facts(&flow.connection, certificate.0);
    let request = Request { head: &flow.request, metadata: &flow.metadata, route: call.route.metadata };
    Facts { remote: flow.remote().or(of_connection.remote), request: Some(request), ..of_connection }
}
