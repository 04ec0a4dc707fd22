//! What requests and answers look like afterwards, as Envoy 1.40 was seen to make them.

use http::HeaderMap;
use proxy::report::http::ResponseHead;

use super::*;
use crate::route::testing::{configuration, flow};
use crate::route::{Env, Table};

type Headers<'a> = &'a [(&'a str, &'a str)];

fn found(config: &str, flow: &HttpFlow, random: u64) -> Match {
    let table = Table::compile(&Arc::new(configuration(config)));
    table.find(flow, &Env { random, runtime: None }).unwrap_or_else(|| panic!("{config}: no route"))
}

fn host(route: &str) -> String {
    format!("virtual_hosts: [{{name: v, domains: ['*'], routes: [{route}]}}]")
}

fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

/// The request after a forwarding route.
fn forwarded(matches: &str, action: &str, url: &str, headers: Headers<'_>) -> HttpFlow {
    let mut flow = flow("GET", url, headers);
    let route = format!("{{match: {{{matches}}}, route: {{cluster: c, {action}}}}}");
    found(&host(&route), &flow, 0).finalize_request(&mut flow, true);
    flow
}

#[test]
fn paths_are_rewritten_and_the_query_stays() {
    let template = "path_match_policy: {name: t, typed_config: {'@type': type.googleapis.com/\
        envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig, path_template: '/ut/{a}/{b=**}'}}";
    let rewrite = "path_rewrite_policy: {name: t, typed_config: {'@type': type.googleapis.com/\
        envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig, path_template_rewrite: '/{b}/{a}'}}";
    let regex = r"regex_rewrite: {pattern: {regex: '^/f3/(.*)$'}, substitution: '/\1'}";
    let rows = [
        ("prefix: /f1/", "prefix_rewrite: /", "h/f1/a?b", "/a?b"),
        ("prefix: /f1/", "prefix_rewrite: /", "h/f1/", "/"),
        ("prefix: /f8", "prefix_rewrite: /F8", "h/f8x?q", "/F8x?q"),
        ("prefix: /f3", regex, "h/f3/a?b=/f3/", "/a?b=/f3/"),
        ("path_separated_prefix: /sep", "prefix_rewrite: /", "h/sep", "/"),
        ("path_separated_prefix: /sep", "prefix_rewrite: /", "h/sep/a?b", "//a?b"),
        ("path_separated_prefix: /sep", "prefix_rewrite: /", "h/sep?b", "/?b"),
        ("prefix: /CI, case_sensitive: false", "prefix_rewrite: /ci2", "h/ci/x", "/ci2/x"),
        ("safe_regex: {regex: '/re/.*'}", "prefix_rewrite: /whole", "h/re/abc?q=1", "/whole?q=1"),
        (template, rewrite, "h/ut/1/2/3?q", "/2/3/1?q"),
        ("prefix: /", "path_rewrite: '/new%REQ(x)%'", "h/a?q", "/newX?q"),
    ];
    for (matches, action, url, expected) in rows {
        let flow = forwarded(matches, action, url, &[("x", "X")]);
        assert_eq!(flow.request.path.as_str(), expected, "{url}");
        let original = &url[1..];
        assert_eq!(all(&flow.request.headers, "x-envoy-original-path"), [original]);
        assert_eq!(flow.original_path.map(|path| path.to_string()).as_deref(), Some(original));
    }
}

#[test]
fn nothing_is_rewritten_where_nothing_would_be_left() {
    let regex = r"regex_rewrite: {pattern: {regex: '^/f3/(.*)$'}, substitution: '\1'}";
    let flow = forwarded("prefix: /f3", regex, "h/f3/", &[]);
    assert_eq!(flow.request.path.as_str(), "/f3/");
    assert!(flow.original_path.is_none() && !flow.request.headers.contains_key("x-envoy-original-path"));
    let flow = forwarded("prefix: /", "path_rewrite: '%REQ(x)%'", "h/a", &[]);
    assert_eq!(flow.request.path.as_str(), "/a");
}

