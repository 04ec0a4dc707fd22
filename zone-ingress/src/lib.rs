//! Zone ingress: cross-zone mTLS, routed by SNI, never decrypted. In the place of kuma-dp + Envoy.
//!
//! The command line and the process are [`proxy::app`]'s; this crate says which program it is.
#![forbid(unsafe_code)]

use config::bootstrap::kuma::ProxyType;
use proxy::app::Role;

/// `zone-ingress`.
pub const ROLE: Role = Role {
    program: "zone-ingress",
    about: "Carries mTLS between zones by SNI, in the place of kuma-dp and Envoy.",
    zone: Some(ProxyType::Ingress),
    http: None,
    extra: &[],
};
