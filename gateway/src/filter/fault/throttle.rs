//! A body that is passed on no faster than so many bytes a second (Envoy's `StreamRateLimiter`).

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::http::body::{Body, BodyError};

/// Portions a second; as many may be saved up.
const PORTIONS: u32 = 16;

/// The body.
pub(super) struct Throttled {
    body: Body,
    held: Option<Bytes>,
    /// Bytes of a portion.
    portion: usize,
    portions: u32,
    /// The last portion came at.
    filled: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Throttled {
    /// At most `rate` KiB a second.
    pub(super) fn new(body: Body, rate: u64) -> Self {
        let portion = rate.saturating_mul(1024) / u64::from(PORTIONS);
        Self {
            body,
            held: None,
            portion: usize::try_from(portion).unwrap_or(usize::MAX),
            portions: 1,
            filled: Instant::now(),
            sleep: None,
        }
    }

    fn fill(&mut self) {
        let step = Duration::from_secs(1) / PORTIONS;
        let now = Instant::now();
        while self.filled + step <= now {
            self.filled += step;
            if self.portions == PORTIONS {
                self.filled = now;
                break;
            }
            self.portions += 1;
        }
    }

    /// Waits until there is a portion.
    fn poll_portion(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.fill();
            if self.portions > 0 {
                self.sleep = None;
                return Poll::Ready(());
            }
            let until = self.filled + Duration::from_secs(1) / PORTIONS;
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
            ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
        }
    }
}

impl HttpBody for Throttled {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.held.is_none() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Ok(data) => this.held = Some(data),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        ready!(this.poll_portion(cx));
        let Some(mut data) = this.held.take() else { return Poll::Ready(None) };
        let portion = this.portion.max(1);
        let wanted = u32::try_from(data.len().div_ceil(portion)).unwrap_or(u32::MAX).min(this.portions);
        this.portions -= wanted;
        let passed = data.split_to(data.len().min(portion.saturating_mul(wanted as usize)));
        this.held = (!data.is_empty()).then_some(data);
        Poll::Ready(Some(Ok(Frame::data(passed))))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let held = self.held.as_ref().map_or(0, |held| held.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + held);
        }
        hint.set_lower(hint.lower() + held);
        hint
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_kibibyte_takes_a_second() {
        let begun = Instant::now();
        let body = Throttled::new(Body::full(vec![b'x'; 1024]), 1);
        assert_eq!(body.size_hint().exact(), Some(1024));
        let data = Body::boxed(body).collect().await.unwrap().to_bytes();
        let taken = begun.elapsed();
        assert_eq!(data.len(), 1024);
        assert!(taken >= Duration::from_millis(930) && taken < Duration::from_millis(1100), "{taken:?}");
    }
}
