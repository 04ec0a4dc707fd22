//! Policies at random, by a seed, over a small world of names: what matches one of them often must not match another.

use fastrand::Rng;
use serde_json::{Map, Value, json};
use tests::bootstrap::kind;

/// Names that certificates, server names and patterns are made of.
const TEXTS: [&str; 16] = [
    "spiffe://default/backend",
    "spiffe://default/web",
    "kuma://version/v1",
    "web.default.svc",
    "CN=a workload",
    "backend.default.mesh",
    "backend{mesh=default}",
    "a.b",
    "x.a.b",
    "10.1.2.3",
    "443",
    "8443",
    "127.0.0.1",
    "spiffe://default/web,kuma://version/v1",
    "a_b.c",
    "",
];
const REGEXES: [&str; 12] = [
    "spiffe://default/(web|backend)",
    r"spiffe://[\w.-]+/.*",
    ".*web.*",
    r"\w+\.default\.mesh",
    r"[a-z_]+\..*",
    "",
    ".*",
    r"[^,]*",
    r"\d+(\.\d+){3}",
    r"\Qa.b\E",
    "(?i)BACKEND.*",
    r"\S*\bmesh\b\S*",
];
const NAMES: [&str; 8] = ["allow-all", "a b", "B", "b", "kri_mtp_default_z1_ns_x_", "ä", "", "p.q"];
const RANGES: [(&str, u32); 10] = [
    ("10.0.0.0", 8),
    ("10.1.2.3", 32),
    ("10.1.0.0", 16),
    ("127.0.0.0", 8),
    ("127.0.0.1", 32),
    ("0.0.0.0", 0),
    ("::", 0),
    ("fd00::", 16),
    ("192.168.0.0", 33),
    ("172.16.0.0", 12),
];

/// One RBAC filter. Even ones are rules, odd ones matchers.
pub fn filter(random: &mut Rng, index: usize) -> Value {
    let mut config = json!({
        "@type": kind("envoy.extensions.filters.network.rbac.v3.RBAC"),
        "stat_prefix": format!("p{index}{}", if random.bool() { "." } else { "" }),
    });
    let mut put = |field: &str, value: Value| config[field] = value;
    match index % 2 {
        0 => put("rules", rules(random)),
        _ => put("matcher", matcher(random, 3)),
    }
    match random.u8(..6) {
        0 => put("shadow_rules", rules(random)),
        1 => put("shadow_matcher", matcher(random, 2)),
        _ => {}
    }
    if random.u8(..4) == 0 {
        put("shadow_rules_stat_prefix", "sh.".into());
    }
    json!({"name": "envoy.filters.network.rbac", "typed_config": config})
}

fn rules(random: &mut Rng) -> Value {
    let action = pick(random, &["ALLOW", "ALLOW", "ALLOW", "DENY", "DENY", "LOG"]);
    let mut policies = Map::new();
    for _ in 0..random.usize(..4) {
        let permissions = several(random, 1, |random| permission(random, 3));
        let principals = several(random, 1, |random| principal(random, 3));
        policies.insert(pick(random, &NAMES).into(), json!({"permissions": permissions, "principals": principals}));
    }
    json!({"action": action, "policies": policies})
}

fn permission(random: &mut Rng, depth: u8) -> Value {
    match random.u8(if depth == 0 { 3 } else { 0 }..12) {
        0 => json!({"and_rules": {"rules": several(random, 1, |random| permission(random, depth - 1))}}),
        1 => json!({"or_rules": {"rules": several(random, 1, |random| permission(random, depth - 1))}}),
        2 => json!({"not_rule": permission(random, depth - 1)}),
        3 => json!({"any": true}),
        4 => json!({"destination_ip": range(random)}),
        5 => json!({"destination_port": pick(random, &[443, 8443, 80])}),
        6 => {
            let start = pick(random, &[0, 80, 443, 1000]);
            json!({"destination_port_range": {"start": start, "end": start + pick(random, &[1, 400, 64_000])}})
        }
        7 => json!({"url_path": {"path": text(random, false)}}),
        8 => json!({"metadata": metadata(random)}),
        9 => json!({"sourced_metadata": {"metadata_matcher": metadata(random),
            "metadata_source": pick(random, &["DYNAMIC", "ROUTE"])}}),
        _ => json!({"requested_server_name": text(random, false)}),
    }
}

