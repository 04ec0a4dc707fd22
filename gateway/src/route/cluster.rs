//! Which cluster a request goes to.

use std::sync::Arc;

use config::model::route::{ClusterRef, ClusterSpecifier, Forward, WeightSource, WeightedCluster, WeightedClusters};
use config::runtime::Numbers;
use http::HeaderMap;
use http::HeaderName;
use proxy::report::http::HttpFlow;

use super::{Env, header};

/// The cluster that a request goes to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name; empty where a header should have named it and did not.
    pub cluster: Arc<str>,
    /// Its position among weighted ones.
    pub(super) weighted: Option<u32>,
}

impl Target {
    /// Chooses the cluster; `None`: the runtime has set all weights to zero.
    pub(super) fn choose(forward: &Forward, flow: &HttpFlow, env: &Env<'_>) -> Option<Self> {
        let headers = &flow.request.headers;
        match &forward.cluster {
            ClusterSpecifier::Name(name) => Some(Self { cluster: Arc::clone(name), weighted: None }),
            ClusterSpecifier::Header(name) => Some(Self { cluster: named(headers, name), weighted: None }),
            ClusterSpecifier::Weighted(weighted) => {
                let random = match &weighted.source {
                    WeightSource::Random => None,
                    WeightSource::Header(name) => number(headers, name),
                    WeightSource::Hash => super::hash::of(&forward.hash, flow),
                };
                let at = pick(weighted, env.runtime, random.unwrap_or(env.random))?;
                let cluster = match &weighted.clusters.get(at)?.cluster {
                    ClusterRef::Name(name) => Arc::clone(name),
                    ClusterRef::Header(name) => named(headers, name),
                };
                Some(Self { cluster, weighted: u32::try_from(at).ok() })
            }
        }
    }
}

/// The first value of a header.
pub(super) fn named(headers: &HeaderMap, name: &HeaderName) -> Arc<str> {
    let value = header::first(headers, name).and_then(|value| std::str::from_utf8(value).ok());
    value.map_or_else(Arc::default, Into::into)
}

/// A number in a header that stands there once.
fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => header::integer(value.as_bytes()),
        _ => None,
    }
}

fn weight(cluster: &WeightedCluster, runtime: Option<&Numbers>) -> u64 {
    let known = cluster.runtime_key.as_deref().and_then(|key| runtime?.get(key));
    known.unwrap_or(u64::from(cluster.weight))
}

fn pick(weighted: &WeightedClusters, runtime: Option<&Numbers>, random: u64) -> Option<usize> {
    let total: u64 = weighted.clusters.iter().map(|cluster| weight(cluster, runtime)).sum();
    let mut rest = random.checked_rem(total)?;
    weighted.clusters.iter().position(|cluster| {
        let weight = weight(cluster, runtime);
        match rest < weight {
            true => true,
            false => {
                rest -= weight;
                false
            }
        }
    })
}
