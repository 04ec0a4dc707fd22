#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};

use super::*;
use crate::model::matcher::{Input, Matcher, MatcherKind, Predicate, Then};
use crate::model::rbac::{Rule, ValueMatch};
use crate::model::testing::{encode, merge, url};
use crate::reject::Ignored;

type Parsed = (Result<Result<Rbac, Unsupported>, Rejection>, Box<[Ignored]>);

fn parse(more: Value) -> Parsed {
    let mut config = json!({"statPrefix": "x."});
    merge(&mut config, more);
    let body = encode("envoy.extensions.filters.network.rbac.v3.RBAC", &config);
    let mut cx = Context::default();
    (rbac(&mut cx, &mut Interner::default(), &body), cx.into_ignored())
}

fn ok(more: Value) -> Rbac {
    match parse(more).0 {
        Ok(Ok(rbac)) => rbac,
        other => panic!("{other:?}"),
    }
}

fn policy(permission: Value, principal: Value) -> Value {
    json!({"rules": {"policies": {"p": {"permissions": [permission], "principals": [principal]}}}})
}

fn permission(permission: Value) -> Value {
    policy(permission, json!({"any": true}))
}

fn principal(principal: Value) -> Value {
    policy(json!({"any": true}), principal)
}

fn extension(type_name: &str, mut config: Value) -> Value {
    config["@type"] = url(type_name).into();
    json!({"name": "n", "typedConfig": config})
}

fn input(name: &str) -> Value {
    extension(&format!("envoy.extensions.matching.common_inputs.{name}"), json!({}))
}

fn action(name: &str, action: &str) -> Value {
    json!({"action": extension("envoy.config.rbac.v3.Action", json!({"name": name, "action": action}))})
}

fn single(input: Value, matcher: Value) -> Value {
    let mut single = json!({"input": input});
    merge(&mut single, matcher);
    json!({"singlePredicate": single})
}

fn list(predicate: Value, on_match: Value) -> Value {
    json!({"matcher": {"matcherList": {"matchers": [{"predicate": predicate, "onMatch": on_match}]}}})
}

fn sni(matcher: Value) -> Value {
    list(single(input("network.v3.ServerNameInput"), json!({"valueMatch": matcher})), action("a", "ALLOW"))
}

#[test]
fn rules_as_kuma_2_writes_them() {
    let rbac = ok(json!({"statPrefix": "externalservice-1.", "rules": {"policies": {
        "b": {"permissions": [{"any": true}], "principals": [{"authenticated": {}}]},
        "a": {"permissions": [{"any": true}],
              "principals": [{"authenticated": {"principalName": {"exact": "spiffe://m/backend"}}}]}}}}));
    assert_eq!((&*rbac.stat_prefix, &*rbac.shadow_prefix), ("externalservice-1", ""));
    assert!(rbac.shadow.is_none() && rbac.delay_deny.is_none());
    let Some(Policies::Rules { effect: Effect::Allow, policies }) = &rbac.enforced else { panic!("{rbac:?}") };
    assert_eq!(policies.iter().map(|p| &*p.name).collect::<Vec<_>>(), ["a", "b"]);
    assert!(
        matches!(&*policies[0].principals, [Rule::Authenticated(Some(name))] if name.matches(b"spiffe://m/backend"))
    );
    assert!(matches!(&*policies[1].principals, [Rule::Authenticated(None)]));
}

#[test]
fn a_matcher_as_kuma_3_writes_it() {
    let predicate = json!({"andMatcher": {"predicate": [
        single(input("ssl.v3.UriSanInput"), json!({"valueMatch": {"prefix": "spiffe://m/"}})),
        {"notMatcher": single(input("network.v3.ServerNameInput"), json!({"valueMatch": {"exact": "n"}}))}]}});
    let mut config = list(predicate, action("kri_mtp_m___x_", "DENY"));
    config["matcher"]["onNoMatch"] = action("default", "LOG");
    let rbac = ok(config);
    let Some(policies @ Policies::Tree(matcher)) = &rbac.enforced else { panic!("{rbac:?}") };
    let MatcherKind::List(fields) = &matcher.kind else { panic!("{matcher:?}") };
    let Predicate::And(both) = &fields[0].predicate else { panic!("{fields:?}") };
    assert!(matches!(&both[0], Predicate::Single(Input::UriSan, text) if text.matches(b"spiffe://m/x")));
    assert!(matches!(&both[1], Predicate::Not(_)));
    assert!(matches!(&fields[0].on_match.then, Then::Action(Action { effect: Effect::Deny, .. })));
    assert_eq!(policies.names().iter().map(|n| &***n).collect::<Vec<_>>(), ["default", "kri_mtp_m___x_"]);
    assert!(policies.logs());
}

