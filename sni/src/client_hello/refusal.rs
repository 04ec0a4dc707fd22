use std::error::Error;
use std::fmt;

/// Why a stream holds no ClientHello that could be routed.
///
/// [`Refusal::as_str`] is the label for metrics, one per variant and per [`Malformed`] variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The first bytes are no TLS record: plain HTTP, SSH, a health probe.
    NotTls,
    /// An SSL 2.0 ClientHello (RFC 5246 appendix E.2), whatever version it offers. It has no room
    /// for a server name. (Envoy takes one that offers TLS for TLS without a name.)
    SslV2,
    /// A TLS record came first, but of another kind, such as an alert (21).
    NotHandshake {
        /// The record's content type (RFC 8446 §5.1), 20 to 24 without 22.
        content_type: u8,
    },
    /// A handshake message came first, but of another kind.
    NotClientHello {
        /// The message's type (RFC 8446 §4), never 1.
        handshake_type: u8,
    },
    /// The hello, with the record headers around it, takes more of the stream than the reader
    /// allows.
    TooLarge {
        /// The limit that was set, in bytes.
        limit: usize,
    },
    /// The hello is of SSL 3.0 or below, which must not be answered, whatever else it offers
    /// (RFC 8446 appendix D.5).
    VersionTooOld {
        /// `legacy_version` of the hello, below 0x0301.
        legacy_version: u16,
    },
    /// A ClientHello that breaks the grammar of RFC 8446.
    Malformed(Malformed),
}

impl Refusal {
    /// The reason as a metrics label, snake_case.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::SslV2 => "ssl_v2",
            Self::NotHandshake { .. } => "not_handshake",
            Self::NotClientHello { .. } => "not_client_hello",
            Self::TooLarge { .. } => "too_large",
            Self::VersionTooOld { .. } => "version_too_old",
            Self::Malformed(why) => why.as_str(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTls => f.write_str("the stream does not start with a TLS record"),
            Self::SslV2 => f.write_str("the client sent an SSL 2.0 hello"),
            Self::NotHandshake { content_type } => {
                write!(f, "the first TLS record has type {content_type}, not handshake (22)")
            }
            Self::NotClientHello { handshake_type } => {
                write!(f, "the first handshake message has type {handshake_type}, not client_hello (1)")
            }
            Self::TooLarge { limit } => write!(f, "the ClientHello exceeds {limit} bytes"),
            Self::VersionTooOld { legacy_version } => {
                write!(f, "the client offers version {legacy_version:#06x} at most, TLS 1.0 is needed")
            }
            Self::Malformed(why) => why.fmt(f),
        }
    }
}

impl Error for Refusal {}

impl From<Malformed> for Refusal {
    fn from(why: Malformed) -> Self {
        Self::Malformed(why)
    }
}

/// Which rule of the grammar a ClientHello breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A handshake record without content: forbidden by RFC 8446 §5.1, though BoringSSL skips it.
    EmptyRecord,
    /// A record of more than 2^14 bytes (RFC 8446 §5.1).
    RecordTooLong,
    /// A record of another type between those of the hello (RFC 8446 §5.1).
    InterleavedRecord,
    /// A later record whose version is not 3.x.
    RecordVersion,
    /// More handshake data in the record behind the hello, which no client can have to send yet.
    ExcessData,
    /// The message ends inside a field, or a field reaches beyond the message.
    Truncated,
    /// Bytes after the last field of the message.
    TrailingBytes,
    /// `legacy_session_id` of more than 32 bytes.
    SessionId,
    /// `cipher_suites` empty or of odd length.
    CipherSuites,
    /// `legacy_compression_methods` empty.
    CompressionMethods,
    /// An extension reaches beyond the list of extensions.
    Extensions,
    /// The same extension twice (forbidden by RFC 8446 §4.2).
    DuplicateExtension,
    /// `server_name` (RFC 6066 §3) does not hold a well-formed, non-empty list.
    ServerNameList,
}

impl Malformed {
    /// The reason as a metrics label, snake_case.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::EmptyRecord => "malformed_empty_record",
            Self::RecordTooLong => "malformed_record_too_long",
            Self::InterleavedRecord => "malformed_interleaved_record",
            Self::RecordVersion => "malformed_record_version",
            Self::ExcessData => "malformed_excess_data",
            Self::Truncated => "malformed_truncated",
            Self::TrailingBytes => "malformed_trailing_bytes",
            Self::SessionId => "malformed_session_id",
            Self::CipherSuites => "malformed_cipher_suites",
            Self::CompressionMethods => "malformed_compression_methods",
            Self::Extensions => "malformed_extensions",
            Self::DuplicateExtension => "malformed_duplicate_extension",
            Self::ServerNameList => "malformed_server_name_list",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyRecord => "an empty handshake record",
            Self::RecordTooLong => "a TLS record of more than 16384 bytes",
            Self::InterleavedRecord => "another record interrupts the ClientHello",
            Self::RecordVersion => "a later record of the ClientHello is not TLS",
            Self::ExcessData => "the record of the ClientHello holds more behind it",
            Self::Truncated => "the ClientHello ends inside a field",
            Self::TrailingBytes => "the ClientHello has bytes after its last field",
            Self::SessionId => "the session id exceeds 32 bytes",
            Self::CipherSuites => "the list of cipher suites is empty or of odd length",
            Self::CompressionMethods => "the list of compression methods is empty",
            Self::Extensions => "an extension reaches beyond the list of extensions",
            Self::DuplicateExtension => "an extension occurs twice",
            Self::ServerNameList => "the server_name extension is not a list of names",
        })
    }
}

impl Error for Malformed {}
