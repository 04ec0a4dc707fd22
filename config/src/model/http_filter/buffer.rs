//! `envoy.filters.http.buffer`: a request goes on once it is there as a whole.

use envoy_types::pb::envoy::extensions::filters::http::buffer::v3 as pb;

use crate::reject::{Context, Rejection};

/// `Buffer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// `max_request_bytes`: a longer request is refused with 413.
    pub max_request_bytes: u32,
}

/// `BufferPerRoute`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferPerRoute {
    /// `disabled`.
    Disabled,
    /// `buffer`.
    Buffer(Buffer),
}

fn buffer(cx: &mut Context, pb::Buffer { max_request_bytes }: pb::Buffer) -> Result<Buffer, Rejection> {
    match cx.required("max_request_bytes", max_request_bytes)?.value {
        0 => Err(cx.reject("max_request_bytes", "value must be greater than 0")),
        max_request_bytes => Ok(Buffer { max_request_bytes }),
    }
}

pub(super) fn config(cx: &mut Context, body: &[u8]) -> Result<Buffer, Rejection> {
    let config = cx.decode(body)?;
    buffer(cx, config)
}

pub(super) fn per_route(cx: &mut Context, body: &[u8]) -> Result<BufferPerRoute, Rejection> {
    use pb::buffer_per_route::Override;
    let pb::BufferPerRoute { r#override } = cx.decode(body)?;
    match cx.required("override", r#override)? {
        Override::Disabled(true) => Ok(BufferPerRoute::Disabled),
        Override::Disabled(false) => Err(cx.reject("disabled", "value must equal true")),
        Override::Buffer(config) => cx.at("buffer", |cx| buffer(cx, config)).map(BufferPerRoute::Buffer),
    }
}
