//! An answer of the admin server, with the headers Envoy's has.

use std::io::{self, Write};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use super::stream::{Writer, Writers};
use crate::system::reply::{self, Body};

const TEXT: &str = "text/plain; charset=UTF-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=UTF-8";

/// Plain text.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    answer(status, TEXT, reply::full(text))
}

/// Envoy's `OK` of commands.
pub(super) fn ok() -> Response<Body> {
    text(StatusCode::OK, "OK\n")
}

/// A page.
pub(super) fn html(page: String) -> Response<Body> {
    answer(StatusCode::OK, HTML, reply::full(page))
}

/// A JSON document, indented as Envoy indents.
pub(super) fn json(document: &Value) -> Response<Body> {
    let mut out = Vec::new();
    match pretty(&mut out, document) {
        Ok(()) => answer(StatusCode::OK, JSON, reply::full(out)),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Plain text that is written while it is sent.
pub(super) fn text_stream(
    writers: &Writers,
    write: impl FnOnce(&mut Writer) -> io::Result<()> + Send + 'static,
) -> Response<Body> {
    answer(StatusCode::OK, TEXT, writers.body(write))
}

/// JSON that is written while it is sent.
pub(super) fn json_stream(
    writers: &Writers,
    write: impl FnOnce(&mut Writer) -> io::Result<()> + Send + 'static,
) -> Response<Body> {
    answer(StatusCode::OK, JSON, writers.body(write))
}

/// Writes JSON with Envoy's indentation of one space.
pub(super) fn pretty(out: &mut impl Write, document: &impl serde::Serialize) -> io::Result<()> {
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    document.serialize(&mut serde_json::Serializer::with_formatter(out, formatter)).map_err(io::Error::from)
}

fn answer(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::SERVER, HeaderValue::from_static("envoy"));
    response
}
