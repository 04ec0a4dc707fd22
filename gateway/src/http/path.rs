//! One path, one way to write it (`source/common/http/path_utility.cc`, which leaves the work to Chromium's URL
//! canonicaliser): dot segments, escapes that hide nothing, slashes.

use std::borrow::Cow;

use config::model::hcm::{EscapedSlashes, Manager};
use http::uri::PathAndQuery;

/// What became of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Normal {
    /// It stays.
    Same,
    /// This one is meant.
    Changed(PathAndQuery),
    /// The client is sent there (`UNESCAPE_AND_REDIRECT`).
    Redirect(PathAndQuery),
    /// It is refused.
    Rejected,
}

/// The path as the configuration wants it; in Envoy's order: escaped slashes, dot segments, slashes.
pub(crate) fn normalise(manager: &Manager, target: &PathAndQuery) -> Normal {
    let Manager { normalize_path, merge_slashes, escaped_slashes, .. } = manager;
    let (path, query) = match target.as_str().split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target.as_str(), None),
    };
    let mut path = Cow::Borrowed(path);
    let mut redirect = false;
    if *escaped_slashes != EscapedSlashes::Keep && has_escaped_slashes(&path) {
        match escaped_slashes {
            EscapedSlashes::Keep | EscapedSlashes::UnescapeAndForward => {}
            EscapedSlashes::Reject => return Normal::Rejected,
            EscapedSlashes::UnescapeAndRedirect => redirect = true,
        }
        path = Cow::Owned(unescape_slashes(&path));
    }
    if *normalize_path {
        let Some(canonical) = canonical(&path) else { return Normal::Rejected };
        if canonical != *path {
            path = Cow::Owned(canonical);
        }
    }
    if *merge_slashes && path.contains("//") {
        path = Cow::Owned(merge(&path));
    }
    let Cow::Owned(path) = path else { return Normal::Same };
    let whole = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    match PathAndQuery::try_from(whole) {
        Ok(path) if redirect => Normal::Redirect(path),
        Ok(path) => Normal::Changed(path),
        Err(_) => Normal::Rejected,
    }
}

/// Without dot segments; escapes of letters, digits and `-._~` undone; `\` is `/`. `None`: it has an escaped NUL.
pub(crate) fn canonical(path: &str) -> Option<String> {
    let plain = unescape(path)?;
    let mut out = String::with_capacity(plain.len());
    let mut segments = plain.strip_prefix('/')?.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." if last => out.push('/'),
            "." => {}
            ".." => {
                out.truncate(out.rfind('/').unwrap_or(0));
                if last {
                    out.push('/');
                }
            }
            other => {
                out.push('/');
                out.push_str(other);
            }
        }
    }
    if out.is_empty() {
        out.push('/');
    }
    Some(out)
}

fn unescape(path: &str) -> Option<String> {
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'%' => match escaped(bytes, at) {
                Some(0) => return None,
                Some(plain) if is_unreserved(plain) => {
                    out.push(char::from(plain));
                    at += 2;
                }
                Some(_) | None => out.push('%'),
            },
            b'\\' => out.push('/'),
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' => out.push_str(&format!("%{byte:02X}")),
            other => out.push(char::from(*other)),
        }
    }
    Some(out)
}

fn escaped(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    u8::try_from(digit(at)? << 4 | digit(at + 1)?).ok()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn merge(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for letter in path.chars() {
        if letter != '/' || !out.ends_with('/') {
            out.push(letter);
        }
    }
    out
}

fn has_escaped_slashes(path: &str) -> bool {
    slash_at(path).is_some()
}

fn slash_at(path: &str) -> Option<(usize, char)> {
    path.match_indices('%').find_map(|(at, _)| match path.get(at + 1..at + 3)? {
        "2f" | "2F" => Some((at, '/')),
        "5c" | "5C" => Some((at, '\\')),
        _ => None,
    })
}

fn unescape_slashes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((at, letter)) = slash_at(rest) {
        out.push_str(&rest[..at]);
        out.push(letter);
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
