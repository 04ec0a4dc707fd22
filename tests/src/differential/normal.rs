//! What of an exchange must be the same, whichever proxy it went through.

use std::collections::BTreeMap;

use super::live::SITE;
use crate::http_peer::{Answer, NAME, SCRIPT, Seen};

/// An exchange in lines, so that two of them can be laid side by side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Story(pub Vec<String>);

/// Headers whose value can't be the same twice; that they are there must be.
const TIMED: [&str; 9] = [
    "date",
    "x-envoy-upstream-service-time",
    "traceparent",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-datadog-parent-id",
    "b3",
    "x-datadog-trace-id",
];

/// How long a server has, from Envoy.
const EXPECTED: &str = "x-envoy-expected-rq-timeout-ms";

impl Story {
    /// Of what the client got and what servers saw; `address` is the proxy's own.
    pub fn of(answer: &Answer, seen: &[Seen], address: &str) -> Self {
        let mut lines = vec![format!("answer: {} {} {:?}", answer.version, answer.status, answer.end)];
        if !answer.informational.is_empty() {
            lines.push(format!("answer: informational {:?}", answer.informational));
        }
        lines.extend(headers("answer", &answer.headers));
        lines.push(format!("answer body: {}", text(&answer.body)));
        lines.extend(headers("answer trailer", &answer.trailers));
        // A mirrored copy arrives whenever it does.
        let (mut shadows, real): (Vec<_>, Vec<_>) = seen.iter().partition(|seen| seen.is_shadow());
        shadows.sort_by(|one, other| one.server.cmp(&other.server));
        for (number, seen) in real.iter().enumerate() {
            let of_server = of_server(&format!("server {number}"), seen);
            lines.extend(of_server.into_iter().map(|line| if number > 0 { again(line) } else { line }));
        }
        for seen in shadows {
            lines.extend(of_server("mirror", seen));
        }
        Self(lines.into_iter().map(|line| line.replace(address, SITE)).collect())
    }

    /// Lines that only one of two has: this one's, and the other's.
    pub fn apart(&self, other: &Self) -> (Vec<String>, Vec<String>) {
        let only = |these: &Self, those: &Self| {
            let mut left = those.0.clone();
            let mut only = Vec::new();
            for line in &these.0 {
                match left.iter().position(|one| one == line) {
                    Some(at) => drop(left.swap_remove(at)),
                    None => only.push(line.clone()),
                }
            }
            only
        };
        (only(self, other), only(other, self))
    }
}

fn of_server(who: &str, seen: &Seen) -> Vec<String> {
    let Seen { server, version, method, path, authority, scheme, protocol, headers: all, body, trailers, broken, tls } =
        seen;
    let mut lines =
        vec![format!("{who}: {server} {version} {method} {path} authority={authority:?} scheme={scheme:?}")];
    if let Some(protocol) = protocol {
        lines.push(format!("{who}: protocol {protocol}"));
    }
    if let Some(tls) = tls {
        lines.push(format!("{who}: {tls:?}"));
    }
    lines.extend(headers(who, all));
    lines.push(format!("{who} body: {}{}", text(body), if *broken { " (broken)" } else { "" }));
    lines.extend(headers(&format!("{who} trailer"), trailers));
    lines
}

/// One line for a name, its values in order.
fn headers(who: &str, all: &[(String, String)]) -> Vec<String> {
    let mut by_name: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in all {
        if name != NAME && name != SCRIPT {
            by_name.entry(name).or_default().push(normal(name, value));
        }
    }
    by_name.into_iter().map(|(name, values)| format!("{who} {name}: {}", values.join(" | "))).collect()
}

/// What is left of a time can't be the same in two attempts.
fn again(line: String) -> String {
    match line.split_once(&format!(" {EXPECTED}: ")) {
        Some((who, _)) => format!("{who} {EXPECTED}: …"),
        None => line,
    }
}

fn normal(name: &str, value: &str) -> String {
    const OWN: &str = "5f2c8a4e";
    // Some of it may be gone before the first attempt.
    if let (EXPECTED, Ok(left)) = (name, value.parse::<u64>()) {
        return left.next_multiple_of(500).to_string();
    }
    if TIMED.contains(&name) {
        return "…".into();
    }
    if name == "x-request-id" && !value.starts_with(OWN) && value.len() == 36 {
        return "a new one".into();
    }
    if value.len() > 200 { format!("{} bytes", value.len()) } else { value.to_owned() }
}

fn text(body: &[u8]) -> String {
    match std::str::from_utf8(body) {
        Ok(text) if text.len() <= 120 => format!("{text:?}"),
        _ => format!(
            "{} bytes, {:08x}",
            body.len(),
            body.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31) ^ u32::from(*byte))
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let answer = Answer {
            status: 200,
            headers: vec![("date".into(), "today".into()), ("a".into(), "1".into())],
            ..Answer::none()
        };
        let mut other = answer.clone();
        other.headers[0].1 = "tomorrow".into();
        assert_eq!(Story::of(&answer, &[], "x"), Story::of(&other, &[], "x"));
        other.headers[1].1 = "2".into();
        let apart = Story::of(&answer, &[], "x").apart(&Story::of(&other, &[], "x"));
        assert_eq!(apart, (vec!["answer a: 1".to_owned()], vec!["answer a: 2".to_owned()]));
    }
}
