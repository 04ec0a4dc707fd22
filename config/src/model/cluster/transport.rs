//! How a cluster's endpoints are reached (`transport_socket`, `transport_socket_matches`).

use std::sync::Arc;

use super::Cluster;
use crate::model::metadata::{Fields, Metadata};
use crate::model::tls::UpstreamTls;
use crate::reject::Unsupported;

/// How bytes go on to the endpoint.
#[derive(Clone, Debug, PartialEq)]
pub enum Transport {
    /// Plain bytes.
    Raw,
    /// TLS.
    Tls(Arc<UpstreamTls>),
    /// A transport socket that this version can't run: connections are refused, never sent in the clear.
    Unsupported(Unsupported),
}

/// One of `transport_socket_matches`: endpoints whose metadata `envoy.transport_socket_match` holds all these fields are
/// reached so. The first that matches counts; one without fields matches every endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct TransportMatch {
    /// Names it in statistics.
    pub name: Arc<str>,
    /// What the endpoint's metadata must hold, equal.
    pub metadata: Fields,
    /// How they are reached.
    pub transport: Transport,
}

impl Cluster {
    /// How an endpoint with this metadata is reached: as the first match says whose fields are all in it.
    pub fn transport_of(&self, metadata: Option<&Metadata>) -> &Transport {
        let found = self.transport_matches.iter().find(|of| takes(&of.metadata, metadata));
        found.map_or(&self.transport, |of| &of.transport)
    }
}

/// Whether an endpoint's metadata holds all of these fields, for [`TransportMatch`].
pub fn takes(wanted: &Fields, metadata: Option<&Metadata>) -> bool {
    let known = metadata.map_or(&[][..], |metadata| metadata.namespace(Metadata::TRANSPORT));
    wanted.iter().all(|field| known.contains(field))
}
