//! Which cluster a request goes to.

use std::sync::Arc;

use config::model::route::{
    ClusterRef, ClusterSpecifier, Forward, HeaderKey, Mirror, WeightSource, WeightedCluster, WeightedClusters,
};
use config::runtime::Numbers;
use http::HeaderMap;
use http::HeaderName;
use proxy::report::http::{HttpFlow, RequestHead};

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
        let head = &flow.request;
        match &forward.cluster {
            ClusterSpecifier::Name(name) => Some(Self { cluster: Arc::clone(name), weighted: None }),
            ClusterSpecifier::Header(name) => Some(Self { cluster: named(head, name), weighted: None }),
            ClusterSpecifier::Weighted(weighted) => {
                let random = match &weighted.source {
                    WeightSource::Random => None,
                    WeightSource::Header(name) => number(&head.headers, name),
                    WeightSource::Hash => super::hash::of(&forward.hash, flow),
                };
                let at = pick(weighted, env.runtime, random.unwrap_or(env.random))?;
                let cluster = match &weighted.clusters.get(at)?.cluster {
                    ClusterRef::Name(name) => Arc::clone(name),
                    ClusterRef::Header(name) => named(head, name),
                };
                Some(Self { cluster, weighted: u32::try_from(at).ok() })
            }
        }
    }
}

/// The first value of a header.
fn named(head: &RequestHead, name: &HeaderKey) -> Arc<str> {
    let value = match header::pseudo(name) {
        Ok(name) => header::first(&head.headers, name),
        Err(name) => head.get(name),
    };
    value.and_then(|value| std::str::from_utf8(value).ok()).map_or_else(Arc::default, Into::into)
}

/// The cluster of a mirror; `None`: the header that should name it is not there.
pub fn mirrored(mirror: &Mirror, head: &RequestHead) -> Option<Arc<str>> {
    match &mirror.cluster {
        ClusterRef::Name(name) => Some(Arc::clone(name)),
        ClusterRef::Header(name) => Some(named(head, name)).filter(|name| !name.is_empty()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::testing::{configuration, flow};
    use config::model::route::Action;

    fn chosen(cluster: &str, headers: &[(&str, &str)], random: u64) -> Option<String> {
        let route = format!("{{match: {{prefix: /}}, route: {{{cluster}}}}}");
        let config = configuration(&format!("virtual_hosts: [{{name: h, domains: ['*'], routes: [{route}]}}]"));
        let Action::Forward(forward) = &config.virtual_hosts[0].routes[0].action else { return None };
        let target = Target::choose(forward, &flow("GET", "h/", headers), &Env { random, runtime: None });
        target.map(|target| target.cluster.to_string())
    }

    #[test]
    fn weights_are_intervals() {
        let weighted =
            "weighted_clusters: {clusters: [{name: a, weight: 1}, {name: b, weight: 0}, {name: c, weight: 3}]}";
        let names: Vec<_> = (0..9).filter_map(|random| chosen(weighted, &[], random)).collect();
        assert_eq!(names.concat(), "acccaccca");
    }

    #[test]
    fn a_header_may_choose() {
        let weighted = "weighted_clusters: {header_name: x, clusters: [{name: a, weight: 1}, {name: b, weight: 1}]}";
        assert_eq!(chosen(weighted, &[("x", "1")], 0).as_deref(), Some("b"));
        assert_eq!(chosen(weighted, &[("x", "1"), ("x", "1")], 0).as_deref(), Some("a"));
        assert_eq!(chosen(weighted, &[("x", "y")], 0).as_deref(), Some("a"));
        assert_eq!(chosen("cluster_header: x", &[("x", "c"), ("x", "d")], 0).as_deref(), Some("c"));
        assert_eq!(chosen("cluster_header: ':authority'", &[], 0).as_deref(), Some("h"));
        assert_eq!(chosen("cluster_header: x", &[], 0).as_deref(), Some(""));
    }
}
