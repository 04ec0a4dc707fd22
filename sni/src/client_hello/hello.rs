use std::fmt;

use super::extension::{
    ALPN, Alpn, Extensions, SERVER_NAME, SIGNATURE_ALGORITHMS, SUPPORTED_GROUPS, SUPPORTED_VERSIONS, U16s,
};
use super::ja4::Ja4;
use super::refusal::{Malformed, Refusal};
use super::server_name::ServerName;
use crate::wire::Input;

pub(super) const MESSAGE_HEADER: usize = 4;
const MAX_SESSION_ID: usize = 32;
const TLS_1_0: u16 = 0x0301;

/// A well-formed ClientHello, borrowed from where it was received.
///
/// Well-formed means: every field is there, the extensions fit and differ, and `server_name` is a
/// list. Other extensions are read when they are asked for, as far as they are whole.
#[derive(Clone, Copy, PartialEq)]
pub struct ClientHello<'a> {
    message: &'a [u8],
    legacy_version: u16,
    random: &'a [u8],
    session_id: &'a [u8],
    cipher_suites: &'a [u8],
    compression_methods: &'a [u8],
    extensions: &'a [u8],
    server_name: ServerName<'a>,
    origin: Origin,
}

impl<'a> ClientHello<'a> {
    /// Parses one handshake message, whose header the reader has checked.
    pub(super) fn parse(message: &'a [u8], origin: Origin) -> Result<Self, Refusal> {
        let mut body = Input::new(message.get(MESSAGE_HEADER..).unwrap_or_default());
        let legacy_version = body.u16().ok_or(Malformed::Truncated)?;
        if legacy_version < TLS_1_0 {
            return Err(Refusal::VersionTooOld { legacy_version });
        }
        let random = body.take(32).ok_or(Malformed::Truncated)?;
        let session_id = body.vec8().ok_or(Malformed::Truncated)?;
        if session_id.len() > MAX_SESSION_ID {
            return Err(Malformed::SessionId.into());
        }
        let cipher_suites = body.vec16().ok_or(Malformed::Truncated)?;
        if cipher_suites.is_empty() || cipher_suites.len() % 2 != 0 {
            return Err(Malformed::CipherSuites.into());
        }
        let compression_methods = body.vec8().ok_or(Malformed::Truncated)?;
        if compression_methods.is_empty() {
            return Err(Malformed::CompressionMethods.into());
        }
        let hello = Self {
            message,
            legacy_version,
            random,
            session_id,
            cipher_suites,
            compression_methods,
            extensions: extension_list(body)?,
            server_name: ServerName::Absent,
            origin,
        };
        match hello.extension(SERVER_NAME) {
            None => Ok(hello),
            Some(body) => Ok(Self { server_name: ServerName::parse(body)?, ..hello }),
        }
    }

    /// What the client calls the server.
    pub const fn server_name(&self) -> ServerName<'a> {
        self.server_name
    }

    /// Where in [`ClientHello::message`] the bytes of [`ServerName::as_bytes`] start; `None` where
    /// that is `None`.
    pub fn server_name_offset(&self) -> Option<usize> {
        let name = self.server_name.as_bytes()?;
        // Both point into one allocation: the name was cut out of the message.
        Some(name.as_ptr().addr() - self.message.as_ptr().addr())
    }

    /// Where in the message the list of extensions starts, behind its length.
    pub(super) fn extensions_offset(&self) -> usize {
        self.extensions.as_ptr().addr() - self.message.as_ptr().addr()
    }

    /// The protocols offered by ALPN; none if the extension is absent or malformed.
    pub fn alpn(&self) -> Alpn<'a> {
        Alpn::from_body(self.extension(ALPN).unwrap_or_default())
    }

    /// `legacy_version`: 0x0303 from TLS 1.3 clients, the highest version from older ones.
    pub const fn legacy_version(&self) -> u16 {
        self.legacy_version
    }

    /// `supported_versions` (RFC 8446 §4.2.1) in the client's order, GREASE included; none if the
    /// extension is absent.
    pub fn supported_versions(&self) -> U16s<'a> {
        let body = self.extension(SUPPORTED_VERSIONS).unwrap_or_default();
        U16s::new(Input::new(body).vec8().unwrap_or_default())
    }

    /// `supported_groups` (RFC 8446 §4.2.7), GREASE included; none if absent.
    pub fn supported_groups(&self) -> U16s<'a> {
        self.list16(SUPPORTED_GROUPS)
    }

    /// `signature_algorithms` (RFC 8446 §4.2.3); none if absent.
    pub fn signature_algorithms(&self) -> U16s<'a> {
        self.list16(SIGNATURE_ALGORITHMS)
    }

    /// The cipher suites in the client's order, GREASE included; at least one.
    pub const fn cipher_suites(&self) -> U16s<'a> {
        U16s::new(self.cipher_suites)
    }

    /// `legacy_compression_methods`, at least one byte.
    pub const fn compression_methods(&self) -> &'a [u8] {
        self.compression_methods
    }

    /// `random`, 32 bytes.
    pub const fn random(&self) -> &'a [u8] {
        self.random
    }

    /// `legacy_session_id`, up to 32 bytes.
    pub const fn session_id(&self) -> &'a [u8] {
        self.session_id
    }

    /// All extensions in the order sent, GREASE included.
    pub const fn extensions(&self) -> Extensions<'a> {
        Extensions::new(self.extensions)
    }

    /// The body of the extension of this type.
    pub fn extension(&self, kind: u16) -> Option<&'a [u8]> {
        self.extensions().find(|extension| extension.kind == kind).map(|extension| extension.body)
    }

    /// The parts of the client's JA4 fingerprint. Allocates.
    pub fn ja4(&self) -> Ja4 {
        Ja4::of(self)
    }

    /// The handshake message with its four header bytes, joined if it came in several records.
    pub const fn message(&self) -> &'a [u8] {
        self.message
    }

    /// Whether [`ClientHello::message`] lies in the stream as it was received, from byte 5 on.
    pub const fn in_place(&self) -> bool {
        self.origin.in_place
    }

    /// Bytes of the stream up to the last one of the hello, record headers included. A record ends
    /// there.
    pub const fn stream_len(&self) -> usize {
        self.origin.stream_len
    }

    fn list16(&self, kind: u16) -> U16s<'a> {
        let body = self.extension(kind).unwrap_or_default();
        U16s::new(Input::new(body).vec16().unwrap_or_default())
    }
}

/// The random and the session id link connections, and key shares are long: a log line gets what
/// tells a person something.
impl fmt::Debug for ClientHello<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.server_name.as_bytes().map(|name| name.escape_ascii().to_string());
        f.debug_struct("ClientHello")
            .field("server_name", &name.as_deref().unwrap_or(self.server_name.as_str()))
            .field("legacy_version", &self.legacy_version)
            .field("message_len", &self.message.len())
            .field("stream_len", &self.origin.stream_len)
            .finish_non_exhaustive()
    }
}

/// How the message lay in the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Origin {
    pub(super) stream_len: usize,
    pub(super) in_place: bool,
}

/// The list of extensions, which takes all the rest or is not there (RFC 5246 §7.4.1.2).
fn extension_list(mut body: Input<'_>) -> Result<&[u8], Malformed> {
    if body.is_empty() {
        return Ok(&[]);
    }
    let list = body.vec16().ok_or(Malformed::Truncated)?;
    if body.remaining() > 0 {
        return Err(Malformed::TrailingBytes);
    }
    Extensions::check(list)?;
    Ok(list)
}
