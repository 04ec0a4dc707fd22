//! An xDS server (`core.v3.ApiConfigSource`).

use std::path::PathBuf;
use std::time::Duration;

use core::api_config_source::ApiType;
use core::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::cluster::v3::{Cluster, cluster::ClusterDiscoveryType, cluster::DiscoveryType};
use envoy_types::pb::envoy::config::core::v3 as core;

use super::super::Ads;
use super::statics::Statics;
use super::{google, source, tls};
use crate::model::address::{self, Address};
use crate::reject::{Context, Rejection, immaterial};
use crate::xds::client::Protocol;
use crate::xds::target::{Keepalive, Peer, Target};
use crate::xds::token::{Metadata, Secret};

/// Reads it; clusters and secrets that it refers to must be static.
pub(super) fn read(cx: &mut Context, config: core::ApiConfigSource, statics: &Statics) -> Result<Ads, Rejection> {
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
    } = config;
    immaterial(set_node_on_first_message_only, "the node is sent as often as Kuma's servers need it");
    immaterial(refresh_delay, "for REST");
    immaterial(request_timeout, "for REST");
    immaterial(rate_limit_settings, "requests are answers to responses; there is one of each");
    cx.ignore("cluster_names", &cluster_names, "for REST");
    cx.ignore("config_validators", &config_validators, "the validator is not run");
    source::version(cx, "transport_api_version", transport_api_version)?;
    let protocol = match cx.variant::<ApiType>("api_type", api_type)? {
        ApiType::Grpc | ApiType::AggregatedGrpc => Protocol::Sotw,
        ApiType::DeltaGrpc | ApiType::AggregatedDeltaGrpc => Protocol::Delta,
        _ => return Err(cx.reject("api_type", "only GRPC and DELTA_GRPC are supported")),
    };
    if grpc_services.len() > 1 {
        cx.note("grpc_services", "only the first server is asked");
    }
    let service = cx.required("grpc_services", grpc_services.into_iter().next())?;
    cx.item("grpc_services", 0, |cx| self::service(cx, protocol, service, statics))
}

fn service(
    cx: &mut Context,
    protocol: Protocol,
    service: core::GrpcService,
    statics: &Statics,
) -> Result<Ads, Rejection> {
    let core::GrpcService { timeout, initial_metadata, retry_policy, target_specifier } = service;
    immaterial(timeout, "streams have none");
    immaterial(retry_policy, "streams are opened again as Envoy does without one");
    let mut metadata = cx.each("initial_metadata", initial_metadata, header)?.into_vec();
    let mut cluster = None;
    let (target, max_message) = match cx.required("target_specifier", target_specifier)? {
        TargetSpecifier::EnvoyGrpc(grpc) => {
            cluster = Some(grpc.cluster_name.as_str().into());
            cx.at("envoy_grpc", |cx| envoy(cx, grpc, statics))?
        }
        TargetSpecifier::GoogleGrpc(grpc) => cx.at("google_grpc", |cx| {
            let read = google::read(cx, grpc)?;
            metadata.extend(read.credentials);
            Ok::<_, Rejection>((read.target, read.max_message))
        })?,
    };
    Ok(Ads { protocol, target, metadata, max_message, cluster })
}

fn header(cx: &mut Context, header: core::HeaderValue) -> Result<Metadata, Rejection> {
    let core::HeaderValue { key, value, raw_value } = header;
    cx.not_empty("key", &key)?;
    let value = match raw_value.is_empty() {
        true => value,
        false => String::from_utf8(raw_value).map_err(|_| cx.reject("raw_value", "is not text"))?,
    };
    Ok(Metadata { key: key.to_ascii_lowercase().into(), prefix: "".into(), value: Secret::Inline(value.into()) })
}

type Reached = (Target, Option<usize>);

fn envoy(cx: &mut Context, grpc: EnvoyGrpc, statics: &Statics) -> Result<Reached, Rejection> {
    let EnvoyGrpc { cluster_name, authority, retry_policy, max_receive_message_length, skip_envoy_headers } = grpc;
    immaterial(retry_policy, "streams are opened again as Envoy does without one");
    immaterial(skip_envoy_headers, "no Envoy headers are sent");
    cx.not_empty("cluster_name", &cluster_name)?;
    let Some(cluster) = statics.cluster(&cluster_name) else {
        return Err(cx.reject("cluster_name", format!("there is no static cluster {cluster_name}")));
    };
    let authority = if authority.is_empty() { cluster_name.clone() } else { authority };
    let max = max_receive_message_length.and_then(|m| usize::try_from(m.value).ok());
    // Errors are the cluster's: they are named by their place in it.
    let target = target(cx, cluster, authority, statics).map_err(|e| crate::reject::Rejection {
        path: e.path,
        reason: format!("in static cluster {cluster_name}: {}", e.reason).into(),
    })?;
    Ok((target, max))
}

fn target(cx: &mut Context, cluster: Cluster, authority: String, statics: &Statics) -> Result<Target, Rejection> {
    let dns = match &cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(t)) => match cx.variant("type", *t)? {
            DiscoveryType::Static => false,
            DiscoveryType::StrictDns | DiscoveryType::LogicalDns => true,
            _ => return Err(cx.reject("type", "the control plane's cluster must be STATIC, STRICT_DNS or LOGICAL_DNS")),
        },
        None => false,
        Some(ClusterDiscoveryType::ClusterType(_)) => true,
    };
    let mut peers = Vec::new();
    let assignment = cx.required("load_assignment", cluster.load_assignment)?;
    let endpoints = assignment.endpoints.into_iter().flat_map(|l| l.lb_endpoints);
    cx.at("load_assignment", |cx| {
        cx.each("endpoints", endpoints, |cx, endpoint| peer(cx, endpoint.host_identifier, dns).map(|p| peers.push(p)))
    })?;
    if peers.is_empty() {
        return Err(cx.reject("load_assignment", "holds no endpoint"));
    }
    let connect_timeout = cx.duration("connect_timeout", cluster.connect_timeout)?.unwrap_or(Duration::from_secs(5));
    let tls = match cluster.transport_socket {
        None => None,
        Some(socket) => cx.at("transport_socket", |cx| tls::socket(cx, socket, statics, &peers))?,
    };
    // Envoy's TCP keepalive of this cluster is our HTTP/2 PING, which also notices a peer that only forwards.
    Ok(Target { peers, authority: authority.into(), tls, connect_timeout, keepalive: Some(Keepalive::default()) })
}

fn peer(
    cx: &mut Context,
    host: Option<envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier>,
    dns: bool,
) -> Result<Peer, Rejection> {
    use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
    let Some(HostIdentifier::Endpoint(endpoint)) = host else { return Err(cx.reject("endpoint", "value is required")) };
    let address = cx.required("endpoint.address", endpoint.address)?;
    match address::proto::target(cx, address)? {
        address::Target::Address(Address::Socket(a)) => Ok(Peer::Address(a)),
        address::Target::Address(Address::Pipe { path, .. }) => Ok(Peer::Path(PathBuf::from(&*path))),
        address::Target::Name { host, port } if dns => Ok(Peer::Name(host, port)),
        address::Target::Name { host, .. } => {
            Err(cx.reject("endpoint.address", format!("malformed IP address: {host}")))
        }
    }
}
