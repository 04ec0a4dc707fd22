//! `local_reply_config`.

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use http::{HeaderValue, StatusCode};

use super::{Part, run, settings};
use crate::model::access_log::Format;
use crate::model::access_log::proto::{filter, substitution};
use crate::model::data_source;
use crate::model::hcm::{LocalReply, ReplyFormat, ReplyMapper};
use crate::model::route::proto::mutation::header_add;
use crate::reject::{Context, Rejection};

/// What the API allows of anything that is repeated.
const MAX_ITEMS: usize = 1000;

pub(super) fn local_reply(cx: &mut Context, config: pb::LocalReplyConfig) -> Part<LocalReply> {
    let pb::LocalReplyConfig { mappers, body_format } = config;
    let mut converted = Vec::with_capacity(mappers.len());
    for (i, mapper) in mappers.into_iter().enumerate() {
        converted.push(run!(cx.item("mappers", i, |cx| self::mapper(cx, mapper))?));
    }
    let format = body_format.map(|format| cx.at("body_format", |cx| self::format(cx, format))).transpose()?;
    Ok(Ok(LocalReply { mappers: converted.into(), format }))
}

fn mapper(cx: &mut Context, mapper: pb::ResponseMapper) -> Part<ReplyMapper> {
    let pb::ResponseMapper { filter, status_code, body, body_format_override, headers_to_add } = mapper;
    let filter = cx.required("filter", filter)?;
    let Some(filter) = cx.at("filter", |cx| self::filter(cx, filter))? else {
        return Ok(Err(cx.unsupported("filter", "filter")));
    };
    let status = match status_code.map(|w| w.value) {
        None => None,
        Some(code) => {
            let known = u16::try_from(code).ok().filter(|code| (200..600).contains(code));
            let known = known.and_then(|code| StatusCode::from_u16(code).ok());
            Some(known.ok_or_else(|| cx.reject("status_code", "value must be inside range [200, 600)"))?)
        }
    };
    if headers_to_add.len() > MAX_ITEMS {
        return Err(cx.reject("headers_to_add", "value must contain no more than 1000 item(s)"));
    }
    Ok(Ok(ReplyMapper {
        filter,
        status,
        body: body.map(|source| cx.at("body", |cx| data_source::read(cx, source))).transpose()?,
        format: body_format_override
            .map(|format| cx.at("body_format_override", |cx| self::format(cx, format)))
            .transpose()?,
        headers: cx.each("headers_to_add", headers_to_add, header_add)?,
    }))
}

fn format(cx: &mut Context, format: core::SubstitutionFormatString) -> Result<ReplyFormat, Rejection> {
    let line = substitution(cx, format)?;
    let default = match &line.format {
        Format::Text(_) => "text/plain",
        Format::Json(_) | Format::Record { .. } => "application/json",
    };
    let given = settings::header_value(cx, "content_type", &line.content_type)?;
    Ok(ReplyFormat {
        content_type: given.unwrap_or(HeaderValue::from_static(default)),
        format: line.format,
        omit_empty: line.omit_empty,
    })
}
