//! `envoy.filters.http.rbac`: who may ask for what.

use std::sync::Arc;

use envoy_types::pb::envoy::extensions::filters::http::rbac::v3 as pb;

use super::proto::Part;
use crate::model::matcher::HttpInput;
use crate::model::metadata::proto::Interner;
use crate::model::rbac::Policies;
use crate::model::rbac::proto::http_policies;
use crate::reject::Context;

/// `RBAC`.
#[derive(Clone, Debug)]
pub struct HttpRbac {
    /// `rules_stat_prefix`: of the statistics of what is enforced.
    pub rules_prefix: Arc<str>,
    /// `shadow_rules_stat_prefix`: of the shadow's keys in metadata, and of its statistics.
    pub shadow_prefix: Arc<str>,
    /// What is enforced; `None`: everything is allowed, and nothing counted.
    pub enforced: Option<Policies<HttpInput>>,
    /// What is only tried: counted and noted.
    pub shadow: Option<Policies<HttpInput>>,
    /// `track_per_rule_stats`.
    pub per_policy: bool,
}

pub(super) fn config(cx: &mut Context, interner: &mut Interner, body: &[u8]) -> Part<HttpRbac> {
    let config = cx.decode(body)?;
    rbac(cx, interner, config)
}

pub(super) fn per_route(cx: &mut Context, interner: &mut Interner, body: &[u8]) -> Part<HttpRbac> {
    let pb::RbacPerRoute { rbac: config } = cx.decode(body)?;
    // Without one, everything is allowed.
    cx.at("rbac", |cx| rbac(cx, interner, config.unwrap_or_default()))
}

fn rbac(cx: &mut Context, interner: &mut Interner, config: pb::Rbac) -> Part<HttpRbac> {
    let pb::Rbac {
        rules,
        rules_stat_prefix,
        matcher,
        shadow_rules,
        shadow_matcher,
        shadow_rules_stat_prefix,
        track_per_rule_stats,
    } = config;
    let enforced = http_policies(cx, interner, ["rules", "matcher"], (rules, matcher))?;
    let shadow = http_policies(cx, interner, ["shadow_rules", "shadow_matcher"], (shadow_rules, shadow_matcher))?;
    Ok(enforced.and_then(|enforced| {
        Ok(HttpRbac {
            rules_prefix: interner.string(&rules_stat_prefix),
            shadow_prefix: interner.string(&shadow_rules_stat_prefix),
            enforced,
            shadow: shadow?,
            per_policy: track_per_rule_stats,
        })
    }))
}
