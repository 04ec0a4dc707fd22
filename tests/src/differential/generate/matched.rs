//! From a match to requests that it takes, and to requests that it nearly takes.

use serde_json::Value;

use crate::differential::pattern::{cut, matching, texts};
use crate::http_peer::Ask;

/// A host that a domain takes.
pub(super) fn host(domain: &str) -> String {
    match domain {
        "*" => "other.test".to_owned(),
        _ if domain.starts_with('*') => format!("any{}", &domain[1..]),
        _ if domain.ends_with('*') => format!("{}any", &domain[..domain.len() - 1]),
        exact => exact.to_owned(),
    }
}

/// Paths that this match takes, without a query.
pub(super) fn paths(matched: &Value) -> Vec<String> {
    let field = |name: &str| matched[name].as_str();
    if let Some(exact) = field("path") {
        return vec![exact.to_owned()];
    }
    if let Some(start) = field("prefix") {
        let slash = if start.ends_with('/') { "" } else { "/" };
        return vec![start.to_owned(), format!("{start}{slash}some/thing"), format!("{start}end")];
    }
    if let Some(start) = field("path_separated_prefix") {
        return vec![start.to_owned(), format!("{start}/"), format!("{start}/some/thing")];
    }
    if let Some(regex) = matched["safe_regex"]["regex"].as_str() {
        let tame = |seed| {
            let path = matching(regex, seed);
            if path.starts_with('/') { path } else { format!("/{path}") }
        };
        return vec![tame(1), tame(2), tame(3)];
    }
    vec!["/".to_owned()]
}

/// Paths beside these.
pub(super) fn near(path: &str) -> Vec<(&'static str, String)> {
    let upper = path.to_ascii_uppercase();
    let spelt: String = path.chars().map(|c| if c == 'a' { "%61".to_owned() } else { c.to_string() }).collect();
    let mut near = vec![
        ("a path that goes on", format!("{path}x")),
        ("a segment more", format!("{}/more", path.trim_end_matches('/'))),
        ("a slash at the end", format!("{path}/")),
        ("slashes doubled", path.replace('/', "//")),
        ("a dot segment", format!("{}/./a/../b", path.trim_end_matches('/'))),
        ("up and out", format!("/..{path}")),
        ("an escaped slash", format!("{path}%2Fx")),
        ("an escaped backslash", format!("{path}%5Cx")),
        ("a query with slashes", format!("{path}?a=//b/../c&d=%2F")),
        ("an empty query", format!("{path}?")),
        ("another place", "/nowhere/at/all".to_owned()),
    ];
    if upper != path {
        near.push(("upper case", upper));
    }
    if spelt != path {
        near.push(("escapes", spelt));
    }
    if path.len() > 2 {
        near.push(("a path cut short", cut(path)));
    }
    near
}

/// A request that this match takes, by its first path or the one of this number.
pub(super) fn request(host: &str, matched: &Value, number: usize) -> Ask {
    let paths = paths(matched);
    let mut ask = Ask::get(host, &paths[number % paths.len()]);
    for matcher in array(matched, "headers") {
        if let Some(value) = header_values(matcher).0.first() {
            set(&mut ask, name(matcher), Some(value));
        }
    }
    let query: Vec<_> = array(matched, "query_parameters").filter_map(query_pair).collect();
    if !query.is_empty() {
        ask.path = format!("{}?{}", ask.path, query.join("&"));
    }
    if matched.get("grpc").is_some() {
        ask = ask.by("POST").with("content-type", "application/grpc").with("te", "trailers");
    }
    if matched.get("connect_matcher").is_some() {
        ask = ask.by("CONNECT");
    }
    ask
}