#[test]
fn the_matcher_wins_over_rules_beside_it() {
    let mut config = permission(json!({"any": true}));
    merge(&mut config, json!({"matcher": {}, "shadowRules": {}, "shadowRulesStatPrefix": "s", "delayDeny": "1.5s"}));
    let (parsed, ignored) = parse(config);
    let rbac = parsed.unwrap().unwrap();
    assert!(matches!(rbac.enforced, Some(Policies::Tree(_))));
    assert!(matches!(rbac.shadow, Some(Policies::Rules { .. })));
    assert_eq!((&*rbac.shadow_prefix, rbac.delay_deny), ("s", Some(std::time::Duration::from_millis(1500))));
    assert_eq!(ignored.iter().map(|i| i.path.to_string()).collect::<Vec<_>>(), ["rules"]);
}

#[test]
fn what_is_not_honoured_is_reported() {
    let audit =
        json!({"enforcementType": "CONTINUOUS", "rules": {"auditLoggingOptions": {"auditCondition": "ON_DENY"}}});
    let (parsed, ignored) = parse(audit);
    assert!(parsed.unwrap().is_ok());
    let paths: Vec<_> = ignored.iter().map(|i| i.path.to_string()).collect();
    assert_eq!(paths, ["enforcement_type", "rules.audit_logging_options"]);
}

#[test]
fn what_cannot_be_evaluated_is_named_and_never_skipped() {
    let at = "rules.policies[\"p\"]";
    let metadata = json!({"filter": "f", "path": [{"key": "k"}], "value": {"presentMatch": true}});
    let condition = json!({"rules": {"policies": {"p": {"permissions": [{"any": true}],
        "principals": [{"any": true}], "condition": {"constExpr": {"boolValue": true}}}}}});
    let foreign = |t: &str| extension(t, json!({}));
    let san = extension(
        "envoy.extensions.rbac.principals.mtls_authenticated.v3.Config",
        json!({"sanMatcher": {"sanType": "URI", "matcher": {"exact": "x"}}}),
    );
    let custom = json!({"customMatch": extension("envoy.extensions.matching.input_matchers.ip.v3.Ip",
        json!({"statPrefix": "s", "cidrRanges": [{"addressPrefix": "::"}]}))});
    let table = [
        (condition, format!("{at}.condition")),
        (
            permission(json!({"notRule": {"metadata": metadata}})),
            format!("{at}.permissions[0].not_rule.metadata.filter"),
        ),
        (
            permission(
                json!({"matcher": foreign("envoy.extensions.rbac.matchers.upstream_ip_port.v3.UpstreamIpPortMatcher")}),
            ),
            format!("{at}.permissions[0].matcher.typed_config"),
        ),
        (
            permission(
                json!({"uriTemplate": foreign("envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig")}),
            ),
            format!("{at}.permissions[0].uri_template.typed_config"),
        ),
        (
            principal(json!({"filterState": {"key": "k", "stringMatch": {"exact": "v"}}})),
            format!("{at}.principals[0].filter_state"),
        ),
        (principal(json!({"custom": san})), format!("{at}.principals[0].custom.typed_config.san_matcher")),
        (
            list(single(input("network.v3.ServerNameInput"), custom), action("a", "ALLOW")),
            "matcher.matcher_list.matchers[0].predicate.single_predicate.custom_match.typed_config".into(),
        ),
        (
            list(
                single(input("network.v3.FilterStateInput"), json!({"valueMatch": {"exact": "x"}})),
                action("a", "ALLOW"),
            ),
            "matcher.matcher_list.matchers[0].predicate.single_predicate.input.typed_config".into(),
        ),
    ];
    for (config, path) in table {
        let unsupported = parse(config.clone()).0.unwrap().map(|_| panic!("{config}")).unwrap_err();
        assert_eq!(unsupported.path.to_string(), path);
    }
}

#[test]
fn what_a_connection_has_none_of_never_matches() {
    let rule = |config| match ok(permission(config)).enforced {
        Some(Policies::Rules { mut policies, .. }) => std::mem::take(&mut policies[0].permissions)[0].clone(),
        other => panic!("{other:?}"),
    };
    assert!(matches!(rule(json!({"urlPath": {"path": {"exact": "/"}}})), Rule::Never));
    let shadow = json!({"filter": "envoy.filters.network.rbac", "path": [{"key": "shadow_engine_result"}],
        "value": {"orMatch": {"valueMatchers": [{"doubleMatch": {"exact": 1}}, {"boolMatch": true}]}}});
    let Rule::Metadata(matcher) = rule(json!({"metadata": shadow})) else { panic!() };
    assert!(
        matches!(&matcher.value, ValueMatch::Or(both) if matches!(**both, [ValueMatch::Never, ValueMatch::Bool(true)]))
    );
    let route = json!({"metadataMatcher": shadow, "metadataSource": "ROUTE"});
    assert!(matches!(rule(json!({"sourcedMetadata": route})), Rule::Never));
}

