//! The list says what the data path does: random permissions, in both forms, tried on random connections.

use std::net::SocketAddr;
use std::sync::Arc;

use config::model::chain::Cidr;
use config::model::matcher::{
    Domains, FieldMatcher, Input, IpRange, Matcher, MatcherKind, OnMatch, Predicate, TextMatch, TextPattern, Then,
    Tree, TreeKind,
};
use config::model::rbac::{Action, Effect, Policies, Policy, Rbac, Rule as Term};
use proptest::prelude::*;
use proxy::rbac::{Facts, Notes, Peer, evaluate};

use super::rules::Rules;

/// Few values, so that they meet.
const IDENTITIES: [&str; 5] =
    ["spiffe://a/x", "spiffe://a/xy", "spiffe://b/x", "kuma://service/x", "spiffe://a.evil/x"];
const NAMES: [&str; 5] = ["", "x.mesh", "y.x.mesh", "backend{mesh=default}", "X.mesh"];
const ADDRESSES: [&str; 3] = ["10.0.0.1:443", "10.0.1.1:80", "[::1]:443"];
const RANGES: [(&str, u8); 4] = [("10.0.0.0", 8), ("10.0.0.0", 24), ("0.0.0.0", 0), ("::", 0)];

fn text() -> impl Strategy<Value = TextMatch> {
    let known =
        IDENTITIES.into_iter().chain(NAMES).flat_map(|name| [name, &name[..name.len() / 2], &name[name.len() / 2..]]);
    let known: Vec<&'static str> = known.collect();
    (0..5_u8, prop::sample::select(known), any::<bool>()).prop_map(|(kind, text, ignore_case)| {
        let pattern = match kind {
            0 => TextPattern::Exact(text.into()),
            1 => TextPattern::Prefix(text.into()),
            2 => TextPattern::Suffix(text.into()),
            3 => TextPattern::Contains(text.into()),
            _ => TextPattern::Regex(Box::new(
                regex::bytes::Regex::new(&format!(r"\A(?:{}.*)\z", regex::escape(text))).unwrap(),
            )),
        };
        TextMatch { pattern, ignore_case }
    })
}

fn range() -> impl Strategy<Value = Cidr> {
    prop::sample::select(&RANGES[..]).prop_map(|(address, prefix)| Cidr { address: address.parse().unwrap(), prefix })
}

fn input() -> impl Strategy<Value = Input> {
    prop::sample::select(vec![
        Input::UriSan,
        Input::UriSan,
        Input::ServerName,
        Input::ServerName,
        Input::DnsSan,
        Input::Subject,
        Input::SourceIp,
        Input::DestinationPort,
        Input::NetworkNamespace,
    ])
}

fn term() -> impl Strategy<Value = Term> {
    let leaf = prop_oneof![
        Just(Term::Any),
        Just(Term::Never),
        text().prop_map(Term::ServerName),
        text().prop_map(|text| Term::Authenticated(Some(text))),
        Just(Term::Authenticated(None)),
        Just(Term::Verified),
        range().prop_map(Term::RemoteIp),
        range().prop_map(Term::DestinationIp),
        Just(Term::DestinationPort(443)),
        Just(Term::DestinationPorts(80, 443)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            several.clone().prop_map(|all| Term::And(all.into())),
            several.prop_map(|all| Term::Or(all.into())),
            inner.prop_map(|one| Term::Not(Box::new(one))),
        ]
    })
}

fn predicate() -> impl Strategy<Value = Predicate> {
    let leaf = (input(), text()).prop_map(|(input, text)| Predicate::Single(input, text));
    leaf.prop_recursive(3, 10, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several.clone().prop_map(|all| Predicate::And(all.into())),
            several.prop_map(|all| Predicate::Or(all.into())),
            inner.prop_map(|one| Predicate::Not(Box::new(one))),
        ]
    })
}

fn effect() -> impl Strategy<Value = Effect> {
    prop_oneof![Just(Effect::Allow), Just(Effect::Deny), Just(Effect::Log)]
}

fn action() -> impl Strategy<Value = Then<Action>> {
    (prop::sample::select(vec!["p", "q", "r", "s"]), effect())
        .prop_map(|(name, effect)| Then::Action(Action { name: name.into(), effect }))
}

fn on_match(then: impl Strategy<Value = Then<Action>>) -> impl Strategy<Value = OnMatch<Action>> {
    (then, prop::bool::weighted(0.2)).prop_map(|(then, keep_matching)| OnMatch { then, keep_matching })
}

