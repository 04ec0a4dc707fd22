//! `StringMatcher`, over bytes: a server name need not be text.

use regex::bytes::Regex;

/// A StringMatcher (`envoy.type.matcher.v3` and `xds.type.matcher.v3`).
#[derive(Clone, Debug)]
pub struct TextMatch {
    /// The pattern.
    pub pattern: TextPattern,
    /// ASCII case is ignored; never with a regex.
    pub ignore_case: bool,
}

/// `match_pattern`.
#[derive(Clone, Debug)]
pub enum TextPattern {
    /// The whole.
    Exact(Box<str>),
    /// Its beginning.
    Prefix(Box<str>),
    /// Its end.
    Suffix(Box<str>),
    /// Any part.
    Contains(Box<str>),
    /// The whole matches; compiled with anchors.
    Regex(Box<Regex>),
}

impl TextMatch {
    /// Whether `text` matches.
    pub fn matches(&self, text: &[u8]) -> bool {
        let same = |a: &[u8], b: &[u8]| if self.ignore_case { a.eq_ignore_ascii_case(b) } else { a == b };
        match &self.pattern {
            TextPattern::Exact(p) => same(text, p.as_bytes()),
            TextPattern::Prefix(p) => text.get(..p.len()).is_some_and(|head| same(head, p.as_bytes())),
            TextPattern::Suffix(p) => {
                let start = text.len().checked_sub(p.len());
                start.and_then(|start| text.get(start..)).is_some_and(|tail| same(tail, p.as_bytes()))
            }
            TextPattern::Contains(p) => p.is_empty() || text.windows(p.len()).any(|part| same(part, p.as_bytes())),
            TextPattern::Regex(regex) => regex.is_match(text),
        }
    }
}
