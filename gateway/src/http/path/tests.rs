//! Paths as real Envoy 1.40 writes them.

#![allow(clippy::unwrap_used)]

use super::*;

fn path(text: &str) -> PathAndQuery {
    PathAndQuery::try_from(text).unwrap()
}

fn asked(manager: &Manager, text: &str) -> Option<String> {
    match normalise(manager, &path(text)) {
        Normal::Same => Some(text.to_owned()),
        Normal::Changed(path) => Some(path.as_str().to_owned()),
        Normal::Redirect(path) => Some(format!("-> {path}")),
        Normal::Rejected => None,
    }
}

/// `normalize_path`: what went into Envoy, and what its access log said of it.
#[test]
fn one_way_to_write_a_path() {
    let rows: &[(&str, Option<&str>)] = &[
        ("/a/../b", Some("/b")),
        ("/a/./b", Some("/a/b")),
        ("/..", Some("/")),
        ("/../a", Some("/a")),
        ("/a/b/..", Some("/a/")),
        ("/a/b/../", Some("/a/")),
        ("/a/.", Some("/a/")),
        ("//a//b", Some("//a//b")),
        ("/a/%2e%2e/b", Some("/b")),
        ("/a/%2E/b", Some("/a/b")),
        ("/%61", Some("/a")),
        ("/%7E", Some("/~")),
        ("/%2f", Some("/%2f")),
        ("/a%2Fb", Some("/a%2Fb")),
        ("/a%5Cb", Some("/a%5Cb")),
        ("/a\\b", Some("/a/b")),
        ("/a%2", Some("/a%2")),
        ("/a%zz", Some("/a%zz")),
        ("/a%00b", None),
        ("/a%20b", Some("/a%20b")),
        ("/a\"b", Some("/a%22b")),
        ("/a^b", Some("/a%5Eb")),
        ("/a|b", Some("/a%7Cb")),
        ("/a{b}", Some("/a%7Bb%7D")),
        ("/%C3%A9", Some("/%C3%A9")),
        ("/%c3%a9", Some("/%c3%a9")),
        ("/%ff", Some("/%ff")),
        ("/a?b/../c", Some("/a?b/../c")),
        ("/a/..?q=/../x", Some("/?q=/../x")),
        ("/a;b=/../c", Some("/c")),
        ("/a//../b", Some("/a/b")),
        ("/%2e", Some("/")),
        ("/%2E%2e/", Some("/")),
        ("/.a", Some("/.a")),
        ("/a/...", Some("/a/...")),
        ("/a%2e%2fb", Some("/a.%2fb")),
        ("/a/..%2fb", Some("/a/..%2fb")),
        ("/a/%2e%2e%2fb", Some("/a/..%2fb")),
        ("/a%5c..%5cb", Some("/a%5c..%5cb")),
        ("/a%25b", Some("/a%25b")),
        ("/a%41b", Some("/aAb")),
        ("/a%3fb", Some("/a%3fb")),
        ("/a%23b", Some("/a%23b")),
        ("/a~b", Some("/a~b")),
        ("/a%7fb", Some("/a%7fb")),
        ("/a/b/../../..", Some("/")),
        ("/a/b?x%2Fy", Some("/a/b?x%2Fy")),
        ("/*", Some("/*")),
        ("/a%40b", Some("/a%40b")),
        ("/[a]", Some("/[a]")),
        ("/a%5bb", Some("/a%5bb")),
        ("/a'b", Some("/a'b")),
        ("/a!$&()*+,:;=@b", Some("/a!$&()*+,:;=@b")),
        ("/a//", Some("/a//")),
        ("/", Some("/")),
        ("/?", Some("/?")),
        ("/./?a", Some("/?a")),
        ("//", Some("//")),
        ("/a%2F%2Fb", Some("/a%2F%2Fb")),
        ("///x", Some("///x")),
    ];
    let manager = Manager { normalize_path: true, ..Manager::default() };
    for (text, expected) in rows {
        assert_eq!(asked(&manager, text).as_deref(), *expected, "{text}");
        // What is normal stays.
        if let Some(normal) = expected {
            assert_eq!(asked(&manager, normal).as_deref(), Some(*normal), "{text} twice");
        }
    }
}

#[test]
fn slashes_are_merged_in_the_path_only() {
    let manager = Manager { merge_slashes: true, ..Manager::default() };
    let rows =
        [("//a//b", "/a/b"), ("/a//", "/a/"), ("///x", "/x"), ("/a?b//c", "/a?b//c"), ("/a%2F%2Fb", "/a%2F%2Fb")];
    for (text, expected) in rows {
        assert_eq!(asked(&manager, text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn escaped_slashes() {
    let manager = |escaped_slashes, normalize_path| Manager { escaped_slashes, normalize_path, ..Manager::default() };
    let reject = manager(EscapedSlashes::Reject, false);
    let redirect = manager(EscapedSlashes::UnescapeAndRedirect, true);
    let forward = manager(EscapedSlashes::UnescapeAndForward, false);
    for text in ["/%2f", "/a%2Fb", "/a%5Cb", "/a%2e%2fb", "/a%5c..%5cb"] {
        assert_eq!(asked(&reject, text), None, "{text}");
    }
    assert_eq!(asked(&reject, "/a?%2F").as_deref(), Some("/a?%2F"));
    let rows = [
        ("/%2f", "-> //", "//"),
        ("/a%2Fb", "-> /a/b", "/a/b"),
        ("/a%2e%2fb", "-> /a./b", "/a%2e/b"),
        ("/a/..%2fb", "-> /b", "/a/../b"),
        ("/a/%2e%2e%2fb", "-> /b", "/a/%2e%2e/b"),
        ("/a%2F%2Fb", "-> /a//b", "/a//b"),
    ];
    for (text, redirected, forwarded) in rows {
        assert_eq!(asked(&redirect, text).as_deref(), Some(redirected), "{text}");
        assert_eq!(asked(&forward, text).as_deref(), Some(forwarded), "{text}");
    }
}

proptest::proptest! {
    /// Whatever comes, nothing is left of dot segments, and nothing panics.
    #[test]
    fn no_dots_are_left(text in "/[a-c./%2eEfF5\\\\]{0,24}") {
        if let Some(normal) = canonical(&text) {
            assert!(normal.starts_with('/'));
            assert!(normal.split('/').all(|segment| segment != "." && segment != ".."), "{text} -> {normal}");
            assert_eq!(canonical(&normal).as_deref(), Some(&*normal), "{text}");
        }
    }
}
