//! What is announced to the control plane, and so changes what it sends (`pkg/xds/types` in Kuma).

use serde::{Serialize, Serializer};

/// A feature that Kuma's control planes look at, of those that a zone proxy may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Looked at by no supported control plane; every `kuma-dp` announces it.
    TcpAccessLogViaNamedPipe,
    /// The bootstrap says `DELTA_GRPC` (2.x; 3.0 always does).
    DeltaGrpc,
    /// Listeners, clusters and statistics are named `kri_…`, `system_…`, `self_…` (2.x; 3.0 always does).
    UnifiedResourceNaming,
    /// SPIRE may issue identities.
    Spire,
    /// Of concern to sidecars; every `kuma-dp` announces it unless told not to.
    StrictInboundPorts,
    /// `enable_reuse_port` on our listeners.
    ReusePort,
}

impl Feature {
    /// On the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TcpAccessLogViaNamedPipe => "feature-tcp-accesslog-via-named-pipe",
            Self::DeltaGrpc => "feature-delta-grpc",
            Self::UnifiedResourceNaming => "feature-unified-resource-naming",
            Self::Spire => "feature-spire",
            Self::StrictInboundPorts => "feature-strict-inbound-ports",
            Self::ReusePort => "feature-reuse-port",
        }
    }
}

impl Serialize for Feature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The settings that decide.
///
/// Not announced on purpose: `readiness-unix-socket` (TCP is what all later versions do), `embedded-dns`,
/// `bind-outbounds`, `transparent-proxy-in-dataplane-metadata` (sidecars), `otel-via-kuma-dp` (without it the control
/// plane configures the collectors directly).
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// State of the world instead of increments (`…_ENVOY_XDS_TRANSPORT_PROTOCOL_VARIANT=GRPC`).
    pub state_of_the_world: bool,
    /// `KUMA_DATAPLANE_RUNTIME_UNIFIED_RESOURCE_NAMING_ENABLED`. Never by itself: in meshes that are not Exclusive, an
    /// egress of 2.x would then wait for secrets that nobody sends.
    pub unified_naming: bool,
    /// `KUMA_DATAPLANE_RUNTIME_SPIRE_SUPPORTED`.
    pub spire: bool,
    /// `KUMA_DATAPLANE_RUNTIME_STRICT_INBOUND_PORTS_ENABLED`.
    pub strict_inbound_ports: bool,
    /// `KUMA_DATAPLANE_RUNTIME_REUSE_PORT_ENABLED`.
    pub reuse_port: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            state_of_the_world: false,
            unified_naming: false,
            spire: false,
            strict_inbound_ports: true,
            reuse_port: true,
        }
    }
}

impl Features {
    /// What to announce.
    pub fn announced(self) -> Vec<Feature> {
        [
            (true, Feature::TcpAccessLogViaNamedPipe),
            (!self.state_of_the_world, Feature::DeltaGrpc),
            (self.unified_naming, Feature::UnifiedResourceNaming),
            (self.spire, Feature::Spire),
            (self.strict_inbound_ports, Feature::StrictInboundPorts),
            (self.reuse_port, Feature::ReusePort),
        ]
        .into_iter()
        .filter_map(|(on, feature)| on.then_some(feature))
        .collect()
    }
}
