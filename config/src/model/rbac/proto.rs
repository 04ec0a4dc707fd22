//! From `extensions.filters.network.rbac.v3.RBAC`.

mod rules;

use std::sync::Arc;

use envoy_types::pb::envoy::config::rbac::v3 as rules_pb;
use envoy_types::pb::envoy::extensions::filters::network::rbac::v3 as pb;
use envoy_types::pb::xds::r#type::matcher::v3::Matcher as PbMatcher;
use rules_pb::rbac::Action as PbAction;

use super::{Action, Effect, Policies, Rbac};
use crate::model::extension;
use crate::model::matcher::proto as matcher;
use crate::model::matcher::{HttpInput, Input};
use crate::model::metadata::proto::Interner;
use crate::reject::{Context, Rejection, Unsupported};

const FILTER: &str = "RBAC network filter";
const HTTP_FILTER: &str = "RBAC HTTP filter";

/// Converts the body of a RBAC. The inner error: a part that can't be evaluated here; its chain must not open.
pub(crate) fn rbac(
    cx: &mut Context,
    interner: &mut Interner,
    body: &[u8],
) -> Result<Result<Rbac, Unsupported>, Rejection> {
    let pb::Rbac {
        rules,
        matcher,
        shadow_rules,
        shadow_matcher,
        shadow_rules_stat_prefix,
        stat_prefix,
        enforcement_type,
        delay_deny,
    } = cx.decode(body)?;
    cx.not_empty("stat_prefix", &stat_prefix)?;
    if enforcement_type == pb::rbac::EnforcementType::Continuous as i32 {
        cx.note("enforcement_type", "decided once, before the first byte: no filter here learns more from later ones");
    }
    let delay_deny = cx.duration("delay_deny", delay_deny)?;
    let mut policies = |fields, config| policies(cx, interner, (fields, rules::Layer::Network, tree), config);
    let enforced = policies(["rules", "matcher"], (rules, matcher))?;
    let shadow = policies(["shadow_rules", "shadow_matcher"], (shadow_rules, shadow_matcher))?;
    let (enforced, shadow) = match (enforced, shadow) {
        (Err(unsupported), _) | (_, Err(unsupported)) => return Ok(Err(unsupported)),
        (Ok(enforced), Ok(shadow)) => (enforced, shadow),
    };
    Ok(Ok(Rbac {
        stat_prefix: interner.string(stat_prefix.strip_suffix('.').unwrap_or(&stat_prefix)),
        shadow_prefix: interner.string(&shadow_rules_stat_prefix),
        enforced,
        shadow,
        delay_deny: delay_deny.filter(|delay| !delay.is_zero()),
    }))
}

type Converted<I> = Result<Option<Policies<I>>, Unsupported>;
type Trees<I> = fn(&mut Context, &mut Interner, PbMatcher) -> Result<Result<Policies<I>, Unsupported>, Rejection>;

/// The matcher wins; Envoy looks at the rules beside it all the same, and refuses bad ones.
fn policies<I>(
    cx: &mut Context,
    interner: &mut Interner,
    ([rules_field, matcher_field], layer, tree): ([&'static str; 2], rules::Layer, Trees<I>),
    (rules, matcher): (Option<rules_pb::Rbac>, Option<PbMatcher>),
) -> Result<Converted<I>, Rejection> {
    let rules = match rules {
        None => None,
        Some(rules) => {
            cx.ignore(rules_field, &matcher, "the matcher beside them is in force");
            Some(cx.at(rules_field, |cx| rules::rules(cx, interner, layer, rules))?)
        }
    };
    Ok(match matcher {
        Some(matcher) => cx.at(matcher_field, |cx| tree(cx, interner, matcher))?.map(Some),
        None => rules.transpose(),
    })
}

/// The policies of an HTTP filter.
pub(crate) fn http_policies(
    cx: &mut Context,
    interner: &mut Interner,
    fields: [&'static str; 2],
    config: (Option<rules_pb::Rbac>, Option<PbMatcher>),
) -> Result<Converted<HttpInput>, Rejection> {
    policies(cx, interner, (fields, rules::Layer::Http, http_tree), config)
}

fn tree(
    cx: &mut Context,
    interner: &mut Interner,
    matcher: PbMatcher,
) -> Result<Result<Policies<Input>, Unsupported>, Rejection> {
    let mut action = |cx: &mut Context, found: (&str, &[u8]), name: &str| leaf(cx, interner, found, name);
    Ok(matcher::network(cx, FILTER, &mut action, matcher)?.map(Policies::Tree))
}

fn http_tree(
    cx: &mut Context,
    interner: &mut Interner,
    matcher: PbMatcher,
) -> Result<Result<Policies<HttpInput>, Unsupported>, Rejection> {
    let mut action = |cx: &mut Context, found: (&str, &[u8]), name: &str| leaf(cx, interner, found, name);
    Ok(matcher::http(cx, Some(HTTP_FILTER), &mut action, matcher)?.map(Policies::Tree))
}

fn leaf(
    cx: &mut Context,
    interner: &mut Interner,
    (type_name, body): (&str, &[u8]),
    name: &str,
) -> Result<Result<Action, Unsupported>, Rejection> {
    match type_name {
        "envoy.config.rbac.v3.Action" => cx.at("typed_config", |cx| action(cx, interner, body).map(Ok)),
        _ => Err(extension::unknown(cx, name, type_name)),
    }
}

fn action(cx: &mut Context, interner: &mut Interner, body: &[u8]) -> Result<Action, Rejection> {
    let rules_pb::Action { name, action } = cx.decode(body)?;
    cx.not_empty("name", &name)?;
    let effect = effect(action).unwrap_or_else(|| {
        cx.note("action", "not a defined action: denies, as in Envoy");
        Effect::Deny
    });
    Ok(Action { name: interner.string(&name), effect })
}

fn effect(action: i32) -> Option<Effect> {
    PbAction::try_from(action).ok().map(|action| match action {
        PbAction::Allow => Effect::Allow,
        PbAction::Deny => Effect::Deny,
        PbAction::Log => Effect::Log,
    })
}

/// For several: all of them, or the first that can't be evaluated.
fn all<T>(converted: Box<[Result<T, Unsupported>]>) -> Result<Box<[T]>, Unsupported> {
    converted.into_vec().into_iter().collect()
}

/// One copy of a name.
fn name(interner: &mut Interner, name: &str) -> Arc<str> {
    interner.string(name)
}

#[cfg(test)]
mod tests;
