//! The request's body on its way to an endpoint: read once, kept for another try as far as it may be, copied to mirrors.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use proxy::metrics::{ClusterStat, Scope};

use super::mirror::Tap;
use crate::http::{Body, BodyError};

/// A request's body as one attempt sends it.
#[derive(Debug)]
pub(crate) struct Outgoing(Option<Reader>);

#[derive(Debug)]
struct Reader {
    source: Arc<Source>,
    /// The attempt it is of; it reads no more once there is a later one.
    attempt: u32,
    /// What it has read of what is kept.
    at: usize,
    hint: SizeHint,
    ended: bool,
}

/// Where the attempts of a request read its body from.
#[derive(Debug)]
pub(crate) struct Source(Mutex<State>);

#[derive(Debug)]
struct State {
    body: Body,
    hint: SizeHint,
    /// What was read, while it may be needed again.
    kept: Option<Kept>,
    trailers: Option<HeaderMap>,
    taps: Vec<Tap>,
    complete: Option<Instant>,
    failed: Option<BodyError>,
    attempt: u32,
    /// Whoever waits for the end of the request.
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Kept {
    chunks: Vec<Bytes>,
    bytes: u64,
    limit: u64,
    stats: Arc<Scope<ClusterStat>>,
}

impl Outgoing {
    /// No body.
    pub(crate) const fn empty() -> Self {
        Self(None)
    }
}

impl Source {
    /// A body that is kept up to `limit` bytes, or not at all.
    pub(crate) fn new(body: Body, keep: Option<(u64, &Arc<Scope<ClusterStat>>)>) -> Arc<Self> {
        let hint = body.size_hint();
        let kept = keep.map(|(limit, stats)| Kept { chunks: Vec::new(), bytes: 0, limit, stats: Arc::clone(stats) });
        Arc::new(Self(Mutex::new(State {
            body,
            hint,
            kept,
            trailers: None,
            taps: Vec::new(),
            complete: None,
            failed: None,
            attempt: 0,
            waker: None,
        })))
    }

    /// The body for the next attempt, from its beginning. Those before get no more of it.
    pub(crate) fn attempt(self: &Arc<Self>) -> Outgoing {
        let mut state = self.lock();
        state.attempt += 1;
        let (attempt, hint) = (state.attempt, state.hint);
        drop(state);
        Outgoing(Some(Reader { source: Arc::clone(self), attempt, at: 0, hint, ended: false }))
    }

    /// Another attempt can be made: all of it that was read is kept.
    pub(crate) fn can_repeat(&self) -> bool {
        let state = self.lock();
        state.failed.is_none() && state.kept.is_some()
    }

    /// Nothing has to be kept any more: there will be no other attempt.
    pub(crate) fn forget(&self) {
        self.lock().kept = None;
    }

    /// No attempt reads on.
    pub(crate) fn stop(&self) {
        self.lock().attempt += 1;
    }

    /// Copies what is read from now on.
    pub(super) fn tap(&self, tap: Tap) {
        self.lock().taps.push(tap);
    }

    /// When the request was complete.
    pub(crate) fn complete(&self) -> Option<Instant> {
        self.lock().complete
    }

    /// Why the client's part ended early.
    pub(crate) fn failed(&self) -> Option<BodyError> {
        self.lock().failed.clone()
    }

    /// Ready when the request is complete, or never will be.
    pub(crate) fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.complete.is_some() || state.failed.is_some() {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next frame from the client.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                self.copy(frame);
                if let Some(data) = frame.data_ref() {
                    self.keep(data);
                } else if let Some(trailers) = frame.trailers_ref() {
                    if self.kept.is_some() {
                        self.trailers = Some(trailers.clone());
                    }
                    self.end();
                }
                // What is known to be all needs not be asked for.
                if self.body.is_end_stream() {
                    self.end();
                }
            }
            Some(Err(error)) => {
                self.failed = Some(error.clone());
                self.taps.clear();
                self.wake();
            }
            None => self.end(),
        }
        Poll::Ready(frame)
    }

    /// To mirrors; those that are too far behind are given up.
    fn copy(&mut self, frame: &Frame<Bytes>) {
        self.taps.retain(|tap| {
            let copy = match (frame.data_ref(), frame.trailers_ref()) {
                (Some(data), _) => Frame::data(data.clone()),
                (None, Some(trailers)) => Frame::trailers(trailers.clone()),
                (None, None) => return true,
            };
            tap.try_send(copy).is_ok()
        });
    }

    fn keep(&mut self, data: &Bytes) {
        let Some(kept) = &mut self.kept else { return };
        kept.bytes += data.len() as u64;
        if kept.bytes > kept.limit {
            kept.stats.inc(ClusterStat::RetryOrShadowAbandoned);
            self.kept = None;
            return;
        }
        kept.chunks.push(data.clone());
    }

    fn end(&mut self) {
        if self.complete.is_none() {
            self.complete = Some(Instant::now());
            // Their end is told by there being no more.
            self.taps.clear();
            self.wake();
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Reader {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.source.lock();
        if state.attempt != self.attempt {
            return Poll::Ready(Some(Err(BodyError::Aborted("attempt given up"))));
        }
        if let Some(chunk) = state.kept.as_ref().and_then(|kept| kept.chunks.get(self.at)) {
            self.at += 1;
            return Poll::Ready(Some(Ok(Frame::data(chunk.clone()))));
        }
        if let Some(error) = &state.failed {
            return Poll::Ready(Some(Err(error.clone())));
        }
        if state.complete.is_some() {
            self.ended = true;
            return Poll::Ready(state.trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let frame = ready!(state.poll_client(cx));
        self.at = state.kept.as_ref().map_or(0, |kept| kept.chunks.len());
        self.ended = state.complete.is_some();
        Poll::Ready(frame)
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().0 {
            None => Poll::Ready(None),
            Some(reader) if reader.ended => Poll::Ready(None),
            Some(reader) => reader.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|reader| reader.ended)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            None => SizeHint::with_exact(0),
            Some(reader) => reader.hint,
        }
    }
}
