//! An Envoy bootstrap (`envoy.config.bootstrap.v3.Bootstrap`): read, and every field given its fate.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

mod admin;
mod ads;
mod google;
mod overload;
mod runtime;
mod source;
mod statics;
mod stats;
mod tls;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::bootstrap::v3 as pb;
use prost::Message as _;

use super::{Bootstrap, BootstrapError};
use crate::json::{Converter, JsonError};
use crate::reject::{Context, Rejection, immaterial};

const MESSAGE: &str = "envoy.config.bootstrap.v3.Bootstrap";

/// Reads `-c FILE` and `--config-yaml TEXT` (Envoy merges the second into the first) by what the file is called:
/// `.pb` is binary, all else JSON or YAML.
///
/// # Errors
/// What stands in the way, with file and place.
pub fn load(file: Option<&Path>, text: Option<&str>) -> Result<Bootstrap, BootstrapError> {
    let mut raw = Vec::new();
    if let Some(path) = file {
        raw = read_file(path)?;
    }
    if let Some(text) = text {
        // Messages are merged by joining their encodings.
        raw.extend(from_text("--config-yaml", text)?);
    }
    decode(raw)
}

/// Reads a bootstrap that came as text, from a control plane say.
///
/// # Errors
/// As [`load`].
pub fn parse(origin: &str, text: &str) -> Result<Bootstrap, BootstrapError> {
    decode(from_text(origin, text)?)
}

fn read_file(path: &Path) -> Result<Vec<u8>, BootstrapError> {
    let origin = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| BootstrapError::Read { path: path.to_owned(), source })?;
    match path.extension().and_then(|e| e.to_str()) {
        Some("pb") => match pb::Bootstrap::decode(bytes.as_slice()) {
            Ok(_) => Ok(bytes),
            Err(source) => Err(BootstrapError::Binary { origin, source }),
        },
        Some("pb_text") => Err(BootstrapError::TextForm(path.to_owned())),
        _ => match String::from_utf8(bytes) {
            Ok(text) => from_text(&origin, &text),
            Err(_) => Err(BootstrapError::Text { origin, source: JsonError::Syntax("it is not UTF-8".to_owned()) }),
        },
    }
}

fn from_text(origin: &str, text: &str) -> Result<Vec<u8>, BootstrapError> {
    let bytes = Converter::new().and_then(|c| c.text_to_bytes(MESSAGE, text));
    bytes.map_err(|source| BootstrapError::Text { origin: origin.to_owned(), source })
}

fn decode(raw: Vec<u8>) -> Result<Bootstrap, BootstrapError> {
    let raw = Bytes::from(raw);
    let mut cx = Context::default();
    let (statics, rest) = statics::Statics::cut(&cx, &raw)?;
    let message = cx.decode(&rest)?;
    let mut bootstrap = convert(&mut cx, message, &statics)?;
    bootstrap.dynamic.files = statics.endpoint_files();
    bootstrap.fixed = cx.at("static_resources", |cx| statics.into_batches(cx))?;
    bootstrap.raw = raw;
    bootstrap.ignored = cx.into_ignored();
    Ok(bootstrap)
}

fn local_cluster(cx: &mut Context, manager: pb::ClusterManager) -> Option<Arc<str>> {
    let pb::ClusterManager {
        local_cluster_name,
        outlier_detection,
        upstream_bind_config,
        load_stats_config,
        enable_deferred_cluster_creation,
    } = manager;
    cx.ignore("outlier_detection", &outlier_detection, "ejections are counted, not logged");
    cx.ignore("upstream_bind_config", &upstream_bind_config, "clusters have their own source addresses only");
    cx.ignore("load_stats_config", &load_stats_config, "no load reports are sent");
    immaterial(enable_deferred_cluster_creation, "what a cluster needs is made when it is first used in any case");
    (!local_cluster_name.is_empty()).then(|| local_cluster_name.into())
}

