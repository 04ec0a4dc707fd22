//! Paths with variables: `envoy.path.match.uri_template.uri_template_matcher` and
//! `envoy.path.rewrite.uri_template.uri_template_rewriter`.
//!
//! `/*` takes one segment, `/**` any number of them as the last, `{name}` and `{name=…}` name what they take.

use regex::bytes::Regex;

/// A path template, as one expression with a named group for each variable.
#[derive(Clone, Debug)]
pub struct PathTemplate {
    /// `path_template` as written.
    pub text: Box<str>,
    /// Matches the whole path.
    pub regex: Regex,
}

/// What the new path is put together from.
#[derive(Clone, Debug)]
pub struct RewriteTemplate {
    /// In order.
    pub parts: Box<[RewritePart]>,
}

/// A part of a [`RewriteTemplate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RewritePart {
    /// As it stands.
    Literal(Box<str>),
    /// What a variable took: its group in [`PathTemplate::regex`].
    Variable(usize),
}

/// Why a template is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It does not start with a `/`, or holds what cannot be printed.
    #[error("must start with '/' and hold printable characters only")]
    Pattern,
    /// Characters that no path has.
    #[error("invalid literal")]
    Literal,
    /// A variable's brackets, name, or what stands behind its `=`.
    #[error("invalid variable")]
    Variable,
    /// A name is used twice.
    #[error("repeated variable name")]
    Repeated,
    /// More than five.
    #[error("more than 5 variables")]
    TooMany,
    /// A name longer than 16 characters.
    #[error("a variable's name has more than 16 characters")]
    NameLength,
    /// Anything that takes segments behind a `**`.
    #[error("a glob after **")]
    AfterTextGlob,
    /// Something behind a suffix.
    #[error("a suffix must be at the end")]
    Suffix,
    /// A rewrite names a variable that the match has not.
    #[error("a variable that the path template has not")]
    Unknown,
    /// The expression cannot be compiled.
    #[error("cannot be compiled")]
    Regex,
}

const MAX_VARIABLES: usize = 5;
const MAX_NAME: usize = 16;
/// One segment: RFC 3986's `pchar`.
const SEGMENT: &str = "[a-zA-Z0-9._~%!$&'()*+,;=:@-]+";
/// Any number of segments.
const SEGMENTS: &str = "[a-zA-Z0-9._~%!$&'()*+,;=:@/-]*";

fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@".contains(&byte)
}

/// What is known while a template is read.
#[derive(Default)]
struct Reader {
    regex: String,
    names: Vec<Box<str>>,
    text_glob: bool,
}

impl PathTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// As Envoy refuses it.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut rest = text.strip_prefix('/').ok_or(TemplateError::Pattern)?;
        if !rest.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TemplateError::Pattern);
        }
        let mut reader = Reader::default();
        reader.regex.push_str(r"\A/");
        while !rest.is_empty() {
            rest = reader.segment(rest, true)?;
            if rest.is_empty() {
                break;
            }
            match rest.strip_prefix('/') {
                Some(after) => {
                    reader.regex.push('/');
                    rest = after;
                }
                None => {
                    rest = reader.literal(rest)?;
                    if !rest.is_empty() {
                        return Err(TemplateError::Suffix);
                    }
                }
            }
        }
        reader.regex.push_str(r"\z");
        let regex = regex::bytes::RegexBuilder::new(&reader.regex).unicode(false).build();
        Ok(Self { text: text.into(), regex: regex.map_err(|_| TemplateError::Regex)? })
    }
}

impl Reader {
    /// Takes one segment off the text; `variables` are allowed outside of variables only.
    fn segment<'a>(&mut self, text: &'a str, variables: bool) -> Result<&'a str, TemplateError> {
        if let Some(rest) = text.strip_prefix("**") {
            self.glob(true)?;
            Ok(rest)
        } else if let Some(rest) = text.strip_prefix('*') {
            self.glob(false)?;
            Ok(rest)
        } else if variables && let Some(rest) = text.strip_prefix('{') {
            let (variable, rest) = rest.split_once('}').ok_or(TemplateError::Variable)?;
            self.variable(variable)?;
            Ok(rest)
        } else {
            self.literal(text)
        }
    }

    fn glob(&mut self, text: bool) -> Result<(), TemplateError> {
        if self.text_glob {
            return Err(TemplateError::AfterTextGlob);
        }
        self.text_glob = text;
        self.regex.push_str(if text { SEGMENTS } else { SEGMENT });
        Ok(())
    }

    fn literal<'a>(&mut self, text: &'a str) -> Result<&'a str, TemplateError> {
        let (literal, rest) = text.split_at(text.find('/').unwrap_or(text.len()));
        if literal.is_empty() || !literal.bytes().all(is_literal) {
            return Err(TemplateError::Literal);
        }
        self.regex.push_str(&regex::escape(literal));
        Ok(rest)
    }

    fn variable(&mut self, variable: &str) -> Result<(), TemplateError> {
        let (name, pattern) = match variable.split_once('=') {
            Some((name, pattern)) => (name, Some(pattern)),
            None => (variable, None),
        };
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.bytes().all(word) {
            return Err(TemplateError::Variable);
        }
        if name.len() > MAX_NAME {
            return Err(TemplateError::NameLength);
        }
        if self.names.iter().any(|known| **known == *name) {
            return Err(TemplateError::Repeated);
        }
        if self.names.len() == MAX_VARIABLES {
            return Err(TemplateError::TooMany);
        }
        self.names.push(name.into());
        self.regex.push_str("(?P<");
        self.regex.push_str(name);
        self.regex.push('>');
        let mut rest = pattern.unwrap_or("*");
        loop {
            rest = self.segment(rest, false).map_err(|e| match e {
                TemplateError::Literal => TemplateError::Variable,
                other => other,
            })?;
            if rest.is_empty() {
                break;
            }
            rest = rest.strip_prefix('/').ok_or(TemplateError::Variable)?;
            self.regex.push('/');
        }
        self.regex.push(')');
        Ok(())
    }
}

