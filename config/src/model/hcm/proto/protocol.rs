//! From `config.core.v3`'s protocol options.

use std::time::Duration;

use core::http_protocol_options::HeadersWithUnderscoresAction;
use core::http1_protocol_options::{HeaderKeyFormat, header_key_format::HeaderFormat};
use core::http2_protocol_options::SettingsParameter;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::http::header_formatters::preserve_case::v3 as preserve_case;
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::{BoolValue, UInt32Value};

use super::not_run::BAD_MESSAGE;
use crate::model::hcm::{CommonHttp, HeaderCase, Http1Options, Http2Options, Keepalive, Underscores};
use crate::model::{extension, tls};
use crate::reject::{Context, Rejection, immaterial};

const MILLISECOND: Duration = Duration::from_millis(1);
/// HTTP/2's largest window and number of streams.
const MAX: u32 = i32::MAX as u32;

/// Converts the options of both versions.
pub(crate) fn common(cx: &mut Context, options: core::HttpProtocolOptions) -> Result<CommonHttp, Rejection> {
    let core::HttpProtocolOptions {
        idle_timeout,
        max_connection_duration,
        max_connection_duration_jitter,
        max_headers_count,
        max_response_headers_kb,
        max_stream_duration,
        headers_with_underscores_action,
        max_requests_per_connection,
    } = options;
    let defaults = CommonHttp::default();
    let idle_timeout = match cx.duration("idle_timeout", idle_timeout)? {
        None => defaults.idle_timeout,
        given => given.filter(|d| !d.is_zero()),
    };
    let duration = cx.duration("max_connection_duration", max_connection_duration)?;
    Ok(CommonHttp {
        idle_timeout,
        max_connection_duration: duration.filter(|d| !d.is_zero()),
        max_connection_duration_jitter: percent(cx, "max_connection_duration_jitter", max_connection_duration_jitter)?
            .unwrap_or_default(),
        max_headers_count: within(cx, "max_headers_count", max_headers_count, 1, u32::MAX)?
            .unwrap_or(defaults.max_headers_count),
        max_response_headers_kb: within(cx, "max_response_headers_kb", max_response_headers_kb, 1, 8192)?,
        max_stream_duration: cx.duration("max_stream_duration", max_stream_duration)?.filter(|d| !d.is_zero()),
        underscores: match cx.variant("headers_with_underscores_action", headers_with_underscores_action)? {
            HeadersWithUnderscoresAction::Allow => Underscores::Allow,
            HeadersWithUnderscoresAction::RejectRequest => Underscores::Reject,
            HeadersWithUnderscoresAction::DropHeader => Underscores::Drop,
        },
        max_requests_per_connection: max_requests_per_connection.map(|w| w.value).filter(|max| *max > 0),
    })
}

/// Converts the options of HTTP/1, and whether a bad message ends its request only.
pub(crate) fn http1(
    cx: &mut Context,
    options: core::Http1ProtocolOptions,
) -> Result<(Http1Options, Option<bool>), Rejection> {
    let core::Http1ProtocolOptions {
        allow_absolute_url,
        accept_http_10,
        default_host_for_http_10,
        header_key_format,
        enable_trailers,
        allow_chunked_length,
        override_stream_error_on_invalid_http_message,
        send_fully_qualified_url,
        use_balsa_parser,
        allow_custom_methods,
        ignore_http_11_upgrade,
    } = options;
    immaterial(use_balsa_parser, "chooses between two parsers of Envoy's");
    let on = override_stream_error_on_invalid_http_message.filter(|f| f.value);
    cx.ignore("override_stream_error_on_invalid_http_message", &on, BAD_MESSAGE);
    cx.ignore("ignore_http_11_upgrade", &ignore_http_11_upgrade, "h2c alone is passed over");
    cx.ignore("send_fully_qualified_url", &send_fully_qualified_url, "the path alone is sent");
    let options = Http1Options {
        allow_absolute_url: allow_absolute_url.is_none_or(|f| f.value),
        accept_http_10,
        default_host_for_http_10: Some(default_host_for_http_10).filter(|h| !h.is_empty()).map(Into::into),
        header_case: match header_key_format {
            None => HeaderCase::Lower,
            Some(format) => cx.at("header_key_format", |cx| header_case(cx, format))?,
        },
        enable_trailers,
        allow_chunked_length,
        send_fully_qualified_url,
        allow_custom_methods,
        ignore_upgrade: cx.each("ignore_http_11_upgrade", ignore_http_11_upgrade, tls::proto::string_match)?,
    };
    Ok((options, override_stream_error_on_invalid_http_message.map(|f| f.value)))
}

