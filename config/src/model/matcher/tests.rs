#![allow(clippy::unwrap_used)]

use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::model::chain::Cidr;

/// Inputs of a test: a server name, an address, and perhaps SANs.
#[derive(Clone, Debug, Default)]
struct Given {
    name: Vec<u8>,
    address: String,
    sans: Option<Vec<u8>>,
}

impl Inputs for Given {
    fn input(&self, input: &Input) -> Data<'_> {
        match input {
            Input::ServerName if self.name.is_empty() => Data::Absent,
            Input::ServerName => Data::Bytes(Cow::Borrowed(&self.name)),
            Input::SourceIp => Data::Bytes(Cow::Borrowed(self.address.as_bytes())),
            Input::UriSan => self.sans.as_deref().map_or(Data::NotAvailable, |sans| Data::Bytes(Cow::Borrowed(sans))),
            _ => Data::Absent,
        }
    }
}

fn named(name: &str) -> Given {
    Given { name: name.into(), ..Given::default() }
}

fn at(address: &str) -> Given {
    Given { address: address.into(), ..Given::default() }
}

fn exact(text: &str) -> TextMatch {
    TextMatch { pattern: TextPattern::Exact(text.into()), ignore_case: false }
}

fn sni(text: &str) -> Predicate {
    Predicate::Single(Input::ServerName, exact(text))
}

fn san(text: &str) -> Predicate {
    Predicate::Single(Input::UriSan, exact(text))
}

fn action(action: u32) -> OnMatch<u32> {
    OnMatch { then: Then::Action(action), keep_matching: false }
}

fn nested(matcher: Matcher<u32>) -> OnMatch<u32> {
    OnMatch { then: Then::Matcher(Box::new(matcher)), keep_matching: false }
}

fn list(fields: Vec<(Predicate, OnMatch<u32>)>, otherwise: Option<u32>) -> Matcher<u32> {
    let fields = fields.into_iter().map(|(predicate, on_match)| FieldMatcher { predicate, on_match });
    Matcher { kind: MatcherKind::List(fields.collect()), on_no_match: otherwise.map(action) }
}

fn tree(input: Input, kind: TreeKind<u32>, otherwise: Option<u32>) -> Matcher<u32> {
    Matcher { kind: MatcherKind::Tree(Tree { input, kind }), on_no_match: otherwise.map(action) }
}

fn map(entries: &[(&str, u32)]) -> Box<[(Box<str>, OnMatch<u32>)]> {
    let mut entries: Vec<_> = entries.iter().map(|(key, to)| (Box::<str>::from(*key), action(*to))).collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    entries.into()
}

fn cidr(address: [u8; 4], prefix: u8) -> Cidr {
    Cidr { address: address.into(), prefix }
}

#[test]
fn the_first_that_leads_somewhere() {
    let nowhere = nested(list(vec![(sni("x"), action(9))], None));
    let matcher = list(vec![(sni("a"), nowhere), (sni("a"), action(2)), (sni("b"), action(3))], Some(4));
    assert_eq!(matcher.find(&named("a")), Found::Action(&2));
    assert_eq!(matcher.find(&named("b")), Found::Action(&3));
    assert_eq!(matcher.find(&named("")), Found::Action(&4));
    let mut actions = matcher.actions();
    actions.sort();
    assert_eq!(actions, [&2, &3, &4, &9]);
    let none: Matcher<u32> = Matcher { kind: MatcherKind::None, on_no_match: None };
    assert_eq!(none.find(&named("a")), Found::Nothing);
}

#[test]
fn keep_matching_is_no_match() {
    let kept = OnMatch { keep_matching: true, ..action(1) };
    assert_eq!(list(vec![(sni("a"), kept.clone()), (sni("a"), action(2))], None).find(&named("a")), Found::Action(&2));
    let matcher = Matcher { kind: MatcherKind::None, on_no_match: Some(kept) };
    assert_eq!(matcher.find(&named("a")), Found::Nothing);
}

