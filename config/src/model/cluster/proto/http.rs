//! `typed_extension_protocol_options[HttpProtocolOptions]`, of use to the control plane's own clusters only.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
};
use envoy_types::pb::google::protobuf::Any;

use crate::model::cluster::HttpOptions;
use crate::reject::{Context, Rejection, immaterial};

const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Why most of HTTP's settings cannot matter yet.
const HTTP: &str = "about HTTP, which goes to the control plane's own clusters on this host only";

/// The fields that `typed_extension_protocol_options` has replaced.
pub(super) struct Deprecated {
    pub(super) upstream: Option<core::UpstreamHttpProtocolOptions>,
    pub(super) common: Option<core::HttpProtocolOptions>,
    pub(super) http1: Option<core::Http1ProtocolOptions>,
    pub(super) http2: Option<core::Http2ProtocolOptions>,
}

/// The options; `None` where they are Envoy's defaults.
pub(super) fn options(
    cx: &mut Context,
    typed: HashMap<String, Any>,
    deprecated: Deprecated,
) -> Result<Option<HttpOptions>, Rejection> {
    let Deprecated { upstream, common, http1, http2 } = deprecated;
    immaterial((upstream, http1), HTTP);
    let mut found = HttpOptions { http2: http2.is_some(), ..HttpOptions::default() };
    if let Some(common) = common {
        cx.at("common_http_protocol_options", |cx| self::common(cx, common, &mut found))?;
    }
    for (key, Any { type_url, value }) in typed {
        cx.key("typed_extension_protocol_options", &key, |cx| {
            if type_url.rsplit('/').next() != Some(OPTIONS) {
                cx.note("", "options of a protocol that is not spoken");
                return Ok(());
            }
            let options = cx.decode(&value)?;
            http_protocol_options(cx, options, &mut found)
        })?;
    }
    Ok((found != HttpOptions::default()).then_some(found))
}

fn http_protocol_options(
    cx: &mut Context,
    options: HttpProtocolOptions,
    found: &mut HttpOptions,
) -> Result<(), Rejection> {
    let HttpProtocolOptions {
        common_http_protocol_options,
        upstream_http_protocol_options,
        http_filters,
        header_validation_config,
        outlier_detection,
        request_mirror_policies,
        hash_policy,
        retry_policy,
        upstream_protocol_options,
    } = options;
    immaterial((upstream_http_protocol_options, http_filters, header_validation_config, outlier_detection), HTTP);
    immaterial((request_mirror_policies, hash_policy, retry_policy), HTTP);
    if let Some(common) = common_http_protocol_options {
        cx.at("common_http_protocol_options", |cx| self::common(cx, common, found))?;
    }
    let explicit = match cx.required("upstream_protocol_options", upstream_protocol_options)? {
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config }) => {
            cx.at("explicit_http_config", |cx| cx.required("protocol_config", protocol_config))?
        }
        // HTTP/1.1 is what both come to without TLS.
        UpstreamProtocolOptions::UseDownstreamProtocolConfig(_) | UpstreamProtocolOptions::AutoConfig(_) => {
            return Ok(());
        }
    };
    match explicit {
        ProtocolConfig::HttpProtocolOptions(_) => found.http2 = false,
        ProtocolConfig::Http2ProtocolOptions(options) => {
            cx.at("explicit_http_config", |cx| cx.at("http2_protocol_options", |cx| http2(cx, &options)))?;
            found.http2 = true;
        }
        ProtocolConfig::Http3ProtocolOptions(_) => cx.note("explicit_http_config", "HTTP/3 is not spoken"),
    }
    Ok(())
}

/// The bounds of HTTP/2 settings, which Envoy checks before all else.
pub(crate) fn http2(cx: &Context, options: &core::Http2ProtocolOptions) -> Result<(), Rejection> {
    let windows = [
        ("max_concurrent_streams", &options.max_concurrent_streams, 1),
        ("initial_stream_window_size", &options.initial_stream_window_size, 65_535),
        ("initial_connection_window_size", &options.initial_connection_window_size, 65_535),
    ];
    for (field, value, least) in windows {
        if value.as_ref().is_some_and(|w| !(least..=2_147_483_647).contains(&w.value)) {
            return Err(cx.reject(field, format!("value must be inside range [{least}, 2147483647]")));
        }
    }
    Ok(())
}

fn common(cx: &mut Context, options: core::HttpProtocolOptions, found: &mut HttpOptions) -> Result<(), Rejection> {
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
    immaterial((max_headers_count, max_response_headers_kb, headers_with_underscores_action), HTTP);
    immaterial((max_requests_per_connection, max_connection_duration_jitter), HTTP);
    found.idle_timeout = cx.duration("idle_timeout", idle_timeout)?;
    found.max_connection_duration = cx.duration("max_connection_duration", max_connection_duration)?;
    found.max_stream_duration = cx.duration("max_stream_duration", max_stream_duration)?;
    Ok(())
}
