//! From `OpenTelemetryAccessLogConfig`.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::ApiVersion;
use envoy_types::pb::envoy::extensions::access_loggers::grpc::v3::CommonGrpcAccessLogConfig;
use envoy_types::pb::envoy::extensions::access_loggers::open_telemetry::v3::OpenTelemetryAccessLogConfig;
use envoy_types::pb::google::protobuf;
use envoy_types::pb::opentelemetry::proto::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value};

use super::{LineFormat, template};
use crate::model::access_log::{Format, JsonNode, OpenTelemetryLog, Sink};
use crate::model::service;
use crate::model::tracing::{self, Exporter};
use crate::reject::{Context, Rejection, immaterial};

/// How deep values may nest.
const MAX_DEPTH: usize = 32;
const BUFFER: usize = 16_384;
const ONLY: &str =
    "Only string values, nested key value lists and array values are supported in OpenTelemetry access log format.";

/// Converts a log; `None`: it does not run, which is reported.
pub(super) fn log(cx: &mut Context, body: &[u8]) -> Result<Option<(Sink, LineFormat)>, Rejection> {
    let OpenTelemetryAccessLogConfig {
        common_config,
        http_service,
        grpc_service,
        disable_builtin_labels,
        resource_attributes,
        resource_detectors,
        body,
        attributes,
        stat_prefix,
        formatters,
        mut log_name,
        mut buffer_flush_interval,
        mut buffer_size_bytes,
        filter_state_objects_to_log,
        custom_tags,
    } = cx.decode(body)?;
    immaterial(formatters, "operators of extensions that are not there are refused");
    cx.ignore("filter_state_objects_to_log", &filter_state_objects_to_log, "no filter state is kept");
    cx.ignore("custom_tags", &custom_tags, "attributes say the same");
    let mut grpc = grpc_service.map(|service| ("grpc_service", service));
    if let Some(common) = common_config {
        let common = cx.at("common_config", |cx| self::common(cx, common))?;
        grpc = grpc.or(common.grpc.map(|service| ("common_config.grpc_service", service)));
        log_name = if log_name.is_empty() { common.log_name } else { log_name };
        buffer_flush_interval = buffer_flush_interval.or(common.flush_interval);
        buffer_size_bytes = buffer_size_bytes.or(common.buffer_size);
    }
    let exporter = match (http_service, grpc) {
        (Some(_), Some(_)) => return Err(cx.reject("http_service", "only one of gRPC and HTTP may be configured")),
        (Some(http), None) => Exporter::Http(cx.at("http_service", |cx| service::proto::http(cx, http))?),
        (None, Some((field, grpc))) => match cx.at(field, |cx| service::proto::grpc(cx, grpc))? {
            Ok(grpc) => Exporter::Grpc(grpc),
            Err(_) => {
                cx.note("grpc_service", "no lines are written: a collector is reached through a cluster");
                return Ok(None);
            }
        },
        (None, None) => return Err(cx.reject("grpc_service", "value is required")),
    };
    let mut resource = tracing::proto::resource(cx, resource_detectors)?.into_vec();
    for (key, value) in cx.at("resource_attributes", |cx| literals(cx, resource_attributes))? {
        resource.retain(|(known, _)| *known != key);
        resource.push((key, value));
    }
    let flush_interval = cx.duration("buffer_flush_interval", buffer_flush_interval)?;
    let format = Format::Record {
        body: body.map(|body| cx.at("body", |cx| node(cx, body, MAX_DEPTH))).transpose()?,
        attributes: cx.at("attributes", |cx| pairs(cx, attributes, MAX_DEPTH))?,
    };
    let log = OpenTelemetryLog {
        exporter,
        log_name: log_name.into(),
        built_in_labels: !disable_builtin_labels,
        resource: resource.into(),
        stat_prefix: stat_prefix.into(),
        buffer_size: buffer_size_bytes.map_or(BUFFER, |size| usize::try_from(size.value).unwrap_or(usize::MAX)),
        flush_interval: flush_interval.filter(|time| !time.is_zero()).unwrap_or(Duration::from_secs(1)),
    };
    Ok(Some((Sink::OpenTelemetry(Arc::new(log)), format.into())))
}

