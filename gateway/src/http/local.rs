//! Answers of our own become HTTP.

use std::borrow::Cow;

use bytes::Bytes;
use config::model::hcm::LocalReply;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use proxy::report;
use proxy::report::http::{HttpFlow, ResponseHead};

use super::body::Body;
use super::exchange::Exchange;
use super::reply::Reply;
use crate::route::mutation::HeaderAdd;
use proxy::report::http::Side;

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// An answer of our own as HTTP (`Http::Utility::prepareLocalReply`); its flags and details go to the books.
pub(super) fn render(reply: Reply, exchange: &mut Exchange) -> Response<Body> {
    let Reply { status, body, details, flags, headers, grpc_status } = reply;
    let flow = &mut exchange.flow;
    flow.flags |= flags;
    flow.details = details;
    let grpc = is_grpc(&flow.request.headers);
    let mut text = Text { status, body, content_type: TEXT, headers };
    if let Some(config) = exchange.chain.manager.local_reply.as_deref() {
        text.map(config, flow);
    }
    let Text { status, body, content_type, headers } = text;
    let mut response = Response::new(Body::Empty);
    *response.headers_mut() = headers;
    if grpc {
        render_grpc(response.headers_mut(), grpc_status.unwrap_or_else(|| grpc_of(status)), &body);
        return response;
    }
    *response.status_mut() = status;
    if !body.is_empty() {
        let bytes = match body {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        headers.entry(CONTENT_TYPE).or_insert(content_type);
        *response.body_mut() = Body::full(bytes);
    }
    response
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain");

/// An answer of our own before it is HTTP.
struct Text {
    status: StatusCode,
    body: Cow<'static, str>,
    content_type: HeaderValue,
    headers: HeaderMap,
}

impl Text {
    /// `local_reply_config`: the first mapper that matches, then the format.
    fn map(&mut self, config: &LocalReply, flow: &mut HttpFlow) {
        // Mappers and formats see the answer as it would be.
        flow.response = Some(ResponseHead { status: self.status, headers: self.headers.clone() });
        let mapper = config.mappers.iter().find(|mapper| report::matches(&mapper.filter, flow));
        if let Some(mapper) = mapper {
            self.status = mapper.status.unwrap_or(self.status);
            if let Some(body) = &mapper.body {
                self.body = String::from_utf8_lossy(body).into_owned().into();
            }
            for add in &mapper.headers {
                HeaderAdd::compile(add).apply(&mut self.headers, flow, Side::Response);
            }
            flow.response = Some(ResponseHead { status: self.status, headers: HeaderMap::new() });
        }
        if let Some(format) = mapper.and_then(|mapper| mapper.format.as_ref()).or(config.format.as_ref()) {
            self.body = report::local_reply(&format.format, format.omit_empty, flow, &self.body).into();
            self.content_type = format.content_type.clone();
        }
        flow.response = None;
    }
}

fn render_grpc(headers: &mut HeaderMap, status: u8, message: &str) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS.clone(), HeaderValue::from(u16::from(status)));
    if !message.is_empty()
        && let Ok(message) = HeaderValue::from_str(&percent(message))
    {
        headers.insert(GRPC_MESSAGE.clone(), message);
    }
}

/// gRPC's percent-encoding of messages.
fn percent(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b'%';
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect::<String>()
        .into()
}

/// `Grpc::Utility::httpToGrpcStatus`.
fn grpc_of(status: StatusCode) -> u8 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// `Grpc::Common::hasGrpcContentType`.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return false };
    let Some(rest) = kind.as_bytes().strip_prefix(b"application/grpc") else { return false };
    matches!(rest.first(), None | Some(b'+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        let rows = [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("application/grpcx", false),
            ("text/plain", false),
        ];
        for (kind, expected) in rows {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(is_grpc(&headers), expected, "{kind}");
        }
    }

    #[test]
    fn messages_of_grpc_are_ascii() {
        assert_eq!(percent("upstream connect error"), "upstream connect error");
        assert_eq!(percent("50%\né"), "50%25%0A%C3%A9");
    }
}
