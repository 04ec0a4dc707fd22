//! `http_health_check`, `grpc_health_check`.

use std::ops::Range;

use ::http::{HeaderName, HeaderValue, Method};
use core::HeaderValueOption;
use core::header_value_option::HeaderAppendAction;
use core::health_check::{GrpcHealthCheck, HttpHealthCheck};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::r#type::v3::{CodecClientType, Int64Range};

use super::bytes;
use crate::model::cluster::{GrpcProbe, HttpProbe, ProbeCodec, ProbeHeader, ProbeHeaderAction};
use crate::model::tls::proto::string_match;
use crate::reject::{Context, Rejection};

/// Envoy's default `response_buffer_size`.
const RESPONSE_BUFFER: u64 = 1024;

pub(super) fn probe(cx: &mut Context, check: HttpHealthCheck) -> Result<HttpProbe, Rejection> {
    let HttpHealthCheck {
        host,
        path,
        send,
        receive,
        response_buffer_size,
        request_headers_to_add,
        request_headers_to_remove,
        expected_statuses,
        retriable_statuses,
        codec_client_type,
        service_name_matcher,
        method,
    } = check;
    cx.not_empty("path", &path)?;
    self::value(cx, "path", &path)?;
    let method = self::method(cx, method)?;
    let send = match send {
        None => Box::default(),
        Some(_) if [Method::GET, Method::HEAD, Method::DELETE, Method::TRACE].contains(&method) => {
            return Err(cx.reject("send", format!("HTTP health check cannot specify a request payload with {method}")));
        }
        Some(payload) => cx.at("send", |cx| bytes(cx, payload))?,
    };
    let receive = cx.each("receive", receive, |cx, payload| bytes(cx, payload))?;
    let response_buffer = response_buffer_size.map_or(RESPONSE_BUFFER, |w| w.value);
    let length: u64 = receive.iter().map(|block| block.len() as u64).sum();
    if response_buffer != 0 && length > response_buffer {
        let reason = format!("the expected response length {length} is over response_buffer_size {response_buffer}");
        return Err(cx.reject("receive", reason));
    }
    let mut expected = cx.each("expected_statuses", expected_statuses, |cx, range| statuses(cx, range))?;
    if expected.is_empty() {
        expected = std::iter::once(200..201).collect();
    }
    Ok(HttpProbe {
        host: authority(cx, "host", &host)?,
        path: path.into(),
        method,
        codec: codec(cx, codec_client_type)?,
        send,
        receive,
        response_buffer,
        expected,
        retriable: cx.each("retriable_statuses", retriable_statuses, |cx, range| statuses(cx, range))?,
        service_name: match service_name_matcher {
            None => None,
            Some(matcher) => Some(cx.at("service_name_matcher", |cx| string_match(cx, matcher))?),
        },
        remove: cx.each("request_headers_to_remove", request_headers_to_remove, |cx, key| name(cx, "", &key))?,
        add: headers(cx, "request_headers_to_add", request_headers_to_add)?,
    })
}

pub(super) fn grpc(cx: &mut Context, check: GrpcHealthCheck) -> Result<GrpcProbe, Rejection> {
    let GrpcHealthCheck { service_name, authority, initial_metadata } = check;
    Ok(GrpcProbe {
        service: service_name.into(),
        authority: self::authority(cx, "authority", &authority)?,
        add: headers(cx, "initial_metadata", initial_metadata)?,
    })
}

fn authority(cx: &Context, field: &str, text: &str) -> Result<Option<HeaderValue>, Rejection> {
    if text.is_empty() { Ok(None) } else { value(cx, field, text).map(Some) }
}

fn method(cx: &Context, method: i32) -> Result<Method, Rejection> {
    use core::RequestMethod as Pb;
    Ok(match cx.variant("method", method)? {
        Pb::MethodUnspecified | Pb::Get => Method::GET,
        Pb::Head => Method::HEAD,
        Pb::Post => Method::POST,
        Pb::Put => Method::PUT,
        Pb::Delete => Method::DELETE,
        Pb::Options => Method::OPTIONS,
        Pb::Trace => Method::TRACE,
        Pb::Patch => Method::PATCH,
        Pb::Connect => return Err(cx.reject("method", "value must not be in list [6]")),
    })
}

fn codec(cx: &mut Context, codec: i32) -> Result<ProbeCodec, Rejection> {
    Ok(match cx.variant("codec_client_type", codec)? {
        CodecClientType::Http1 => ProbeCodec::Http1,
        CodecClientType::Http2 => ProbeCodec::Http2,
        CodecClientType::Http3 => {
            cx.note("codec_client_type", "HTTP/3 is not spoken: probes are HTTP/2");
            ProbeCodec::Http2
        }
    })
}

fn statuses(cx: &Context, Int64Range { start, end }: Int64Range) -> Result<Range<u16>, Rejection> {
    if start >= end {
        return Err(cx.reject("", format!("expecting start < end, but found start={start} and end={end}")));
    }
    match (u16::try_from(start), u16::try_from(end)) {
        (Ok(start @ 100..), Ok(end @ ..=600)) => Ok(start..end),
        _ => Err(cx.reject("", format!("expecting 100 <= start and end <= 600, but found {start} and {end}"))),
    }
}

/// Headers of probes. Envoy evaluates commands in values; here values are literal, and commands reported.
fn headers(
    cx: &mut Context,
    field: &'static str,
    options: Vec<HeaderValueOption>,
) -> Result<Box<[ProbeHeader]>, Rejection> {
    let found = cx.each(field, options, header)?;
    Ok(found.into_iter().flatten().collect())
}

fn header(cx: &mut Context, option: HeaderValueOption) -> Result<Option<ProbeHeader>, Rejection> {
    let HeaderValueOption { header, append, append_action, keep_empty_value } = option;
    let core::HeaderValue { key, value, raw_value } = cx.required("header", header)?;
    let name = name(cx, "header.key", &key)?;
    let literal = value.replace("%%", "");
    if literal.contains('%') {
        cx.note("header", "commands in values are not evaluated: the probe carries the text as it is");
    }
    let value = match raw_value.is_empty() {
        true => self::value(cx, "header.value", &value.replace("%%", "%"))?,
        false => {
            HeaderValue::from_bytes(&raw_value).map_err(|_| cx.reject("header.raw_value", "is not a header value"))?
        }
    };
    let action = match (append, cx.variant("append_action", append_action)?) {
        (Some(append), _) if append.value => ProbeHeaderAction::Append,
        (Some(_), _) | (None, HeaderAppendAction::OverwriteIfExistsOrAdd) => ProbeHeaderAction::Overwrite,
        (None, HeaderAppendAction::AppendIfExistsOrAdd) => ProbeHeaderAction::Append,
        (None, HeaderAppendAction::AddIfAbsent) => ProbeHeaderAction::AddIfAbsent,
        (None, HeaderAppendAction::OverwriteIfExists) => ProbeHeaderAction::OverwriteIfExists,
    };
    Ok((!value.is_empty() || keep_empty_value).then_some(ProbeHeader { name, value, action }))
}

fn name(cx: &Context, field: &str, key: &str) -> Result<HeaderName, Rejection> {
    if key.starts_with(':') || key.eq_ignore_ascii_case("host") {
        return Err(cx.reject(field, ":-prefixed or host headers may not be modified"));
    }
    HeaderName::from_bytes(key.as_bytes()).map_err(|_| cx.reject(field, "is not a header name"))
}

fn value(cx: &Context, field: &str, text: &str) -> Result<HeaderValue, Rejection> {
    HeaderValue::from_str(text).map_err(|_| cx.reject(field, "is not a header value"))
}
