//! CEL attributes of requests.

use std::collections::HashMap;

use cel::Value;
use cel::objects::Map;
use config::model::metadata::{Metadata, Value as Meta};
use http::{HeaderMap, HeaderValue};

use super::{certificates, map, port};
use crate::report::http::{HttpFlow, duration, grpc};
use crate::report::value::failure_text;

pub(super) fn request(flow: &HttpFlow) -> Value {
    let head = &flow.request;
    let text = |name: &str| head.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
    let path = text(":path");
    let url_path = path.as_deref().map(|path| path.split('?').next().unwrap_or_default().to_owned());
    let query = path.as_deref().map(|path| path.split_once('?').map_or("", |(_, query)| query).to_owned());
    let mut all = headers(&head.headers);
    for name in [":method", ":scheme", ":authority", ":path", ":protocol"] {
        all.extend(text(name).map(|value| (name.to_owned(), value.into())));
    }
    let elapsed = duration(flow, std::time::Instant::now());
    map([
        ("path", path.map(Into::into)),
        ("url_path", url_path.map(Into::into)),
        ("query", query.map(Into::into)),
        ("host", text(":authority").map(Into::into)),
        ("scheme", text(":scheme").map(Into::into)),
        ("method", text(":method").map(Into::into)),
        ("referer", text("referer").map(Into::into)),
        ("useragent", text("user-agent").map(Into::into)),
        ("id", flow.request_id.as_ref().map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned().into())),
        ("protocol", Some(flow.protocol.as_str().into())),
        ("headers", Some(Value::Map(Map::from(all)))),
        ("size", Some(number(flow.received))),
        ("total_size", Some(number(flow.received + flow.wire.headers_received))),
        ("duration", Some(Value::Int(i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX)))),
    ])
}

pub(super) fn response(flow: &HttpFlow) -> Value {
    let answer = flow.response.as_ref();
    let trailers = flow.trailers.as_ref().map(headers).unwrap_or_default();
    let timing = &flow.timing;
    let latency = timing.upstream_request_start.zip(timing.upstream_response_end);
    let latency = latency.and_then(|(from, to)| to.checked_duration_since(from));
    map([
        ("code", flow.status().map(|status| i64::from(status.as_u16()).into())),
        ("code_details", Some(&*flow.details).filter(|details| !details.is_empty()).map(Into::into)),
        ("flags", Some(Value::Int(flow.flags.bits().into()))),
        ("grpc_status", grpc::status(flow).map(|status| Value::Int(status.into()))),
        ("headers", Some(Value::Map(Map::from(answer.map(|head| headers(&head.headers)).unwrap_or_default())))),
        ("trailers", Some(Value::Map(Map::from(trailers)))),
        ("size", Some(number(flow.sent))),
        ("total_size", Some(number(flow.sent + flow.wire.headers_sent))),
        ("backend_latency", latency.map(|time| Value::Int(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)))),
    ])
}

pub(super) fn upstream(flow: &HttpFlow) -> Value {
    let Some(upstream) = flow.upstream.as_deref() else { return map([]) };
    let connection = upstream.connection.as_deref();
    let host = upstream.host.as_ref();
    let failure = failure_text(upstream.failed_tls.as_deref(), upstream.failure);
    let fields = [
        ("address", host.map(|address| address.to_string().into())),
        ("port", host.and_then(port)),
        ("local_address", connection.and_then(|c| c.local).map(|address| address.to_string().into())),
        ("transport_failure_reason", failure.map(|text| text.into_owned().into())),
        ("request_attempt_count", Some(Value::UInt(flow.attempts.into()))),
        (
            "cx_pool_ready_duration",
            upstream.waited.map(|time| number(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))),
        ),
    ];
    let tls = connection.and_then(|connection| connection.tls.as_deref());
    map(fields.into_iter().chain(tls.into_iter().flat_map(certificates)))
}

pub(super) fn xds(flow: &HttpFlow) -> Value {
    let upstream = flow.upstream.as_deref();
    let named = |name: &str| Some(name).filter(|name| !name.is_empty()).map(Into::into);
    let fixed = |metadata: Option<&Metadata>| metadata.map(of_metadata);
    map([
        ("cluster_name", upstream.map(|upstream| (&*upstream.cluster).into())),
        ("cluster_metadata", fixed(upstream.and_then(|upstream| upstream.cluster_metadata.as_deref()))),
        ("route_name", named(&flow.route_name)),
        ("route_metadata", fixed(flow.route_metadata.as_deref())),
        ("virtual_host_name", named(&flow.virtual_host)),
        ("virtual_host_metadata", fixed(flow.virtual_host_metadata.as_deref())),
        ("upstream_host_metadata", fixed(upstream.and_then(|upstream| upstream.host_metadata.as_deref()))),
        ("filter_chain_name", flow.connection.chain.as_deref().map(|chain| (&*chain.name).into())),
    ])
}

/// Dynamic metadata.
pub(super) fn metadata(flow: &HttpFlow) -> Value {
    let namespaces = flow.metadata.iter().map(|(name, fields)| {
        let fields = fields.iter().map(|(key, value)| (key.to_string(), of_value(value)));
        (name.to_owned(), Value::Map(Map::from(fields.collect::<HashMap<String, Value>>())))
    });
    map([("filter_metadata", Some(Value::Map(Map::from(namespaces.collect::<HashMap<String, Value>>()))))])
}

fn of_metadata(metadata: &Metadata) -> Value {
    let namespaces = metadata.0.iter().map(|(name, fields)| {
        let fields = fields.iter().map(|(key, value)| (key.to_string(), of_value(value)));
        (name.to_string(), Value::Map(Map::from(fields.collect::<HashMap<String, Value>>())))
    });
    map([("filter_metadata", Some(Value::Map(Map::from(namespaces.collect::<HashMap<String, Value>>()))))])
}

fn of_value(value: &Meta) -> Value {
    match value {
        Meta::Null => Value::Null,
        Meta::Bool(value) => Value::Bool(*value),
        Meta::Number(value) => Value::Float(*value),
        Meta::String(text) => (&**text).into(),
        Meta::List(items) => Value::List(items.iter().map(of_value).collect::<Vec<_>>().into()),
        Meta::Struct(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.to_string(), of_value(value)));
            Value::Map(Map::from(fields.collect::<HashMap<String, Value>>()))
        }
    }
}

/// Several lines of one header are joined.
fn headers(headers: &HeaderMap) -> HashMap<String, Value> {
    let joined = |name: &http::HeaderName| {
        let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        String::from_utf8_lossy(&values.join(&b","[..])).into_owned()
    };
    headers.keys().map(|name| (name.as_str().to_owned(), joined(name).into())).collect()
}

fn number(value: u64) -> Value {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}
