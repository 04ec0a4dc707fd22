//! The limits on the time of a request, with one timer for all of them.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use super::outgoing::Source;

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// `route.timeout`: of the whole answer, from the end of the request.
    Global,
    /// `per_try_timeout`: the answer's head, from the end of the request and the connection.
    PerTry,
    /// `per_try_idle_timeout`: the same as long as nothing comes.
    PerTryIdle,
    /// `max_stream_duration` of the cluster, from the connection on.
    MaxDuration,
}

/// How long a request may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// `route.timeout`; `None`: as long as it takes.
    pub(crate) global: Option<Duration>,
    /// `per_try_timeout`.
    pub(crate) per_try: Option<Duration>,
    /// `per_try_idle_timeout`.
    pub(crate) per_try_idle: Option<Duration>,
    /// `max_stream_duration`.
    pub(crate) max_duration: Option<Duration>,
}

/// The limits of one request as time goes on.
#[derive(Debug)]
pub(crate) struct Clock {
    limits: Limits,
    /// The request's body; `None`: it has none.
    source: Option<Arc<Source>>,
    /// The request was complete at.
    complete: Option<Instant>,
    /// The attempt has its connection since.
    ready: Option<Instant>,
    /// Something came at.
    moved: Option<Instant>,
}

impl Clock {
    /// Begins when the request's head is there.
    pub(crate) fn new(limits: Limits, source: Option<Arc<Source>>) -> Self {
        let complete = source.is_none().then(Instant::now);
        Self { limits, source, complete, ready: None, moved: None }
    }

    /// The limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// An attempt begins.
    pub(crate) fn attempt(&mut self) {
        (self.ready, self.moved) = (None, None);
    }

    /// It has a connection.
    pub(crate) fn connected(&mut self) {
        self.ready = Some(Instant::now());
    }

    /// When the request was complete; `None`: it is not.
    pub(crate) fn complete(&mut self) -> Option<Instant> {
        if self.complete.is_none() {
            self.complete = self.source.as_ref().and_then(|source| source.complete());
        }
        self.complete
    }

    /// When which limit is reached, as far as is known.
    pub(crate) fn next(&self) -> Option<(Instant, Expiry)> {
        let Limits { global, per_try, per_try_idle, max_duration } = self.limits;
        let tried = self.complete.zip(self.ready).map(|(complete, ready)| complete.max(ready));
        let at = |from: Option<Instant>, limit: Option<Duration>, expiry| Some((from?.checked_add(limit?)?, expiry));
        [
            at(self.complete, global, Expiry::Global),
            at(tried, per_try, Expiry::PerTry),
            at(self.moved.or(tried), per_try_idle, Expiry::PerTryIdle),
            at(self.ready, max_duration, Expiry::MaxDuration),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
    }

    /// The head has been passed on: which limits remain for the body.
    pub(crate) fn of_body(&mut self) -> Option<(Instant, Expiry)> {
        self.limits.per_try = None;
        self.complete();
        self.next()
    }

    /// Something came: `per_try_idle_timeout` begins anew.
    pub(crate) fn moved(&mut self) {
        if self.limits.per_try_idle.is_some() {
            self.moved = Some(Instant::now());
        }
    }

    /// Ready when a limit is reached.
    pub(crate) fn expired<'a>(&'a mut self, mut timer: Pin<&'a mut Sleep>) -> impl Future<Output = Expiry> + 'a {
        poll_fn(move |cx| self.poll(timer.as_mut(), cx))
    }

    fn poll(&mut self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Expiry> {
        if self.complete.is_none()
            && let Some(source) = &self.source
            && source.poll_over(cx).is_ready()
        {
            self.complete = source.complete();
        }
        let Some((at, expiry)) = self.next() else { return Poll::Pending };
        if timer.deadline() != at.into() {
            timer.as_mut().reset(at.into());
        }
        ready!(timer.poll(cx));
        Poll::Ready(expiry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_nearest_limit_counts_and_tries_begin_with_their_connection() {
        let limits = Limits { global: Some(MS(100)), per_try: Some(MS(50)), ..Limits::default() };
        let mut clock = Clock::new(limits, None);
        assert!(matches!(clock.next(), Some((_, Expiry::Global))));
        clock.connected();
        assert!(matches!(clock.next(), Some((_, Expiry::PerTry))));
        clock.attempt();
        assert!(matches!(clock.next(), Some((_, Expiry::Global))));
        assert_eq!(Clock::new(Limits::default(), None).next(), None);
    }

    #[test]
    fn nothing_runs_while_the_request_is_not_complete() {
        let limits = Limits { global: Some(MS(100)), max_duration: Some(MS(500)), ..Limits::default() };
        let mut clock = Clock::new(limits, Some(Source::new(crate::http::Body::full("a"), None)));
        assert_eq!(clock.next(), None);
        clock.connected();
        assert!(matches!(clock.next(), Some((_, Expiry::MaxDuration))));
    }
}
