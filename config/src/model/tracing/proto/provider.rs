//! From `config.trace.v3.Tracing.Http` and the configurations of tracers.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::trace::v3 as pb;
use envoy_types::pb::envoy::extensions::tracers::opentelemetry as otel;
use otel::resource_detectors::v3::StaticConfigResourceDetectorConfig;
use otel::samplers::v3 as samplers;
use pb::zipkin_config::{CollectorEndpointVersion, TraceContextOption};

use super::fraction;
use crate::model::tracing::{
    Datadog, Exporter, HttpService, OpenTelemetry, Provider, REPORT_TIMEOUT, Sampler, Zipkin, ZipkinEncoding,
};
use crate::model::{extension, service};
use crate::reject::{Context, Rejection, immaterial};

const NO_SPANS: &str = "no spans are made: OpenTelemetry, Zipkin and Datadog are the tracers that run";
/// What OpenTelemetry calls a service without a name.
const UNKNOWN_SERVICE: &str = "unknown_service:envoy";

/// Converts a provider; one that does not run is reported and left out.
pub(super) fn provider(cx: &mut Context, provider: pb::tracing::Http) -> Result<Option<Provider>, Rejection> {
    let pb::tracing::Http { name, config_type } = provider;
    let any = config_type.map(|pb::tracing::http::ConfigType::TypedConfig(any)| any);
    let (type_name, body) = extension::required(cx, &name, any)?;
    cx.at("typed_config", |cx| match &*type_name {
        "envoy.config.trace.v3.OpenTelemetryConfig" => Ok(open_telemetry(cx, &body)?.map(Provider::OpenTelemetry)),
        "envoy.config.trace.v3.ZipkinConfig" => zipkin(cx, &body).map(Provider::Zipkin).map(Some),
        "envoy.config.trace.v3.DatadogConfig" => datadog(cx, &body).map(Provider::Datadog).map(Some),
        other if ["envoy.config.trace.v3.", "envoy.extensions.tracers."].iter().any(|p| other.starts_with(p)) => {
            cx.note("", NO_SPANS);
            Ok(None)
        }
        other => Err(extension::unknown(cx, &name, other)),
    })
}

fn open_telemetry(cx: &mut Context, body: &[u8]) -> Result<Option<OpenTelemetry>, Rejection> {
    let pb::OpenTelemetryConfig {
        grpc_service,
        http_service,
        exporter,
        service_name,
        resource_detectors,
        sampler,
        max_cache_size,
        set_telemetry_sdk_resource_attributes,
        set_service_name_resource_attribute,
        set_instrumentation_scope,
    } = cx.decode(body)?;
    let several = [grpc_service.is_some(), http_service.is_some(), exporter.is_some()];
    if several.iter().filter(|set| **set).count() > 1 {
        return Err(cx.reject("", "OpenTelemetry Tracer cannot have both gRPC and HTTP exporters configured."));
    }
    if exporter.is_some() {
        cx.note("exporter", NO_SPANS);
        return Ok(None);
    }
    let exporter = match (grpc_service, http_service) {
        (Some(grpc), _) => match cx.at("grpc_service", |cx| service::proto::grpc(cx, grpc))? {
            Ok(grpc) => Some(Exporter::Grpc(grpc)),
            Err(_) => {
                cx.note("grpc_service", "no spans are made: a collector is reached through a cluster");
                return Ok(None);
            }
        },
        (None, Some(http)) => Some(Exporter::Http(cx.at("http_service", |cx| service::proto::http(cx, http))?)),
        (None, None) => None,
    };
    let sampler = match sampler {
        None => None,
        Some(config) => cx.at("sampler", |cx| self::sampler(cx, config))?,
    };
    let on = |flag: Option<envoy_types::pb::google::protobuf::BoolValue>| flag.is_none_or(|flag| flag.value);
    Ok(Some(OpenTelemetry {
        exporter,
        service_name: if service_name.is_empty() { UNKNOWN_SERVICE.into() } else { service_name.into() },
        resource: resource(cx, resource_detectors)?,
        sampler,
        max_cache_size: max_cache_size.map_or(1024, |size| usize::try_from(size.value).unwrap_or(usize::MAX)),
        sdk_attributes: on(set_telemetry_sdk_resource_attributes),
        service_attribute: on(set_service_name_resource_attribute),
        scope: on(set_instrumentation_scope),
    }))
}

/// A key and its text.
type Attribute = (Box<str>, Box<str>);

