//! Zone egress: where the mesh ends. Other zones' ingresses and external services are reached through it, each identity
//! only what it is permitted. In the place of kuma-dp + Envoy. The mesh gateway will be here, too.
//!
//! The command line and the process are [`proxy::app`]'s; this crate says which program it is.
#![forbid(unsafe_code)]

pub mod reach;

use config::bootstrap::kuma::ProxyType;
use proxy::app::Role;

/// `zone-egress`.
pub const EGRESS: Role = Role {
    program: "zone-egress",
    about: "Carries traffic out of a zone, to other zones and to external services, each identity only where it may go. \
            In the place of kuma-dp and Envoy.",
    zone: ProxyType::Egress,
    extra: &[reach::COMMAND],
};