#[test]
fn hosts_are_rewritten() {
    let regex = r"host_rewrite_path_regex: {pattern: {regex: '^/f7/([^/]+).*$'}, substitution: '\1'}";
    let rows: [(&str, &str, Headers<'_>, &str); 6] = [
        ("host_rewrite_literal: nh", "h/", &[], "nh"),
        ("host_rewrite_header: x-h", "h/", &[("x-h", "one"), ("x-h", "two")], "one"),
        ("host_rewrite_header: x-h", "h/", &[], "h"),
        ("auto_host_rewrite: true", "h/", &[], "h"),
        (regex, "h/f7/name/x?y", &[], "name"),
        ("host_rewrite: 'p-%REQ(x-h)%'", "h/", &[("x-h", "q")], "p-q"),
    ];
    for (action, url, headers, expected) in rows {
        let flow = forwarded("prefix: /", action, url, headers);
        assert_eq!(flow.request.authority, expected, "{action}");
        let original: &[&str] = if expected == "h" { &[] } else { &["h"] };
        assert_eq!(all(&flow.request.headers, "x-envoy-original-host"), original);
        assert!(!flow.request.headers.contains_key("x-forwarded-host"));
    }
}

#[test]
fn the_old_host_is_forwarded_unless_it_was_the_last() {
    let action = "host_rewrite_literal: nh, append_x_forwarded_host: true";
    let rows: [(&[&str], &str); 4] = [(&[], "h"), (&["h,q"], "h,q,h"), (&["q,h"], "q,h"), (&["q, h"], "q, h,h")];
    for (before, after) in rows {
        let headers: Vec<_> = before.iter().map(|value| ("x-forwarded-host", *value)).collect();
        let flow = forwarded("prefix: /", action, "h/", &headers);
        assert_eq!(all(&flow.request.headers, "x-forwarded-host"), [after]);
    }
}

#[test]
fn nobody_is_told_where_envoys_headers_are_suppressed() {
    let mut flow = flow("GET", "h/a", &[]);
    let route = "{match: {prefix: /}, route: {cluster: c, prefix_rewrite: /x, host_rewrite_literal: nh}}";
    found(&host(route), &flow, 0).finalize_request(&mut flow, false);
    assert_eq!((flow.request.path.as_str(), flow.request.headers.len()), ("/xa", 0));
}

const LEVELS: &str = "
request_headers_to_add: [{header: {key: x-l, value: rc}}]
response_headers_to_add: [{header: {key: x-l, value: rc}}]
virtual_hosts:
- name: v
  domains: ['*']
  request_headers_to_add: [{header: {key: x-l, value: vh}}]
  response_headers_to_add: [{header: {key: x-l, value: vh}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}]
  routes:
  - match: {prefix: /}
    request_headers_to_add: [{header: {key: x-l, value: route}}]
    response_headers_to_add: [{header: {key: x-l, value: route}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}]
    route:
      weighted_clusters:
        header_name: x-rand
        clusters:
        - {name: c, weight: 1, host_rewrite_literal: wch, request_headers_to_add: [{header: {key: x-l, value: wc}}]}
        - {name: d, weight: 3}
";

#[test]
fn levels_are_applied_from_the_most_specific_to_the_least() {
    for (random, cluster, host, expected) in
        [("4", "c", "wch", &["wc", "route", "vh", "rc"][..]), ("7", "d", "h", &["route", "vh", "rc"])]
    {
        let mut flow = flow("GET", "h/", &[("x-rand", random)]);
        let found = found(LEVELS, &flow, 0);
        assert_eq!(found.target.as_ref().map(|target| &*target.cluster), Some(cluster));
        found.finalize_request(&mut flow, true);
        assert_eq!(flow.request.authority, host);
        assert_eq!(all(&flow.request.headers, "x-l"), expected);
        flow.response = Some(ResponseHead { status: http::StatusCode::OK, headers: HeaderMap::new() });
        found.finalize_response(&mut flow);
        assert_eq!(all(&flow.response.unwrap_or_else(|| panic!("no answer")).headers, "x-l"), ["vh", "rc"]);
    }
}

#[test]
fn or_the_other_way_round() {
    let mut flow = flow("GET", "h/", &[("x-rand", "1")]);
    let config = format!("most_specific_header_mutations_wins: true\n{LEVELS}");
    found(&config, &flow, 0).finalize_request(&mut flow, true);
    assert_eq!(all(&flow.request.headers, "x-l"), ["rc", "vh", "route"]);
}

#[test]
fn values_come_from_the_headers_as_they_were() {
    let adds = "[{header: {key: x-a, value: '%REQ(x-in)%'}}, \
        {header: {key: x-b, value: '%REQ(x-a)%'}, keep_empty_value: true}, \
        {header: {key: x-c, value: '%PROTOCOL%:%REQ(nope)%:%%'}}, {header: {key: x-d, value: '%REQ(nope)%'}}, \
        {header: {key: x-e, value: '%REQ(nope)%'}, keep_empty_value: true}, \
        {header: {key: x-in, value: n}, append_action: ADD_IF_ABSENT}, \
        {header: {key: x-f, value: n}, append_action: OVERWRITE_IF_EXISTS}, \
        {header: {key: accept, value: b}}]";
    let mut flow = flow("GET", "h/", &[("x-in", "I"), ("x-rm", "1"), ("x-a", "old"), ("accept", "a")]);
    let route = format!(
        "{{match: {{prefix: /}}, route: {{cluster: c}}, request_headers_to_add: {adds}, \
         request_headers_to_remove: [X-Rm]}}"
    );
    found(&host(&route), &flow, 0).finalize_request(&mut flow, true);
    let rows: [(&str, &[&str]); 9] = [
        ("x-a", &["old", "I"]),
        ("x-b", &["old"]),
        ("x-c", &["HTTP/1.1::%"]),
        ("x-d", &[]),
        ("x-e", &[""]),
        ("x-in", &["I"]),
        ("x-f", &[]),
        ("x-rm", &[]),
        ("accept", &["a,b"]),
    ];
    for (name, expected) in rows {
        assert_eq!(all(&flow.request.headers, name), expected, "{name}");
    }
}

fn location(matches: &str, action: &str, url: &str, forwarded: &str) -> Option<String> {
    let mut flow = flow("GET", url, &[("x-forwarded-proto", forwarded), ("x", "X")]);
    let route = format!("{{match: {{{matches}}}, {action}}}");
    let value = found(&host(&route), &flow, 0).location(&mut flow, true);
    value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

#[test]
fn redirects_lead_where_envoys_do() {
    let regex = r"regex_rewrite: {pattern: {regex: '/r7/(.)'}, substitution: '/x/\1'}, strip_query: true";
    let rows = [
        ("prefix: /", "https_redirect: true", "h/r1/x?y=1", "https://h/r1/x?y=1"),
        ("prefix: /", "https_redirect: true", "h:80/r1/x", "https://h/r1/x"),
        ("prefix: /", "https_redirect: true", "h:8080/r1/x", "https://h:8080/r1/x"),
        ("prefix: /", "https_redirect: true", "[::1]:80/r1/x", "https://[::1]/r1/x"),
        ("prefix: /", "https_redirect: true", "[::1]/r1/x", "https://[::1]/r1/x"),
        ("prefix: /", "port_redirect: 8443", "h:80/r2/x", "http://h:8443/r2/x"),
        ("prefix: /", "host_redirect: n.com", "h/r3/x?y", "http://n.com/r3/x?y"),
        ("prefix: /", "path_redirect: /new", "h/r4/x?y=1", "http://h/new?y=1"),
        ("prefix: /", "path_redirect: /new, strip_query: true", "h/r4/x?y=1", "http://h/new"),
        ("prefix: /", "path_redirect: '/new?z=1', strip_query: true", "h/r5/x?y=1", "http://h/new?z=1"),
        ("prefix: /r6/", "prefix_rewrite: /nn/", "h/r6/x?y=1", "http://h/nn/x?y=1"),
        ("prefix: /", regex, "h/r7/ab?y", "http://h/x/ab"),
        ("prefix: /", "path_redirect: new", "h/r8/x", "http://h/new"),
        ("prefix: /", "scheme_redirect: ftp", "h/r9/x", "ftp://h/r9/x"),
        (
            "prefix: /ra/",
            "prefix_rewrite: nn, https_redirect: true, port_redirect: 444, host_redirect: 'a:1'",
            "h/ra/x?q",
            "https://a:1:444/nnx?q",
        ),
        ("path: /rb", "prefix_rewrite: /", "h/rb?x=1", "http://h/?x=1"),
        ("prefix: /", "path_rewrite: '/v/%REQ(x)%'", "h/a?b", "http://h/v/X?b"),
        ("prefix: /", "path_rewrite: '%REQ(no)%'", "h/a?b", "http://h/a?b"),
    ];
    for (matches, redirect, url, expected) in rows {
        let action = format!("redirect: {{{redirect}}}");
        assert_eq!(location(matches, &action, url, "http").as_deref(), Some(expected), "{redirect} {url}");
    }
}

#[test]
fn direct_responses_of_some_statuses_tell_their_own_place() {
    for (status, expected) in [(201, Some("http://h/d?a")), (302, Some("http://h/d?a")), (200, None), (404, None)] {
        let action = format!("direct_response: {{status: {status}}}");
        assert_eq!(location("prefix: /", &action, "h/d?a", "http").as_deref(), expected, "{status}");
    }
}

#[test]
fn tls_is_at_the_same_place() {
    let config = "virtual_hosts: [{name: v, domains: ['*'], require_tls: ALL, \
        response_headers_to_add: [{header: {key: x, value: y}}]}]";
    let mut flow = flow("GET", "tls:80/t1?q", &[]);
    let found = found(config, &flow, 0);
    assert_eq!(found.location(&mut flow, true), Some(HeaderValue::from_static("https://tls:80/t1?q")));
    flow.response = Some(ResponseHead { status: http::StatusCode::OK, headers: HeaderMap::new() });
    found.finalize_response(&mut flow);
    assert!(flow.response.is_some_and(|response| response.headers.is_empty()));
}

#[test]
fn requests_are_classed() {
    let config = "virtual_hosts: [{name: v, domains: ['*'], routes: [{match: {prefix: /}, route: {cluster: c}}], \
        virtual_clusters: [{name: a, headers: [{name: ':path', prefix_match: /a}]}]}]";
    let class = |url| {
        let flow = flow("GET", url, &[]);
        found(config, &flow, 0).virtual_cluster(&flow).map(|name| name.to_string())
    };
    assert_eq!((class("h/a").as_deref(), class("h/b").as_deref()), (Some("a"), Some("other")));
}
