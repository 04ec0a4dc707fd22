//! What one command operator yields for a request, as Envoy 1.40 was seen to print it.

use std::time::{Duration, Instant};

use config::model::access_log::{
    GrpcForm, HeaderRef, HostSource, NameOrder, Operator, PathForm, PathSource, ServerName,
};
use http::HeaderMap;

use super::head::{RequestHead, ResponseHead};
use super::{HttpFlow, grpc, upstream_value};
use crate::report::value::{Subject, Value, host_name, uuid};
use crate::report::{metadata, tls};

const ORIGINAL_PATH: &str = "x-envoy-original-path";
const ORIGINAL_HOST: &str = "x-envoy-original-host";

/// The value; `None`: the connection's is the request's.
pub(in crate::report) fn value<'a>(
    subject: &Subject<'a>,
    flow: &'a HttpFlow,
    operator: &'a Operator,
) -> Option<Value<'a>> {
    use Operator as Op;
    Some(match operator {
        Op::Request(header) => of_request(&flow.request, header),
        Op::Response(header) => header_value(header, |name| of_response(flow.response.as_ref(), name)),
        Op::Trailer(header) => header_value(header, |name| flow.trailers.as_ref()?.get(name).map(|v| v.as_bytes())),
        Op::Path(form) => Value::or_absent(path(&flow.request, *form), text),
        Op::QueryParam(name) => Value::or_absent(query_param(&flow.request, name), text),
        Op::QueryParams => {
            let form = PathForm { query: true, source: PathSource::OriginalOrPath };
            let query = path(&flow.request, form).and_then(|path| split_query(path).1);
            Value::or_absent(query, text)
        }
        Op::RequestHeadersBytes => Value::Number(request_bytes(&flow.request)),
        Op::ResponseHeadersBytes => Value::Number(flow.response.as_ref().map_or(0, response_bytes)),
        Op::ResponseTrailersBytes => Value::Number(flow.trailers.as_ref().map_or(0, bytes)),
        Op::Protocol => Value::text(flow.protocol.as_str()),
        Op::ResponseCode => Value::Number(flow.status().map_or(0, |status| status.as_u16().into())),
        Op::ResponseCodeDetails(whole) => details(flow, *whole),
        Op::ResponseFlags => Value::text(flow.flags.short()),
        Op::ResponseFlagsLong => Value::text(flow.flags.long()),
        Op::GrpcStatus(form) => Value::or_absent(grpc::of(flow), |code| match form {
            GrpcForm::Number => Value::Number(code.into()),
            GrpcForm::Camel => Value::Text(grpc::camel(code)),
            GrpcForm::Snake => Value::Text(grpc::snake(code)),
        }),
        Op::BytesReceived => Value::Number(flow.received),
        Op::BytesSent => Value::Number(flow.sent),
        Op::DownstreamWireBytesReceived => Value::Number(flow.wire.received + flow.received),
        Op::DownstreamWireBytesSent => Value::Number(flow.wire.sent + flow.sent),
        Op::DownstreamHeaderBytesReceived => Value::Number(flow.wire.headers_received),
        Op::DownstreamHeaderBytesSent => Value::Number(flow.wire.headers_sent),
        Op::Duration => Value::Number(millis(duration(flow, Instant::now()))),
        Op::RequestDuration => since_start(flow, flow.timing.request_end),
        Op::RequestTxDuration => since_start(flow, flow.timing.upstream_request_end),
        Op::ResponseDuration => since_start(flow, flow.timing.upstream_response_start),
        Op::ResponseTxDuration => between(flow.timing.upstream_response_start, flow.timing.response_end),
        Op::RoundtripDuration | Op::DownstreamHandshakeDuration => Value::Absent,
        Op::CommonDuration(points) => common_duration(flow, points),
        Op::RouteName => name(&flow.route_name),
        // The catch-all has statistics, but no name.
        Op::VirtualClusterName => {
            Value::or_absent(flow.virtual_cluster.as_deref().filter(|name| *name != "other"), name)
        }
        Op::Metadata(wanted) => metadata::of_request(flow, wanted),
        Op::StreamId => match &flow.request_id {
            Some(id) => text(id.as_bytes()),
            None => Value::text(uuid(stream_id(flow))),
        },
        Op::TraceId => Value::or_absent(flow.trace, |ids| Value::text(ids.trace_id())),
        Op::SpanId => Value::or_absent(flow.trace, |ids| Value::text(ids.span_id())),
        Op::LocalReplyBody => Value::text(subject.reply_body),
        Op::RequestedServerName(wanted) => server_name(flow, *wanted),
        Op::DownstreamRemoteAddress => Value::or_absent(flow.remote(), |a| Value::text(a.to_string())),
        Op::DownstreamRemoteAddressWithoutPort => Value::or_absent(flow.remote(), |a| Value::text(a.ip().to_string())),
        Op::DownstreamRemotePort => Value::or_absent(flow.remote(), |a| Value::Number(a.port().into())),
        Op::Tls(operator) if operator.upstream => {
            let side = flow.upstream.as_deref().and_then(|u| u.connection.as_deref()).and_then(|c| c.tls.as_deref());
            tls::of(side, operator)
        }
        _ => return upstream_value::value(flow, operator),
    })
}

