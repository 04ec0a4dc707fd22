//! From `SdsSecretConfig`: which secret, and who has it.

use std::sync::Arc;
use std::time::Duration;

use core::api_config_source::ApiType;
use core::config_source::ConfigSourceSpecifier;
use core::grpc_service::TargetSpecifier;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;

use super::Fault;
use crate::model::metadata::proto::Interner;
use crate::model::tls::{GrpcSource, SecretRef, SecretSource};
use crate::reject::{Context, immaterial};

/// Envoy's default `initial_fetch_timeout`.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);

/// Converts a reference to a secret.
pub(super) fn reference(
    cx: &mut Context,
    interner: &mut Interner,
    config: pb::SdsSecretConfig,
) -> Result<Arc<SecretRef>, Fault> {
    let pb::SdsSecretConfig { name, sds_config } = config;
    cx.not_empty("name", &name)?;
    let name = interner.string(&name);
    let Some(config) = sds_config else {
        return Ok(Arc::new(SecretRef { name, source: SecretSource::Static, initial_fetch_timeout: Duration::ZERO }));
    };
    let (source, initial_fetch_timeout) = cx.at("sds_config", |cx| source(cx, interner, config))?;
    Ok(Arc::new(SecretRef { name, source, initial_fetch_timeout }))
}

/// Where resources come from, and how long what needs them waits for the first.
pub(crate) fn source(
    cx: &mut Context,
    interner: &mut Interner,
    config: core::ConfigSource,
) -> Result<(SecretSource, Duration), Fault> {
    let core::ConfigSource { authorities, initial_fetch_timeout, resource_api_version, config_source_specifier } =
        config;
    immaterial(authorities, "not implemented by Envoy either, which hides the field");
    version(cx, "resource_api_version", resource_api_version)?;
    let timeout = cx.duration("initial_fetch_timeout", initial_fetch_timeout)?;
    let source = match cx.required("config_source_specifier", config_source_specifier)? {
        ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_) => SecretSource::Ads,
        ConfigSourceSpecifier::Path(path) => {
            cx.not_empty("path", &path)?;
            SecretSource::File { path: path.into(), watched_directory: None }
        }
        ConfigSourceSpecifier::PathConfigSource(core::PathConfigSource { path, watched_directory, poll_interval }) => {
            cx.at("path_config_source", |cx| {
                cx.ignore("poll_interval", &poll_interval, "the file is watched");
                cx.not_empty("path", &path)
            })?;
            let watched_directory = watched_directory.map(|folder| folder.path.into());
            SecretSource::File { path: path.into(), watched_directory }
        }
        ConfigSourceSpecifier::ApiConfigSource(api) => {
            SecretSource::Grpc(cx.at("api_config_source", |cx| grpc(cx, interner, api))?)
        }
    };
    Ok((source, timeout.unwrap_or(FETCH_TIMEOUT)))
}

/// Envoy speaks v3 alone; `AUTO` means that too.
fn version(cx: &Context, field: &str, value: i32) -> Result<(), Fault> {
    match cx.variant(field, value)? {
        core::ApiVersion::V3 | core::ApiVersion::Auto => Ok(()),
        core::ApiVersion::V2 => Err(cx.reject(field, "V2 xDS transport protocol version is deprecated").into()),
    }
}

fn grpc(cx: &mut Context, interner: &mut Interner, api: core::ApiConfigSource) -> Result<GrpcSource, Fault> {
    let core::ApiConfigSource {
        api_type,
        transport_api_version,
        cluster_names,
        grpc_services,
        refresh_delay,
        request_timeout,
        rate_limit_settings,
        set_node_on_first_message_only,
        config_validators,
    } = api;
    immaterial(refresh_delay, "for REST");
    immaterial(request_timeout, "for REST");
    immaterial(set_node_on_first_message_only, "a server may have the node as often as it likes");
    cx.ignore("rate_limit_settings", &rate_limit_settings, "requests are few: one for each change");
    cx.ignore("config_validators", &config_validators, "a secret is judged by what is wrong with it alone");
    version(cx, "transport_api_version", transport_api_version)?;
    let delta = match cx.variant("api_type", api_type)? {
        ApiType::Grpc | ApiType::AggregatedGrpc => false,
        ApiType::DeltaGrpc | ApiType::AggregatedDeltaGrpc => true,
        ApiType::Rest | ApiType::DeprecatedAndUnavailableDoNotUse => {
            return Err(cx.unsupported("api_type", "REST").into());
        }
    };
    if !cluster_names.is_empty() {
        return Err(cx.reject("cluster_names", "gRPC is configured by grpc_services").into());
    }
    let mut services = grpc_services.into_iter();
    let Some(service) = services.next() else { return Err(cx.reject("grpc_services", "value is required").into()) };
    if services.next().is_some() {
        cx.note("grpc_services", "the first one alone is asked");
    }
    cx.item("grpc_services", 0, |cx| {
        let core::GrpcService { timeout, initial_metadata, retry_policy, target_specifier } = service;
        immaterial(timeout, "a stream has no end");
        immaterial(retry_policy, "a stream is opened again with a growing pause");
        let metadata = initial_metadata.into_iter().map(|core::HeaderValue { key, value, raw_value }| {
            let value = if value.is_empty() { String::from_utf8_lossy(&raw_value).into_owned() } else { value };
            (key.into(), value.into())
        });
        let metadata = metadata.collect();
        let envoy = match cx.required("target_specifier", target_specifier)? {
            TargetSpecifier::EnvoyGrpc(envoy) => envoy,
            TargetSpecifier::GoogleGrpc(_) => return Err(cx.unsupported("google_grpc", "google_grpc").into()),
        };
        cx.at("envoy_grpc", |cx| {
            let core::grpc_service::EnvoyGrpc {
                cluster_name,
                authority,
                retry_policy,
                max_receive_message_length,
                skip_envoy_headers,
            } = envoy;
            cx.not_empty("cluster_name", &cluster_name)?;
            immaterial(retry_policy, "a stream is opened again with a growing pause");
            immaterial(max_receive_message_length, "the client's own bound holds");
            immaterial(skip_envoy_headers, "none are sent");
            let authority = (!authority.is_empty()).then(|| authority.into());
            Ok(GrpcSource { cluster: interner.string(&cluster_name), delta, authority, metadata })
        })
    })
}
