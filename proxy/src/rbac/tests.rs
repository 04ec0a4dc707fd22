#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use config::model::chain::{Cidr, NetworkFilter};
use config::model::matcher::{
    FieldMatcher, Input, Matcher, MatcherKind, OnMatch, Predicate, TextMatch, TextPattern, Then,
};
use config::model::rbac::{Action, Effect, MetadataMatch, Noted, Policies, Policy, Rbac, Rule, ValueMatch};

use super::*;
use crate::metrics::{RbacPolicyStat, RbacShadowStat, RbacStat, Registry};

fn exact(text: &str) -> TextMatch {
    TextMatch { pattern: TextPattern::Exact(text.into()), ignore_case: false }
}

fn rules(effect: Effect, policies: &[(&str, Rule, Rule)]) -> Policies {
    let policy = |(name, permission, principal): &(&str, Rule, Rule)| Policy {
        name: (*name).into(),
        permissions: [permission.clone()].into(),
        principals: [principal.clone()].into(),
    };
    Policies::Rules { effect, policies: policies.iter().map(policy).collect() }
}

fn authenticated(name: &str) -> Rule {
    Rule::Authenticated(Some(exact(name)))
}

fn tree(fields: &[(Input, &str, &str, Effect)]) -> Policies {
    let field = |(input, text, name, effect): &(Input, &str, &str, Effect)| FieldMatcher {
        predicate: Predicate::Single(*input, exact(text)),
        on_match: OnMatch {
            then: Then::Action(Action { name: (*name).into(), effect: *effect }),
            keep_matching: false,
        },
    };
    Policies::Tree(Matcher { kind: MatcherKind::List(fields.iter().map(field).collect()), on_no_match: None })
}

fn names(names: &[&str]) -> Box<[Box<str>]> {
    names.iter().map(|name| Box::from(*name)).collect()
}

fn decide(policies: &Policies, facts: &Facts<'_>) -> (bool, Option<String>) {
    let notes = Notes::default();
    let verdict = evaluate(policies, facts, &notes);
    (verdict.allowed, verdict.policy.map(|policy| policy.to_string()))
}

fn rbac(enforced: Option<Policies>, shadow: Option<Policies>) -> Rbac {
    Rbac { stat_prefix: "x".into(), shadow_prefix: "s.".into(), enforced, shadow, delay_deny: None }
}

fn gate(filters: Vec<Rbac>, registry: &Registry) -> Gate {
    let filters: Vec<_> = filters.into_iter().map(|rbac| NetworkFilter::Rbac(Arc::new(rbac))).collect();
    Gate::new(&filters, registry)
}

#[test]
fn a_principal_is_any_san_or_the_subject() {
    let (uri, dns) = (names(&["spiffe://m/a", "kuma://version/1"]), names(&["a.example"]));
    let peer = Peer { uri_sans: &uri, dns_sans: &dns, subject: "CN=a", verified: true };
    let facts = Facts { peer: Some(peer), ..Facts::default() };
    for who in ["spiffe://m/a", "kuma://version/1", "a.example", "CN=a"] {
        assert!(decide(&rules(Effect::Allow, &[("p", Rule::Any, authenticated(who))]), &facts).0, "{who}");
    }
    assert!(!decide(&rules(Effect::Allow, &[("p", Rule::Any, authenticated("spiffe://m"))]), &facts).0);
    // Without TLS nobody is authenticated; with TLS and without a certificate anybody is, by no name.
    let any = rules(Effect::Allow, &[("p", Rule::Any, Rule::Authenticated(None))]);
    assert!(!decide(&any, &Facts::default()).0);
    assert!(decide(&any, &Facts { peer: Some(Peer::default()), ..Facts::default() }).0);
    let verified = rules(Effect::Allow, &[("p", Rule::Any, Rule::Verified)]);
    assert!(!decide(&verified, &Facts { peer: Some(Peer::default()), ..Facts::default() }).0);
}

