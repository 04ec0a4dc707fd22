//! The body of a request as filters and the router read it: counted, timed, without what may not pass.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use proxy::control::Control;

use super::body::{Body, BodyError};

/// What is known of a request's body while others read it.
#[derive(Debug)]
pub(super) struct Meter {
    control: Arc<Control>,
    received: AtomicU64,
    complete: AtomicBool,
    broken: AtomicBool,
    /// The last byte was read at.
    ended: OnceLock<Instant>,
}

impl Meter {
    /// Bytes so far.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// When the last byte was read.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.ended.get().copied()
    }

    /// The last byte was read.
    pub(super) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    /// What the client sent was no body.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    fn finish(&self) {
        if !self.complete.swap(true, Ordering::Relaxed) {
            let _ = self.ended.set(Instant::now());
            // `request_timeout` ends with the request.
            self.control.forgive_deadline();
        }
    }
}

struct Received {
    body: Incoming,
    meter: Arc<Meter>,
    /// Trailers are dropped (HTTP/1 without `enable_trailers`).
    bare: bool,
}

/// The body, and its meter where there is something to read.
pub(super) fn metered(body: Incoming, control: Arc<Control>, bare: bool) -> (Body, Option<Arc<Meter>>) {
    if body.is_end_stream() {
        return (Body::Empty, None);
    }
    let (received, complete, broken) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
    let meter = Arc::new(Meter { control, received, complete, broken, ended: OnceLock::new() });
    (Body::boxed(Received { body, meter: Arc::clone(&meter), bare }), Some(meter))
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        this.meter.control.touch();
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                let error = BodyError::from(error);
                this.meter.broken.store(matches!(error, BodyError::Protocol(_)), Ordering::Relaxed);
                return Poll::Ready(Some(Err(error)));
            }
            None => {
                this.meter.finish();
                return Poll::Ready(None);
            }
        };
        if let Some(data) = frame.data_ref() {
            this.meter.received.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        if frame.is_trailers() || this.body.is_end_stream() {
            this.meter.finish();
        }
        if this.bare && frame.is_trailers() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