#[test]
fn what_cannot_be_had_leaves_all_after_it_undecided() {
    let matcher = list(vec![(sni("a"), action(1)), (san("s"), action(2)), (sni("b"), action(3))], Some(4));
    assert_eq!(matcher.find(&named("a")), Found::Action(&1));
    assert_eq!(matcher.find(&named("b")), Found::Undecided);
    let or = |parts: Vec<Predicate>| Predicate::Or(parts.into()).matches(&named("a"));
    assert_eq!(or(vec![san("s"), sni("a")]), Some(true));
    assert_eq!(or(vec![san("s"), sni("b")]), None);
    let and = |parts: Vec<Predicate>| Predicate::And(parts.into()).matches(&named("a"));
    assert_eq!(and(vec![sni("b"), san("s")]), Some(false));
    assert_eq!(and(vec![san("s"), sni("b")]), None);
    assert_eq!(Predicate::Not(Box::new(san("s"))).matches(&named("a")), None);
    assert_eq!(tree(Input::UriSan, TreeKind::Exact(map(&[("s", 1)])), Some(2)).find(&named("a")), Found::Undecided);
}

#[test]
fn maps_look_up_whole_keys_and_longest_prefixes() {
    let exact = tree(Input::ServerName, TreeKind::Exact(map(&[("a", 1), ("ab", 2)])), Some(3));
    assert_eq!(["a", "ab", "abc", ""].map(|name| *found(&exact, &named(name))), [1, 2, 3, 3]);
    let prefix = tree(Input::ServerName, TreeKind::Prefix(map(&[("a", 1), ("ab", 2), ("b", 4)])), Some(3));
    assert_eq!(["a", "ab", "abc", "ac", "x"].map(|name| *found(&prefix, &named(name))), [1, 2, 2, 1, 3]);
    let mut entries = map(&[("a", 1), ("ab", 2)]).into_vec();
    entries[1].1 = nested(list(vec![(sni("abc"), action(5))], None));
    let prefix = tree(Input::ServerName, TreeKind::Prefix(entries.into()), Some(3));
    assert_eq!(["abc", "abd"].map(|name| *found(&prefix, &named(name))), [5, 1]);
}

fn found<'a>(matcher: &'a Matcher<u32>, given: &Given) -> &'a u32 {
    match matcher.find(given) {
        Found::Action(action) => action,
        _ => &0,
    }
}

#[test]
fn ranges_go_from_the_longest_on_and_exclusive_ones_stand_aside() {
    let outcomes = |first: OnMatch<u32>| -> Box<[OnMatch<u32>]> { [first, action(2), action(3)].into() };
    let range = |prefix, exclusive, outcome| IpRange { range: cidr([10, 1, 0, 0], prefix), exclusive, outcome };
    let ranges: Box<[IpRange]> = [range(24, false, 0), range(16, true, 1), range(8, false, 2)].into();
    let nowhere = nested(list(vec![(sni("x"), action(9))], None));
    let ip = |first| TreeKind::Ip { ranges: ranges.clone(), outcomes: outcomes(first) };
    let matcher = tree(Input::SourceIp, ip(action(1)), Some(4));
    assert_eq!(["10.1.0.9", "10.1.1.9", "11.0.0.1", "x"].map(|a| *found(&matcher, &at(a))), [1, 2, 4, 4]);
    let matcher = tree(Input::SourceIp, ip(nowhere), Some(4));
    // The second range is exclusive, and not the first to hold the address.
    assert_eq!(["10.1.0.9", "10.1.1.9"].map(|a| *found(&matcher, &at(a))), [3, 2]);
}

#[test]
fn domains_go_from_the_exact_to_the_global() {
    let domains = Domains {
        exact: [("a.b".into(), 0)].into(),
        wildcards: [("b".into(), 1), ("c.b".into(), 2)].into(),
        any: Some(3),
        outcomes: [action(1), action(2), action(3), action(4)].into(),
    };
    let matcher = tree(Input::ServerName, TreeKind::Domains(domains), Some(5));
    assert_eq!(["a.b", "x.b", "x.c.b", "c.b", "z", ""].map(|n| *found(&matcher, &named(n))), [1, 2, 3, 2, 4, 5]);
}

