//! Headers as `HeaderMatcher` sees them.

use std::borrow::Cow;

use config::model::route::{HeaderKey, HeaderMatch, HeaderTest};
use http::HeaderMap;
use proxy::report::http::{RequestHead, ResponseHead, joined};

/// Whether all of them hold for a request.
pub fn request_matches(matches: &[HeaderMatch], head: &RequestHead) -> bool {
    matches.iter().all(|one| request_match(one, head))
}

/// Whether one holds for a request.
pub fn request_match(one: &HeaderMatch, head: &RequestHead) -> bool {
    one_matches(one, request_value(&one.name, head))
}

/// Whether one holds for an answer.
pub fn response_match(one: &HeaderMatch, head: &ResponseHead) -> bool {
    let value = match &one.name {
        HeaderKey::Status => Some(Cow::Borrowed(head.status.as_str().as_bytes())),
        HeaderKey::Name(name) => joined(&head.headers, name.as_str()),
        HeaderKey::Method | HeaderKey::Path | HeaderKey::Authority | HeaderKey::Scheme | HeaderKey::Protocol => None,
    };
    one_matches(one, value)
}

/// The value of a request's header; several are joined by a comma. `None`: there is none.
pub fn request_value<'a>(name: &HeaderKey, head: &'a RequestHead) -> Option<Cow<'a, [u8]>> {
    let pseudo = |name| head.get(name).map(Cow::Borrowed);
    match name {
        HeaderKey::Method => pseudo(":method"),
        HeaderKey::Path => pseudo(":path"),
        HeaderKey::Authority => pseudo(":authority"),
        HeaderKey::Scheme => pseudo(":scheme"),
        HeaderKey::Protocol => pseudo(":protocol"),
        HeaderKey::Status => None,
        HeaderKey::Name(name) => joined(&head.headers, name.as_str()),
    }
}

/// The first value of a header.
pub(super) fn first<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a [u8]> {
    headers.get(name).map(http::HeaderValue::as_bytes)
}

fn one_matches(one: &HeaderMatch, value: Option<Cow<'_, [u8]>>) -> bool {
    if let HeaderTest::Present(present) = one.test {
        let is_there = value.is_some() || one.missing_is_empty;
        return (is_there == present) != one.invert;
    }
    let value = match value {
        Some(value) => value,
        None if one.missing_is_empty => Cow::Borrowed(&b""[..]),
        // Whatever is asked of the value, and also of its contrary.
        None => return false,
    };
    let matches = match &one.test {
        HeaderTest::Present(_) => true,
        HeaderTest::Text(text) => text.matches(&value),
        HeaderTest::Range(start, end) => integer(&value).is_some_and(|n| (*start..*end).contains(&n)),
    };
    matches != one.invert
}

/// As `absl::SimpleAtoi` reads it: blanks around it are passed over.
pub(super) fn integer<N: std::str::FromStr>(text: &[u8]) -> Option<N> {
    std::str::from_utf8(text).ok()?.trim_ascii().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::testing::{configuration, request};

    fn holds(matcher: &str, headers: &[(&str, &str)]) -> bool {
        let route = format!("{{match: {{prefix: /, headers: [{matcher}]}}, direct_response: {{status: 200}}}}");
        let config = configuration(&format!("virtual_hosts: [{{name: h, domains: ['*'], routes: [{route}]}}]"));
        request_matches(&config.virtual_hosts[0].routes[0].matches.headers, &request("GET", "a.b/p?q=1", headers))
    }

    #[test]
    fn every_kind_of_matcher() {
        let with = |value| [("x", value)];
        assert!(holds("{name: X}", &with("")) && !holds("{name: x}", &[]));
        assert!(holds("{name: x, present_match: false}", &[]) && !holds("{name: x, present_match: false}", &with("1")));
        assert!(holds("{name: x, present_match: true, invert_match: true}", &[]));
        assert!(holds("{name: x, exact_match: a}", &with("a")) && !holds("{name: x, exact_match: a}", &with("A")));
        assert!(holds("{name: x, exact_match: ''}", &with("anything")));
        assert!(holds("{name: x, prefix_match: a}", &with("ab")) && holds("{name: x, suffix_match: b}", &with("ab")));
        assert!(holds("{name: x, contains_match: b}", &with("abc")));
        assert!(holds("{name: x, safe_regex_match: {regex: 'a+'}}", &with("aa")));
        assert!(!holds("{name: x, safe_regex_match: {regex: 'a+'}}", &with("aab")));
        assert!(holds("{name: x, string_match: {exact: A, ignore_case: true}}", &with("a")));
    }

    #[test]
    fn ranges_are_half_open() {
        let range = "{name: x, range_match: {start: -10, end: 5}}";
        let rows =
            [("-10", true), ("4", true), ("5", false), ("-11", false), ("1x", false), ("", false), (" 3 ", true)];
        for (value, expected) in rows {
            assert_eq!(holds(range, &[("x", value)]), expected, "{value}");
        }
        let inverted = "{name: x, range_match: {start: 0, end: 5}, invert_match: true}";
        assert!(holds(inverted, &[("x", "y")]) && !holds(inverted, &[]));
    }

    #[test]
    fn a_missing_header_does_not_match_the_contrary_either() {
        assert!(!holds("{name: x, exact_match: a, invert_match: true}", &[]));
        assert!(holds("{name: x, exact_match: a, invert_match: true}", &[("x", "b")]));
        assert!(holds("{name: x, exact_match: a, invert_match: true, treat_missing_header_as_empty: true}", &[]));
        let empty = "{name: x, string_match: {exact: ''}, treat_missing_header_as_empty: true}";
        assert!(holds(empty, &[]) && !holds(empty, &[("x", "1")]));
    }

    #[test]
    fn several_values_are_joined() {
        assert!(holds("{name: x, exact_match: 'a,b'}", &[("x", "a"), ("x", "b")]));
    }

    #[test]
    fn pseudo_headers() {
        for matcher in [
            "{name: ':method', exact_match: GET}",
            "{name: ':path', exact_match: '/p?q=1'}",
            "{name: ':authority', exact_match: a.b}",
            "{name: host, exact_match: a.b}",
            "{name: ':scheme', exact_match: http}",
            "{name: ':status', present_match: false}",
        ] {
            assert!(holds(matcher, &[]), "{matcher}");
        }
    }
}