/// Each line was tried with Envoy 1.40, which refuses it too.
#[test]
fn refusals_name_the_field() {
    let permissions = "rules.policies[\"p\"].permissions[0]";
    let predicate = "matcher.matcher_list.matchers[0].predicate";
    let header = json!({"header": {"name": "x", "presentMatch": true}});
    let range = |start: i32, end: i32| permission(json!({"destinationPortRange": {"start": start, "end": end}}));
    let keep = json!({"action": action("a", "ALLOW")["action"], "keepMatching": true});
    let text = |matcher| sni(matcher);
    let mut beside = permission(header.clone());
    beside["matcher"] = json!({});
    let foreign = extension("envoy.config.core.v3.Pipe", json!({"path": "/p"}));
    let tree = |tree: Value| {
        let mut all = json!({"input": input("network.v3.SourceIPInput")});
        merge(&mut all, tree);
        json!({"matcher": {"matcherTree": all}})
    };
    let or_of_one = json!({"orMatcher": {"predicate": [single(input("ssl.v3.UriSanInput"), json!({"valueMatch": {"exact": "x"}}))]}});
    let table = [
        (json!({"statPrefix": ""}), "stat_prefix".to_owned()),
        (json!({"delayDeny": "-1s"}), "delay_deny".into()),
        (json!({"rules": {"action": 7}}), "rules.action".into()),
        (
            json!({"rules": {"auditLoggingOptions": {"auditCondition": 9}}}),
            "rules.audit_logging_options.audit_condition".into(),
        ),
        (permission(header.clone()), format!("{permissions}.header")),
        (permission(json!({"notRule": header})), format!("{permissions}.not_rule.header")),
        (beside, format!("{permissions}.header")),
        (
            principal(json!({"orIds": {"ids": [header]}})),
            "rules.policies[\"p\"].principals[0].or_ids.ids[0].header".into(),
        ),
        (permission(json!({"any": false})), format!("{permissions}.any")),
        (permission(json!({})), format!("{permissions}.rule")),
        (permission(json!({"andRules": {}})), format!("{permissions}.and_rules.rules")),
        (permission(json!({"urlPath": {}})), format!("{permissions}.url_path.rule")),
        (permission(json!({"destinationPort": 65536})), format!("{permissions}.destination_port")),
        (
            permission(json!({"destinationIp": {"addressPrefix": "x"}})),
            format!("{permissions}.destination_ip.address_prefix"),
        ),
        (range(5, 5), format!("{permissions}.destination_port_range")),
        (range(-1, 5), format!("{permissions}.destination_port_range.start")),
        (range(1, 65537), format!("{permissions}.destination_port_range.end")),
        (permission(json!({"requestedServerName": {}})), format!("{permissions}.requested_server_name.match_pattern")),
        (principal(json!({"custom": foreign})), "rules.policies[\"p\"].principals[0].custom.typed_config".into()),
        (
            json!({"rules": {"policies": {"p": {"principals": [{"any": true}]}}}}),
            "rules.policies[\"p\"].permissions".into(),
        ),
        (
            text(json!({"safeRegex": {"googleRe2": {}, "regex": "a"}, "ignoreCase": true})),
            format!("{predicate}.single_predicate.value_match.ignore_case"),
        ),
        (text(json!({"prefix": ""})), format!("{predicate}.single_predicate.value_match.prefix")),
        (
            text(json!({"safeRegex": {"googleRe2": {}, "regex": "("}})),
            format!("{predicate}.single_predicate.value_match.safe_regex.regex"),
        ),
        (
            text(json!({"safeRegex": {"regex": "a"}})),
            format!("{predicate}.single_predicate.value_match.safe_regex.engine_type"),
        ),
        (list(or_of_one, action("a", "ALLOW")), format!("{predicate}.or_matcher.predicate")),
        (json!({"matcher": {"matcherList": {}}}), "matcher.matcher_list.matchers".into()),
        (json!({"matcher": {"onNoMatch": keep}}), "matcher.on_no_match.keep_matching".into()),
        (json!({"matcher": {"onNoMatch": {}}}), "matcher.on_no_match.on_match".into()),
        (json!({"matcher": {"onNoMatch": action("", "ALLOW")}}), "matcher.on_no_match.action.typed_config.name".into()),
        (json!({"matcher": {"onNoMatch": {"action": foreign}}}), "matcher.on_no_match.action.typed_config".into()),
        (tree(json!({"exactMatchMap": {}})), "matcher.matcher_tree.exact_match_map.map".into()),
        (tree(json!({"customMatch": foreign})), "matcher.matcher_tree.custom_match.typed_config".into()),
    ];
    for (config, path) in table {
        let rejection = parse(config.clone()).0.map(|_| panic!("{config}")).unwrap_err();
        assert_eq!(rejection.path.to_string(), path, "{rejection}");
    }
}