/// How long the request took, or has taken so far.
pub(crate) fn duration(flow: &HttpFlow, now: Instant) -> Duration {
    flow.timing.response_end.unwrap_or(now).saturating_duration_since(flow.start)
}

fn text(bytes: &[u8]) -> Value<'_> {
    Value::Text(String::from_utf8_lossy(bytes))
}

fn name(name: &str) -> Value<'_> {
    if name.is_empty() { Value::Absent } else { Value::text(name) }
}

fn header_value<'a>(header: &HeaderRef, get: impl Fn(&str) -> Option<&'a [u8]>) -> Value<'a> {
    let value = get(&header.name).or_else(|| get(header.alternative.as_deref()?));
    Value::or_absent(value, |value| match header.without_query {
        true => text(split_query(value).0),
        false => text(value),
    })
}

/// `host` is `:authority`: HTTP/1's is taken out of the headers.
fn of_request<'a>(head: &'a RequestHead, header: &HeaderRef) -> Value<'a> {
    header_value(header, |name| head.get(if name == "host" { ":authority" } else { name }))
}

fn of_response<'a>(head: Option<&'a ResponseHead>, name: &str) -> Option<&'a [u8]> {
    let head = head?;
    match name {
        ":status" => Some(head.status.as_str().as_bytes()),
        _ => head.headers.get(name).map(|value| value.as_bytes()),
    }
}

fn path(head: &RequestHead, form: PathForm) -> Option<&[u8]> {
    let original = || head.headers.get(ORIGINAL_PATH).map(|value| value.as_bytes());
    let whole = match form.source {
        PathSource::Original => original(),
        PathSource::Path => head.get(":path"),
        PathSource::OriginalOrPath => original().or_else(|| head.get(":path")),
    }?;
    Some(if form.query { whole } else { split_query(whole).0 })
}

fn split_query(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path.iter().position(|&b| b == b'?') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..)),
        None => (path, None),
    }
}

/// The first value of a parameter, as it stands there.
fn query_param<'a>(head: &'a RequestHead, name: &str) -> Option<&'a [u8]> {
    let query = split_query(head.get(":path")?).1?;
    query.split(|&b| b == b'&').find_map(|pair| {
        let at = pair.iter().position(|&b| b == b'=').unwrap_or(pair.len());
        (pair.get(..at)? == name.as_bytes()).then(|| pair.get(at + 1..).unwrap_or_default())
    })
}

fn details(flow: &HttpFlow, whole: bool) -> Value<'_> {
    if flow.details.is_empty() {
        return Value::Absent;
    }
    match whole {
        true => Value::text(&*flow.details),
        false if flow.details.contains([' ', '\t', '\n', '\r']) => {
            Value::text(flow.details.replace([' ', '\t', '\n', '\r'], "_"))
        }
        false => Value::text(&*flow.details),
    }
}

