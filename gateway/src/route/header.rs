//! Headers as `HeaderMatcher` sees them.

use config::model::route::{HeaderKey, HeaderMatch};
use http::{HeaderMap, HeaderName, HeaderValue};
pub(super) use proxy::report::http::integer;
use proxy::report::http::{RequestHead, ResponseHead};

/// Whether all of them hold for a request.
pub fn request_matches(matches: &[HeaderMatch], head: &RequestHead) -> bool {
    matches.iter().all(|one| request_match(one, head))
}

/// Whether one holds for a request.
pub fn request_match(one: &HeaderMatch, head: &RequestHead) -> bool {
    head.holds(one)
}

/// Whether one holds for an answer.
pub fn response_match(one: &HeaderMatch, head: &ResponseHead) -> bool {
    head.holds(one)
}

/// A header's name, or that of a pseudo header.
pub(super) fn pseudo(key: &HeaderKey) -> Result<&HeaderName, &'static str> {
    match key {
        HeaderKey::Method => Err(":method"),
        HeaderKey::Path => Err(":path"),
        HeaderKey::Authority => Err(":authority"),
        HeaderKey::Scheme => Err(":scheme"),
        HeaderKey::Protocol => Err(":protocol"),
        HeaderKey::Status => Err(":status"),
        HeaderKey::Name(name) => Ok(name),
    }
}

/// The first value of a header.
pub(super) fn first<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    headers.get(name).map(HeaderValue::as_bytes)
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
        let rows = [
            ("-10", true),
            ("4", true),
            ("5", false),
            ("-11", false),
            ("1x", false),
            ("", false),
            (" 3 ", true),
            ("+3", true),
            ("-0", true),
            ("0x3", false),
        ];
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
    fn any_of_several_lines_matches() {
        let two = [("x", "a"), ("x", "b")];
        assert!(holds("{name: x, exact_match: b}", &two) && !holds("{name: x, exact_match: 'a,b'}", &two));
        assert!(!holds("{name: x, exact_match: b, invert_match: true}", &two));
        assert!(holds("{name: x, exact_match: c, invert_match: true}", &two));
        assert!(holds("{name: x, range_match: {start: 2, end: 3}}", &[("x", "1"), ("x", "2")]));
    }

    #[test]
    fn lines_that_envoy_joins_are_one() {
        let two = [("accept", "a"), ("accept", "b")];
        assert!(holds("{name: accept, exact_match: 'a,b'}", &two) && !holds("{name: accept, exact_match: a}", &two));
        assert!(holds("{name: accept, exact_match: a}", &two[..1]));
    }

    #[test]
    fn a_missing_header_taken_as_empty_is_present() {
        assert!(holds("{name: x, present_match: true, treat_missing_header_as_empty: true}", &[]));
        assert!(!holds("{name: x, present_match: false, treat_missing_header_as_empty: true}", &[]));
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
