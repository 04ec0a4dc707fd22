//! `typed_extension_protocol_options[HttpProtocolOptions]`, and the fields that it has replaced.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use envoy_types::pb::envoy::extensions::upstreams::http::v3 as pb;
use envoy_types::pb::google::protobuf::{Any, UInt32Value};
use http::HeaderName;
use pb::http_protocol_options::{
    AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
    explicit_http_config::ProtocolConfig,
};

use crate::model::cluster::{AutoSni, HttpOptions, TrackStats, UpstreamProtocol};
use crate::model::hcm::proto as hcm;
use crate::reject::{Context, Rejection, Unsupported, immaterial};

const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The fields that `typed_extension_protocol_options` has replaced.
pub(super) struct Deprecated {
    pub(super) upstream: Option<core::UpstreamHttpProtocolOptions>,
    pub(super) common: Option<core::HttpProtocolOptions>,
    pub(super) http1: Option<core::Http1ProtocolOptions>,
    pub(super) http2: Option<core::Http2ProtocolOptions>,
    pub(super) protocol_selection: i32,
    pub(super) max_requests_per_connection: Option<UInt32Value>,
}

/// The options, `None` where none are given, and what in them can't be run.
pub(super) fn options(
    cx: &mut Context,
    typed: HashMap<String, Any>,
    deprecated: Deprecated,
) -> Result<(Option<HttpOptions>, Option<Unsupported>), Rejection> {
    let mut found = (None, None);
    for (key, Any { type_url, value }) in typed {
        let options = cx.key("typed_extension_protocol_options", &key, |cx| {
            if type_url.rsplit('/').next() != Some(OPTIONS) {
                cx.note("", "options of a protocol that is not spoken");
                return Ok(None);
            }
            let options = cx.decode(&value)?;
            self::typed(cx, options).map(Some)
        })?;
        if let Some((options, unsupported)) = options {
            found = (Some(options), unsupported);
        }
    }
    match &mut found.0 {
        None => found.0 = self::deprecated(cx, deprecated)?,
        Some(options) => {
            let max = deprecated.max_requests_per_connection.map(|w| w.value);
            if max.is_some() && options.common.max_requests_per_connection.is_some() {
                let why =
                    "Only one of max_requests_per_connection from Cluster or HttpProtocolOptions can be specified";
                return Err(cx.reject("max_requests_per_connection", why));
            }
            let of_cluster = max.filter(|max| *max > 0);
            options.common.max_requests_per_connection = options.common.max_requests_per_connection.or(of_cluster);
            let Deprecated { upstream, common, http1, http2, protocol_selection, max_requests_per_connection: _ } =
                deprecated;
            immaterial((upstream, common, http1, http2), "as in Envoy, typed_extension_protocol_options replace them");
            immaterial(protocol_selection, "as in Envoy, typed_extension_protocol_options replace it");
        }
    }
    Ok(found)
}

fn deprecated(cx: &mut Context, deprecated: Deprecated) -> Result<Option<HttpOptions>, Rejection> {
    let Deprecated { upstream, common, http1, http2, protocol_selection, max_requests_per_connection } = deprecated;
    let selection: cluster::cluster::ClusterProtocolSelection = cx.variant("protocol_selection", protocol_selection)?;
    let by_client = selection == cluster::cluster::ClusterProtocolSelection::UseDownstreamProtocol;
    let nothing = upstream.is_none() && common.is_none() && http1.is_none() && http2.is_none();
    if nothing && !by_client && max_requests_per_connection.is_none() {
        return Ok(None);
    }
    let protocol = match (by_client, http2.is_some()) {
        (true, http2) => UpstreamProtocol::Downstream { http2 },
        (false, true) => UpstreamProtocol::Http2,
        (false, false) => UpstreamProtocol::Http1,
    };
    let mut options = with(cx, HttpOptions { protocol, ..HttpOptions::default() }, http1, http2)?;
    if let Some(common) = common {
        options.common = cx.at("common_http_protocol_options", |cx| hcm::common(cx, common))?;
    }
    if let Some(max) = max_requests_per_connection {
        options.common.max_requests_per_connection = Some(max.value).filter(|max| *max > 0);
    }
    options.auto_sni = auto_sni(cx, upstream)?;
    Ok(Some(options))
}

