//! Replacing what an expression matches (`RegexMatchAndSubstitute`), as RE2's `GlobalReplace`.

use regex::bytes::Regex;

/// An expression and what each of its matches is replaced by.
#[derive(Clone, Debug)]
pub struct RegexRewrite {
    /// `pattern`, not anchored.
    pub regex: Regex,
    /// `substitution`.
    pub substitution: Box<[SubstitutionPart]>,
}

/// A part of `substitution`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubstitutionPart {
    /// As it stands; `\\` is a backslash.
    Literal(Box<str>),
    /// `\0` to `\9`: what a group matched.
    Group(usize),
}

/// Why a substitution is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubstitutionError {
    /// A backslash before anything but a digit or a backslash.
    #[error("'\\' must be followed by a digit or '\\'")]
    Escape,
}

impl RegexRewrite {
    /// Puts an expression and a substitution together.
    ///
    /// One that names a group that is not there replaces nothing, as in RE2.
    ///
    /// # Errors
    /// The substitution is none.
    pub fn new(regex: Regex, substitution: &str) -> Result<Self, SubstitutionError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut chars = substitution.chars();
        while let Some(c) = chars.next() {
            let c = if c == '\\' {
                chars.next().ok_or(SubstitutionError::Escape)?
            } else {
                literal.push(c);
                continue;
            };
            match c.to_digit(10) {
                Some(group) => {
                    let group = group as usize;
                    if !literal.is_empty() {
                        parts.push(SubstitutionPart::Literal(std::mem::take(&mut literal).into()));
                    }
                    parts.push(SubstitutionPart::Group(group));
                }
                None if c == '\\' => literal.push(c),
                None => return Err(SubstitutionError::Escape),
            }
        }
        if !literal.is_empty() {
            parts.push(SubstitutionPart::Literal(literal.into()));
        }
        Ok(Self { regex, substitution: parts.into() })
    }

    /// Replaces every match.
    pub fn replace_all(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut from = 0;
        let known =
            |part: &SubstitutionPart| !matches!(part, SubstitutionPart::Group(n) if *n >= self.regex.captures_len());
        if !self.substitution.iter().all(known) {
            return text.to_vec();
        }
        for captures in self.regex.captures_iter(text) {
            let Some(whole) = captures.get(0) else { continue };
            out.extend_from_slice(&text[from..whole.start()]);
            for part in &self.substitution {
                match part {
                    SubstitutionPart::Literal(literal) => out.extend_from_slice(literal.as_bytes()),
                    SubstitutionPart::Group(group) => {
                        out.extend_from_slice(captures.get(*group).map_or(&[], |group| group.as_bytes()));
                    }
                }
            }
            from = whole.end();
        }
        out.extend_from_slice(&text[from..]);
        out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn replaced(pattern: &str, substitution: &str, text: &str) -> String {
        let rewrite = RegexRewrite::new(Regex::new(pattern).unwrap(), substitution).unwrap();
        String::from_utf8(rewrite.replace_all(text.as_bytes())).unwrap()
    }

    #[test]
    fn the_examples_of_the_api() {
        assert_eq!(
            replaced("^/service/([^/]+)(/.*)$", r"\2/instance/\1", "/service/foo/v1/api"),
            "/v1/api/instance/foo"
        );
        assert_eq!(replaced("one", "two", "/xxx/one/yyy/one/zzz"), "/xxx/two/yyy/two/zzz");
        assert_eq!(replaced("^(.*?)one(.*)$", r"\1two\2", "/xxx/one/yyy/one/zzz"), "/xxx/two/yyy/one/zzz");
        assert_eq!(replaced("(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb"), "/aaa/yyy/bbb");
    }

    #[test]
    fn a_substitution_is_checked() {
        let new = |substitution| RegexRewrite::new(Regex::new("(a)").unwrap(), substitution);
        assert_eq!(replaced("(a)", r"x\2", "a"), "a");
        assert_eq!(new(r"\x").unwrap_err(), SubstitutionError::Escape);
        assert_eq!(new("\\").unwrap_err(), SubstitutionError::Escape);
        assert_eq!(replaced("(a)", r"\\\1\0$1", "a"), r"\aa$1");
    }
}