fn server_name(flow: &HttpFlow, wanted: ServerName) -> Value<'_> {
    let sni = flow.connection.sni.as_deref().filter(|name| !name.is_empty());
    let host = || {
        let original = || flow.request.headers.get(ORIGINAL_HOST).map(|value| value.as_bytes());
        match wanted.host {
            HostSource::Original => original(),
            HostSource::Host => flow.request.get(":authority"),
            HostSource::OriginalOrHost => original().or_else(|| flow.request.get(":authority")),
        }
    };
    let sni = || sni.map(|name| Value::text(host_name(name)));
    let host = || host().map(text);
    let value = match wanted.order {
        NameOrder::SniOnly => sni(),
        NameOrder::SniFirst => sni().or_else(host),
        NameOrder::HostFirst => host().or_else(sni),
    };
    value.unwrap_or(Value::Absent)
}

/// Bytes of names and values, as Envoy's `HeaderMap::byteSize`.
fn bytes(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len()) as u64).sum()
}

fn request_bytes(head: &RequestHead) -> u64 {
    let pseudo = [":method", ":scheme", ":authority", ":path", ":protocol"];
    let of = |name: &str| head.get(name).map_or(0, |value| (name.len() + value.len()) as u64);
    bytes(&head.headers) + pseudo.into_iter().map(of).sum::<u64>()
}

fn response_bytes(head: &ResponseHead) -> u64 {
    bytes(&head.headers) + (":status".len() + head.status.as_str().len()) as u64
}

fn since_start(flow: &HttpFlow, point: Option<Instant>) -> Value<'static> {
    between(Some(flow.start), point)
}

fn between(from: Option<Instant>, to: Option<Instant>) -> Value<'static> {
    let time = from.zip(to).and_then(|(from, to)| to.checked_duration_since(from));
    Value::or_absent(time, |time| Value::Number(millis(time)))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn common_duration(flow: &HttpFlow, points: &str) -> Value<'static> {
    let mut parts = points.split(':');
    let mut next = || parts.next().and_then(|name| point(flow, name));
    let Some(time) = next().zip(next()).and_then(|(from, to)| to.checked_duration_since(from)) else {
        return Value::Absent;
    };
    let value = match parts.next() {
        Some("us") => time.as_micros(),
        Some("ns") => time.as_nanos(),
        _ => time.as_millis(),
    };
    Value::Number(u64::try_from(value).unwrap_or(u64::MAX))
}

fn point(flow: &HttpFlow, name: &str) -> Option<Instant> {
    let timing = &flow.timing;
    let upstream = || flow.upstream.as_deref()?.connection.as_deref();
    match name {
        "DS_CX_BEG" => Some(flow.connection.start),
        "DS_RX_BEG" => Some(flow.start),
        // The head is complete when the request begins for us.
        "DS_RX_HDR_END" => Some(flow.start),
        "DS_HS_END" => flow.connection.tls.as_deref()?.complete,
        "DS_RX_END" => timing.request_end,
        "DS_TX_BEG" => timing.response_start,
        "DS_TX_END" => timing.response_end,
        "US_CX_BEG" => upstream().map(|connection| connection.started),
        "US_CX_END" => upstream().map(|connection| connection.connected),
        "US_HS_END" => upstream()?.tls.as_deref()?.complete,
        "US_TX_BEG" => timing.upstream_request_start,
        "US_TX_END" => timing.upstream_request_end,
        "US_RX_BEG" => timing.upstream_response_start,
        "US_RX_BODY_BEG" => timing.upstream_body_start,
        "US_RX_END" => timing.upstream_response_end,
        _ => None,
    }
}

/// The same in each line about the request.
fn stream_id(flow: &HttpFlow) -> u128 {
    let since = flow.start_time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&since.as_nanos().to_le_bytes());
    bytes[16..24].copy_from_slice(&flow.connection.id.to_le_bytes());
    bytes[24..].copy_from_slice(&flow.id.to_le_bytes());
    xxhash_rust::xxh3::xxh3_128(&bytes)
}