impl RewriteTemplate {
    /// Reads a rewrite for paths that `matched` matches.
    ///
    /// # Errors
    /// As Envoy refuses it.
    pub fn parse(text: &str, matched: &PathTemplate) -> Result<Self, TemplateError> {
        if !text.starts_with('/') {
            return Err(TemplateError::Pattern);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, after) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
            if !literal.bytes().all(|b| is_literal(b) || b == b'/') || literal.contains("//") {
                return Err(TemplateError::Literal);
            }
            if !literal.is_empty() {
                parts.push(RewritePart::Literal(literal.into()));
            }
            rest = after;
            if let Some(variable) = rest.strip_prefix('{') {
                let (name, after) = variable.split_once('}').ok_or(TemplateError::Variable)?;
                let group = matched.regex.capture_names().position(|known| known == Some(name));
                parts.push(RewritePart::Variable(group.ok_or(TemplateError::Unknown)?));
                rest = after;
            }
        }
        Ok(Self { parts: parts.into() })
    }

    /// The new path; `None` where the template does not match.
    pub fn rewrite(&self, matched: &PathTemplate, path: &[u8]) -> Option<Vec<u8>> {
        let captures = matched.regex.captures(path)?;
        let mut out = Vec::with_capacity(path.len());
        for part in &self.parts {
            match part {
                RewritePart::Literal(literal) => out.extend_from_slice(literal.as_bytes()),
                RewritePart::Variable(group) => {
                    out.extend_from_slice(captures.get(*group).map_or(&[], |g| g.as_bytes()))
                }
            }
        }
        Some(out)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn matches(template: &str, path: &str) -> bool {
        PathTemplate::parse(template).unwrap().regex.is_match(path.as_bytes())
    }

    #[test]
    fn segments_and_globs() {
        assert!(matches("/videos/*/*/*.m4s", "/videos/123414/hls/1080p5000_00001.m4s"));
        assert!(matches("/videos/{file}", "/videos/1080p5000_00001.m4s"));
        assert!(!matches("/videos/{file}", "/videos/a/b") && !matches("/videos/*", "/videos/"));
        assert!(matches("/**.mpd", "/content/123/india/dash/55/manifest.mpd"));
        assert!(matches("/a/{rest=**}", "/a/") && matches("/a/{rest=**}", "/a/b/c"));
        assert!(matches("/{x=videos/*}/y", "/videos/1/y") && matches("/a/", "/a/") && !matches("/a/", "/a"));
        assert!(matches("/a.b", "/a.b") && !matches("/a.b", "/axb") && matches("/", "/"));
    }

    #[test]
    fn what_is_refused() {
        let error = |template| PathTemplate::parse(template).unwrap_err();
        assert_eq!(error("a"), TemplateError::Pattern);
        assert_eq!(error("/a//b"), TemplateError::Literal);
        assert_eq!(error("/**/*"), TemplateError::AfterTextGlob);
        assert_eq!(error("/{a}/{a}"), TemplateError::Repeated);
        assert_eq!(error("/{a"), TemplateError::Variable);
        assert_eq!(error("/{1}"), TemplateError::Variable);
        assert_eq!(error("/{a=}"), TemplateError::Variable);
        assert_eq!(error("/{a}/{b}/{c}/{d}/{e}/{f}"), TemplateError::TooMany);
        assert_eq!(error("/{abcdefghijklmnopq}"), TemplateError::NameLength);
        assert_eq!(error("/*.m/x"), TemplateError::Suffix);
    }

    #[test]
    fn paths_are_put_together_anew() {
        let matched = PathTemplate::parse("/{lang}/{path=**}").unwrap();
        let rewrite = RewriteTemplate::parse("/x/{path}/{lang}", &matched).unwrap();
        assert_eq!(rewrite.rewrite(&matched, b"/en/a/b").unwrap(), b"/x/a/b/en");
        assert_eq!(rewrite.rewrite(&matched, b"/"), None);
        assert_eq!(RewriteTemplate::parse("/{other}", &matched).unwrap_err(), TemplateError::Unknown);
        assert_eq!(RewriteTemplate::parse("x", &matched).unwrap_err(), TemplateError::Pattern);
    }
}
