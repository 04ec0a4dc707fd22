//! The table finds what looking at every route in turn finds, and does not look at every route.

use std::fmt::Write as _;

use config::model::route::{PathMatch, Route};
use proptest::prelude::*;

use super::*;
use crate::route::testing::{configuration, flow};

fn table(yaml: &str) -> Table {
    Table::compile(&Arc::new(configuration(yaml)))
}

fn host(routes: &str) -> Table {
    table(&format!("virtual_hosts: [{{name: h, domains: ['*'], routes: [{routes}]}}]"))
}

/// Routes that are named by their matches.
fn named(matches: &[&str]) -> Table {
    let route = |m: &&str| format!("{{name: {m:?}, match: {{{m}}}, direct_response: {{status: 200}}}}");
    host(&matches.iter().map(route).collect::<Vec<_>>().join(", "))
}

fn name(table: &Table, flow: &HttpFlow) -> Option<String> {
    table.find(flow, &Env::default()).map(|found| found.route_name().to_string())
}

#[test]
fn the_first_route_wins_whatever_its_kind() {
    let matches = [
        "prefix: /, headers: [{name: x}]",
        "path: /a",
        "safe_regex: {regex: '/b+'}",
        "path_separated_prefix: /c",
        "prefix: /A, case_sensitive: false",
        "path: /B, case_sensitive: false",
        "connect_matcher: {}",
        "path_match_policy: {name: t, typed_config: {'@type': type.googleapis.com/\
         envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig, path_template: '/t/{x}'}}",
        "prefix: /z",
    ];
    let table = named(&matches);
    type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)], Option<usize>);
    let rows: [Row; 15] = [
        ("GET", "h/a", &[("x", "")], Some(0)),
        ("GET", "h/a?q", &[], Some(1)),
        ("GET", "h/ab", &[], Some(4)),
        ("GET", "h/bbb?x", &[], Some(2)),
        ("GET", "h/bbbc", &[], None),
        ("GET", "h/c", &[], Some(3)),
        ("GET", "h/c/d", &[], Some(3)),
        ("GET", "h/cd", &[], None),
        ("GET", "h/c?d", &[], Some(3)),
        ("GET", "h/b", &[], Some(2)),
        ("GET", "h/B", &[], Some(5)),
        ("CONNECT", "h:80", &[], Some(6)),
        ("GET", "h/t/1", &[], Some(7)),
        ("GET", "h/t/1/2", &[], None),
        ("GET", "h/z/1", &[], Some(8)),
    ];
    for (method, url, headers, expected) in rows {
        let found = name(&table, &flow(method, url, headers));
        assert_eq!(found.as_deref(), expected.map(|n| matches[n]), "{method} {url}");
    }
}

#[test]
fn path_parameters_may_be_passed_over() {
    let routes = "[{match: {path: /a}, direct_response: {status: 200}}]";
    let config = format!("virtual_hosts: [{{name: h, domains: ['*'], routes: {routes}}}]");
    assert!(table(&config).find(&flow("GET", "h/a;b=c", &[]), &Env::default()).is_none());
    let config = format!("{{ignore_path_parameters_in_path_matching: true, {config}}}");
    assert!(table(&config).find(&flow("GET", "h/a;b=c?d", &[]), &Env::default()).is_some());
}

#[test]
fn parameters_cookies_grpc_and_fractions() {
    let table = named(&[
        "prefix: /, query_parameters: [{name: a, string_match: {exact: '1'}}, {name: b, present_match: true}]",
        "prefix: /, cookies: [{name: c, string_match: {prefix: x}}]",
        "prefix: /, grpc: {}",
        "prefix: /, tls_context: {presented: true}",
        "prefix: /, runtime_fraction: {default_value: {numerator: 50}, runtime_key: k}",
    ]);
    let start = |flow: HttpFlow, random| {
        let found = table.find(&flow, &Env { random, runtime: None });
        found.map(|found| found.route_name().split_whitespace().nth(2).unwrap_or_default().to_owned())
    };
    assert_eq!(start(flow("GET", "h/?b&a=1", &[]), 99).as_deref(), Some("query_parameters:"));
    assert_eq!(start(flow("GET", "h/?a=1", &[]), 99), None);
    assert_eq!(start(flow("GET", "h/", &[("cookie", "a=b; c=xy")]), 99).as_deref(), Some("cookies:"));
    assert_eq!(start(flow("POST", "h/", &[("content-type", "application/grpc+proto")]), 99).as_deref(), Some("grpc:"));
    assert_eq!(start(flow("POST", "h/", &[("content-type", "application/grpc-web")]), 99), None);
    assert_eq!(start(flow("GET", "h/", &[]), 149).as_deref(), Some("runtime_fraction:"));
    assert_eq!(start(flow("GET", "h/", &[]), 150), None);
}

#[test]
fn tls_is_required_of_whom_it_is_required() {
    let of = |require| table(&format!("virtual_hosts: [{{name: h, domains: ['*'], require_tls: {require}}}]"));
    let redirected = |table: &Table, flow: &HttpFlow| {
        let found = table.find(flow, &Env::default());
        found.is_some_and(|found| matches!(found.action(), Action::RequireTls))
    };
    let plain = flow("GET", "h/", &[("x-forwarded-proto", "http")]);
    let secure = flow("GET", "h/", &[("x-forwarded-proto", "https")]);
    let internal = HttpFlow { internal: true, ..flow("GET", "h/", &[]) };
    assert!(redirected(&of("ALL"), &plain) && redirected(&of("ALL"), &internal) && !redirected(&of("ALL"), &secure));
    assert!(redirected(&of("EXTERNAL_ONLY"), &plain) && !redirected(&of("EXTERNAL_ONLY"), &internal));
    assert!(!redirected(&of("NONE"), &plain));
}