#[expect(clippy::too_many_lines, reason = "one line for each field of the message")]
fn convert(cx: &mut Context, bootstrap: pb::Bootstrap, statics: &statics::Statics) -> Result<Bootstrap, Rejection> {
    let pb::Bootstrap {
        node,
        node_context_params,
        static_resources: _, // cut out before
        dynamic_resources,
        cluster_manager,
        hds_config,
        flags_path,
        stats_sinks,
        deferred_stat_options,
        stats_config,
        stats_flush_interval,
        watchdog,
        watchdogs,
        tracing,
        layered_runtime,
        admin,
        overload_manager,
        enable_dispatcher_stats,
        header_prefix,
        stats_server_version_override,
        use_tcp_for_dns_lookups,
        dns_resolution_config,
        typed_dns_resolver_config,
        bootstrap_extensions,
        fatal_actions,
        config_sources,
        default_config_source,
        default_socket_interface,
        certificate_provider_instances,
        inline_headers,
        perf_tracing_file_path,
        default_regex_engine,
        xds_delegate_extension,
        xds_config_tracker_extension,
        listener_manager,
        application_log_config,
        grpc_async_client_manager_config,
        memory_allocator_manager,
        enable_worker_cpu_affinity,
        stats_flush,
        stats_eviction,
    } = bootstrap;
    immaterial(hds_config, "Kuma's health discovery concerns inbounds of sidecars, which this proxy has none of");
    immaterial(watchdog, "there is no watchdog to configure");
    immaterial(watchdogs, "there is no watchdog to configure");
    immaterial(enable_dispatcher_stats, "statistics of Envoy's event loop");
    immaterial(deferred_stat_options, "statistics are made when they are first needed in any case");
    immaterial(stats_flush_interval, "statistics are read when they are asked for");
    immaterial(stats_flush, "statistics are read when they are asked for");
    immaterial(stats_eviction, "statistics of what is gone are dropped in any case");
    immaterial(default_regex_engine, "expressions are linear in time, as RE2's are");
    immaterial(grpc_async_client_manager_config, "how long Envoy keeps idle gRPC clients");
    immaterial(memory_allocator_manager, "a setting of tcmalloc");
    immaterial(perf_tracing_file_path, "for builds of Envoy with Perfetto");
    cx.ignore("node_context_params", &node_context_params, "no context parameters are sent");
    let local_cluster =
        cluster_manager.and_then(|manager| cx.at("cluster_manager", |cx| self::local_cluster(cx, manager)));
    cx.ignore("flags_path", &flags_path, "no flag files are read");
    cx.ignore("stats_sinks", &stats_sinks, "statistics are only served by the admin server");
    cx.ignore("tracing", &tracing, "no traces are sent");
    cx.ignore("header_prefix", &header_prefix, "no x-envoy- headers are sent");
    cx.ignore("stats_server_version_override", &stats_server_version_override, "server.version is our own");
    cx.ignore("use_tcp_for_dns_lookups", &use_tcp_for_dns_lookups, "DNS is asked as the system is configured");
    cx.ignore("dns_resolution_config", &dns_resolution_config, "DNS is asked as the system is configured");
    cx.ignore("typed_dns_resolver_config", &typed_dns_resolver_config, "DNS is asked as the system is configured");
    cx.ignore("bootstrap_extensions", &bootstrap_extensions, "the extension is not run");
    cx.ignore("fatal_actions", &fatal_actions, "the action is not run");
    cx.ignore("config_sources", &config_sources, "xDS-TP sources are not asked");
    cx.ignore("default_config_source", &default_config_source, "xDS-TP sources are not asked");
    cx.ignore("default_socket_interface", &default_socket_interface, "the system's sockets are used");
    cx.ignore("certificate_provider_instances", &certificate_provider_instances, "the provider is not run");
    cx.ignore("inline_headers", &inline_headers, "headers need no registration");
    cx.ignore("xds_delegate_extension", &xds_delegate_extension, "the extension is not run");
    cx.ignore("xds_config_tracker_extension", &xds_config_tracker_extension, "the extension is not run");
    cx.ignore("listener_manager", &listener_manager, "our own listener manager is used");
    cx.ignore("application_log_config", &application_log_config, "the log's form is set on the command line");
    cx.ignore("enable_worker_cpu_affinity", &enable_worker_cpu_affinity, "workers are not bound to CPUs");

    let dynamic = dynamic_resources.unwrap_or_default();
    let mut dynamic = cx.at("dynamic_resources", |cx| source::dynamic(cx, dynamic, statics))?;
    let (runtime, limit) = cx.at("layered_runtime", |cx| runtime::read(cx, layered_runtime, &mut dynamic))?;
    let mut overload = cx.at("overload_manager", |cx| overload::read(cx, overload_manager))?;
    overload.max_connections = overload.max_connections.or(limit);
    Ok(Bootstrap {
        node: node.unwrap_or_default(),
        admin: admin.map(|a| cx.at("admin", |cx| admin::read(cx, a))).transpose()?.flatten(),
        fixed: Vec::new(),
        dynamic,
        stats: cx.at("stats_config", |cx| stats::read(cx, stats_config))?,
        local_cluster,
        overload,
        runtime,
        raw: Bytes::new(),
        ignored: Box::default(),
    })
}