fn principal(random: &mut Rng, depth: u8) -> Value {
    match random.u8(if depth == 0 { 3 } else { 0 }..14) {
        0 => json!({"and_ids": {"ids": several(random, 1, |random| principal(random, depth - 1))}}),
        1 => json!({"or_ids": {"ids": several(random, 1, |random| principal(random, depth - 1))}}),
        2 => json!({"not_id": principal(random, depth - 1)}),
        3 => json!({"any": true}),
        4 => json!({"authenticated": {}}),
        5 => json!({"source_ip": range(random)}),
        6 => json!({"direct_remote_ip": range(random)}),
        7 => json!({"remote_ip": range(random)}),
        8 => json!({"url_path": {"path": text(random, false)}}),
        9 => json!({"metadata": metadata(random)}),
        10 => json!({"custom": {"name": "m", "typed_config": {
            "@type": kind("envoy.extensions.rbac.principals.mtls_authenticated.v3.Config"),
            "any_validated_client_certificate": true}}}),
        _ => json!({"authenticated": {"principal_name": text(random, false)}}),
    }
}

fn metadata(random: &mut Rng) -> Value {
    let (filter, key) = pick(
        random,
        &[
            ("envoy.filters.network.rbac", "shadow_engine_result"),
            ("envoy.filters.network.rbac", "sh.shadow_effective_policy_id"),
            ("envoy.common", "access_log_hint"),
        ],
    );
    let value = match random.u8(..6) {
        0 => json!({"present_match": true}),
        1 => json!({"present_match": false}),
        2 => json!({"null_match": {}}),
        3 => json!({"bool_match": random.bool()}),
        4 => json!({"or_match": {"value_matchers": [{"present_match": true}, {"double_match": {"exact": 1}}]}}),
        _ => json!({"string_match": {"exact": pick(random, &["allowed", "denied", "b"])}}),
    };
    json!({"filter": filter, "path": [{"key": key}], "value": value, "invert": random.u8(..3) == 0})
}

fn matcher(random: &mut Rng, depth: u8) -> Value {
    let mut matcher = match random.u8(..8) {
        0 => json!({}),
        1..4 => json!({"matcher_tree": tree(random, depth)}),
        _ => json!({"matcher_list": {"matchers": several(random, 1, |random| {
            json!({"predicate": predicate(random, 3), "on_match": on_match(random, depth)})
        })}}),
    };
    if random.u8(..3) > 0 {
        matcher["on_no_match"] = on_match(random, depth);
    }
    matcher
}

fn on_match(random: &mut Rng, depth: u8) -> Value {
    if depth > 0 && random.u8(..4) == 0 {
        return json!({"matcher": matcher(random, depth - 1)});
    }
    let name = pick(random, &NAMES[..6]);
    let action = pick(random, &["ALLOW", "ALLOW", "DENY", "DENY", "LOG"]);
    let config = json!({"@type": kind("envoy.config.rbac.v3.Action"), "name": name, "action": action});
    json!({"action": {"name": "envoy.filters.rbac.action", "typed_config": config}})
}

fn predicate(random: &mut Rng, depth: u8) -> Value {
    match random.u8(if depth == 0 { 3 } else { 0 }..8) {
        0 => json!({"or_matcher": {"predicate": several(random, 2, |random| predicate(random, depth - 1))}}),
        1 => json!({"and_matcher": {"predicate": several(random, 2, |random| predicate(random, depth - 1))}}),
        2 => json!({"not_matcher": predicate(random, depth - 1)}),
        _ => json!({"single_predicate": {"input": input(random), "value_match": text(random, true)}}),
    }
}