#[test]
fn the_virtual_host_may_be_named_by_another_header() {
    let hosts = "virtual_hosts: [{name: a, domains: [a]}, {name: b, domains: [b], require_tls: ALL}]";
    let table = table(&format!("{{vhost_header: x-host, {hosts}}}"));
    assert!(table.find(&flow("GET", "a/", &[("x-host", "b")]), &Env::default()).is_some());
    assert!(table.find(&flow("GET", "b/", &[]), &Env::default()).is_none());
}

/// `hosts` virtual hosts of `routes` routes each.
fn large(hosts: usize, routes: usize) -> Table {
    let mut yaml = "virtual_hosts:\n".to_owned();
    for host in 0..hosts {
        let _ =
            writeln!(yaml, "- name: h{host}\n  domains: ['h{host}.example.com', '*.h{host}.example.com']\n  routes:");
        for route in 0..routes {
            let path = match route % 3 {
                0 => format!("{{path: /exact/{route}}}"),
                1 => format!("{{prefix: /prefix/{route}/}}"),
                _ => format!("{{path_separated_prefix: /segment/{route}}}"),
            };
            let _ = writeln!(yaml, "  - match: {path}\n    direct_response: {{status: 200}}");
        }
        let _ = writeln!(yaml, "  - match: {{prefix: /}}\n    direct_response: {{status: 404}}");
    }
    table(&yaml)
}

#[test]
fn a_large_table_costs_hardly_more_than_a_small_one() {
    let steps = |table: &Table, url: &str| {
        let mut steps = 0;
        assert!(table.find_counting(&flow("GET", url, &[]), &Env::default(), &mut steps).is_some());
        steps
    };
    let (small, big) = (large(10, 10), large(1000, 100));
    for (in_small, in_big) in [
        ("h9.example.com/exact/9", "h999.example.com/exact/99"),
        ("h3.example.com/prefix/4/x", "h333.example.com/prefix/97/x"),
        ("x.h3.example.com/segment/2/x", "x.h777.example.com/segment/98/x"),
        ("h3.example.com/other", "h333.example.com/other"),
    ] {
        let (few, many) = (steps(&small, in_small), steps(&big, in_big));
        // Each index is searched by halves: twice a hundred times more are some steps more.
        assert!(many <= few + 12, "{in_big}: {many} steps, {few} in the small table");
    }
}

/// What Envoy does: one route after the other.
fn naive(routes: &[Arc<Route>], flow: &HttpFlow) -> Option<Arc<str>> {
    let path = matches::without_query(flow.request.path.as_str());
    let same = |route: &Route, a: &str, b: &str| match route.matches.case_sensitive {
        true => a == b,
        false => a.eq_ignore_ascii_case(b),
    };
    let starts = |route: &Route, text: &str| path.get(..text.len()).is_some_and(|head| same(route, head, text));
    let mut found = routes.iter().filter(|route| {
        let path_matches = match &route.matches.path {
            PathMatch::Exact(text) => same(route, path, text),
            PathMatch::Prefix(text) => starts(route, text),
            PathMatch::SeparatedPrefix(text) => {
                starts(route, text) && matches!(path.as_bytes().get(text.len()), None | Some(b'/'))
            }
            PathMatch::Regex(regex) => regex.is_match(path.as_bytes()),
            PathMatch::Connect | PathMatch::Template(_) => false,
        };
        path_matches && crate::route::header::request_matches(&route.matches.headers, &flow.request)
    });
    found.next().map(|route| Arc::clone(&route.name))
}

fn any_match() -> impl Strategy<Value = String> {
    let path = "(/[abA]{0,2}){1,3}";
    let path = prop_oneof![
        path.prop_map(|p| format!("prefix: '{p}'")),
        path.prop_map(|p| format!("path: '{p}'")),
        "(/[abA]{1,2}){1,3}".prop_map(|p| format!("path_separated_prefix: '{p}'")),
        "/[ab]\\*[ab]?".prop_map(|p| format!("safe_regex: {{regex: '{p}'}}")),
        Just("prefix: ''".to_owned()),
    ];
    let header = prop_oneof![
        3 => Just(String::new()),
        1 => Just(", headers: [{name: x}]".to_owned()),
        1 => Just(", headers: [{name: x, exact_match: '1', invert_match: true}]".to_owned()),
    ];
    (path, any::<bool>(), header).prop_map(|(path, case_sensitive, header)| {
        let case = if case_sensitive { "" } else { ", case_sensitive: false" };
        format!("{path}{case}{header}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn as_one_route_after_the_other(
        matches in prop::collection::vec(any_match(), 1..12),
        urls in prop::collection::vec("h(/[abA]{0,2}){1,4}(\\?[ab/]{0,2})?", 1..12),
        header in prop::option::of("[12]"),
    ) {
        let route = |(n, m): (usize, &String)| format!("{{name: r{n}, match: {{{m}}}, direct_response: {{status: 200}}}}");
        let table = host(&matches.iter().enumerate().map(route).collect::<Vec<_>>().join(", "));
        for url in &urls {
            let headers: Vec<(&str, &str)> = header.as_deref().map(|value| ("x", value)).into_iter().collect();
            let flow = flow("GET", url, &headers);
            let expected = naive(&table.config().virtual_hosts[0].routes, &flow);
            let found = table.find(&flow, &Env::default()).map(|found| found.route_name());
            prop_assert_eq!(found, expected, "{}", url);
        }
    }
}
