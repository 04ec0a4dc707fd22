//! From `extensions.transport_sockets.tls.v3`.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

mod anchors;
mod certificate;
mod common;
mod downstream;
mod parameters;
mod sds;
mod secret;
mod spiffe;
mod strings;
mod upstream;
mod validation;

pub(crate) use anchors::Trusts;
pub(crate) use certificate::identity;
pub(crate) use downstream::downstream;
pub(crate) use parameters::parameters;
pub(crate) use sds::source as config_source;
pub(crate) use secret::secret;
pub(crate) use strings::{regex, string_match};
pub(crate) use upstream::upstream;
pub(crate) use validation::validation;

use crate::reject::{Rejection, Unsupported};

/// Why something is not converted.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The resource is refused.
    Rejected(Rejection),
    /// It can't be run.
    Unsupported(Unsupported),
}

impl From<Rejection> for Fault {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<Unsupported> for Fault {
    fn from(unsupported: Unsupported) -> Self {
        Self::Unsupported(unsupported)
    }
}

impl Fault {
    /// For what must run or be refused.
    pub(crate) fn rejection(self) -> Rejection {
        match self {
            Self::Rejected(rejection) => rejection,
            Self::Unsupported(Unsupported { what, path }) => {
                Rejection { path, reason: format!("{what} is not supported").into() }
            }
        }
    }
}

#[cfg(test)]
mod tests;
