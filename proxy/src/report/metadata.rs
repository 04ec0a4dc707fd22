//! What operators about metadata yield.

use config::model::access_log::{MetadataRef, MetadataSource};
use config::model::metadata::{Metadata, Value as Meta};
use config::model::rbac::Noted;

use super::flow::Flow;
use super::http::HttpFlow;
use super::value::Value;

/// Of a request.
pub(super) fn of_request<'a>(flow: &'a HttpFlow, wanted: &MetadataRef) -> Value<'a> {
    let upstream = flow.upstream.as_deref();
    let metadata = match wanted.of {
        MetadataSource::Dynamic => return dynamic(flow, wanted),
        MetadataSource::Cluster => upstream.and_then(|upstream| upstream.cluster_metadata.as_deref()),
        MetadataSource::UpstreamHost => upstream.and_then(|upstream| upstream.host_metadata.as_deref()),
        MetadataSource::Route => flow.route_metadata.as_deref(),
        MetadataSource::VirtualHost => flow.virtual_host_metadata.as_deref(),
        MetadataSource::Listener | MetadataSource::FilterChain => None,
    };
    Value::or_absent(metadata, |metadata| fixed(metadata, wanted))
}

fn fixed<'a>(metadata: &'a Metadata, wanted: &MetadataRef) -> Value<'a> {
    let fields = metadata.namespace(&wanted.namespace);
    match &*wanted.path {
        [] if fields.is_empty() => Value::Absent,
        [] => Value::Json(object(fields.iter().map(|(key, value)| (&**key, value)))),
        [first, rest @ ..] => {
            let found = fields.iter().find(|(key, _)| **key == **first).map(|(_, value)| value);
            Value::or_absent(found.and_then(|value| walk(value, rest)), shown)
        }
    }
}

fn dynamic<'a>(flow: &'a HttpFlow, wanted: &MetadataRef) -> Value<'a> {
    match &*wanted.path {
        [] => {
            let fields = flow.metadata.namespace(&wanted.namespace);
            let fields = fields.iter().map(|(key, value)| (&**key, value));
            if flow.metadata.has(&wanted.namespace) { Value::Json(object(fields)) } else { Value::Absent }
        }
        [first, rest @ ..] => {
            let found = flow.metadata.get(&wanted.namespace, first);
            Value::or_absent(found.and_then(|value| walk(value, rest)), shown)
        }
    }
}

/// The value at the end of a path.
pub(super) fn walk<'a>(value: &'a Meta, path: &[Box<str>]) -> Option<&'a Meta> {
    path.iter().try_fold(value, |value, key| match value {
        Meta::Struct(fields) => fields.iter().find(|(name, _)| **name == **key).map(|(_, value)| value),
        Meta::Null | Meta::Bool(_) | Meta::Number(_) | Meta::String(_) | Meta::List(_) => None,
    })
}

fn shown(value: &Meta) -> Value<'_> {
    match value {
        Meta::Null => Value::Absent,
        Meta::String(text) => Value::text(&**text),
        other => Value::Json(json(other).to_string()),
    }
}

/// As JSON.
pub(super) fn json(value: &Meta) -> serde_json::Value {
    match value {
        Meta::Null => serde_json::Value::Null,
        Meta::Bool(value) => (*value).into(),
        Meta::Number(value) => number(*value),
        Meta::String(text) => (&**text).into(),
        Meta::List(items) => items.iter().map(json).collect(),
        Meta::Struct(fields) => fields.iter().map(|(key, value)| (key.to_string(), json(value))).collect(),
    }
}

/// Whole numbers without a fraction, as protobuf's JSON has them.
#[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
fn number(value: f64) -> serde_json::Value {
    if value.fract() == 0.0 && value.abs() < 9e15 { (value as i64).into() } else { value.into() }
}

fn object<'a>(fields: impl Iterator<Item = (&'a str, &'a Meta)>) -> String {
    let all: serde_json::Map<String, serde_json::Value> =
        fields.map(|(key, value)| (key.to_owned(), json(value))).collect();
    serde_json::Value::Object(all).to_string()
}

/// Of a connection: what RBAC filters noted is all there is.
pub(super) fn of_connection<'a>(flow: &'a Flow, wanted: &MetadataRef) -> Value<'a> {
    let notes = match (wanted.of, flow.ruling.as_deref()) {
        (MetadataSource::Dynamic, Some(ruling)) => &ruling.notes,
        _ => return Value::Absent,
    };
    match &*wanted.path {
        [key] => match notes.get(&wanted.namespace, key) {
            Some(Noted::Text(text)) => Value::Text(text.into()),
            Some(Noted::Bool(value)) => Value::Json(value.to_string()),
            None => Value::Absent,
        },
        [] => {
            let all = notes.all(&wanted.namespace).into_iter().map(|(key, value)| match value {
                Noted::Text(text) => (key, text.into()),
                Noted::Bool(value) => (key, value.into()),
            });
            let all: serde_json::Map<String, serde_json::Value> = all.collect();
            if all.is_empty() { Value::Absent } else { Value::Json(serde_json::Value::Object(all).to_string()) }
        }
        _ => Value::Absent,
    }
}