fn matcher(then: BoxedStrategy<Then<Action>>) -> impl Strategy<Value = Matcher<Action>> {
    let outcome = on_match(then).boxed();
    let field = (predicate(), outcome.clone()).prop_map(|(predicate, on_match)| FieldMatcher { predicate, on_match });
    let list = prop::collection::vec(field, 1..4).prop_map(|list| MatcherKind::List(list.into()));
    let keyed = |outcome: &BoxedStrategy<OnMatch<Action>>| {
        let keys = IDENTITIES.into_iter().chain(NAMES).flat_map(|name| [name, &name[..name.len() / 2]]);
        let keys: Vec<&'static str> = keys.collect();
        prop::collection::btree_map(prop::sample::select(keys), outcome.clone(), 1..4)
            .prop_map(|map| map.into_iter().map(|(key, then)| (Box::from(key), then)).collect::<Box<[_]>>())
    };
    let exact = (input(), keyed(&outcome)).prop_map(|(input, map)| Tree { input, kind: TreeKind::Exact(map) });
    let prefix = (input(), keyed(&outcome)).prop_map(|(input, map)| Tree { input, kind: TreeKind::Prefix(map) });
    let address = prop::sample::select(vec![Input::SourceIp, Input::DestinationIp, Input::DirectSourceIp]);
    let ranges = prop::collection::vec((range(), any::<bool>(), outcome.clone()), 1..4);
    let ip = (address, ranges).prop_map(|(input, all)| {
        let mut ranges: Vec<IpRange> = Vec::new();
        let mut outcomes = Vec::new();
        for (range, exclusive, then) in all {
            ranges.push(IpRange { range, exclusive, outcome: outcomes.len() });
            outcomes.push(then);
        }
        ranges.sort_by_key(|range| std::cmp::Reverse(range.range.prefix));
        Tree { input, kind: TreeKind::Ip { ranges: ranges.into(), outcomes: outcomes.into() } }
    });
    let domains = (prop::option::of(outcome.clone()), outcome.clone(), outcome.clone(), outcome.clone());
    let domains = domains.prop_map(|(any, exact, wide, narrow)| {
        let wildcards = Box::from([("mesh".into(), 1), ("x.mesh".into(), 2)]);
        let mut outcomes = vec![exact, wide, narrow];
        let any = any.map(|then| {
            outcomes.push(then);
            3
        });
        let domains = Domains { exact: Box::from([("x.mesh".into(), 0)]), wildcards, any, outcomes: outcomes.into() };
        Tree { input: Input::ServerName, kind: TreeKind::Domains(domains) }
    });
    let tree = prop_oneof![exact, prefix, ip, domains].prop_map(MatcherKind::Tree);
    let kind = prop_oneof![4 => list, 3 => tree, 1 => Just(MatcherKind::None)];
    (kind, prop::option::of(outcome)).prop_map(|(kind, on_no_match)| Matcher { kind, on_no_match })
}

fn policies() -> impl Strategy<Value = Policies> {
    let terms = || prop::collection::vec(term(), 1..3).prop_map(Box::from);
    let policy = (terms(), terms()).prop_map(|(permissions, principals)| (permissions, principals));
    let rules = (effect(), prop::collection::vec(policy, 0..4)).prop_map(|(effect, all)| {
        let named = all.into_iter().enumerate().map(|(i, (permissions, principals))| Policy {
            name: format!("policy {i}").into(),
            permissions,
            principals,
        });
        Policies::Rules { effect, policies: named.collect() }
    });
    let inner = matcher(action().boxed()).prop_map(|matcher| Then::Matcher(Box::new(matcher)));
    let nested = prop_oneof![2 => action(), 1 => inner].boxed();
    prop_oneof![rules, matcher(nested).prop_map(Policies::Tree)]
}

#[derive(Clone, Debug)]
struct Client {
    tls: bool,
    uri_sans: Vec<Box<str>>,
    name: &'static str,
    local: SocketAddr,
    remote: SocketAddr,
}

fn client() -> impl Strategy<Value = Client> {
    let sans = prop::collection::vec(prop::sample::select(&IDENTITIES[..]).prop_map(Box::from), 0..3);
    let address = || prop::sample::select(&ADDRESSES[..]).prop_map(|text| text.parse().unwrap());
    (any::<bool>(), sans, prop::sample::select(&NAMES[..]), address(), address())
        .prop_map(|(tls, uri_sans, name, local, remote)| Client { tls, uri_sans, name, local, remote })
}

impl Client {
    fn facts(&self, tls: bool) -> Facts<'_> {
        let verified = !self.uri_sans.is_empty();
        let peer = Peer { uri_sans: &self.uri_sans, dns_sans: &[], subject: "", verified };
        Facts {
            peer: tls.then_some(peer),
            server_name: self.name.as_bytes(),
            local: Some(self.local),
            remote: Some(self.remote),
            direct_remote: Some(self.remote),
            request: None,
        }
    }
}

fn filter(enforced: Policies) -> Arc<Rbac> {
    Arc::new(Rbac {
        stat_prefix: "x".into(),
        shadow_prefix: "".into(),
        enforced: Some(enforced),
        shadow: None,
        delay_deny: None,
    })
}

/// What the evaluator says: allowed or not, and by which policy.
fn really(filters: &[Arc<Rbac>], facts: &Facts<'_>) -> (bool, Option<String>) {
    let mut last = (true, None);
    for filter in filters {
        let verdict = evaluate(filter.enforced.as_ref().unwrap(), facts, &Notes::default());
        last = (verdict.allowed, verdict.policy.map(ToString::to_string));
        if !last.0 {
            break;
        }
    }
    last
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn the_list_decides_as_the_data_path(
        policies in prop::collection::vec(policies(), 1..3),
        clients in prop::collection::vec(client(), 1..24),
    ) {
        let filters: Vec<_> = policies.into_iter().map(filter).collect();
        for tls in [true, false] {
            let rules = Rules::of(filters.iter().filter_map(|filter| filter.enforced.as_ref()), tls);
            for client in clients.iter().filter(|client| client.tls == tls) {
                let facts = client.facts(tls);
                let decides = rules.decide(&facts).expect("the last rule applies always");
                let (allowed, policy) = really(&filters, &facts);
                prop_assert_eq!(decides.allow, allowed, "{:?} by {:?}", client, decides);
                let named = client.name.to_ascii_lowercase();
                if !named.is_empty() {
                    let settled = rules.clone().settled(&["another".into(), named.as_str().into()]);
                    prop_assert_eq!(settled.decide(&facts).expect("as before").allow, allowed);
                    let settled = rules.clone().settled(&[named.into()]);
                    prop_assert_eq!(settled.decide(&facts).expect("as before").allow, allowed);
                }
                // What only logs is no rule of its own.
                if let Some(named) = &decides.policy && !filters.iter().any(|f| f.enforced.as_ref().is_some_and(Policies::logs)) {
                    prop_assert_eq!(Some(&**named), policy.as_deref(), "{:?}", client);
                }
            }
        }
    }
}