struct Common {
    log_name: String,
    grpc: Option<envoy_types::pb::envoy::config::core::v3::GrpcService>,
    flush_interval: Option<protobuf::Duration>,
    buffer_size: Option<protobuf::UInt32Value>,
}

fn common(cx: &mut Context, common: CommonGrpcAccessLogConfig) -> Result<Common, Rejection> {
    let CommonGrpcAccessLogConfig {
        log_name,
        grpc_service,
        transport_api_version,
        buffer_flush_interval,
        buffer_size_bytes,
        filter_state_objects_to_log,
        grpc_stream_retry_policy,
        custom_tags,
    } = common;
    cx.variant::<ApiVersion>("transport_api_version", transport_api_version)?;
    cx.not_empty("log_name", &log_name)?;
    cx.ignore("filter_state_objects_to_log", &filter_state_objects_to_log, "no filter state is kept");
    cx.ignore("grpc_stream_retry_policy", &grpc_stream_retry_policy, "what could not be sent is dropped and counted");
    cx.ignore("custom_tags", &custom_tags, "attributes say the same");
    let (flush_interval, buffer_size) = (buffer_flush_interval, buffer_size_bytes);
    Ok(Common { log_name, grpc: grpc_service, flush_interval, buffer_size })
}

type Pairs = Box<[(Box<str>, JsonNode)]>;

fn pairs(cx: &mut Context, list: Option<KeyValueList>, depth: usize) -> Result<Pairs, Rejection> {
    let KeyValueList { values } = list.unwrap_or_default();
    cx.each("values", values, |cx, KeyValue { key, value, key_strindex }| {
        immaterial(key_strindex, "of profiles");
        let value = cx.at("value", |cx| node(cx, value.unwrap_or_default(), depth))?;
        Ok((key.into(), value))
    })
}

fn node(cx: &mut Context, value: AnyValue, depth: usize) -> Result<JsonNode, Rejection> {
    let depth = depth.checked_sub(1).ok_or_else(|| cx.reject("", "nested too deep"))?;
    let AnyValue { value } = value;
    Ok(match value {
        None => JsonNode::Null,
        Some(any_value::Value::StringValue(text)) => JsonNode::Template(template(cx, "string_value", &text)?),
        Some(any_value::Value::KvlistValue(list)) => {
            JsonNode::Object(cx.at("kvlist_value", |cx| pairs(cx, Some(list), depth))?)
        }
        Some(any_value::Value::ArrayValue(ArrayValue { values })) => {
            JsonNode::List(cx.at("array_value", |cx| cx.each("values", values, |cx, value| node(cx, value, depth)))?)
        }
        Some(
            any_value::Value::BoolValue(_)
            | any_value::Value::IntValue(_)
            | any_value::Value::DoubleValue(_)
            | any_value::Value::BytesValue(_)
            | any_value::Value::StringValueStrindex(_),
        ) => return Err(cx.reject("", ONLY)),
    })
}

/// A key and its text.
type Literal = (Box<str>, Box<str>);

/// Attributes of a resource are text as it stands.
fn literals(cx: &mut Context, list: Option<KeyValueList>) -> Result<Vec<Literal>, Rejection> {
    let KeyValueList { values } = list.unwrap_or_default();
    let all = cx.each("values", values, |cx, KeyValue { key, value, key_strindex }| {
        immaterial(key_strindex, "of profiles");
        match value.and_then(|value| value.value) {
            Some(any_value::Value::StringValue(text)) => Ok(Some((Box::from(key), Box::from(text)))),
            _ => {
                cx.note("value", "only strings are sent");
                Ok::<_, Rejection>(None)
            }
        }
    })?;
    Ok(all.into_iter().flatten().collect())
}
