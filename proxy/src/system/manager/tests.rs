#![allow(clippy::unwrap_used)]

use super::*;

fn hosts(domains: &[&[&str]]) -> Vec<VirtualHost> {
    let host = |domains: &&[&str]| VirtualHost {
        name: domains[0].into(),
        domains: domains.iter().map(|d| (*d).into()).collect(),
        routes: Box::default(),
    };
    domains.iter().map(host).collect()
}

#[test]
fn the_most_specific_domain_wins_as_in_envoy() {
    let hosts =
        hosts(&[&["*"], &["www.*"], &["*.example.com", "*-x.example.com"], &["*.b.example.com"], &["www.example.com"]]);
    for (authority, expected) in [
        ("www.example.com", "www.example.com"),
        ("a.example.com", "*.example.com"),
        ("a.b.example.com", "*.b.example.com"),
        (".example.com", "*"),
        ("q-x.example.com", "*.example.com"),
        ("www.example.org", "www.*"),
        ("www.", "*"),
        ("other:80", "*"),
        ("", "*"),
    ] {
        assert_eq!(&*virtual_host(&hosts, authority).unwrap().name, expected, "{authority}");
    }
    assert!(virtual_host(&hosts[1..], "other").is_none());
}

#[test]
fn refuses_what_two_parsers_could_read_in_two_ways() {
    let request = |headers: &[(&str, &str)]| {
        let mut request = Request::builder().uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        is_sound(&request.body(()).unwrap())
    };
    assert!(request(&[("host", "x")]));
    assert!(request(&[("host", "x"), ("content-length", "1")]));
    assert!(!request(&[]));
    assert!(!request(&[("host", "x"), ("host", "y")]));
    assert!(!request(&[("host", "x"), ("content-length", "1"), ("transfer-encoding", "chunked")]));
}

#[test]
fn rewrites_only_what_matched_and_keeps_the_query() {
    let request = Request::builder().uri("http://h/old/rest?q=1").body(()).unwrap();
    let rewrite = |matched: PathMatch, to: &str| rewritten(&request, &matched, to).unwrap().to_string();
    assert_eq!(rewrite(PathMatch::Prefix("/old".into()), "/new"), "http://h/new/rest?q=1");
    assert_eq!(rewrite(PathMatch::Prefix("/old/".into()), "/"), "http://h/rest?q=1");
    assert_eq!(rewrite(PathMatch::Exact("/old/rest".into()), "/x"), "http://h/x?q=1");
}

#[test]
fn adds_appends_and_overwrites() {
    let mut headers = HeaderMap::new();
    headers.insert("a", HeaderValue::from_static("1"));
    headers.insert("b", HeaderValue::from_static("1"));
    let change = |name: &str, overwrite| HeaderAdd { name: name.into(), value: "2".into(), overwrite };
    add(&mut headers, &[change("a", false), change("b", true), change("bad name", true)]);
    assert_eq!(headers.get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(headers.get_all("b").iter().collect::<Vec<_>>(), ["2"]);
    assert_eq!(headers.len(), 3);
}

#[test]
fn header_matchers_see_presence_value_and_inversion() {
    let mut headers = HeaderMap::new();
    headers.insert("if-none-match", HeaderValue::from_static("abc"));
    let wanted = |name: &str, value: Option<&str>, invert| {
        let value = value.map(|v| config::model::tls::StringMatch {
            pattern: config::model::tls::Pattern::Exact(v.into()),
            ignore_case: false,
        });
        header_matches(&HeaderMatch { name: name.into(), value, invert }, &headers)
    };
    assert!(wanted("if-none-match", None, false));
    assert!(wanted("if-none-match", Some("abc"), false));
    assert!(!wanted("if-none-match", Some("abd"), false));
    assert!(wanted("if-none-match", Some("abd"), true));
    assert!(!wanted("other", None, false));
    assert!(!wanted("other", Some(""), false), "an absent header has no value");
}

#[test]
fn request_ids_are_random_version_4_uuids() {
    let (one, two) = (uuid(), uuid());
    assert_ne!(one, two);
    for id in [one, two] {
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "4");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"));
    }
}