fn patterns() -> impl Strategy<Value = TextMatch> {
    let text = "[aAbB.]{0,3}";
    let pattern = prop_oneof![
        text.prop_map(|t| TextPattern::Exact(t.into())),
        text.prop_map(|t| TextPattern::Prefix(t.into())),
        text.prop_map(|t| TextPattern::Suffix(t.into())),
        text.prop_map(|t| TextPattern::Contains(t.into())),
    ];
    (pattern, any::<bool>()).prop_map(|(pattern, ignore_case)| TextMatch { pattern, ignore_case })
}

fn predicates() -> impl Strategy<Value = Predicate> {
    let input = prop_oneof![Just(Input::ServerName), Just(Input::UriSan), Just(Input::Subject)];
    let leaf = (input, patterns()).prop_map(|(input, text)| Predicate::Single(input, text));
    leaf.prop_recursive(4, 24, 3, |inner| {
        let several = || prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several().prop_map(|all| Predicate::Or(all.into())),
            several().prop_map(|all| Predicate::And(all.into())),
            inner.clone().prop_map(|one| Predicate::Not(Box::new(one))),
        ]
    })
}

proptest! {
    #[test]
    fn text_matches_as_strings_do(text in "[aAbB.é]{0,4}", matcher in patterns()) {
        let fold = |s: &str| if matcher.ignore_case { s.to_ascii_lowercase() } else { s.to_owned() };
        let expected = match &matcher.pattern {
            TextPattern::Exact(p) => fold(&text) == fold(p),
            TextPattern::Prefix(p) => fold(&text).starts_with(&fold(p)),
            TextPattern::Suffix(p) => fold(&text).ends_with(&fold(p)),
            TextPattern::Contains(p) => fold(&text).contains(&fold(p)),
            TextPattern::Regex(_) => unreachable!(),
        };
        prop_assert_eq!(matcher.matches(text.as_bytes()), expected);
    }

    #[test]
    fn predicates_follow_three_valued_logic(
        predicate in predicates(), name in "[ab.]{0,3}", sans in prop::option::of("[ab.]{0,3}"),
    ) {
        let given = Given { name: name.into(), sans: sans.clone().map(Into::into), ..Given::default() };
        let result = predicate.matches(&given);
        // Nothing is undecided where everything can be had.
        prop_assert!(sans.is_none() || result.is_some());
        let not = Predicate::Not(Box::new(predicate.clone()));
        prop_assert_eq!(not.matches(&given), result.map(|matches| !matches));
        let twice = Predicate::And([predicate.clone(), predicate.clone()].into());
        prop_assert_eq!(twice.matches(&given), result);
        let twice = Predicate::Or([predicate.clone(), predicate].into());
        prop_assert_eq!(twice.matches(&given), result);
    }

    #[test]
    fn a_prefix_map_finds_what_a_scan_finds(keys in prop::collection::btree_set("[ab]{0,4}", 1..8), name in "[ab]{1,6}") {
        let entries: Vec<(&str, u32)> = keys.iter().map(String::as_str).zip(1..).collect();
        let longest = entries.iter().filter(|(key, _)| name.starts_with(key)).max_by_key(|(key, _)| key.len());
        let matcher = tree(Input::ServerName, TreeKind::Prefix(map(&entries)), None);
        prop_assert_eq!(*found(&matcher, &named(&name)), longest.map_or(0, |(_, to)| *to));
    }

    #[test]
    fn any_expression_is_compiled_or_refused(pattern in "[a\\\\dDwWsSbQEC\\[\\]^&~(){}|*+?.,0-9:-]{0,12}", text in "[a-z0-9 ]{0,6}") {
        if let Ok(regex) = regex::full_match(&pattern) {
            regex.is_match(text.as_bytes());
        }
    }
}
