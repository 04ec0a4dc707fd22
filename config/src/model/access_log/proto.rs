//! From `config.accesslog.v3.AccessLog`.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use core::substitution_format_string::Format as Source;
use envoy_types::pb::envoy::config::accesslog::v3 as pb;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::access_loggers as loggers;
use envoy_types::pb::google::protobuf::{self, value::Kind};
use loggers::file::v3::file_access_log::AccessLogFormat;
use pb::access_log_filter::FilterSpecifier;
use prost::Message as _;
use xxhash_rust::xxh3::xxh3_128;

use super::{AccessLog, CelFilter, Filter, Format, JsonNode, Sink, Template, format};
use crate::model::{data_source, extension};
use crate::reject::{Context, Rejection, immaterial};

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
        Some(filter) => cx.at("filter", |cx| self::filter(cx, filter))?,
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
            _ => return Ok(None),
        }))
    })?;
    match found {
        Some((sink, format)) => Ok(Some(AccessLog { filter, sink, format: Arc::new(format) })),
        None => {
            extension::check_known(cx, extension::Category::AccessLogger, &name, &type_name)?;
            cx.note("typed_config", "no lines are written: only files, stdout and stderr are");
            Ok(None)
        }
    }
}

fn file(cx: &mut Context, body: &[u8]) -> Result<(Sink, Format), Rejection> {
    let loggers::file::v3::FileAccessLog { path, access_log_format } = cx.decode(body)?;
    cx.not_empty("path", &path)?;
    let format = match access_log_format {
        None => log_format(cx, None)?,
        Some(AccessLogFormat::LogFormat(format)) => log_format(cx, Some(format))?,
        Some(AccessLogFormat::Format(text)) if text.is_empty() => log_format(cx, None)?,
        Some(AccessLogFormat::Format(text)) => Format::Text(template(cx, "format", &text)?),
        Some(AccessLogFormat::JsonFormat(fields)) => cx.at("json_format", |cx| json(cx, fields))?,
        Some(AccessLogFormat::TypedJsonFormat(fields)) => cx.at("typed_json_format", |cx| json(cx, fields))?,
    };
    Ok((Sink::File(Path::new(&path).into()), format))
}

fn log_format(cx: &mut Context, format: Option<core::SubstitutionFormatString>) -> Result<Format, Rejection> {
    let Some(format) = format else { return Ok(Format::Text(template(cx, "", format::DEFAULT)?)) };
    cx.at("log_format", |cx| {
        let core::SubstitutionFormatString { omit_empty_values, content_type, formatters, json_format_options, format } =
            format;
        cx.ignore("omit_empty_values", &omit_empty_values, "empty values are written as '-' or null");
        cx.ignore("formatters", &formatters, "no extension operators are known");
        immaterial(content_type, "for HTTP replies");
        immaterial(json_format_options, "properties are sorted always");
        match cx.required("format", format)? {
            Source::TextFormat(text) => template(cx, "text_format", &text).map(Format::Text),
            Source::JsonFormat(fields) => cx.at("json_format", |cx| json(cx, fields)),
            Source::TextFormatSource(source) => cx.at("text_format_source", |cx| {
                let bytes = data_source::read(cx, source)?;
                let text = std::str::from_utf8(&bytes).map_err(|_| cx.reject("", "is not UTF-8"))?;
                template(cx, "", text).map(Format::Text)
            }),
        }
    })
}

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

fn filter(cx: &mut Context, filter: pb::AccessLogFilter) -> Result<Option<Filter>, Rejection> {
    const ALL: &str = "the filter is not run: every connection is logged";
    let pb::AccessLogFilter { filter_specifier } = filter;
    let field = match cx.required("filter_specifier", filter_specifier)? {
        FilterSpecifier::ExtensionFilter(filter) => {
            return cx.at("extension_filter", |cx| extension_filter(cx, filter));
        }
        FilterSpecifier::StatusCodeFilter(_) => "status_code_filter",
        FilterSpecifier::DurationFilter(_) => "duration_filter",
        FilterSpecifier::NotHealthCheckFilter(_) => {
            immaterial((), "no connection of TCP is known to be a health check: all pass");
            return Ok(None);
        }
        FilterSpecifier::TraceableFilter(_) => "traceable_filter",
        FilterSpecifier::RuntimeFilter(_) => "runtime_filter",
        FilterSpecifier::AndFilter(_) => "and_filter",
        FilterSpecifier::OrFilter(_) => "or_filter",
        FilterSpecifier::HeaderFilter(_) => "header_filter",
        FilterSpecifier::ResponseFlagFilter(_) => "response_flag_filter",
        FilterSpecifier::GrpcStatusFilter(_) => "grpc_status_filter",
        FilterSpecifier::MetadataFilter(_) => "metadata_filter",
        FilterSpecifier::LogTypeFilter(_) => "log_type_filter",
    };
    cx.note(field, ALL);
    Ok(None)
}

fn extension_filter(cx: &mut Context, filter: pb::ExtensionFilter) -> Result<Option<Filter>, Rejection> {
    let pb::ExtensionFilter { name, config_type } = filter;
    let any = config_type.map(|pb::extension_filter::ConfigType::TypedConfig(any)| any);
    let (type_name, body) = extension::required(cx, &name, any)?;
    if &*type_name != "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter" {
        extension::check_known(cx, extension::Category::AccessLogFilter, &name, &type_name)?;
        cx.note("typed_config", "the filter is not run: every connection is logged");
        return Ok(None);
    }
    cx.at("typed_config", |cx| {
        let loggers::filters::cel::v3::ExpressionFilter { expression, cel_config } = cx.decode(&body)?;
        cx.ignore("cel_config", &cel_config, "the standard functions are there");
        let program = cel::Program::compile(&expression)
            .map_err(|e| cx.reject("expression", format!("is not a CEL expression: {e}")))?;
        Ok(Some(Filter::Cel(Arc::new(CelFilter { text: expression.into(), program }))))
    })
}

#[cfg(test)]
mod tests;