/// Requests that this match nearly takes, or takes in another way, for what its headers and query say.
pub(super) fn branches(base: &Ask, matched: &Value) -> Vec<(String, Ask)> {
    let mut all = Vec::new();
    for matcher in array(matched, "headers") {
        let name = name(matcher);
        let (good, bad) = header_values(matcher);
        let mut add = |what: &str, value: Option<&str>| {
            let mut ask = base.clone();
            set(&mut ask, name, value);
            all.push((format!("header {name}: {what}"), ask));
        };
        add("absent", None);
        good.iter().for_each(|value| add("taken", Some(value)));
        bad.iter().for_each(|value| add("not taken", Some(value)));
        if let (Some(value), false) = (good.first(), name.starts_with(':')) {
            let mut twice = base.clone();
            set(&mut twice, name, Some("first"));
            all.push((format!("header {name}: twice"), twice.with(name, value)));
        }
    }
    for matcher in array(matched, "query_parameters") {
        let name = name(matcher);
        let path = base.path.split('?').next().unwrap_or_default();
        let mut add = |what: &str, query: String| {
            let mut ask = base.clone();
            ask.path = format!("{path}?{query}");
            all.push((format!("query {name}: {what}"), ask));
        };
        let texts = texts(&matcher["string_match"]);
        add("absent", "other=1".into());
        add("empty", format!("{name}="));
        add("without a value", name.into());
        texts.good.iter().for_each(|value| add("taken", format!("{name}={}", plain(value))));
        texts.bad.iter().for_each(|value| add("not taken", format!("{name}={}", plain(value))));
        if let Some(value) = texts.good.first() {
            add("twice", format!("{name}=first&{name}={}", plain(value)));
            add(
                "escaped",
                format!("{name}=%{:02X}{}", value.bytes().next().unwrap_or(b'x'), plain(value.get(1..).unwrap_or(""))),
            );
        }
    }
    all
}

pub(super) fn array<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

fn name(matcher: &Value) -> &str {
    matcher["name"].as_str().unwrap_or("x")
}

/// Values that a HeaderMatcher takes, and values that it does not.
fn header_values(matcher: &Value) -> (Vec<String>, Vec<String>) {
    let text = |field: &str| matcher[field].as_str().unwrap_or_default().to_owned();
    let inverted = matcher["invert_match"] == true;
    let has = |field: &str| matcher.get(field).is_some();
    let (good, bad) = if has("present_match") {
        if matcher["present_match"] == true { (vec!["there".into()], vec![]) } else { (vec![], vec!["there".into()]) }
    } else if has("range_match") {
        let number = |field: &str| {
            matcher["range_match"][field].as_str().map_or(matcher["range_match"][field].as_i64(), |n| n.parse().ok())
        };
        let (start, end) = (number("start").unwrap_or_default(), number("end").unwrap_or_default());
        (
            vec![start.to_string(), (end - 1).to_string()],
            vec![end.to_string(), (start - 1).to_string(), format!("{start}x"), String::new()],
        )
    } else if has("exact_match") {
        let exact = text("exact_match");
        (vec![exact.clone()], vec![format!("{exact}x"), cut(&exact)])
    } else if has("prefix_match") {
        (vec![text("prefix_match") + "x"], vec![cut(&text("prefix_match"))])
    } else if has("suffix_match") {
        (vec!["x".to_owned() + &text("suffix_match")], vec![text("suffix_match") + "x"])
    } else if has("contains_match") {
        (vec![format!("a{}b", text("contains_match"))], vec!["c".into()])
    } else if has("safe_regex_match") {
        let good = matching(matcher["safe_regex_match"]["regex"].as_str().unwrap_or_default(), 1);
        (vec![good.clone()], vec![format!("{good}!\"")])
    } else {
        let texts = texts(&matcher["string_match"]);
        (texts.good, texts.bad)
    };
    if inverted { (bad, good) } else { (good, bad) }
}

fn query_pair(matcher: &Value) -> Option<String> {
    let name = name(matcher);
    if matcher["present_match"] == false {
        return None;
    }
    let value = texts(&matcher["string_match"]).good;
    Some(format!("{name}={}", plain(value.first().map_or("1", String::as_str))))
}

/// What may stand in a query.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '#' | '&' | '"' | '<' | '>')).collect()
}

/// Sets a header, or a pseudo header; with no value it is taken out.
fn set(ask: &mut Ask, name: &str, value: Option<&str>) {
    match name {
        ":method" => ask.method = value.unwrap_or("PATCH").chars().filter(char::is_ascii_alphabetic).collect(),
        ":path" => ask.path = value.unwrap_or("/").to_owned(),
        ":authority" | "host" => ask.host = Some(value.unwrap_or("absent.test").to_owned()),
        ":scheme" => {}
        _ => {
            ask.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
            if let Some(value) = value {
                ask.headers.push((name.to_ascii_lowercase(), value.to_owned()));
            }
        }
    }
    if ask.method.is_empty() {
        ask.method = "GETX".into();
    }
}
