//! Asks a Kuma control plane for a bootstrap: `POST /bootstrap` on the data plane server, as `kuma-dp` does.
//!
//! The control plane generates an Envoy bootstrap from what it is told ([`Request`]); nothing is authenticated here,
//! the token is checked when the xDS stream is opened.

mod features;
mod fetch;
mod request;
mod resource;
mod roots;
mod token;

#[cfg(test)]
mod tests;

pub use features::{Feature, Features};
pub use fetch::{Aggregate, FetchError, Fetched, Refusal, Sidecar, fetch};
pub use request::{Request, Version};
pub use resource::{ProxyResource, ResourceError, ResourceSource};
pub(crate) use roots::system_bundle;
pub use roots::{RootsError, ServerTrust, system_ca_path};
pub use token::{TokenCheckError, check_token, check_token_file};

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Which control plane, and how long to try.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    /// `--cp-address`: `https://host:5678`; the path is always `/bootstrap`.
    pub url: String,
    /// How its certificate is verified.
    pub trust: ServerTrust,
    /// Between attempts. Kuma's default is 3 s.
    pub backoff: Duration,
    /// For all attempts together. Kuma's default is 5 min.
    pub patience: Duration,
}

/// `--proxy-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyType {
    /// A Dataplane; since Kuma 3.0 the only one, with zone proxies as its listeners.
    Dataplane,
    /// A ZoneIngress (2.x).
    Ingress,
    /// A ZoneEgress (2.x).
    Egress,
}

impl ProxyType {
    /// As Kuma spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dataplane => "dataplane",
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    /// The type of its resource.
    pub const fn resource_type(self) -> &'static str {
        match self {
            Self::Dataplane => "Dataplane",
            Self::Ingress => "ZoneIngress",
            Self::Egress => "ZoneEgress",
        }
    }

    /// Zone proxies of 2.x belong to no mesh.
    pub const fn has_mesh(self) -> bool {
        matches!(self, Self::Dataplane)
    }
}

impl fmt::Display for ProxyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A proxy type that Kuma does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid proxy type \"{0}\": it is one of dataplane, ingress, egress")]
pub struct UnknownProxyType(pub String);

impl FromStr for ProxyType {
    type Err = UnknownProxyType;

    fn from_str(text: &str) -> Result<Self, UnknownProxyType> {
        match text {
            "dataplane" => Ok(Self::Dataplane),
            "ingress" => Ok(Self::Ingress),
            "egress" => Ok(Self::Egress),
            other => Err(UnknownProxyType(other.to_owned())),
        }
    }
}
