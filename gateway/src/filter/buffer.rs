//! `envoy.filters.http.buffer`.

use bytes::BytesMut;
use config::model::http_filter::{Buffer, BufferPerRoute};
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame};

use super::{Call, PerRoute};
use crate::http::body::{Body, BodyError};
use crate::http::reply::Reply;

/// Waits for the whole request.
pub(super) async fn request(own: Buffer, at: usize, call: &mut Call<'_>, body: &mut Body) -> Option<Reply> {
    let per_route = call.route.specific(at, |config| match config {
        PerRoute::Buffer(config) => Some(*config),
        _ => None,
    });
    let Buffer { max_request_bytes } = match per_route {
        Some(BufferPerRoute::Disabled) => return None,
        Some(BufferPerRoute::Buffer(buffer)) => buffer,
        None => own,
    };
    if body.is_end_stream() {
        return None;
    }
    let (mut all, mut trailers) = (BytesMut::new(), None);
    loop {
        match body.frame().await {
            None => break,
            // Who reads the body hears of it again.
            Some(Err(error)) => {
                *body = failed(error);
                return None;
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => all.extend_from_slice(&data),
                Err(other) => trailers = other.into_trailers().ok(),
            },
        }
        if all.len() as u64 > u64::from(max_request_bytes) {
            let reply = Reply::new(StatusCode::PAYLOAD_TOO_LARGE, "request_payload_too_large");
            return Some(reply.body("Payload Too Large"));
        }
    }
    let headers = &mut call.flow.request.headers;
    if trailers.is_none() && !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(all.len()));
    }
    *body = match trailers {
        None => Body::full(all.freeze()),
        Some(trailers) => {
            let trailers = std::future::ready(Some(Ok::<_, std::convert::Infallible>(trailers)));
            let full = http_body_util::Full::new(all.freeze()).with_trailers(trailers);
            Body::boxed(full.map_err(|never| match never {}).map_frame(std::convert::identity::<Frame<_>>))
        }
    };
    None
}

fn failed(error: BodyError) -> Body {
    struct Failed(Option<BodyError>);
    impl hyper::body::Body for Failed {
        type Data = bytes::Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<bytes::Bytes>, BodyError>>> {
            std::task::Poll::Ready(self.0.take().map(Err))
        }
    }
    Body::boxed(Failed(Some(error)))
}