fn tree(random: &mut Rng, depth: u8) -> Value {
    let mut tree = json!({"input": input(random)});
    let map = |random: &mut Rng| -> Value {
        let count = random.usize(1..4);
        let entries = (0..count).map(|_| {
            let text = pick(random, &TEXTS);
            let end = if random.bool() { text.len() } else { random.usize(..=text.len()) };
            (text[..end].to_owned(), on_match(random, depth))
        });
        entries.collect::<Map<_, _>>().into()
    };
    match random.u8(..4) {
        0 => tree["exact_match_map"] = json!({"map": map(random)}),
        1 => tree["prefix_match_map"] = json!({"map": map(random)}),
        2 => {
            let matchers = several(
                random,
                1,
                |random| json!({"ranges": several(random, 1, range), "on_match": on_match(random, depth), "exclusive": random.bool()}),
            );
            tree["input"] = input_of(pick(random, &["SourceIP", "DestinationIP", "DirectSourceIP"]));
            tree["custom_match"] = custom("IPMatcher", json!({"range_matchers": matchers}));
        }
        _ => {
            let mut domains = vec!["a.b", "*.b", "*.a.b", "*.mesh", "*.default.mesh", "backend.default.mesh", "*"];
            random.shuffle(&mut domains);
            let matchers: Vec<_> = domains
                .chunks(2)
                .take(3)
                .map(|two| json!({"domains": two, "on_match": on_match(random, depth)}))
                .collect();
            tree["input"] = input_of("ServerName");
            tree["custom_match"] = custom("ServerNameMatcher", json!({"domain_matchers": matchers}));
        }
    }
    tree
}

fn custom(matcher: &str, mut config: Value) -> Value {
    config["@type"] = kind(&format!("xds.type.matcher.v3.{matcher}")).into();
    json!({"name": "m", "typed_config": config})
}

fn input(random: &mut Rng) -> Value {
    const NETWORK: [&str; 8] = [
        "ServerName",
        "ServerName",
        "SourceIP",
        "DestinationIP",
        "DirectSourceIP",
        "DestinationPort",
        "SourcePort",
        "NetworkNamespace",
    ];
    const SSL: [&str; 3] = ["UriSan", "DnsSan", "Subject"];
    match random.bool() {
        true => input_of(pick(random, &NETWORK)),
        false => json!({"name": "i", "typed_config": {
            "@type": kind(&format!("envoy.extensions.matching.common_inputs.ssl.v3.{}Input", pick(random, &SSL)))}}),
    }
}

fn input_of(name: &str) -> Value {
    let name = format!("envoy.extensions.matching.common_inputs.network.v3.{name}Input");
    json!({"name": "i", "typed_config": {"@type": kind(&name)}})
}

/// A StringMatcher, of xDS or of Envoy.
fn text(random: &mut Rng, xds: bool) -> Value {
    let whole = pick(random, &TEXTS);
    let cut = |at: usize| if whole.is_empty() { ("a", "b") } else { whole.split_at(at.clamp(1, whole.len())) };
    let (head, tail) = cut(random.usize(..=whole.len()));
    let tail = if tail.is_empty() { head } else { tail };
    let mut matcher = match random.u8(..6) {
        0 | 1 => json!({"exact": whole}),
        2 => json!({"prefix": head}),
        3 => json!({"suffix": tail}),
        4 => json!({"contains": tail}),
        _ => {
            let mut regex = pick(random, &REGEXES);
            regex = if regex.is_empty() { "a?" } else { regex };
            if xds {
                json!({"safe_regex": {"google_re2": {}, "regex": regex}})
            } else {
                json!({"safe_regex": {"regex": regex}})
            }
        }
    };
    // Envoy refuses it with a regex.
    matcher["ignore_case"] = (random.u8(..4) == 0 && matcher.get("safe_regex").is_none()).into();
    matcher
}

fn range(random: &mut Rng) -> Value {
    let (address, length) = pick(random, &RANGES);
    json!({"address_prefix": address, "prefix_len": length})
}

fn several(random: &mut Rng, least: usize, mut make: impl FnMut(&mut Rng) -> Value) -> Vec<Value> {
    (0..random.usize(least..least + 3)).map(|_| make(random)).collect()
}

/// One of them.
pub fn pick<T: Copy>(random: &mut Rng, of: &[T]) -> T {
    of[random.usize(..of.len())]
}
