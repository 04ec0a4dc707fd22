//! A body that is compressed on its way.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use config::model::http_filter::Library;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame};
use proxy::metrics::{CompressionStat, Scope};

use super::encoder::Encoder;
use crate::http::body::{Body, BodyError};

const FAILED: &str = "compression_failed";

/// The body.
pub(super) struct Compressed {
    body: Body,
    encoder: Option<Encoder>,
    trailers: Option<HeaderMap>,
    /// There is no encoder.
    failed: bool,
    stats: Arc<Scope<CompressionStat>>,
}

impl Compressed {
    /// Compresses `body`.
    pub(super) fn wrap(body: Body, library: &Library, stats: &Arc<Scope<CompressionStat>>) -> Body {
        match Encoder::new(library) {
            Ok(encoder) => Body::boxed(Self {
                body,
                encoder: Some(encoder),
                failed: false,
                trailers: None,
                stats: Arc::clone(stats),
            }),
            // Its head says that it is compressed.
            Err(_) => Body::boxed(Self {
                body: Body::Empty,
                encoder: None,
                failed: true,
                trailers: None,
                stats: Arc::clone(stats),
            }),
        }
    }

    fn passed(&self, data: Vec<u8>) -> Frame<Bytes> {
        self.stats.add(CompressionStat::TotalCompressedBytes, data.len() as u64);
        Frame::data(data.into())
    }
}

impl HttpBody for Compressed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if std::mem::take(&mut this.failed) {
            return Poll::Ready(Some(Err(BodyError::Aborted(FAILED))));
        }
        let Some(encoder) = &mut this.encoder else {
            return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        };
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            Some(Ok(frame)) => Some(frame),
            None => None,
        };
        let data = match frame.map(Frame::into_data) {
            Some(Ok(data)) => {
                this.stats.add(CompressionStat::TotalUncompressedBytes, data.len() as u64);
                encoder.write(&data)
            }
            Some(Err(other)) => {
                this.trailers = other.into_trailers().ok();
                this.encoder.take().map_or_else(|| Ok(Vec::new()), Encoder::finish)
            }
            None => this.encoder.take().map_or_else(|| Ok(Vec::new()), Encoder::finish),
        };
        Poll::Ready(Some(match data {
            Ok(data) => Ok(this.passed(data)),
            Err(_) => Err(BodyError::Aborted(FAILED)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none() && !self.failed
    }
}
