//! One host's probes, of whatever kind.

use std::sync::Arc;

use ::http::HeaderValue;
use config::model::address::Address;
use config::model::cluster::{Cluster as Config, HealthCheck, Probe};
use tokio::time::Instant;

use super::client::Target;
use super::{Verdict, grpc, http, tcp};
use crate::metrics::{ClusterStat, Scope};
use crate::upstream::host::Host;

/// Probes one address.
pub(super) enum Prober<'a> {
    Tcp(tcp::Prober<'a>),
    Http(http::Prober<'a>),
    Grpc(grpc::Prober<'a>),
}

impl<'a> Prober<'a> {
    /// `None` for a check that can't be run.
    pub(super) fn new(
        (config, check): (&'a Config, &'a HealthCheck),
        host: &'a Host,
        address: Address,
        stats: Arc<Scope<ClusterStat>>,
    ) -> Option<Self> {
        let options = config.socket.as_deref();
        let authority = |configured: &Option<HeaderValue>| authority(config, host, configured.as_ref());
        match &check.probe {
            Probe::Tcp { .. } => Some(Self::Tcp(tcp::Prober::new(check, host, address, options))),
            Probe::Http(probe) => {
                let (target, more) = (Target { host, address, options }, (check.reuse_connection, stats));
                Some(Self::Http(http::Prober::new(target, probe, authority(&probe.host), more)))
            }
            Probe::Grpc(probe) => {
                let (target, how) = (Target { host, address, options }, (check.timeout, check.reuse_connection));
                Some(Self::Grpc(grpc::Prober::new(target, probe, authority(&probe.authority), how)))
            }
            Probe::Unsupported(_) => None,
        }
    }

    /// One probe, over at `deadline`.
    pub(super) async fn probe(&mut self, deadline: Instant) -> Verdict {
        match self {
            Self::Tcp(prober) => prober.probe(deadline).await,
            Self::Http(prober) => prober.probe(deadline).await,
            Self::Grpc(prober) => prober.probe(deadline).await,
        }
    }

    /// Ready when the host ends a kept connection and that is a failure at once: of TCP only, as in Envoy.
    pub(super) async fn broken(&mut self) {
        match self {
            Self::Tcp(prober) => prober.broken().await,
            Self::Http(_) | Self::Grpc(_) => std::future::pending().await,
        }
    }
}

/// The endpoint's own (`health_check_config.hostname`), else the check's, else the cluster's name.
fn authority(config: &Config, host: &Host, configured: Option<&HeaderValue>) -> HeaderValue {
    let detail = host.detail();
    let own = detail.health_check.as_ref().and_then(|h| h.hostname.as_deref());
    let own = own.and_then(|name| HeaderValue::from_str(name).ok());
    own.or_else(|| configured.cloned())
        .or_else(|| HeaderValue::from_str(&config.name).ok())
        .unwrap_or(HeaderValue::from_static(""))
}
