//! The body of an endpoint's answer on its way to the client. With its last byte the connection is free again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use proxy::metrics::ClusterStat;
use proxy::report::http::{Flag, Protocol};
use proxy::upstream::{End, RequestPermit};
use tokio::time::Sleep;

use super::clock::{Clock, Expiry};
use super::grpc;
use super::outgoing::Source;
use super::pool::Conduit;
use super::reset::{Reason, Reset};
use crate::http::BodyError;

/// An answer whose head has been passed on.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Incoming,
    /// `None`: it is over.
    stream: Option<Stream>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// One request and its answer on a connection.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Where it is.
    pub(crate) conduit: Conduit,
    /// One of `max_requests`.
    pub(crate) permit: RequestPermit,
    /// The request's body, where it has one.
    pub(crate) source: Option<Arc<Source>>,
    /// Its limits.
    pub(crate) clock: Clock,
    /// Whether it succeeded is known with the trailers only (gRPC).
    pub(crate) deferred: bool,
}

impl Answer {
    /// With what is left to come.
    pub(crate) fn new(body: Incoming, stream: Stream) -> Self {
        Self { body, stream: Some(stream), timer: None }
    }

    fn over(&mut self, trailers: Option<&HeaderMap>) {
        if let Some(stream) = self.stream.take() {
            stream.complete(trailers);
        }
    }

    fn failed(&mut self, error: &hyper::Error) -> BodyError {
        let mut reset = Reset::of(error);
        if let Some(stream) = self.stream.take() {
            // To Envoy's HTTP/1 codec an end in the midst of an answer is a mistake of the peer's.
            if reset.reason == Reason::ConnectionTermination && stream.conduit.link().protocol() != Protocol::Http2 {
                reset = Reset::new(Reason::ProtocolError);
                stream.permit.cluster().stats().inc(ClusterStat::UpstreamCxProtocolError);
            }
            stream.reset();
        }
        let details = format!("upstream_reset_after_response_started{{{}}}", reset.reason.text().replace(' ', "_"));
        BodyError::Upstream(reset.reason.flag(), details.into())
    }

    /// A limit is reached in the midst of the answer.
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let Some((at, expiry)) = self.stream.as_mut().and_then(|stream| stream.clock.of_body()) else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at.into())));
        if timer.deadline() != at.into() {
            timer.as_mut().reset(at.into());
        }
        ready!(timer.as_mut().poll(cx));
        let Some(stream) = self.stream.take() else { return Poll::Pending };
        let error = stream.late(expiry);
        Poll::Ready(error)
    }
}

impl Stream {
    /// The answer is complete.
    pub(crate) fn complete(mut self, trailers: Option<&HeaderMap>) {
        let host = self.permit.host();
        if self.deferred {
            let fine = trailers.and_then(grpc::status).is_some_and(|status| grpc::as_http(status) < 500);
            host.count_end(if fine { End::Success } else { End::Error });
        }
        match self.clock.complete() {
            Some(complete) => {
                let millis = u64::try_from(complete.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.permit.cluster().stats().record(ClusterStat::UpstreamRqTime, millis);
                self.conduit.finish();
            }
            // The endpoint wants no more of the request: as in Envoy the stream is reset.
            None => self.stop(),
        }
    }

    /// The endpoint ended it early.
    fn reset(self) {
        self.permit.cluster().stats().inc(ClusterStat::UpstreamRqRxReset);
        if self.deferred {
            self.permit.host().count_end(End::Error);
        }
        self.stop();
    }

    fn late(self, expiry: Expiry) -> BodyError {
        let stats = self.permit.cluster().stats();
        let (flag, details) = match expiry {
            Expiry::Global | Expiry::PerTry => {
                stats.inc(ClusterStat::UpstreamRqTimeout);
                self.permit.host().count_end(End::Timeout);
                (Flag::UpstreamRequestTimeout, "response_timeout")
            }
            Expiry::PerTryIdle => {
                stats.inc(ClusterStat::UpstreamRqPerTryIdleTimeout);
                (Flag::StreamIdleTimeout, "upstream_per_try_idle_timeout")
            }
            Expiry::MaxDuration => {
                stats.inc(ClusterStat::UpstreamRqMaxDurationReached);
                (Flag::UpstreamMaxStreamDurationReached, "upstream_max_stream_duration_reached")
            }
        };
        stats.inc(ClusterStat::UpstreamRqTxReset);
        self.stop();
        BodyError::Upstream(flag, details.into())
    }

    fn stop(&self) {
        if let Some(source) = &self.source {
            source.stop();
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.stream.is_none() {
            return Poll::Ready(None);
        }
        let frame = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => return this.poll_limits(cx).map(|error| Some(Err(error))),
        };
        match frame {
            None => {
                this.over(None);
                Poll::Ready(None)
            }
            Some(Ok(frame)) => {
                // Nobody asks on after the trailers, nor where all is known to be there.
                if let Some(trailers) = frame.trailers_ref() {
                    this.over(Some(trailers));
                } else if this.body.is_end_stream() {
                    this.over(None);
                } else if let Some(stream) = &mut this.stream {
                    stream.clock.moved();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(this.failed(&error)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // The client is gone: so is the request.
        if let Some(stream) = self.stream.take() {
            stream.permit.cluster().stats().inc(ClusterStat::UpstreamRqTxReset);
            stream.stop();
        }
    }
}

/// A moment ago.
pub(crate) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
