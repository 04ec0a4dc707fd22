//! The endpoints of a cluster as they are at this moment: `envoy.config.endpoint.v3.ClusterLoadAssignment`.

use std::sync::Arc;

use config::model::address::Address as ModelAddress;
use config::model::cluster::Discovery;
use config::model::endpoint::Locality as ModelLocality;
use config::model::metadata::{Fields, Metadata as ModelMetadata, Value as ModelValue};
use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, HealthStatus, Locality, Metadata, Pipe, SocketAddress};
use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::Policy;
use envoy_types::pb::envoy::config::endpoint::v3::endpoint::HealthCheckConfig;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, UInt32Value, Value};

use super::super::clusters::eds_health;
use crate::upstream::{Cluster, Host};

/// The assignment's name: EDS may have another than the cluster.
pub(super) fn assignment_name(cluster: &Cluster) -> Arc<str> {
    match &cluster.config().discovery {
        Discovery::Eds { service_name, .. } => Arc::clone(service_name),
        Discovery::Static(_) | Discovery::Dns { .. } => Arc::clone(cluster.name()),
    }
}

/// As Envoy's `dumpEndpointConfigs`: hosts by priority and locality, with the health they are thought to have.
pub(super) fn assignment(cluster: &Cluster) -> ClusterLoadAssignment {
    let configured = &cluster.entry().assignment;
    let mut endpoints: Vec<LocalityLbEndpoints> = Vec::new();
    for host in cluster.hosts().hosts() {
        let detail = host.detail();
        let locality = locality(&detail.locality);
        let place =
            endpoints.iter().position(|e| e.priority == detail.priority && e.locality.as_ref() == Some(&locality));
        let place = place.unwrap_or_else(|| {
            let weight =
                configured.localities.iter().find(|l| l.priority == detail.priority && l.locality == detail.locality);
            endpoints.push(LocalityLbEndpoints {
                locality: Some(locality),
                priority: detail.priority,
                load_balancing_weight: weight.and_then(|l| l.weight).map(number),
                ..LocalityLbEndpoints::default()
            });
            endpoints.len() - 1
        });
        endpoints[place].lb_endpoints.push(endpoint(host));
    }
    endpoints.sort_by_key(|e| e.priority);
    ClusterLoadAssignment {
        cluster_name: assignment_name(cluster).to_string(),
        endpoints,
        policy: Some(Policy {
            overprovisioning_factor: Some(number(configured.overprovisioning_factor)),
            ..Policy::default()
        }),
        ..ClusterLoadAssignment::default()
    }
}

fn endpoint(host: &Host) -> LbEndpoint {
    let detail = host.detail();
    let health = HealthStatus::from_str_name(eds_health(host)).unwrap_or(HealthStatus::Unknown);
    let endpoint = Endpoint {
        address: Some(address(host.address())),
        hostname: detail.hostname.as_deref().unwrap_or_default().to_owned(),
        health_check_config: Some(HealthCheckConfig::default()),
        ..Endpoint::default()
    };
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(endpoint)),
        health_status: health.into(),
        metadata: detail.metadata.as_deref().map(metadata),
        load_balancing_weight: Some(number(host.weight())),
    }
}

fn number(value: u32) -> UInt32Value {
    UInt32Value { value }
}

fn address(address: &ModelAddress) -> Address {
    let kind = match address {
        ModelAddress::Socket(at) => AddressKind::SocketAddress(SocketAddress {
            address: at.ip().to_string(),
            port_specifier: Some(PortSpecifier::PortValue(at.port().into())),
            ..SocketAddress::default()
        }),
        ModelAddress::Pipe { path, mode } => AddressKind::Pipe(Pipe { path: path.display().to_string(), mode: *mode }),
    };
    Address { address: Some(kind) }
}

fn locality(locality: &ModelLocality) -> Locality {
    Locality {
        region: locality.region.to_string(),
        zone: locality.zone.to_string(),
        sub_zone: locality.sub_zone.to_string(),
    }
}

fn metadata(metadata: &ModelMetadata) -> Metadata {
    let namespaces = metadata.0.iter().map(|(name, fields)| (name.to_string(), structure(fields)));
    Metadata { filter_metadata: namespaces.collect(), ..Metadata::default() }
}

fn structure(fields: &Fields) -> Struct {
    Struct { fields: fields.iter().map(|(name, value)| (name.to_string(), json(value))).collect() }
}

fn json(value: &ModelValue) -> Value {
    let kind = match value {
        ModelValue::Null => Kind::NullValue(0),
        ModelValue::Bool(value) => Kind::BoolValue(*value),
        ModelValue::Number(value) => Kind::NumberValue(*value),
        ModelValue::String(text) => Kind::StringValue(text.to_string()),
        ModelValue::List(values) => Kind::ListValue(ListValue { values: values.iter().map(json).collect() }),
        ModelValue::Struct(fields) => Kind::StructValue(structure(fields)),
    };
    Value { kind: Some(kind) }
}
