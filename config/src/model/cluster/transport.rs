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
    /// A header of the PROXY protocol before all else.
    ProxyProtocol {
        /// What it says.
        header: Arc<ProxyHeader>,
        /// TLS after it; `None`: plain bytes.
        tls: Option<Arc<UpstreamTls>>,
    },
    /// A transport socket that this version can't run: connections are refused, never sent in the clear.
    Unsupported(Unsupported),
}

/// A header of the PROXY protocol (`core.v3.ProxyProtocolConfig`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Its version.
    pub version: ProxyVersion,
    /// `added_tlvs`: type and value, in order; together short enough for the header. Version 1 has none.
    pub tlvs: Box<[(u8, Box<[u8]>)]>,
}

/// Of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

impl Transport {
    /// TLS, where it is spoken.
    pub fn tls(&self) -> Option<&Arc<UpstreamTls>> {
        match self {
            Self::Tls(tls) | Self::ProxyProtocol { tls: Some(tls), .. } => Some(tls),
            Self::Raw | Self::ProxyProtocol { tls: None, .. } | Self::Unsupported(_) => None,
        }
    }
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
    /// Some endpoints are reached over TLS without a look at their certificates.
    pub fn trusts_anyone(&self) -> bool {
        let all = self.transport_matches.iter().map(|of| &of.transport).chain([&self.transport]);
        all.into_iter().any(|transport| transport.tls().is_some_and(|tls| tls.validation.is_none()))
    }

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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::testing::{cluster, filter};
    use crate::store::parse_cluster;

    fn of(more: Value) -> Cluster {
        let mut config = json!({"name": "a", "connectTimeout": "1s"});
        crate::model::testing::merge(&mut config, more);
        parse_cluster(&cluster(&config)).unwrap().value
    }

    #[test]
    fn tls_that_verifies_nobody_is_seen_wherever_it_stands() {
        let tls = filter("t", "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", json!({"sni": "a"}));
        let raw = filter("r", "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", json!({}));
        assert!(!of(json!({})).trusts_anyone() && !of(json!({"transportSocket": raw})).trusts_anyone());
        assert!(of(json!({"transportSocket": tls})).trusts_anyone());
        assert!(of(json!({"transportSocketMatches": [{"name": "m", "transportSocket": tls}]})).trusts_anyone());
    }
}
