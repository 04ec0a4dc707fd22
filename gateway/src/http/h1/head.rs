//! One request head as it stands on the wire, looked at before hyper sees it: hyper repairs in silence what others
//! read differently (RFC 9112 §11.2, request smuggling), Envoy refuses it, and so do we.

use http::StatusCode;
use http::uri::PathAndQuery;
use memchr::memmem;

/// What a head may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// `max_request_headers_kb` in bytes.
    pub(crate) max_bytes: usize,
    /// `max_headers_count`.
    pub(crate) max_headers: usize,
    /// `allow_absolute_url`.
    pub(crate) absolute: bool,
    /// `allow_chunked_length`: `Transfer-Encoding` beats `Content-Length`, which is dropped.
    pub(crate) chunked_length: bool,
    /// `allow_custom_methods`.
    pub(crate) any_method: bool,
    /// `accept_http_10`.
    pub(crate) http10: bool,
}

/// Where the body of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// As its chunks say.
    Chunked,
    /// Never: `CONNECT`, or an upgrade.
    Raw,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub(crate) details: &'static str,
    /// It is Envoy's codec that refuses: a protocol error of the connection.
    pub(crate) of_codec: bool,
}

impl Refusal {
    const fn codec(status: StatusCode, details: &'static str) -> Self {
        Self { status, details, of_codec: true }
    }

    /// What the parser of Envoy's codec does not take.
    pub(crate) const MALFORMED: Self = Self::codec(StatusCode::BAD_REQUEST, "http1.codec_error");
    /// Too many bytes.
    pub(crate) const TOO_LARGE: Self =
        Self::codec(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "http1.headers_too_large");
    const TOO_MANY: Self = Self::codec(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "http1.too_many_headers");
    const CHARACTERS: Self = Self::codec(StatusCode::BAD_REQUEST, "http1.invalid_characters");
    const URL: Self = Self::codec(StatusCode::BAD_REQUEST, "http1.invalid_url");
    const ENCODING: Self = Self::codec(StatusCode::NOT_IMPLEMENTED, "http1.invalid_transfer_encoding");
    const BOTH: Self = Self::codec(StatusCode::BAD_REQUEST, "http1.content_length_and_chunked_not_allowed");
    const BODY: Self = Self::codec(StatusCode::BAD_REQUEST, "http1.body_disallowed");
    const SCHEME: Self = Self::codec(StatusCode::BAD_REQUEST, "http1.invalid_scheme");
    const VERSION: Self = Self::codec(StatusCode::UPGRADE_REQUIRED, "low_version");
    const FRAGMENT: Self =
        Self { status: StatusCode::BAD_REQUEST, details: "path_normalization_failed", of_codec: false };
}

/// Length of the head at the beginning of `bytes`, its blank line included. `from`: so much of it was looked through
/// before.
pub(crate) fn length(bytes: &[u8], from: usize) -> Option<usize> {
    let from = from.saturating_sub(2).min(bytes.len());
    // Lines without CR end nothing for us; they are found here so that the head is refused rather than waited for.
    let crlf = memmem::find(&bytes[from..], b"\n\r\n").map(|at| from + at + 3);
    let lf = memmem::find(&bytes[from..], b"\n\n").map(|at| from + at + 2);
    match (crlf, lf) {
        (Some(crlf), Some(lf)) => Some(crlf.min(lf)),
        (found, None) | (None, found) => found,
    }
}

/// Empty lines before a request line are passed over (RFC 9112 §2.2).
pub(crate) fn blank(bytes: &[u8]) -> usize {
    bytes.chunks(2).take_while(|pair| *pair == b"\r\n").count() * 2
}

/// Reads a head, from the request line to the blank line.
pub(crate) fn read(head: &[u8], rules: &Rules) -> Result<Framing, Refusal> {
    if head.len() > rules.max_bytes {
        return Err(Refusal::TOO_LARGE);
    }
    let mut lines = Lines(head);
    let (method, version) = request_line(lines.next().ok_or(Refusal::MALFORMED)??, rules)?;
    let mut fields = Fields::default();
    let mut count = 0;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            return fields.framing(method, version, rules);
        }
        count += 1;
        if count > rules.max_headers {
            return Err(Refusal::TOO_MANY);
        }
        let (name, value) = field(line)?;
        fields.see(name, value)?;
    }
    Err(Refusal::MALFORMED)
}

/// Lines that end in CRLF, and no other.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some(end) = memchr::memchr2(b'\r', b'\n', self.0) else { return Some(Err(Refusal::MALFORMED)) };
        if self.0.get(end..end + 2) != Some(b"\r\n") {
            return Some(Err(Refusal::MALFORMED));
        }
        let line = &self.0[..end];
        self.0 = &self.0[end + 2..];
        Some(Ok(line))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