#[test]
fn a_tree_sees_all_uri_sans_as_one() {
    let uri = names(&["spiffe://m/a", "kuma://v/1"]);
    let peer = |uri_sans| Facts { peer: Some(Peer { uri_sans, ..Peer::default() }), ..Facts::default() };
    let by = |text| tree(&[(Input::UriSan, text, "a", Effect::Allow)]);
    assert!(decide(&by("spiffe://m/a,kuma://v/1"), &peer(&uri)).0);
    assert!(!decide(&by("spiffe://m/a"), &peer(&uri)).0);
    assert!(decide(&by("spiffe://m/a"), &peer(&uri[..1])).0);
    // Without TLS it cannot be decided, whatever would come after.
    let fields = [(Input::UriSan, "x", "a", Effect::Allow), (Input::ServerName, "n", "b", Effect::Allow)];
    let facts = Facts { server_name: b"N", ..Facts::default() };
    assert_eq!(decide(&tree(&fields), &facts), (false, None));
    assert_eq!(decide(&tree(&fields[1..]), &facts), (true, Some("b".into())));
    let facts = Facts { peer: Some(Peer::default()), ..facts };
    assert_eq!(decide(&tree(&fields), &facts), (true, Some("b".into())));
}

#[test]
fn effects_of_rules_and_of_actions() {
    let facts = Facts { server_name: b"n", ..Facts::default() };
    let by = |effect, name: &str| decide(&rules(effect, &[("p", Rule::ServerName(exact(name)), Rule::Any)]), &facts);
    let p = || Some("p".to_owned());
    assert_eq!((by(Effect::Allow, "n"), by(Effect::Allow, "m")), ((true, p()), (false, None)));
    assert_eq!((by(Effect::Deny, "n"), by(Effect::Deny, "m")), ((false, p()), (true, None)));
    assert_eq!((by(Effect::Log, "n"), by(Effect::Log, "m")), ((true, p()), (true, None)));
    let by = |effect, name| decide(&tree(&[(Input::ServerName, name, "p", effect)]), &facts);
    assert_eq!(
        (by(Effect::Allow, "n"), by(Effect::Deny, "n"), by(Effect::Log, "n")),
        ((true, p()), (false, p()), (true, p()))
    );
    assert_eq!(by(Effect::Deny, "m"), (false, None));
    assert_eq!(decide(&rules(Effect::Deny, &[]), &facts), (true, None));
}

#[test]
fn addresses_and_ports() {
    let facts = Facts {
        local: Some("127.0.0.2:80".parse().unwrap()),
        remote: Some("[::ffff:10.1.2.3]:5000".parse().unwrap()),
        direct_remote: Some("[fd00::1]:1".parse().unwrap()),
        ..Facts::default()
    };
    let range = |address: &str, prefix| Cidr { address: address.parse().unwrap(), prefix };
    let table = [
        (Rule::DestinationIp(range("127.0.0.0", 8)), true),
        (Rule::DestinationPort(80), true),
        (Rule::DestinationPorts(80, 81), true),
        (Rule::DestinationPorts(1, 80), false),
        (Rule::RemoteIp(range("10.0.0.0", 8)), true),
        (Rule::RemoteIp(range("::", 0)), false),
        (Rule::DirectRemoteIp(range("fd00::", 16)), true),
        (Rule::And([Rule::Any, Rule::Not(Box::new(Rule::Never))].into()), true),
        (Rule::Or([Rule::Never, Rule::DestinationPort(81)].into()), false),
    ];
    for (rule, expected) in table {
        let policies = rules(Effect::Allow, &[("p", rule.clone(), Rule::Any)]);
        assert_eq!(decide(&policies, &facts).0, expected, "{rule:?}");
        // On a Unix socket there is no address to match.
        let unix = matches!(rule, Rule::And(_));
        assert_eq!(decide(&policies, &Facts::default()).0, unix, "{rule:?}");
    }
    let by = |input, text| decide(&tree(&[(input, text, "p", Effect::Allow)]), &facts).0;
    assert!(by(Input::SourceIp, "10.1.2.3") && by(Input::SourcePort, "5000") && by(Input::DestinationPort, "80"));
    assert!(by(Input::DestinationIp, "127.0.0.2") && by(Input::DirectSourceIp, "fd00::1"));
}

