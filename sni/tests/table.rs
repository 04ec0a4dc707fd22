//! What the table finds, by Envoy's rules.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use sni::table::{Builder, Pattern, PatternError, Table};

fn table(patterns: &[&'static str]) -> Table<&'static str> {
    let mut builder = Builder::new();
    for pattern in patterns {
        builder.insert(pattern, *pattern).unwrap();
    }
    builder.build()
}

#[test]
fn exact_before_the_longest_suffix_before_any() {
    let table = table(&["", "*.com", "*.example.com", "www.example.com", "*.b.example.com"]);
    for (name, expected) in [
        ("www.example.com", "www.example.com"),
        ("ftp.example.com", "*.example.com"),
        ("x.www.example.com", "*.example.com"),
        ("a.b.example.com", "*.b.example.com"),
        ("z.a.b.example.com", "*.b.example.com"),
        ("b.example.com", "*.example.com"),
        ("example.com", "*.com"),
        ("com", ""),
        ("example.org", ""),
        ("", ""),
    ] {
        assert_eq!(table.get(name.as_bytes()), Some(&expected), "{name}");
    }
}

#[test]
fn without_a_catch_all_nothing_matches_the_rest() {
    let table = table(&["a.example", "*.b.example"]);
    for name in ["", "b.example", "example", "x.a.example", "a.example.", "x.b.example.", "a.exampl"] {
        assert_eq!(table.get(name.as_bytes()), None, "{name}");
    }
}

#[test]
fn case_is_ignored_on_both_sides() {
    let table = table(&["WWW.Example.com", "*.SVC.local", "backend{mesh=default,version=V1}"]);
    assert!(table.get(b"www.EXAMPLE.COM").is_some());
    assert!(table.get(b"A.svc.LOCAL").is_some());
    assert!(table.get(b"Backend{mesh=default,version=v1}").is_some());
    let (pattern, _) = table.find(b"x.svc.local").unwrap();
    assert_eq!(pattern.to_string(), "*.svc.local");
}

/// Envoy keeps wildcards by their suffix and other names as they are, in one map.
#[test]
fn corners_that_envoy_has() {
    let dotted = table(&[".example.com"]);
    assert!(dotted.get(b"a.example.com").is_some() && dotted.get(b".example.com").is_some());
    let wildcard = table(&["*.example.com"]);
    assert!(wildcard.get(b".example.com").is_some());
    assert!(wildcard.get(b"..example.com").is_some());
    let dot = table(&["*."]);
    assert!(dot.get(b".").is_some() && dot.get(b"a.").is_none() && dot.get(b"a.b.").is_none());
    let starred = table(&["*.*.com"]);
    assert!(starred.get(b"a.*.com").is_some() && starred.get(b"a.b.com").is_none());
    let trailing = table(&["*.example.com."]);
    assert!(trailing.get(b"a.example.com.").is_some() && trailing.get(b"a.example.com").is_none());
}

#[test]
fn patterns_that_are_refused() {
    let mut builder = Builder::new();
    for (pattern, why) in [
        ("*", PatternError::BareWildcard),
        ("a*", PatternError::PartialWildcard),
        ("*a.com", PatternError::PartialWildcard),
        ("www.*.com", PatternError::PartialWildcard),
        ("**.com", PatternError::PartialWildcard),
    ] {
        assert_eq!(builder.insert(pattern, 0), Err(why), "{pattern}");
    }
    for (pattern, same) in [("a.b", "A.B"), ("*.c.d", ".C.d"), ("", "")] {
        builder.insert(pattern, 1).unwrap();
        assert_eq!(builder.insert(same, 2), Err(PatternError::Duplicate), "{same}");
    }
    let table = builder.build();
    assert_eq!((table.len(), table.get(b"A.b"), table.get(b"x.c.d")), (3, Some(&1), Some(&1)));
}

#[test]
fn values_grow_while_building() {
    let mut builder: Builder<Vec<u8>> = Builder::new();
    builder.get_or_insert_with("*.a", Vec::new).unwrap().push(1);
    builder.get_or_insert_with("*.A", Vec::new).unwrap().push(2);
    assert_eq!(builder.get_or_insert_with("*", Vec::new), Err(PatternError::BareWildcard));
    assert_eq!(builder.build().get(b"x.a"), Some(&vec![1, 2]));
}

#[test]
fn long_and_binary_names() {
    let long = "x.".repeat(200) + "example.com";
    let mut builder = Builder::new();
    builder.insert("*.example.com", 1).unwrap();
    builder.insert(&long, 2).unwrap();
    let table = builder.build();
    assert_eq!(table.get(long.to_uppercase().as_bytes()), Some(&2));
    assert_eq!(table.get(format!("y{long}").as_bytes()), Some(&1));
    assert_eq!(table.get(b"\xff\0.EXAMPLE.com"), Some(&1));
}

#[test]
fn shared_and_iterated() {
    let table = Arc::new(table(&["b", "*.a", ""]));
    let patterns: Vec<_> = table.iter().map(|(pattern, _)| pattern.to_string()).collect();
    assert_eq!(patterns, ["b", "*.a", ""]);
    let other = Arc::clone(&table);
    std::thread::spawn(move || assert_eq!(other.get(b"x.A"), Some(&"*.a"))).join().unwrap();
    assert!(Table::<()>::default().is_empty());
    assert_eq!(format!("{:?}", Table::<()>::default()), "{}");
}

#[test]
fn patterns_order_by_specificity() {
    let mut patterns =
        ["b.example", "*.com", "", "*.example.com", "a.example.com"].map(|text| Pattern::parse(text).unwrap());
    patterns.sort();
    assert_eq!(
        patterns.map(|pattern| pattern.to_string()),
        ["", "*.com", "*.example.com", "b.example", "a.example.com"]
    );
}

/// Names over a few letters, so that they meet.
fn name() -> impl Strategy<Value = String> {
    "[abA]{0,2}(\\.[abA]{0,2}){0,4}"
}

proptest! {
    #[test]
    fn finds_what_a_walk_over_all_patterns_finds(
        patterns in vec(("(\\*)?", name()).prop_map(|(star, name)| star + &name), 0..12),
        names in vec(name(), 1..12),
    ) {
        let mut builder = Builder::new();
        let mut naive: Vec<Pattern<'_>> = Vec::new();
        for pattern in &patterns {
            if builder.insert(pattern, ()).is_ok() {
                naive.push(Pattern::parse(pattern).unwrap());
            }
        }
        let table = builder.build();
        for name in &names {
            let best = naive.iter().filter(|pattern| pattern.matches(name.as_bytes())).max();
            prop_assert_eq!(table.find(name.as_bytes()).map(|(pattern, ())| pattern), best.cloned());
        }
    }
}
