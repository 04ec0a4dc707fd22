//! `weighted_clusters` and `request_mirror_policies`.

use std::collections::HashSet;
use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3 as pb;
use pb::route_action::RequestMirrorPolicy;
use pb::weighted_cluster::cluster_weight::HostRewriteSpecifier;
use pb::weighted_cluster::{ClusterWeight, RandomValueSpecifier};

use super::mutation::{header_mutation, header_value};
use super::{MAX_ITEMS, Part, header_mutations, header_name, matching, run};
use crate::model::http_filter::proto::per_filter;
use crate::model::metadata::Fields;
use crate::model::metadata::proto::{Interner, lb_fields};
use crate::model::route::{ClusterRef, Mirror, WeightSource, WeightedCluster, WeightedClusters};
use crate::reject::{Context, immaterial};

/// Converts a `WeightedCluster`.
pub(super) fn weighted(
    cx: &mut Context,
    interner: &mut Interner,
    (clusters, metadata_match): (pb::WeightedCluster, Option<&Fields>),
) -> Part<WeightedClusters> {
    let pb::WeightedCluster { clusters, total_weight, runtime_key_prefix, random_value_specifier } = clusters;
    immaterial(total_weight, "the sum of the weights is the total");
    if clusters.is_empty() {
        return Err(cx.reject("clusters", "value must contain at least 1 item(s)"));
    }
    let source = match random_value_specifier {
        Some(RandomValueSpecifier::UseHashPolicy(used)) if used.value => WeightSource::Hash,
        Some(RandomValueSpecifier::HeaderName(name)) if !name.is_empty() => {
            WeightSource::Header(header_name(cx, "header_name", &name)?)
        }
        None | Some(RandomValueSpecifier::UseHashPolicy(_) | RandomValueSpecifier::HeaderName(_)) => {
            WeightSource::Random
        }
    };
    let clusters = cx.each("clusters", clusters, |cx, cluster| {
        weight(cx, interner, (cluster, &runtime_key_prefix, metadata_match))
    })?;
    let clusters: Box<[_]> = run!(clusters.into_vec().into_iter().collect::<Result<_, _>>());
    let sum: u64 = clusters.iter().map(|cluster| u64::from(cluster.weight)).sum();
    if sum == 0 {
        return Err(cx.reject("clusters", "Sum of weights in the weighted_cluster must be greater than 0."));
    }
    if u32::try_from(sum).is_err() {
        let why = format!("The sum of weights of all weighted clusters exceeds {}", u32::MAX);
        return Err(cx.reject("clusters", why));
    }
    Ok(Ok(WeightedClusters { clusters, runtime_prefix: interner.string(&runtime_key_prefix), source }))
}

fn weight(
    cx: &mut Context,
    interner: &mut Interner,
    (cluster, prefix, parent): (ClusterWeight, &str, Option<&Fields>),
) -> Part<WeightedCluster> {
    let ClusterWeight {
        name,
        cluster_header,
        weight,
        metadata_match,
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        typed_per_filter_config,
        host_rewrite_specifier,
    } = cluster;
    let per_filter = run!(per_filter(cx, interner, typed_per_filter_config)?);
    let weight = cx.required("weight", weight)?.value;
    let runtime_key = (!prefix.is_empty()).then(|| interner.string(&format!("{prefix}.{name}")));
    let cluster = match (name.is_empty(), cluster_header.is_empty()) {
        (true, true) => return Err(cx.reject("name", "At least one of name or cluster_header need to be specified")),
        (false, false) => return Err(cx.reject("name", "Only one of name or cluster_header can be specified")),
        (false, true) => ClusterRef::Name(interner.string(&name)),
        (true, false) => ClusterRef::Header(matching::header_key(cx, "cluster_header", &cluster_header)?),
    };
    let request_headers = (request_headers_to_add, request_headers_to_remove);
    let response_headers = (response_headers_to_add, response_headers_to_remove);
    let (request_headers, response_headers) = header_mutations(cx, request_headers, response_headers)?;
    let own = cx.at("metadata_match", |cx| lb_fields(cx, interner, metadata_match))?;
    Ok(Ok(WeightedCluster {
        per_filter,
        cluster,
        weight,
        runtime_key,
        metadata_match: merged(own, parent),
        request_headers,
        response_headers,
        host_rewrite: match host_rewrite_specifier {
            None => None,
            Some(HostRewriteSpecifier::HostRewriteLiteral(host)) if host.is_empty() => None,
            Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => {
                Some(header_value(cx, "host_rewrite_literal", host.as_bytes())?)
            }
        },
    }))
}

