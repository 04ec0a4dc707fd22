//! Why a stream towards an endpoint ended before its answer was complete.

use std::borrow::Cow;
use std::error::Error;
use std::io;

use http::StatusCode;
use proxy::error::ConnectError;
use proxy::report::http::Flag;

/// A stream that ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reset {
    /// What happened.
    pub(crate) reason: Reason,
    /// What the transport said; empty: nothing.
    pub(crate) transport: Cow<'static, str>,
    /// Why there was no connection.
    pub(crate) connect: Option<ConnectError>,
}

/// Envoy's `Http::StreamResetReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No connection, and it is our fault.
    LocalConnectionFailure,
    /// No connection, and it is the endpoint's.
    RemoteConnectionFailure,
    /// `connect_timeout` is over.
    ConnectionTimeout,
    /// The connection ended.
    ConnectionTermination,
    /// We ended the stream.
    LocalReset,
    /// A circuit breaker is open.
    Overflow,
    /// The endpoint ended the stream.
    RemoteReset,
    /// The endpoint did not begin with it (`REFUSED_STREAM`).
    RemoteRefusedStreamReset,
    /// The endpoint speaks no proper HTTP.
    ProtocolError,
    /// The endpoint refused an extended CONNECT (`CONNECT_ERROR`).
    ConnectError,
}

impl Reason {
    /// As Envoy has it in bodies and details (`Utility::resetReasonToString`).
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::LocalConnectionFailure => "local connection failure",
            Self::RemoteConnectionFailure => "remote connection failure",
            Self::ConnectionTimeout => "connection timeout",
            Self::ConnectionTermination => "connection termination",
            Self::LocalReset => "local reset",
            Self::Overflow => "overflow",
            Self::RemoteReset => "remote reset",
            Self::RemoteRefusedStreamReset => "remote refused stream reset",
            Self::ProtocolError => "protocol error",
            Self::ConnectError => "remote error with CONNECT request",
        }
    }

    /// `Filter::streamResetReasonToResponseFlag`.
    pub(crate) const fn flag(self) -> Flag {
        match self {
            Self::LocalConnectionFailure | Self::RemoteConnectionFailure | Self::ConnectionTimeout => {
                Flag::UpstreamConnectionFailure
            }
            Self::ConnectionTermination => Flag::UpstreamConnectionTermination,
            Self::LocalReset => Flag::LocalReset,
            Self::Overflow => Flag::UpstreamOverflow,
            Self::RemoteReset | Self::RemoteRefusedStreamReset | Self::ConnectError => Flag::UpstreamRemoteReset,
            Self::ProtocolError => Flag::UpstreamProtocolError,
        }
    }

    /// What the client gets where nothing was sent yet.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::ProtocolError => StatusCode::BAD_GATEWAY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// There was no connection (`retry_on: connect-failure`).
    pub(crate) const fn is_connect_failure(self) -> bool {
        matches!(self, Self::LocalConnectionFailure | Self::RemoteConnectionFailure | Self::ConnectionTimeout)
    }
}

impl Reset {
    /// Without anything that the transport said.
    pub(crate) const fn new(reason: Reason) -> Self {
        Self { reason, transport: Cow::Borrowed(""), connect: None }
    }

    /// No connection came about.
    pub(crate) fn connect(error: ConnectError, tls: Option<&str>) -> Self {
        let (reason, transport) = match error {
            ConnectError::Timeout => (Reason::ConnectionTimeout, ""),
            ConnectError::Refused => (Reason::RemoteConnectionFailure, "delayed connect error: Connection refused"),
            ConnectError::Unreachable => (Reason::RemoteConnectionFailure, "delayed connect error: No route to host"),
            ConnectError::Local => (Reason::LocalConnectionFailure, "immediate connect error"),
            ConnectError::Transport => (Reason::LocalConnectionFailure, "the transport socket is not supported"),
            ConnectError::Tls(_) => (Reason::RemoteConnectionFailure, "TLS error"),
            ConnectError::Other => (Reason::RemoteConnectionFailure, ""),
        };
        let transport = tls.map_or(Cow::Borrowed(transport), |text| Cow::Owned(text.to_owned()));
        Self { reason, transport, connect: Some(error) }
    }

    /// What hyper says of a stream or connection, in Envoy's terms.
    pub(crate) fn of(error: &hyper::Error) -> Self {
        if let Some(h2) = find::<h2::Error>(error) {
            return Self::new(of_h2(h2));
        }
        if error.is_parse() || error.is_parse_too_large() {
            return Self::new(Reason::ProtocolError);
        }
        // Whether the peer closed in order or with a reset is one and the same to Envoy.
        Self::new(Reason::ConnectionTermination)
    }
}

fn of_h2(error: &h2::Error) -> Reason {
    if error.is_io() {
        return Reason::ConnectionTermination;
    }
    if error.is_go_away() {
        return if error.is_remote() { Reason::ConnectionTermination } else { Reason::ProtocolError };
    }
    match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => Reason::RemoteRefusedStreamReset,
        Some(h2::Reason::CONNECT_ERROR) if error.is_remote() => Reason::ConnectError,
        _ if error.is_remote() => Reason::RemoteReset,
        Some(h2::Reason::PROTOCOL_ERROR) => Reason::ProtocolError,
        _ => Reason::ConnectionTermination,
    }
}

/// The first error of that type among the causes.
fn find<T: Error + 'static>(error: &hyper::Error) -> Option<&T> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        // h2's own error hides in an io::Error now and then.
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
            && let Some(found) = inner.downcast_ref::<T>()
        {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_envoy_says_it() {
        let rows = [
            (ConnectError::Timeout, "connection timeout", "", "UF"),
            (ConnectError::Refused, "remote connection failure", "delayed connect error: Connection refused", "UF"),
            (ConnectError::Local, "local connection failure", "immediate connect error", "UF"),
        ];
        for (error, reason, transport, flag) in rows {
            let reset = Reset::connect(error, None);
            assert_eq!(
                (reset.reason.text(), &*reset.transport, reset.reason.flag().short()),
                (reason, transport, flag)
            );
            assert!(reset.reason.is_connect_failure());
        }
        assert_eq!(Reason::ProtocolError.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(Reason::Overflow.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