fn typed(cx: &mut Context, options: pb::HttpProtocolOptions) -> Result<(HttpOptions, Option<Unsupported>), Rejection> {
    let pb::HttpProtocolOptions {
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
    if header_validation_config.is_some() {
        let why = "This Envoy binary does not support header validator configuration.";
        return Err(cx.reject("header_validation_config", why));
    }
    const OF_ROUTES: &str = "the route's own holds";
    cx.ignore("outlier_detection", &outlier_detection, "what is an error is told by the status: 5xx");
    cx.ignore("request_mirror_policies", &request_mirror_policies, OF_ROUTES);
    cx.ignore("hash_policy", &hash_policy, OF_ROUTES);
    cx.ignore("retry_policy", &retry_policy, OF_ROUTES);
    let mut found = match cx.required("upstream_protocol_options", upstream_protocol_options)? {
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config }) => {
            cx.at("explicit_http_config", |cx| explicit(cx, protocol_config))?
        }
        UpstreamProtocolOptions::UseDownstreamProtocolConfig(config) => {
            let UseDownstreamHttpConfig { http_protocol_options, http2_protocol_options, http3_protocol_options } =
                config;
            cx.at("use_downstream_protocol_config", |cx| {
                cx.ignore("http3_protocol_options", &http3_protocol_options, NO_HTTP3);
                let protocol = UpstreamProtocol::Downstream { http2: http2_protocol_options.is_some() };
                let found = HttpOptions { protocol, ..HttpOptions::default() };
                with(cx, found, http_protocol_options, http2_protocol_options)
            })?
        }
        UpstreamProtocolOptions::AutoConfig(config) => {
            let AutoHttpConfig {
                http_protocol_options,
                http2_protocol_options,
                http3_protocol_options,
                alternate_protocols_cache_options,
            } = config;
            cx.at("auto_config", |cx| {
                cx.ignore("http3_protocol_options", &http3_protocol_options, NO_HTTP3);
                immaterial(alternate_protocols_cache_options, "goes with HTTP/3");
                let found = HttpOptions { protocol: UpstreamProtocol::Auto, ..HttpOptions::default() };
                with(cx, found, http_protocol_options, http2_protocol_options)
            })?
        }
    };
    if let Some(common) = common_http_protocol_options {
        found.common = cx.at("common_http_protocol_options", |cx| hcm::common(cx, common))?;
    }
    found.auto_sni = auto_sni(cx, upstream_http_protocol_options)?;
    Ok((found, filters(cx, http_filters)?))
}

const NO_HTTP3: &str = "HTTP/3 is not spoken";

fn explicit(cx: &mut Context, config: Option<ProtocolConfig>) -> Result<HttpOptions, Rejection> {
    let found = HttpOptions::default();
    match cx.required("protocol_config", config)? {
        ProtocolConfig::HttpProtocolOptions(options) => with(cx, found, Some(options), None),
        ProtocolConfig::Http2ProtocolOptions(options) => {
            with(cx, HttpOptions { protocol: UpstreamProtocol::Http2, ..found }, None, Some(options))
        }
        // As in Envoy, HTTP/3 needs a transport socket of its own.
        ProtocolConfig::Http3ProtocolOptions(_) => {
            Err(cx.reject("http3_protocol_options", "HTTP3 requires a QuicUpstreamTransport transport socket"))
        }
    }
}

fn with(
    cx: &mut Context,
    found: HttpOptions,
    http1: Option<core::Http1ProtocolOptions>,
    http2: Option<core::Http2ProtocolOptions>,
) -> Result<HttpOptions, Rejection> {
    let (http1, http1_error) = cx.at("http_protocol_options", |cx| hcm::http1(cx, http1.unwrap_or_default()))?;
    if let Some(options) = &http2 {
        cx.at("http2_protocol_options", |cx| {
            const NOTE: &str = "only clients have a limit on resets";
            cx.ignore("stream_reset_burst", &options.stream_reset_burst, NOTE);
            cx.ignore("stream_reset_rate", &options.stream_reset_rate, NOTE);
        });
    }
    let (http2, http2_error) = cx.at("http2_protocol_options", |cx| hcm::http2(cx, http2.unwrap_or_default()))?;
    Ok(HttpOptions {
        http1,
        http2,
        http1_stream_error: http1_error.unwrap_or_default(),
        http2_stream_error: http2_error.unwrap_or_default(),
        ..found
    })
}

fn auto_sni(
    cx: &mut Context,
    options: Option<core::UpstreamHttpProtocolOptions>,
) -> Result<Option<Box<AutoSni>>, Rejection> {
    let Some(options) = options else { return Ok(None) };
    let core::UpstreamHttpProtocolOptions { auto_sni, auto_san_validation, override_auto_sni_header } = options;
    let header = match override_auto_sni_header.as_str() {
        "" => None,
        name => Some(HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            cx.reject("upstream_http_protocol_options.override_auto_sni_header", "is not the name of a header")
        })?),
    };
    let options = AutoSni { sni: auto_sni, san_validation: auto_san_validation, header };
    Ok((auto_sni || auto_san_validation).then(|| Box::new(options)))
}

/// Filters towards endpoints: none runs but the codec. One that is passed over would let through what it stops.
fn filters(cx: &mut Context, filters: Vec<HttpFilter>) -> Result<Option<Unsupported>, Rejection> {
    hcm::upstream_filters(cx, "http_filters", filters)
}

/// More statistics.
pub(super) fn track(budgets: bool, more: Option<cluster::TrackClusterStats>) -> TrackStats {
    let cluster::TrackClusterStats { timeout_budgets, request_response_sizes, per_endpoint_stats } =
        more.unwrap_or_default();
    TrackStats { timeout_budgets: budgets || timeout_budgets, request_response_sizes, per_endpoint: per_endpoint_stats }
}

#[cfg(test)]
mod tests;
