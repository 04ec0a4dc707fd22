//! Every route configuration among Kuma's expected outputs (`../shared/goldens`) is compiled, and every route of it is
//! found by a request made for it, or one before it is that takes the same request.

use std::path::{Path, PathBuf};

use config::model::route::{HeaderKey, HeaderTest, PathMatch, QueryTest};
use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::*;
use crate::route::testing::{flow, try_configuration};

fn goldens() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/goldens");
    if path.is_dir() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{} is not there", path.display());
    eprintln!("\n*** SKIPPED: {} is not there, so no golden's routes were compiled ***\n", path.display());
    None
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// Everything that is a route configuration: named by its type, or inline.
fn configurations<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| configurations(item, found)),
        Value::Object(fields) => {
            found.extend(fields.get("routeConfig"));
            if fields.get("@type").and_then(Value::as_str).is_some_and(|t| t.ends_with("route.v3.RouteConfiguration")) {
                found.push(value);
            }
            fields.values().for_each(|field| configurations(field, found));
        }
        _ => {}
    }
}

/// A text that the test of a matcher takes, as far as it says what that is.
fn sample(text: &config::model::matcher::TextMatch) -> Option<String> {
    use config::model::matcher::TextPattern as P;
    match &text.pattern {
        P::Exact(text) | P::Prefix(text) | P::Suffix(text) | P::Contains(text) => Some(text.to_string()),
        P::Regex(regex) => {
            ["a", "1", "/a", "/", "abc"].into_iter().find(|t| regex.is_match(t.as_bytes())).map(Into::into)
        }
    }
}

/// A request that the route takes, if one can be made.
fn request_for(domain: &str, route: &model::Route) -> Option<HttpFlow> {
    let mut path = match &route.matches.path {
        PathMatch::Prefix(text) | PathMatch::Exact(text) | PathMatch::SeparatedPrefix(text) => text.to_string(),
        PathMatch::Regex(regex) => ["/", "/a", "/a/b"].into_iter().find(|path| regex.is_match(path.as_bytes()))?.into(),
        PathMatch::Connect | PathMatch::Template(_) => return None,
    };
    for (n, one) in route.matches.query.iter().enumerate() {
        let value = match &one.test {
            QueryTest::Present(_) => String::new(),
            QueryTest::Text(text) => sample(text)?,
        };
        path += &format!("{}{}={value}", if n == 0 { '?' } else { '&' }, one.name);
    }
    let mut flow = flow("GET", &format!("{}{path}", domain.replace('*', "x")), &[("x-forwarded-proto", "https")]);
    for one in &route.matches.headers {
        let value = match &one.test {
            HeaderTest::Present(_) => "x".to_owned(),
            HeaderTest::Text(text) => sample(text)?,
            HeaderTest::Range(from, _) => from.to_string(),
        };
        match &one.name {
            HeaderKey::Method => flow.request.method = value.parse().ok()?,
            HeaderKey::Name(name) => drop(flow.request.headers.insert(name, HeaderValue::from_str(&value).ok()?)),
            _ => return None,
        }
    }
    if route.matches.grpc {
        let name = HeaderName::from_static("content-type");
        flow.request.headers.insert(name, HeaderValue::from_static("application/grpc"));
    }
    Some(flow)
}

#[test]
fn every_golden_compiles_and_every_route_is_found() {
    let Some(goldens) = goldens() else { return };
    let mut paths = Vec::new();
    files(&goldens, &mut paths);
    let (mut tables, mut routes, mut found, mut refused) = (0, 0, 0, 0);
    for path in paths {
        let Ok(document) = config::json::parse_text(&std::fs::read_to_string(&path).unwrap_or_default()) else {
            continue;
        };
        let mut all = Vec::new();
        let document = serde_json::to_value(document).unwrap();
        configurations(&document, &mut all);
        for one in all {
            let mut one = one.clone();
            one.as_object_mut().unwrap().remove("@type");
            let table = match try_configuration(&one.to_string()) {
                Ok(table) => table,
                // Those of the control plane's own listeners say 0 where the body is a placeholder.
                Err(why) if why.ends_with("maximum is 0") => {
                    refused += 1;
                    continue;
                }
                Err(why) => panic!("{}: {why}", path.display()),
            };
            let table = Table::compile(&Arc::new(table));
            tables += 1;
            for host in &table.config().virtual_hosts {
                for (n, route) in host.routes.iter().enumerate() {
                    routes += 1;
                    let Some(flow) = request_for(&host.domains[0], route) else { continue };
                    let first = table.find(&flow, &Env::default()).unwrap_or_else(|| panic!("{}: {n}", path.display()));
                    let first = first.route.unwrap();
                    let at = host.routes.iter().position(|known| Arc::ptr_eq(known, &first.config));
                    assert!(at.is_some_and(|at| at <= n), "{}: route {n} of {}", path.display(), host.name);
                    found += usize::from(at == Some(n));
                }
            }
        }
    }
    eprintln!("{tables} route configurations, {routes} routes, {found} found first, {refused} cut");
    assert!(tables >= 118 && routes >= 256 && found >= 252, "{tables} tables, {routes} routes, {found} found");
}