/// The cluster's own fields cover the route's.
fn merged(own: Option<Fields>, parent: Option<&Fields>) -> Option<Fields> {
    let (Some(own), Some(parent)) = (&own, parent) else { return own.or_else(|| parent.cloned()) };
    let names: HashSet<&str> = own.iter().map(|(name, _)| &**name).collect();
    let inherited = parent.iter().filter(|(name, _)| !names.contains(&**name));
    let mut all: Vec<_> = own.iter().chain(inherited).map(|(name, value)| (Arc::clone(name), value.clone())).collect();
    all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Some(all.into())
}

/// Converts `request_mirror_policies`.
pub(super) fn mirrors(
    cx: &mut Context,
    interner: &mut Interner,
    policies: Vec<RequestMirrorPolicy>,
) -> Part<Vec<Mirror>> {
    let mut converted = Vec::with_capacity(policies.len());
    for (i, policy) in policies.into_iter().enumerate() {
        converted.push(run!(cx.item("request_mirror_policies", i, |cx| mirror(cx, interner, policy))?));
    }
    Ok(Ok(converted))
}

fn mirror(cx: &mut Context, interner: &mut Interner, policy: RequestMirrorPolicy) -> Part<Mirror> {
    let RequestMirrorPolicy {
        cluster,
        cluster_header,
        runtime_fraction,
        trace_sampled,
        disable_shadow_host_suffix_append,
        request_headers_mutations,
        host_rewrite_literal,
    } = policy;
    let cluster = match (cluster.is_empty(), cluster_header.is_empty()) {
        (false, true) => ClusterRef::Name(interner.string(&cluster)),
        (true, false) => ClusterRef::Header(matching::header_key(cx, "cluster_header", &cluster_header)?),
        (false, false) => {
            let why = format!(
                "Only one of cluster '{cluster}' or cluster_header '{cluster_header}' in request mirror policy can be \
                 specified"
            );
            return Err(cx.reject("cluster", why));
        }
        (true, true) => {
            let why = "Exactly one of cluster or cluster_header in request mirror policy need to be specified";
            return Err(cx.reject("cluster", why));
        }
    };
    if request_headers_mutations.len() > MAX_ITEMS {
        let why = format!("value must contain no more than {MAX_ITEMS} item(s)");
        return Err(cx.reject("request_headers_mutations", why));
    }
    cx.ignore("request_headers_mutations", &request_headers_mutations, "a mirror gets the headers of the request");
    let mut mutations = Vec::with_capacity(request_headers_mutations.len());
    for (i, mutation) in request_headers_mutations.into_iter().enumerate() {
        mutations.push(run!(cx.item("request_headers_mutations", i, |cx| header_mutation(cx, mutation))?));
    }
    let host_rewrite = match host_rewrite_literal.as_str() {
        "" => None,
        host => Some(header_value(cx, "host_rewrite_literal", host.as_bytes())?),
    };
    Ok(Ok(Mirror {
        cluster,
        fraction: match runtime_fraction {
            None => None,
            Some(fraction) => Some(cx.at("runtime_fraction", |cx| matching::fraction(cx, interner, fraction))?),
        },
        trace_sampled: trace_sampled.map(|w| w.value),
        plain_host: disable_shadow_host_suffix_append || host_rewrite.is_some(),
        mutations: mutations.into(),
        host_rewrite,
    }))
}
