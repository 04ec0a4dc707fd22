//! Fields that are converted on their own.

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use envoy_types::pb::google::protobuf;
use http::HeaderValue;
use pb::http_connection_manager as inner;
use std::collections::HashSet;
use std::time::Duration;

use super::{Part, run};
use crate::model::hcm::{Codec, EscapedSlashes, LogOptions, ProxyName, ProxyStatus, ServerHeader, StripPort, Upgrade};
use crate::reject::{Context, Rejection};

const MILLISECOND: Duration = Duration::from_millis(1);

pub(super) fn codec(cx: &Context, codec_type: i32) -> Result<Codec, Rejection> {
    match cx.variant("codec_type", codec_type)? {
        inner::CodecType::Auto => Ok(Codec::Auto),
        inner::CodecType::Http1 => Ok(Codec::Http1),
        inner::CodecType::Http2 => Ok(Codec::Http2),
        inner::CodecType::Http3 => Err(cx.reject("codec_type", "HTTP/3 codec configured on non-QUIC listener.")),
    }
}

/// A header's value; `None`: empty.
pub(super) fn header_value(cx: &Context, field: &str, text: &str) -> Result<Option<HeaderValue>, Rejection> {
    if text.is_empty() {
        return Ok(None);
    }
    HeaderValue::from_str(text).map(Some).map_err(|_| cx.reject(field, "is not the value of a header"))
}

/// A timeout for which 0 means none.
pub(super) fn timeout(
    cx: &Context,
    field: &str,
    value: Option<protobuf::Duration>,
    default: Option<Duration>,
) -> Result<Option<Duration>, Rejection> {
    Ok(match cx.duration(field, value)? {
        None => default,
        given => given.filter(|d| !d.is_zero()),
    })
}

pub(super) fn server_header(cx: &Context, transformation: i32) -> Result<ServerHeader, Rejection> {
    use inner::ServerHeaderTransformation as Transformation;
    Ok(match cx.variant("server_header_transformation", transformation)? {
        Transformation::Overwrite => ServerHeader::Overwrite,
        Transformation::AppendIfAbsent => ServerHeader::AppendIfAbsent,
        Transformation::PassThrough => ServerHeader::PassThrough,
    })
}

pub(super) fn escaped_slashes(cx: &Context, action: i32) -> Result<EscapedSlashes, Rejection> {
    use inner::PathWithEscapedSlashesAction as Action;
    Ok(match cx.variant("path_with_escaped_slashes_action", action)? {
        Action::ImplementationSpecificDefault | Action::KeepUnchanged => EscapedSlashes::Keep,
        Action::RejectRequest => EscapedSlashes::Reject,
        Action::UnescapeAndRedirect => EscapedSlashes::UnescapeAndRedirect,
        Action::UnescapeAndForward => EscapedSlashes::UnescapeAndForward,
    })
}

pub(super) fn strip_port(
    cx: &Context,
    matching: bool,
    mode: Option<inner::StripPortMode>,
) -> Result<StripPort, Rejection> {
    let any = matches!(mode, Some(inner::StripPortMode::StripAnyHostPort(true)));
    match (matching, any) {
        (true, true) => Err(cx.reject(
            "strip_matching_host_port",
            "Error: Only one of `strip_matching_host_port` or `strip_any_host_port` can be set.",
        )),
        (true, false) => Ok(StripPort::Matching),
        (false, true) => Ok(StripPort::Any),
        (false, false) => Ok(StripPort::Keep),
    }
}

/// `access_log_options` and its deprecated twins.
pub(super) struct LogFields {
    pub(super) options: Option<inner::HcmAccessLogOptions>,
    pub(super) flush_interval: Option<protobuf::Duration>,
    pub(super) on_new_request: bool,
}

impl LogFields {
    pub(super) fn settle(self, cx: &mut Context) -> Result<LogOptions, Rejection> {
        const INTERVAL: &str = "access_log_flush_interval";
        let Self { options, flush_interval, on_new_request } = self;
        let flush_interval = cx.at_least(INTERVAL, flush_interval, MILLISECOND)?;
        let Some(options) = options else { return Ok(LogOptions { flush_interval, on_new_request, on_tunnel: false }) };
        let both = |field: &str| {
            cx.reject("access_log_options", format!("Only one of {field} or access_log_options can be specified."))
        };
        if on_new_request {
            return Err(both("flush_access_log_on_new_request"));
        }
        if flush_interval.is_some() {
            return Err(both(INTERVAL));
        }
        let inner::HcmAccessLogOptions {
            access_log_flush_interval,
            flush_access_log_on_new_request,
            flush_log_on_tunnel_successfully_established,
        } = options;
        cx.at("access_log_options", |cx| {
            Ok(LogOptions {
                flush_interval: cx.at_least(INTERVAL, access_log_flush_interval, MILLISECOND)?,
                on_new_request: flush_access_log_on_new_request,
                on_tunnel: flush_log_on_tunnel_successfully_established,
            })
        })
    }
}

pub(super) fn proxy_status(config: Option<inner::ProxyStatusConfig>) -> Option<Box<ProxyStatus>> {
    use inner::proxy_status_config::ProxyName as Name;
    let inner::ProxyStatusConfig {
        remove_details,
        remove_connection_termination_details,
        remove_response_flags,
        set_recommended_response_code,
        proxy_name,
    } = config?;
    Some(Box::new(ProxyStatus {
        name: match proxy_name {
            None | Some(Name::UseNodeId(false)) => ProxyName::Server,
            Some(Name::UseNodeId(true)) => ProxyName::NodeId,
            Some(Name::LiteralProxyName(name)) => ProxyName::Literal(name.into()),
        },
        remove_details,
        remove_connection_termination_details,
        remove_response_flags,
        set_recommended_response_code,
    }))
}

/// Each type once, whatever its case.
pub(super) fn upgrades(cx: &mut Context, configs: Vec<inner::UpgradeConfig>) -> Part<Box<[Upgrade]>> {
    let mut seen = HashSet::new();
    let mut found = Vec::with_capacity(configs.len());
    for (i, inner::UpgradeConfig { upgrade_type, filters, enabled }) in configs.into_iter().enumerate() {
        let upgrade = cx.item("upgrade_configs", i, |cx| {
            let kind = upgrade_type.to_ascii_lowercase();
            if !seen.insert(kind.clone()) {
                let why = format!("Error: multiple upgrade configs with the same name: '{upgrade_type}'");
                return Err(cx.reject("upgrade_type", why));
            }
            if !filters.is_empty() {
                return Ok(Err(cx.unsupported("filters", "filters of an upgrade's own")));
            }
            Ok(Ok(Upgrade { kind: kind.into(), enabled: enabled.is_none_or(|f| f.value) }))
        })?;
        found.push(run!(upgrade));
    }
    Ok(Ok(found.into()))
}