fn header_case(cx: &mut Context, format: HeaderKeyFormat) -> Result<HeaderCase, Rejection> {
    use preserve_case::preserve_case_formatter_config::FormatterTypeOnEnvoyHeaders as OwnHeaders;
    const PRESERVE_CASE: &str = "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig";
    match cx.required("header_format", format.header_format)? {
        HeaderFormat::ProperCaseWords(_) => Ok(HeaderCase::ProperWords),
        HeaderFormat::StatefulFormatter(core::TypedExtensionConfig { name, typed_config }) => {
            cx.at("stateful_formatter", |cx| {
                let (type_name, body) = extension::required(cx, &name, typed_config)?;
                if &*type_name != PRESERVE_CASE {
                    return Err(extension::unknown(cx, &name, &type_name));
                }
                cx.at("typed_config", |cx| {
                    let preserve_case::PreserveCaseFormatterConfig {
                        forward_reason_phrase,
                        formatter_type_on_envoy_headers,
                    } = cx.decode(&body)?;
                    let note = "reason phrases are those of the status code";
                    cx.ignore("forward_reason_phrase", &forward_reason_phrase, note);
                    match cx.variant("formatter_type_on_envoy_headers", formatter_type_on_envoy_headers)? {
                        OwnHeaders::Default => {}
                        OwnHeaders::ProperCase => {
                            cx.note("formatter_type_on_envoy_headers", "headers of our own are in lower case");
                        }
                    }
                    Ok(HeaderCase::Preserve)
                })
            })
        }
    }
}

/// Converts the options of HTTP/2, and whether a bad message ends its request only.
pub(crate) fn http2(
    cx: &mut Context,
    options: core::Http2ProtocolOptions,
) -> Result<(Http2Options, Option<bool>), Rejection> {
    let core::Http2ProtocolOptions {
        hpack_table_size,
        max_concurrent_streams,
        initial_stream_window_size,
        initial_connection_window_size,
        allow_connect,
        allow_metadata,
        max_outbound_frames,
        max_outbound_control_frames,
        max_consecutive_inbound_frames_with_empty_payload,
        max_inbound_priority_frames_per_stream,
        max_inbound_window_update_frames_per_data_frame_sent,
        stream_error_on_invalid_http_messaging,
        override_stream_error_on_invalid_http_message,
        custom_settings_parameters,
        connection_keepalive,
        use_oghttp2_codec,
        max_metadata_size,
        enable_huffman_encoding,
        max_header_field_size_kb,
        disallow_obs_text,
        stream_reset_burst,
        stream_reset_rate,
    } = options;
    immaterial(use_oghttp2_codec, "chooses between two codecs of Envoy's");
    immaterial(max_metadata_size, "goes with allow_metadata");
    const CODEC: &str = "the codec has bounds of its own on frames";
    cx.ignore("max_outbound_frames", &max_outbound_frames, CODEC);
    cx.ignore("max_outbound_control_frames", &max_outbound_control_frames, CODEC);
    let empty = &max_consecutive_inbound_frames_with_empty_payload;
    cx.ignore("max_consecutive_inbound_frames_with_empty_payload", empty, CODEC);
    cx.ignore("max_inbound_priority_frames_per_stream", &max_inbound_priority_frames_per_stream, CODEC);
    let updates = &max_inbound_window_update_frames_per_data_frame_sent;
    cx.ignore("max_inbound_window_update_frames_per_data_frame_sent", updates, CODEC);
    cx.ignore("max_header_field_size_kb", &max_header_field_size_kb, "all headers together are bounded");
    cx.ignore("disallow_obs_text", &disallow_obs_text.filter(|f| f.value), "such bytes are passed on");
    let on = override_stream_error_on_invalid_http_message.filter(|f| f.value);
    cx.ignore("override_stream_error_on_invalid_http_message", &on, BAD_MESSAGE);
    cx.ignore("stream_error_on_invalid_http_messaging", &stream_error_on_invalid_http_messaging, BAD_MESSAGE);
    cx.ignore("allow_metadata", &allow_metadata, "METADATA frames are passed over");
    cx.ignore(
        "enable_huffman_encoding",
        &off(enable_huffman_encoding),
        "headers are compressed as their codec sees fit",
    );
    let window = |field, value| within(cx, field, value, 65_535, MAX);
    let at_least_one = |field, value| within(cx, field, value, 1, u32::MAX);
    let defaults = Http2Options::default();
    let streams = within(cx, "max_concurrent_streams", max_concurrent_streams, 1, MAX)?;
    let found = Http2Options {
        hpack_table_size: hpack_table_size.map_or(defaults.hpack_table_size, |w| w.value),
        max_concurrent_streams: streams.unwrap_or(defaults.max_concurrent_streams),
        initial_stream_window_size: window("initial_stream_window_size", initial_stream_window_size)?
            .unwrap_or(defaults.initial_stream_window_size),
        initial_connection_window_size: window("initial_connection_window_size", initial_connection_window_size)?
            .unwrap_or(defaults.initial_connection_window_size),
        allow_connect,
        max_outbound_frames: at_least_one("max_outbound_frames", max_outbound_frames)?
            .unwrap_or(defaults.max_outbound_frames),
        max_outbound_control_frames: at_least_one("max_outbound_control_frames", max_outbound_control_frames)?
            .unwrap_or(defaults.max_outbound_control_frames),
        max_consecutive_empty_frames: max_consecutive_inbound_frames_with_empty_payload
            .map_or(defaults.max_consecutive_empty_frames, |w| w.value),
        max_priority_frames_per_stream: max_inbound_priority_frames_per_stream
            .map_or(defaults.max_priority_frames_per_stream, |w| w.value),
        max_window_updates_per_data_frame: at_least_one(
            "max_inbound_window_update_frames_per_data_frame_sent",
            max_inbound_window_update_frames_per_data_frame_sent,
        )?
        .unwrap_or(defaults.max_window_updates_per_data_frame),
        max_header_field_size_kb: within(cx, "max_header_field_size_kb", max_header_field_size_kb, 64, 256)?,
        disallow_obs_text: disallow_obs_text.is_some_and(|f| f.value),
        stream_reset_burst: stream_reset_burst.map_or(defaults.stream_reset_burst, |w| w.value),
        stream_reset_rate: stream_reset_rate.map_or(defaults.stream_reset_rate, |w| w.value),
        keepalive: match connection_keepalive {
            None => None,
            Some(settings) => Some(Box::new(cx.at("connection_keepalive", |cx| keepalive(cx, settings))?)),
        },
    };
    let found = custom_settings(cx, found, custom_settings_parameters)?;
    let stream_error = match override_stream_error_on_invalid_http_message {
        Some(flag) => Some(flag.value),
        None => stream_error_on_invalid_http_messaging.then_some(true),
    };
    Ok((found, stream_error))
}