/// What detectors find, sorted; of one key the last one's value.
pub(crate) fn resource(
    cx: &mut Context,
    detectors: Vec<core::TypedExtensionConfig>,
) -> Result<Box<[Attribute]>, Rejection> {
    const DETECTORS: &str = "envoy.extensions.tracers.opentelemetry.resource_detectors.v3.";
    let found = cx.each("resource_detectors", detectors, |cx, detector| {
        let core::TypedExtensionConfig { name, typed_config } = detector;
        let (type_name, body) = extension::required(cx, &name, typed_config)?;
        let attributes: Vec<(String, String)> = match type_name.strip_prefix(DETECTORS) {
            Some("StaticConfigResourceDetectorConfig") => {
                let StaticConfigResourceDetectorConfig { attributes } = cx.decode(&body)?;
                attributes.into_iter().collect()
            }
            Some("EnvironmentResourceDetectorConfig") => environment(),
            Some(_) => {
                cx.note("typed_config", "no resource attributes are found by it");
                Vec::new()
            }
            None => return Err(extension::unknown(cx, &name, &type_name)),
        };
        Ok::<_, Rejection>(attributes)
    })?;
    let all: std::collections::BTreeMap<String, String> =
        found.into_iter().flatten().filter(|(key, _)| !key.is_empty()).collect();
    Ok(all.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
}

/// `OTEL_RESOURCE_ATTRIBUTES=key=value,key=value` (OpenTelemetry's specification).
fn environment() -> Vec<(String, String)> {
    let text = std::env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    text.split(',').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.trim().into(), v.trim().into())).collect()
}

fn sampler(cx: &mut Context, config: core::TypedExtensionConfig) -> Result<Option<Sampler>, Rejection> {
    const SAMPLERS: &str = "envoy.extensions.tracers.opentelemetry.samplers.v3.";
    let core::TypedExtensionConfig { name, typed_config } = config;
    let (type_name, body) = extension::required(cx, &name, typed_config)?;
    cx.at("typed_config", |cx| match type_name.strip_prefix(SAMPLERS) {
        Some("AlwaysOnSamplerConfig") => Ok(Some(Sampler::AlwaysOn)),
        Some("TraceIdRatioBasedSamplerConfig") => {
            let samplers::TraceIdRatioBasedSamplerConfig { sampling_percentage } = cx.decode(&body)?;
            Ok(Some(Sampler::Ratio(fraction(cx, "sampling_percentage", sampling_percentage)? / 100.0)))
        }
        Some("ParentBasedSamplerConfig") => {
            let samplers::ParentBasedSamplerConfig { wrapped_sampler } = cx.decode(&body)?;
            let wrapped = cx.required("wrapped_sampler", wrapped_sampler)?;
            let inner = cx.at("wrapped_sampler", |cx| sampler(cx, wrapped))?;
            Ok(inner.map(|inner| Sampler::ParentBased(Box::new(inner))))
        }
        Some(_) => {
            cx.note("", "spans are sampled as the connection manager says");
            Ok(None)
        }
        None => Err(extension::unknown(cx, &name, &type_name)),
    })
}

fn zipkin(cx: &mut Context, body: &[u8]) -> Result<Zipkin, Rejection> {
    let pb::ZipkinConfig {
        collector_cluster,
        collector_endpoint,
        trace_id_128bit,
        shared_span_context,
        collector_endpoint_version,
        collector_hostname,
        split_spans_for_request,
        trace_context_option,
        collector_service,
        timestamp_trace_ids,
    } = cx.decode(body)?;
    let collector = match collector_service {
        Some(service) => cx.at("collector_service", |cx| service::proto::http(cx, service))?,
        None => {
            cx.not_empty("collector_cluster", &collector_cluster)?;
            cx.not_empty("collector_endpoint", &collector_endpoint)?;
            let authority = if collector_hostname.is_empty() { &collector_cluster } else { &collector_hostname };
            HttpService {
                authority: authority.as_str().into(),
                cluster: collector_cluster.as_str().into(),
                path: collector_endpoint.into(),
                https: false,
                timeout: REPORT_TIMEOUT,
                headers: Box::default(),
            }
        }
    };
    let version = cx.variant::<CollectorEndpointVersion>("collector_endpoint_version", collector_endpoint_version)?;
    let encoding = match version {
        CollectorEndpointVersion::HttpProto => ZipkinEncoding::Proto,
        CollectorEndpointVersion::HttpJson => ZipkinEncoding::Json,
        CollectorEndpointVersion::DeprecatedAndUnavailableDoNotUse | CollectorEndpointVersion::Grpc => {
            return Err(cx.reject("collector_endpoint_version", "value is not supported: HTTP_JSON or HTTP_PROTO"));
        }
    };
    let context = cx.variant::<TraceContextOption>("trace_context_option", trace_context_option)?;
    Ok(Zipkin {
        collector,
        encoding,
        long_ids: trace_id_128bit,
        timestamp_ids: timestamp_trace_ids,
        shared_span: shared_span_context.is_none_or(|shared| shared.value),
        split_spans: split_spans_for_request,
        w3c: context == TraceContextOption::UseB3WithW3cPropagation,
    })
}

fn datadog(cx: &mut Context, body: &[u8]) -> Result<Datadog, Rejection> {
    let pb::DatadogConfig { collector_cluster, service_name, collector_hostname, remote_config } = cx.decode(body)?;
    immaterial(remote_config, "a way for Datadog's agent to change sampling later; the connection manager's holds");
    cx.not_empty("collector_cluster", &collector_cluster)?;
    cx.not_empty("service_name", &service_name)?;
    let authority = if collector_hostname.is_empty() { &collector_cluster } else { &collector_hostname };
    Ok(Datadog {
        authority: authority.as_str().into(),
        cluster: collector_cluster.as_str().into(),
        service_name: service_name.into(),
    })
}
