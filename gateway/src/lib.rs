//! Zone egress: where the mesh ends. Other zones' ingresses and external services are reached through it, each identity
//! only what it is permitted. Mesh gateway: where the world comes in. Both in the place of kuma-dp + Envoy.
//!
//! The command line and the process are [`proxy::app`]'s; this crate says which program it is.
#![forbid(unsafe_code)]

pub mod filter;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod http;
pub mod reach;
pub mod route;
pub mod trace;
pub mod upstream;

use config::bootstrap::kuma::ProxyType;
use proxy::app::Role;

/// `zone-egress`.
pub const EGRESS: Role = Role {
    program: "zone-egress",
    about: "Carries traffic out of a zone, to other zones and to external services, each identity only where it may go. \
            In the place of kuma-dp and Envoy.",
    zone: Some(ProxyType::Egress),
    http: Some(http::Server::install),
    extra: &[reach::COMMAND],
};

/// `mesh-gateway`.
pub const GATEWAY: Role = Role {
    program: "mesh-gateway",
    about: "Lets the world into a mesh, over HTTP, TLS and TCP (Kuma's built-in gateway). In the place of kuma-dp and \
            Envoy.",
    zone: None,
    http: Some(http::Server::install_gateway),
    extra: &[reach::COMMAND],
};