#[test]
fn shadow_rules_are_counted_and_noted_and_deny_nothing() {
    let registry = Registry::new(1);
    let result = |value: &str| MetadataMatch {
        namespace: "envoy.filters.network.rbac".into(),
        key: Some("s.shadow_engine_result".into()),
        value: ValueMatch::Text(exact(value)),
        invert: false,
    };
    let enforced = rules(Effect::Allow, &[("seen", Rule::Metadata(Box::new(result("denied"))), Rule::Any)]);
    let shadow = rules(Effect::Deny, &[("a b", Rule::Any, Rule::Any)]);
    let gate = gate(vec![rbac(Some(enforced), Some(shadow))], &registry);
    let ruling = gate.rule(&Facts::default());
    assert_eq!((ruling.denied, ruling.policy.as_deref()), (None, Some("seen")));
    let noted = ruling.notes.all("envoy.filters.network.rbac");
    let expected = [("s.shadow_effective_policy_id", "a b"), ("s.shadow_engine_result", "denied")];
    assert_eq!(noted, expected.map(|(key, value)| (key.to_owned(), Noted::Text(value))));
    assert_eq!(registry.rbac("x").get(RbacStat::Allowed), 1);
    assert_eq!(registry.rbac_shadow("x", "s.").get(RbacShadowStat::ShadowDenied), 1);
    assert_eq!(registry.rbac_policy("x", "a b").get(RbacPolicyStat::ShadowDenied), 1);
    assert_eq!(registry.rbac_policy("x", "seen").get(RbacPolicyStat::Allowed), 1);
}

#[test]
fn the_first_filter_that_denies_ends_it() {
    let registry = Registry::new(1);
    let allow = rbac(Some(rules(Effect::Allow, &[("p", Rule::Any, Rule::Any)])), None);
    let deny = Rbac {
        stat_prefix: "y".into(),
        delay_deny: Some(Duration::from_secs(1)),
        ..rbac(Some(rules(Effect::Log, &[])), None)
    };
    let deny = Rbac { enforced: Some(rules(Effect::Allow, &[])), ..deny };
    let never = Rbac { stat_prefix: "z".into(), ..allow.clone() };
    let gate = gate(vec![allow, deny, never], &registry);
    assert!(!gate.is_open());
    let ruling = gate.rule(&Facts::default());
    let denial = Denial { policy: None, delay: Some(Duration::from_secs(1)) };
    assert_eq!(ruling.denied, Some(denial.clone()));
    assert_eq!(denial.detail(), "rbac_access_denied_matched_policy[none]");
    assert_eq!(detail(Some("a b\tc")), "rbac_access_denied_matched_policy[a_b_c]");
    let counted: BTreeMap<_, _> =
        ["x", "y", "z"].map(|p| (p, [RbacStat::Allowed, RbacStat::Denied].map(|s| registry.rbac(p).get(s)))).into();
    assert_eq!(counted, [("x", [1, 0]), ("y", [0, 1]), ("z", [0, 0])].into());
    assert_eq!(registry.rbac_policy("y", "none").get(RbacPolicyStat::Denied), 1);
}

#[test]
fn without_rules_everything_passes_uncounted() {
    let registry = Registry::new(1);
    let gate = gate(vec![rbac(None, None)], &registry);
    let ruling = gate.rule(&Facts::default());
    assert!(ruling.denied.is_none() && ruling.notes.is_empty());
    assert_eq!(registry.rbac("x").get(RbacStat::Allowed), 0);
    assert!(Gate::new(&[], &registry).is_open());
}

#[test]
fn a_log_action_is_a_hint_for_logs() {
    let registry = Registry::new(1);
    let hint = |name: &'static str| {
        let fields = [(Input::ServerName, "a", "log", Effect::Log), (Input::ServerName, "b", "ok", Effect::Allow)];
        let ruling = gate(vec![rbac(Some(tree(&fields)), None)], &registry)
            .rule(&Facts { server_name: name.as_bytes(), ..Facts::default() });
        ruling.notes.get("envoy.common", "access_log_hint").map(|noted| noted == Noted::Bool(true))
    };
    assert_eq!(["a", "b", "c"].map(hint), [Some(true), Some(false), None]);
}
