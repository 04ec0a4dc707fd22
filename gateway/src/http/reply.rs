//! Answers that we give ourselves. This is what filters, routes and the router say; `http::respond` makes them HTTP.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proxy::report::http::{Flag, Flags};

/// An answer of our own: Envoy's `sendLocalReply`.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Status; a gRPC client gets 200 and the status that follows from this one.
    pub status: StatusCode,
    /// Text; the message of a gRPC answer.
    pub body: Cow<'static, str>,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: Cow<'static, str>,
    /// Response flags to add.
    pub flags: Flags,
    /// Further headers.
    pub headers: HeaderMap,
    /// The gRPC status, where it is not the one that follows from `status`.
    pub grpc_status: Option<u8>,
}

impl Reply {
    /// Without a text.
    pub fn new(status: StatusCode, details: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            body: Cow::Borrowed(""),
            details: details.into(),
            flags: Flags::NONE,
            headers: HeaderMap::new(),
            grpc_status: None,
        }
    }

    /// With a text.
    #[must_use]
    pub fn body(self, body: impl Into<Cow<'static, str>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// With one more response flag.
    #[must_use]
    pub fn flag(mut self, flag: Flag) -> Self {
        self.flags.set(flag);
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// With a gRPC status of its own.
    #[must_use]
    pub fn grpc(self, status: u8) -> Self {
        Self { grpc_status: Some(status), ..self }
    }
}