fn request_line<'a>(line: &'a [u8], rules: &Rules) -> Result<(&'a [u8], Version), Refusal> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::MALFORMED);
    };
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" if rules.http10 => Version::Http10,
        // Whatever it is that it speaks.
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(Refusal::VERSION),
        _ => return Err(Refusal::MALFORMED),
    };
    let known = if rules.any_method { !method.is_empty() && method.iter().all(is_token) } else { is_method(method) };
    if !known {
        return Err(Refusal::MALFORMED);
    }
    check_target(method, target, rules)?;
    Ok((method, version))
}

fn check_target(method: &[u8], target: &[u8], rules: &Rules) -> Result<(), Refusal> {
    if target.is_empty() || !target.iter().all(|byte| matches!(byte, 0x21..=0x7e)) {
        return Err(Refusal::MALFORMED);
    }
    if method == b"CONNECT" {
        let authority = http::uri::Authority::try_from(target).map_err(|_| Refusal::URL)?;
        return if authority.port_u16().is_some() { Ok(()) } else { Err(Refusal::URL) };
    }
    if target.contains(&b'#') {
        return Err(Refusal::FRAGMENT);
    }
    match target {
        [b'/', ..] => PathAndQuery::try_from(target).map(drop).map_err(|_| Refusal::URL),
        b"*" if method == b"OPTIONS" => Ok(()),
        _ if rules.absolute && memmem::find(target, b"://").is_some() => absolute(target),
        b"*" => Err(Refusal::URL),
        _ => Err(Refusal::MALFORMED),
    }
}

/// `http://host[:port][/path]`; user information is refused, as a name that nobody should have to read.
fn absolute(target: &[u8]) -> Result<(), Refusal> {
    let uri = http::Uri::try_from(target).map_err(|_| Refusal::URL)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(Refusal::SCHEME);
    }
    match uri.authority() {
        Some(authority) if !authority.as_str().contains('@') => Ok(()),
        _ => Err(Refusal::URL),
    }
}

fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let colon = memchr::memchr(b':', line).ok_or(Refusal::MALFORMED)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(is_token) {
        return Err(Refusal::MALFORMED);
    }
    let value = value.trim_ascii();
    // No control characters but the tab; bytes above 0x7f are for the receiver to understand.
    match value.iter().all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f)) {
        true => Ok((name, value)),
        false => Err(Refusal::CHARACTERS),
    }
}

/// What decides where the body ends.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    encodings: usize,
    chunked: bool,
    hosts: usize,
    upgrade: bool,
    h2c: bool,
    nominated: bool,
}

impl Fields {
    fn see(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        // Most names are none of these.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts += 1;
                if self.hosts > 1 {
                    return Err(Refusal::MALFORMED);
                }
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                self.h2c = value.eq_ignore_ascii_case(b"h2c");
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                let mut words = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                self.nominated |= words.any(|word| word.eq_ignore_ascii_case(b"upgrade"));
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Refusal::MALFORMED);
                }
                self.length = Some(number(value).ok_or(Refusal::MALFORMED)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.encodings += 1;
                self.chunked = value.eq_ignore_ascii_case(b"chunked");
            }
            _ => {}
        }
        Ok(())
    }

    fn framing(&self, method: &[u8], version: Version, rules: &Rules) -> Result<Framing, Refusal> {
        let connect = method == b"CONNECT";
        if connect && self.length.is_some_and(|length| length > 0) {
            return Err(Refusal::BODY);
        }
        if self.encodings > 0 {
            if self.length.is_some() && !(self.chunked && rules.chunked_length) {
                return Err(Refusal::BOTH);
            }
            if self.encodings > 1 || !self.chunked || connect {
                return Err(Refusal::ENCODING);
            }
            if version == Version::Http10 {
                return Err(Refusal::MALFORMED);
            }
        }
        if connect || (self.upgrade && self.nominated && !self.h2c && version == Version::Http11) {
            return Ok(Framing::Raw);
        }
        Ok(if self.encodings > 0 { Framing::Chunked } else { Framing::Length(self.length.unwrap_or(0)) })
    }
}

/// Digits and nothing else.
fn number(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// The methods that Envoy's codec knows (`http1/balsa_parser.cc`).
fn is_method(method: &[u8]) -> bool {
    const OTHERS: &[&[u8]] = &[
        b"ACL",
        b"BIND",
        b"CHECKOUT",
        b"COPY",
        b"LINK",
        b"LOCK",
        b"M-SEARCH",
        b"MERGE",
        b"MKACTIVITY",
        b"MKCALENDAR",
        b"MKCOL",
        b"MOVE",
        b"NOTIFY",
        b"PROPFIND",
        b"PROPPATCH",
        b"PURGE",
        b"REBIND",
        b"REPORT",
        b"SEARCH",
        b"SOURCE",
        b"SUBSCRIBE",
        b"UNBIND",
        b"UNLINK",
        b"UNLOCK",
        b"UNSUBSCRIBE",
    ];
    match method {
        b"GET" | b"POST" | b"PUT" | b"DELETE" | b"HEAD" | b"OPTIONS" | b"PATCH" | b"CONNECT" | b"TRACE" => true,
        other => OTHERS.contains(&other),
    }
}