#[test]
fn inputs_of_other_places_are_refused_in_envoys_words() {
    let refused = |name: &str| {
        let config = list(single(input(name), json!({"valueMatch": {"exact": "x"}})), action("a", "ALLOW"));
        parse(config).0.map(|_| panic!("{name}")).unwrap_err().reason
    };
    let url = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.SourceTypeInput";
    assert_eq!(&*refused("network.v3.SourceTypeInput"), format!("RBAC network filter cannot match '{url}'"));
    assert!(refused("network.v3.TransportProtocolInput").starts_with("didn't find a registered implementation"));
}

#[test]
fn nesting_is_bounded() {
    let mut inner = json!({"matcherList": {"matchers": [{"predicate":
        single(input("network.v3.ServerNameInput"), json!({"valueMatch": {"exact": "x"}})),
        "onMatch": action("a", "ALLOW")}]}});
    for _ in 0..20 {
        inner = json!({"onNoMatch": {"matcher": inner}});
    }
    assert!(&*parse(json!({"matcher": inner})).0.unwrap_err().reason == "nested too deep");
}

#[test]
fn ranges_and_domains() {
    use crate::model::matcher::{Domains, Tree, TreeKind};
    let tree = |of: &str, matcher: &str, config: Value| {
        let custom = extension(&format!("xds.type.matcher.v3.{matcher}"), config);
        json!({"matcher": {"matcherTree": {"input": input(&format!("network.v3.{of}Input")), "customMatch": custom}}})
    };
    let kind = |config| match ok(config).enforced {
        Some(Policies::Tree(Matcher { kind: MatcherKind::Tree(Tree { kind, .. }), .. })) => kind,
        other => panic!("{other:?}"),
    };
    let range = |prefix: u32| json!({"addressPrefix": "10.0.0.0", "prefixLen": prefix});
    let ranges = json!({"rangeMatchers": [
        {"ranges": [range(8), range(24)], "onMatch": action("a", "ALLOW")},
        {"ranges": [range(24), range(33)], "onMatch": action("b", "DENY"), "exclusive": true}]});
    let TreeKind::Ip { ranges, outcomes } = kind(tree("SourceIP", "IPMatcher", ranges)) else { panic!() };
    let order: Vec<_> = ranges.iter().map(|r| (r.range.prefix, r.outcome, r.exclusive)).collect();
    assert_eq!(order, [(32, 1, true), (24, 0, false), (24, 1, true), (8, 0, false)]);
    assert_eq!(outcomes.len(), 2);

    let domains = |domains: Value| json!({"domainMatchers": [{"domains": domains, "onMatch": action("a", "ALLOW")}]});
    let server_name = |list: Value| tree("ServerName", "ServerNameMatcher", domains(list));
    let TreeKind::Domains(Domains { exact, wildcards, any, .. }) = kind(server_name(json!(["b", "*.c", "*", "a"])))
    else {
        panic!()
    };
    assert_eq!((exact[0].0.as_ref(), wildcards[0].0.as_ref(), any), ("a", "c", Some(0)));
    let at = "matcher.matcher_tree.custom_match.typed_config";
    for (list, field) in [
        (json!([]), "domains"),
        (json!(["a", "a"]), "domains[1]"),
        (json!(["*."]), "domains[0]"),
        (json!(["a.*"]), "domains[0]"),
        (json!([""]), "domains[0]"),
    ] {
        let refused = parse(server_name(list)).0.unwrap_err();
        assert_eq!(refused.path.to_string(), format!("{at}.domain_matchers[0].{field}"));
    }
    let none = tree("SourceIP", "IPMatcher", json!({"rangeMatchers": [{"onMatch": action("a", "ALLOW")}]}));
    assert_eq!(parse(none).0.unwrap_err().path.to_string(), format!("{at}.range_matchers[0].ranges"));
}
