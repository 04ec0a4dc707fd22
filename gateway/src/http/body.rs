//! Bodies of requests and answers, whichever way they came.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use proxy::report::http::Flag;

/// A body that somebody has wrapped.
pub type Boxed = Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError> + Send>>;

/// A body.
#[derive(Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// All of it; taken when it is read.
    Full(Option<Bytes>),
    /// From the wire.
    Incoming(Incoming),
    /// Anything else.
    Boxed(Boxed),
}

/// Why a body ended before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The peer closed its connection.
    #[error("the peer closed the connection")]
    Disconnected,
    /// The peer reset the stream; the HTTP/2 error code.
    #[error("the peer reset the stream with code {0}")]
    Reset(u32),
    /// What the peer sent is no HTTP.
    #[error("protocol error: {0}")]
    Protocol(Box<str>),
    /// It took too long; the details string of the limit (`%RESPONSE_CODE_DETAILS%`).
    #[error("{0}")]
    Timeout(&'static str),
    /// It is larger than allowed; the details string.
    #[error("{0}")]
    TooLarge(&'static str),
    /// The upstream, or our limits on it: the response flag and the details string.
    #[error("{1}")]
    Upstream(Flag, Box<str>),
    /// We gave it up; the details string.
    #[error("{0}")]
    Aborted(&'static str),
}

impl Body {
    /// All of it is here.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::Empty } else { Self::Full(Some(bytes)) }
    }

    /// Wraps a body.
    pub fn boxed(body: impl HttpBody<Data = Bytes, Error = BodyError> + Send + 'static) -> Self {
        Self::Boxed(Box::pin(body))
    }
}

impl From<Incoming> for Body {
    fn from(body: Incoming) -> Self {
        if body.is_end_stream() { Self::Empty } else { Self::Incoming(body) }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Incoming(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
            }
            Self::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_none(),
            Self::Incoming(body) => body.is_end_stream(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Incoming(body) => body.size_hint(),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}

impl From<hyper::Error> for BodyError {
    fn from(error: hyper::Error) -> Self {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(cause) = source {
            if let Some(h2) = cause.downcast_ref::<h2::Error>() {
                return Self::of_h2(h2);
            }
            if let Some(io) = cause.downcast_ref::<std::io::Error>()
                && io.kind() == std::io::ErrorKind::InvalidData
            {
                return Self::Protocol(io.to_string().into());
            }
            source = cause.source();
        }
        if error.is_parse() { Self::Protocol(error.to_string().into()) } else { Self::Disconnected }
    }
}

impl BodyError {
    fn of_h2(error: &h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_reset() && error.is_remote() => Self::Reset(reason.into()),
            Some(reason) if error.is_library() => Self::Protocol(reason.description().into()),
            _ => Self::Disconnected,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Full(_) => "Full",
            Self::Incoming(_) => "Incoming",
            Self::Boxed(_) => "Boxed",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_full_body_is_read_once() {
        let mut body = Body::full("abc");
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(!body.is_end_stream());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        assert!(body.is_end_stream() && body.frame().await.is_none());
        assert!(Body::full("").is_end_stream() && Body::default().is_end_stream());
    }
}
