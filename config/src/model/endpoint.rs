//! Endpoints of a cluster (`envoy.config.endpoint.v3.ClusterLoadAssignment`).

use std::net::SocketAddr;
use std::sync::Arc;

use super::address::Target;
use super::metadata::Metadata;

/// All endpoints of one cluster, in the order the control plane gave them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assignment {
    /// One entry for each locality and priority.
    pub localities: Box<[LocalityEndpoints]>,
    /// Percent; Envoy's default is 140 (`policy.overprovisioning_factor`).
    pub overprovisioning_factor: u32,
    /// Priorities' loads are weighted by endpoint weights (`policy.weighted_priority_health`).
    pub weighted_priority_health: bool,
}

/// The endpoints of one locality at one priority.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalityEndpoints {
    /// Region, zone, sub-zone; all empty when the control plane named none.
    pub locality: Arc<Locality>,
    /// 0 is the highest.
    pub priority: u32,
    /// Weight for locality-weighted balancing; `None`: no load when that is on.
    pub weight: Option<u32>,
    /// The endpoints.
    pub endpoints: Box<[Endpoint]>,
}

/// `core.v3.Locality`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locality {
    /// Region.
    pub region: Box<str>,
    /// Zone.
    pub zone: Box<str>,
    /// Sub-zone.
    pub sub_zone: Box<str>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Where it is.
    pub target: Target,
    /// Further addresses of the same endpoint, tried in turn with its own (happy eyeballs); only beside an IP address.
    pub additional_addresses: Box<[SocketAddr]>,
    /// At least 1.
    pub weight: u32,
    /// What the control plane says of its health.
    pub health: Health,
    /// Shared by all endpoints of the assignment that carry equal metadata.
    pub metadata: Option<Arc<Metadata>>,
    /// `endpoint.hostname`, shown in `/clusters` and used for host rewriting.
    pub hostname: Option<Arc<str>>,
    /// `endpoint.health_check_config`, when it differs from the endpoint itself.
    pub health_check: Option<Box<HealthCheckOverride>>,
}

/// Where and whether the active health checker probes, if not at the endpoint's own address.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HealthCheckOverride {
    /// Another port.
    pub port: Option<u16>,
    /// Another address.
    pub address: Option<super::address::Address>,
    /// The authority of HTTP and gRPC probes.
    pub hostname: Option<Arc<str>>,
    /// The endpoint is never probed.
    pub disabled: bool,
}

/// `core.v3.HealthStatus`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Not said; healthy until a check says otherwise.
    #[default]
    Unknown,
    /// Healthy.
    Healthy,
    /// Unhealthy.
    Unhealthy,
    /// Being drained: no new connections.
    Draining,
    /// Timed out at the control plane's own check: unhealthy.
    Timeout,
    /// Used only when healthy ones are too few.
    Degraded,
}

pub(crate) mod proto;
