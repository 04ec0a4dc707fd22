//! Answers made here, in Envoy's words.

use std::error::Error;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};

/// Why a body broke off.
pub(crate) type BodyError = Box<dyn Error + Send + Sync>;

/// The body of every answer on the control runtime.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// An answer in plain text; without text there is no `content-type` either, as in Envoy's local replies.
pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let text = text.into();
    if text.is_empty() {
        return empty(status);
    }
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// A whole body.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that keeps `held` until it is through or dropped.
pub(crate) struct Holding<T> {
    body: Body,
    held: Option<T>,
}

impl<T: Send + Unpin + 'static> Holding<T> {
    pub(crate) fn wrap(body: Body, held: T) -> Body {
        Self { body, held: Some(held) }.boxed_unsync()
    }
}

impl<T: Unpin> hyper::body::Body for Holding<T> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(std::pin::Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.held = None;
        }
        std::task::Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn holds_until_the_end_or_the_drop() {
        let token = Arc::new(());
        let mut body = Holding::wrap(full("x"), Arc::clone(&token));
        assert_eq!(Arc::strong_count(&token), 2);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
        assert!(body.frame().await.is_none());
        assert_eq!(Arc::strong_count(&token), 1);
        drop(Holding::wrap(full("x"), Arc::clone(&token)));
        assert_eq!(Arc::strong_count(&token), 1);
    }

    #[test]
    fn a_reply_without_text_has_no_content_type() {
        assert!(text(StatusCode::NOT_FOUND, "").headers().is_empty());
        assert_eq!(text(StatusCode::OK, "hi").headers()[header::CONTENT_TYPE], "text/plain");
    }
}
