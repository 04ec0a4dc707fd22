//! Envoy's format strings: literal text and command operators, `%NAME(argument):length%`, `%%` for a percent sign.
//!
//! Source: Envoy's docs "Access log format strings" and `SubstitutionFormatParser`.

use super::operators;
use super::{Piece, Template};

/// What is written where no format is configured; on TCP the HTTP parts print `-`.
pub const DEFAULT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

/// Why a format is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A `%` that starts no operator.
    #[error("couldn't find valid command at position {0}")]
    NoCommand(usize),
    /// An operator that Envoy does not have.
    #[error("not supported field in StreamInfo: {0}")]
    Unknown(Box<str>),
    /// An operator without the argument it needs.
    #[error("{0} requires parameters")]
    NeedsArgument(Box<str>),
    /// An operator that takes none.
    #[error("{0} does not take any parameters")]
    TakesNoArgument(Box<str>),
    /// An operator whose value cannot be cut.
    #[error("{0} does not allow length to be specified")]
    TakesNoLength(Box<str>),
    /// A length that is no number.
    #[error("the length of {0} is too great")]
    Length(Box<str>),
    /// An argument that the operator does not understand.
    #[error("invalid argument of {0}: {1}")]
    Argument(Box<str>, Box<str>),
}

/// One operator as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command<'a> {
    /// `NAME`.
    pub(super) name: &'a str,
    /// What stands in parentheses.
    pub(super) argument: Option<&'a str>,
    /// Digits after the colon.
    pub(super) length: Option<&'a str>,
}

impl Template {
    /// Parses a format string.
    ///
    /// # Errors
    /// As Envoy refuses it.
    pub fn parse(format: &str) -> Result<Self, FormatError> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = format;
        while let Some(percent) = rest.find('%') {
            literal.push_str(&rest[..percent]);
            let after = &rest[percent + 1..];
            if let Some(after) = after.strip_prefix('%') {
                literal.push('%');
                rest = after;
                continue;
            }
            let position = format.len() - after.len() - 1;
            let (command, after) = command(after).ok_or(FormatError::NoCommand(position))?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
            }
            pieces.push(operators::parse(command)?);
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        Ok(Self(pieces.into()))
    }
}

/// Takes an operator, its leading `%` gone, off the text.
fn command(text: &str) -> Option<(Command<'_>, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return None;
    }
    let Some(argument) = rest.strip_prefix('(') else {
        let (length, rest) = tail(rest)?;
        return Some((Command { name, argument: None, length }, rest));
    };
    // An argument may hold parentheses: it ends at the first that the operator can end with.
    argument.match_indices(')').find_map(|(at, _)| {
        let (length, rest) = tail(&argument[at + 1..])?;
        Some((Command { name, argument: Some(&argument[..at]), length }, rest))
    })
}

/// `:length%` or `%`, and what follows.
fn tail(text: &str) -> Option<(Option<&str>, &str)> {
    if let Some(rest) = text.strip_prefix('%') {
        return Some((None, rest));
    }
    let (length, rest) = text.strip_prefix(':')?.split_once('%')?;
    (!length.is_empty() && length.bytes().all(|b| b.is_ascii_digit())).then_some((Some(length), rest))
}

#[cfg(test)]
mod tests;
