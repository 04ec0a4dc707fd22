//! From `config.accesslog.v3.AccessLog`.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

mod filter;
mod otlp;

pub(crate) use filter::filter;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use core::substitution_format_string::Format as Source;
use envoy_types::pb::envoy::config::accesslog::v3 as pb;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::access_loggers as loggers;
use envoy_types::pb::google::protobuf::{self, value::Kind};
use loggers::file::v3::file_access_log::AccessLogFormat;
use prost::Message as _;
use xxhash_rust::xxh3::xxh3_128;

use super::{AccessLog, Format, JsonNode, Sink, Template, format};
use crate::model::{data_source, extension};
use crate::reject::{Context, Rejection, immaterial};

/// What a line says, and whether absent values are left out.
pub(crate) struct LineFormat {
    /// What.
    pub(crate) format: Format,
    /// `omit_empty_values`.
    pub(crate) omit_empty: bool,
    /// `content_type`, of local replies; empty: not said.
    pub(crate) content_type: Box<str>,
}

impl From<Format> for LineFormat {
    fn from(format: Format) -> Self {
        Self { format, omit_empty: false, content_type: Box::default() }
    }
}

/// Access logs by the hash of their encoded form: ten thousand chains with the same log share it.
#[derive(Debug, Default)]
pub(crate) struct Cache(HashMap<u128, Option<AccessLog>>);

/// Converts a list of access logs; those whose sink can't be run are reported and left out.
pub(crate) fn access_logs(
    cx: &mut Context,
    cache: &mut Cache,
    logs: Vec<pb::AccessLog>,
) -> Result<Box<[AccessLog]>, Rejection> {
    let converted = cx.each("access_log", logs, |cx, log| {
        let id = xxh3_128(&log.encode_to_vec());
        if let Some(known) = cache.0.get(&id) {
            return Ok(known.clone());
        }
        let log = access_log(cx, log)?;
        cache.0.insert(id, log.clone());
        Ok(log)
    })?;
    Ok(converted.into_iter().flatten().collect())
}

fn access_log(cx: &mut Context, log: pb::AccessLog) -> Result<Option<AccessLog>, Rejection> {
    let pb::AccessLog { name, filter, config_type } = log;
    let filter = match filter {
        None => None,
        Some(filter) => cx.at("filter", |cx| filter::filter(cx, filter))?,
    };
    let any = config_type.map(|pb::access_log::ConfigType::TypedConfig(any)| any);
    let (type_name, body) = extension::required(cx, &name, any)?;
    let logger = type_name.strip_prefix("envoy.extensions.access_loggers.").unwrap_or_default();
    let found = cx.at("typed_config", |cx| {
        Ok::<_, Rejection>(Some(match logger {
            "file.v3.FileAccessLog" => file(cx, &body)?,
            "stream.v3.StdoutAccessLog" => {
                let loggers::stream::v3::StdoutAccessLog { access_log_format } = cx.decode(&body)?;
                use loggers::stream::v3::stdout_access_log::AccessLogFormat::LogFormat;
                (Sink::Stdout, log_format(cx, access_log_format.map(|LogFormat(f)| f))?)
            }
            "stream.v3.StderrAccessLog" => {
                let loggers::stream::v3::StderrAccessLog { access_log_format } = cx.decode(&body)?;
                use loggers::stream::v3::stderr_access_log::AccessLogFormat::LogFormat;
                (Sink::Stderr, log_format(cx, access_log_format.map(|LogFormat(f)| f))?)
            }
            "open_telemetry.v3.OpenTelemetryAccessLogConfig" => match otlp::log(cx, &body)? {
                Some(found) => found,
                None => return Ok(None),
            },
            _ => return Ok(None),
        }))
    })?;
    match found {
        Some((sink, LineFormat { format, omit_empty, content_type: _ })) => {
            Ok(Some(AccessLog { filter, sink, format: Arc::new(format), omit_empty }))
        }
        None => {
            extension::check_known(cx, extension::Category::AccessLogger, &name, &type_name)?;
            cx.note(
                "typed_config",
                "no lines are written: files, stdout, stderr and OpenTelemetry collectors are what there is",
            );
            Ok(None)
        }
    }
}

