//! Matchers of subject alternative names.

use regex::Regex;

/// One `match_typed_subject_alt_names` entry.
#[derive(Clone, Debug)]
pub struct SanMatch {
    /// Kind of name.
    pub kind: SanKind,
    /// Matcher of its value.
    pub matcher: StringMatch,
}

/// `SubjectAltNameMatcher.SanType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SanKind {
    /// DNS name.
    Dns,
    /// URI (SPIFFE ID).
    Uri,
    /// IP address in text form.
    Ip,
    /// E-mail address.
    Email,
}

/// `type.matcher.v3.StringMatcher`.
#[derive(Clone, Debug)]
pub struct StringMatch {
    /// The pattern.
    pub pattern: Pattern,
    /// ASCII case is ignored (not for regexes).
    pub ignore_case: bool,
}

/// The pattern of a [`StringMatch`].
#[derive(Clone, Debug)]
pub enum Pattern {
    /// Equal.
    Exact(Box<str>),
    /// Starts with.
    Prefix(Box<str>),
    /// Ends with.
    Suffix(Box<str>),
    /// Contains.
    Contains(Box<str>),
    /// RE2 full match.
    Regex(Box<Regex>),
}

impl StringMatch {
    /// Whether it matches a text. ASCII case is folded where it is ignored.
    pub fn matches(&self, text: &str) -> bool {
        let fold = |text: &str| if self.ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
        match &self.pattern {
            Pattern::Exact(pattern) => fold(text) == fold(pattern),
            Pattern::Prefix(pattern) => fold(text).starts_with(&fold(pattern)),
            Pattern::Suffix(pattern) => fold(text).ends_with(&fold(pattern)),
            Pattern::Contains(pattern) => fold(text).contains(&fold(pattern)),
            // The model anchors it: Envoy's regexes match the whole value.
            Pattern::Regex(regex) => regex.is_match(text),
        }
    }
}

impl PartialEq for StringMatch {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.pattern, &other.pattern) {
            (Pattern::Exact(a), Pattern::Exact(b))
            | (Pattern::Prefix(a), Pattern::Prefix(b))
            | (Pattern::Suffix(a), Pattern::Suffix(b))
            | (Pattern::Contains(a), Pattern::Contains(b)) => a == b,
            (Pattern::Regex(a), Pattern::Regex(b)) => a.as_str() == b.as_str(),
            _ => false,
        };
        same && self.ignore_case == other.ignore_case
    }
}
