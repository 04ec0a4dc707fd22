//! The body of an answer as hyper sends it: counted, timed, and the end of the request when it is through.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::body::{Body, BodyError};
use super::live::Live;

/// An answer's body; dropping it ends the request.
pub(super) struct Outgoing {
    body: Body,
    /// `None`: the request goes on elsewhere, as a tunnel.
    live: Option<Box<Live>>,
    /// Trailers are dropped (HTTP/1 without `enable_trailers`).
    bare: bool,
}

impl Outgoing {
    pub(super) fn new(body: Body, live: Box<Live>, bare: bool) -> Self {
        Self { body, live: Some(live), bare }
    }

    /// Nothing follows the head; the request is not over.
    pub(super) const fn none() -> Self {
        Self { body: Body::Empty, live: None, bare: true }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(live) = &mut this.live else { return Poll::Ready(None) };
        if let Some(details) = live.cut(cx) {
            return Poll::Ready(Some(Err(BodyError::Timeout(details))));
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        live.touch();
        match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    live.sent(data.len() as u64);
                }
                if let Some(trailers) = frame.trailers_ref() {
                    live.trailers(trailers);
                    live.complete();
                    if this.bare {
                        return Poll::Ready(None);
                    }
                }
                if this.body.is_end_stream() {
                    live.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                live.broken(&error);
                Poll::Ready(Some(Err(error)))
            }
            None => {
                live.complete();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