fn file(cx: &mut Context, body: &[u8]) -> Result<(Sink, LineFormat), Rejection> {
    let loggers::file::v3::FileAccessLog { path, access_log_format } = cx.decode(body)?;
    cx.not_empty("path", &path)?;
    let format = match access_log_format {
        None => log_format(cx, None)?,
        Some(AccessLogFormat::LogFormat(format)) => log_format(cx, Some(format))?,
        Some(AccessLogFormat::Format(text)) if text.is_empty() => log_format(cx, None)?,
        Some(AccessLogFormat::Format(text)) => Format::Text(template(cx, "format", &text)?).into(),
        Some(AccessLogFormat::JsonFormat(fields)) => cx.at("json_format", |cx| json(cx, fields))?.into(),
        Some(AccessLogFormat::TypedJsonFormat(fields)) => cx.at("typed_json_format", |cx| json(cx, fields))?.into(),
    };
    Ok((Sink::File(Path::new(&path).into()), format))
}

fn log_format(cx: &mut Context, format: Option<core::SubstitutionFormatString>) -> Result<LineFormat, Rejection> {
    match format {
        None => Ok(Format::Text(template(cx, "", format::DEFAULT)?).into()),
        Some(format) => cx.at("log_format", |cx| substitution(cx, format)),
    }
}

/// Converts a `SubstitutionFormatString`.
pub(crate) fn substitution(cx: &mut Context, format: core::SubstitutionFormatString) -> Result<LineFormat, Rejection> {
    let core::SubstitutionFormatString { omit_empty_values, content_type, formatters, json_format_options, format } =
        format;
    cx.each("formatters", formatters, |cx, core::TypedExtensionConfig { name, typed_config }| {
        let (type_name, _) = extension::required(cx, &name, typed_config)?;
        if !BUILT_IN.contains(&&*type_name) {
            cx.note("typed_config", "operators of this extension are refused");
        }
        Ok::<_, Rejection>(())
    })?;
    immaterial(json_format_options, "properties are sorted always");
    let format = match cx.required("format", format)? {
        Source::TextFormat(text) => template(cx, "text_format", &text).map(Format::Text)?,
        Source::JsonFormat(fields) => cx.at("json_format", |cx| json(cx, fields))?,
        Source::TextFormatSource(source) => cx.at("text_format_source", |cx| {
            let bytes = data_source::read(cx, source)?;
            let text = std::str::from_utf8(&bytes).map_err(|_| cx.reject("", "is not UTF-8"))?;
            template(cx, "", text).map(Format::Text)
        })?,
    };
    Ok(LineFormat { format, omit_empty: omit_empty_values, content_type: content_type.into() })
}

/// Extensions whose operators are there without being asked for.
const BUILT_IN: [&str; 3] = [
    "envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery",
    "envoy.extensions.formatter.metadata.v3.Metadata",
    "envoy.extensions.formatter.cel.v3.Cel",
];

fn template(cx: &Context, field: &str, text: &str) -> Result<Template, Rejection> {
    Template::parse(text).map_err(|e| cx.reject(field, e.to_string()))
}

/// How deep a JSON format may nest.
const MAX_DEPTH: usize = 32;

fn json(cx: &Context, fields: protobuf::Struct) -> Result<Format, Rejection> {
    Ok(Format::Json(object(cx, fields, MAX_DEPTH)?))
}

/// Fields of an object, sorted by name.
type Object = Box<[(Box<str>, JsonNode)]>;

fn object(cx: &Context, protobuf::Struct { fields }: protobuf::Struct, depth: usize) -> Result<Object, Rejection> {
    let mut converted: Vec<(Box<str>, JsonNode)> = Vec::with_capacity(fields.len());
    for (key, value) in fields {
        let value = node(cx, &key, value, depth)?;
        converted.push((key.into(), value));
    }
    converted.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(converted.into())
}

fn node(cx: &Context, key: &str, value: protobuf::Value, depth: usize) -> Result<JsonNode, Rejection> {
    let depth = depth.checked_sub(1).ok_or_else(|| cx.reject(key, "nested too deep"))?;
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => JsonNode::Null,
        Some(Kind::BoolValue(b)) => JsonNode::Bool(b),
        Some(Kind::NumberValue(n)) => JsonNode::Number(n),
        Some(Kind::StringValue(text)) => JsonNode::Template(template(cx, key, &text)?),
        Some(Kind::StructValue(fields)) => JsonNode::Object(object(cx, fields, depth)?),
        Some(Kind::ListValue(protobuf::ListValue { values })) => {
            let nodes: Result<_, _> = values.into_iter().map(|v| node(cx, key, v, depth)).collect();
            JsonNode::List(nodes?)
        }
    })
}

#[cfg(test)]
mod tests;