/// SETTINGS by number: those that have a field of their own set that, as in Envoy.
fn custom_settings(
    cx: &mut Context,
    mut options: Http2Options,
    parameters: Vec<SettingsParameter>,
) -> Result<Http2Options, Rejection> {
    let defaults = Http2Options::default();
    for (i, SettingsParameter { identifier, value }) in parameters.into_iter().enumerate() {
        cx.item("custom_settings_parameters", i, |cx| {
            let identifier = cx.required("identifier", identifier)?.value;
            let value = cx.required("value", value)?.value;
            if identifier > 65_535 {
                return Err(cx.reject("identifier", "value must be inside range [0, 65535]"));
            }
            let twice = |set: bool| match set {
                true => Err(cx.reject("", "inconsistent HTTP/2 custom SETTINGS parameter(s) detected")),
                false => Ok(()),
            };
            match identifier {
                1 => {
                    twice(options.hpack_table_size != defaults.hpack_table_size)?;
                    options.hpack_table_size = value;
                }
                2 if value == 1 => {
                    let why = "server push is not supported by Envoy and can not be enabled via a SETTINGS parameter.";
                    return Err(cx.reject("", why));
                }
                2 => {}
                3 => {
                    twice(options.max_concurrent_streams != defaults.max_concurrent_streams)?;
                    options.max_concurrent_streams = value;
                }
                4 => {
                    twice(options.initial_stream_window_size != defaults.initial_stream_window_size)?;
                    options.initial_stream_window_size = value;
                }
                8 => {
                    let why =
                        "the \"allow_connect\" SETTINGS parameter must only be configured through the named field";
                    return Err(cx.reject("", why));
                }
                _ => cx.note("", "no such SETTINGS parameter is sent"),
            }
            Ok(())
        })?;
    }
    Ok(options)
}

fn keepalive(cx: &mut Context, settings: core::KeepaliveSettings) -> Result<Keepalive, Rejection> {
    let core::KeepaliveSettings { interval, timeout, interval_jitter, connection_idle_interval } = settings;
    cx.ignore("connection_idle_interval", &connection_idle_interval, "no PING goes ahead of a request");
    let timeout = cx.at_least("timeout", timeout, MILLISECOND)?;
    Ok(Keepalive {
        interval: cx.at_least("interval", interval, MILLISECOND)?,
        timeout: cx.required("timeout", timeout)?,
        interval_jitter: percent(cx, "interval_jitter", interval_jitter)?.unwrap_or(15.0),
        connection_idle_interval: cx.at_least("connection_idle_interval", connection_idle_interval, MILLISECOND)?,
    })
}

/// A flag that is set and off.
fn off(flag: Option<BoolValue>) -> Option<BoolValue> {
    flag.filter(|f| !f.value)
}

/// A percentage.
pub(super) fn percent(cx: &Context, field: &str, value: Option<Percent>) -> Result<Option<f64>, Rejection> {
    value.map(|Percent { value }| cx.percent(field, value)).transpose()
}

/// A number within bounds.
pub(super) fn within(
    cx: &Context,
    field: &str,
    value: Option<UInt32Value>,
    least: u32,
    most: u32,
) -> Result<Option<u32>, Rejection> {
    match value.map(|w| w.value) {
        Some(value) if !(least..=most).contains(&value) => {
            let reason = match most {
                u32::MAX => format!("value must be greater than or equal to {least}"),
                _ => format!("value must be inside range [{least}, {most}]"),
            };
            Err(cx.reject(field, reason))
        }
        value => Ok(value),
    }
}
