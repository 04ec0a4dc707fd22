//! RE2's dialect in the words of the regex crate, so that one expression means the same to Envoy and here.
//!
//! Envoy runs RE2 in its Latin-1 mode (1.40 refuses `\x{100}`): over bytes, as the regex crate does without Unicode.
//! The two differ in what `\s` is, in `\Q…\E`, in escaped punctuation, in what is special inside brackets, and in that
//! a character beyond ASCII is several of RE2's. Unicode classes (`\pL`) are refused here.

use regex::bytes::{Regex, RegexBuilder};

/// A compiled expression may take this much, as the regex crate's own default.
const SIZE_LIMIT: usize = 10 << 20;

/// Compiles `pattern` to match the whole text (RE2's `FullMatch`).
///
/// # Errors
/// It is none, or one that only RE2 has.
pub(crate) fn full_match(pattern: &str) -> Result<Regex, Box<str>> {
    // On its own first, so that an unbalanced group can't reach beyond it.
    let translated = translate(pattern)?;
    build(&translated)?;
    build(&format!(r"\A(?:{translated})\z"))
}

/// Compiles `pattern` to find it anywhere (RE2's `GlobalReplace`).
///
/// # Errors
/// As [`full_match`].
pub(crate) fn search(pattern: &str) -> Result<Regex, Box<str>> {
    build(&translate(pattern)?)
}

fn build(text: &str) -> Result<Regex, Box<str>> {
    let built = RegexBuilder::new(text).unicode(false).size_limit(SIZE_LIMIT).build();
    built.map_err(|e| e.to_string().into())
}

fn translate(pattern: &str) -> Result<String, Box<str>> {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let tail = &rest[c.len_utf8()..];
        rest = match c {
            '\\' => escape(tail, &mut out, false)?,
            '[' => class(tail, &mut out)?,
            _ => {
                literal(c, &mut out);
                tail
            }
        };
    }
    Ok(out)
}

/// A character as it stands: each byte on its own.
fn literal(c: char, out: &mut String) {
    if c.is_ascii() {
        out.push(c);
    } else {
        c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| out.push_str(&format!(r"\x{byte:02x}")));
    }
}

/// What follows a backslash.
fn escape<'a>(rest: &'a str, out: &mut String, in_class: bool) -> Result<&'a str, Box<str>> {
    let Some(c) = rest.chars().next() else { return Err("trailing \\".into()) };
    let tail = &rest[c.len_utf8()..];
    match c {
        'd' => out.push_str("[0-9]"),
        'D' => out.push_str("[^0-9]"),
        's' => out.push_str(r"[\t\n\f\r ]"),
        'S' => out.push_str(r"[^\t\n\f\r ]"),
        'w' => out.push_str("[0-9A-Za-z_]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        'C' if !in_class => out.push_str("(?s:.)"),
        'Q' if !in_class => {
            let (quoted, after) = tail.split_once("\\E").unwrap_or((tail, ""));
            regex::escape(quoted).chars().for_each(|c| literal(c, out));
            return Ok(after);
        }
        '0'..='7' => return octal(rest, out),
        // Escaped, RE2 takes any of them as it is; the regex crate gives some a meaning (`\<`).
        c if c.is_ascii_punctuation() => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        c if c.is_ascii() => {
            out.push('\\');
            out.push(c);
        }
        c => return Err(format!("invalid escape sequence: \\{c}").into()),
    }
    Ok(tail)
}

/// `\0`, `\012`, `\123`; RE2 has no back references, so that `\1` alone is an error.
fn octal<'a>(rest: &'a str, out: &mut String) -> Result<&'a str, Box<str>> {
    let digits = rest.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
    let (octal, tail) = rest.split_at(digits);
    if digits == 1 && !octal.starts_with('0') {
        return Err(format!("invalid escape sequence: \\{octal}").into());
    }
    let value = u8::from_str_radix(octal, 8).map_err(|_| "invalid escape sequence")?;
    out.push_str(&format!(r"\x{value:02x}"));
    Ok(tail)
}

/// A bracket expression: in RE2 neither `[` nor `&&`, `--`, `~~` is special within.
fn class<'a>(rest: &'a str, out: &mut String) -> Result<&'a str, Box<str>> {
    out.push('[');
    let mut rest = rest;
    if let Some(tail) = rest.strip_prefix('^') {
        out.push('^');
        rest = tail;
    }
    let mut start = true;
    loop {
        let Some(c) = rest.chars().next() else { return Err("missing ]".into()) };
        let tail = &rest[c.len_utf8()..];
        rest = match c {
            ']' if !start => {
                out.push(']');
                return Ok(tail);
            }
            '\\' => escape(tail, out, true)?,
            '[' if tail.starts_with(':') && tail.contains(":]") => {
                let end = tail.find(":]").map_or(0, |at| at + 2);
                out.push('[');
                out.push_str(&tail[..end]);
                &tail[end..]
            }
            // A `-` first or last, or beside another, is itself.
            '-' if start || tail.starts_with(']') => {
                out.push_str("\\-");
                tail
            }
            '[' | ']' | '&' | '~' => {
                out.push('\\');
                out.push(c);
                tail
            }
            c => {
                literal(c, out);
                tail
            }
        };
        start = false;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        full_match(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}")).is_match(text.as_bytes())
    }

    #[test]
    fn the_whole_text_and_the_longest_alternative() {
        assert!(matches("a|ab", "ab"));
        assert!(!matches("a|ab", "xab"));
        assert!(!matches("a", "a\n"));
        assert!(full_match("a)|(b").is_err());
    }

    #[test]
    fn classes_are_ascii() {
        assert!(matches(r"\d+", "123") && !matches(r"\d", "\u{0661}"));
        assert!(matches(r"\w", "_") && !matches(r"\w", "é"));
        assert!(matches(r"[\w-]+", "a-b") && matches(r"[^\d]+", "é") && matches(r"[\D]+", "é"));
        assert!(!matches(r"\s", "\u{b}") && !matches(r"\s", "\u{a0}"));
        assert!(!matches(r"\bé", "é") && matches(r"a\b", "a"));
    }

    #[test]
    fn brackets_are_plain() {
        assert!(matches("[[a]", "[") && matches("[a&&b]", "&") && matches("[]a]", "]") && matches("[^]a]", "b"));
        assert!(matches("[a-]", "-") && matches("[-a]", "-") && matches("[[:alpha:]]", "x") && matches("[a~~b]", "~"));
        assert!(matches(r"[\]]", "]") && full_match("[a").is_err());
    }

    #[test]
    fn quotes_escapes_and_octals() {
        assert!(matches(r"\Qa.b(\E+", "a.b((") && matches(r"\Q[", "["));
        assert!(matches(r"\<\>\/\-", "<>/-") && matches(r"\x41\101", "AA"));
        assert!(full_match(r"\1").is_err() && matches(r"\C", "\n") && full_match("\\").is_err());
    }

    #[test]
    fn a_dot_takes_a_byte() {
        let regex = full_match("a.b").unwrap();
        assert!(regex.is_match(b"a\xffb"));
        assert!(!regex.is_match("aéb".as_bytes()) && matches("a..b", "aéb"));
        assert!(matches("é[é]*", "éé") && full_match(r"\é").is_err() && full_match(r"\pL").is_err());
    }
}
