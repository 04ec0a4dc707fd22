//! From `extensions.filters.network.tcp_proxy.v3.TcpProxy`.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as pb;
use envoy_types::pb::envoy::r#type::v3::{HashPolicy, hash_policy};
use pb::tcp_proxy::{ClusterSpecifier, TcpAccessLogOptions, WeightedCluster, weighted_cluster::ClusterWeight};

use super::{Destination, More, Route, TcpProxy};
use crate::model::access_log::proto as access_log;
use crate::model::metadata::proto::{Interner, lb_fields};
use crate::model::metadata::{Fields, Value};
use crate::reject::{Context, Rejection, Unsupported, immaterial};

/// Envoy's default `idle_timeout`.
const IDLE: Duration = Duration::from_secs(3600);
const MILLISECOND: Duration = Duration::from_millis(1);
/// Envoy's default `max_interval` is this many base intervals.
const MAX_BACKOFF: u32 = 10;

/// What many chains share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Strings and metadata.
    pub(crate) interner: Interner,
    /// Access logs.
    pub(crate) access_logs: access_log::Cache,
}

/// Converts the body of a TcpProxy.
pub(crate) fn tcp_proxy(
    cx: &mut Context,
    shared: &mut Shared,
    body: &[u8],
) -> Result<Result<TcpProxy, Unsupported>, Rejection> {
    let pb::TcpProxy {
        stat_prefix,
        on_demand,
        metadata_match,
        idle_timeout,
        downstream_idle_timeout,
        upstream_idle_timeout,
        access_log,
        max_connect_attempts,
        backoff_options,
        hash_policy,
        tunneling_config,
        max_downstream_connection_duration,
        max_downstream_connection_duration_jitter_percentage,
        access_log_flush_interval,
        flush_access_log_on_connected,
        access_log_options,
        proxy_protocol_tlvs,
        proxy_protocol_tlv_merge_policy,
        upstream_connect_mode,
        max_early_data_bytes,
        check_drain_close,
        cluster_specifier,
    } = cx.decode(body)?;
    cx.not_empty("stat_prefix", &stat_prefix)?;
    let connect_mode: pb::UpstreamConnectMode = cx.variant("upstream_connect_mode", upstream_connect_mode)?;
    cx.variant::<pb::ProxyProtocolTlvMergePolicy>("proxy_protocol_tlv_merge_policy", proxy_protocol_tlv_merge_policy)?;
    immaterial(max_early_data_bytes, "bounds what is read before the upstream connection is there; a ClientHello is");
    cx.ignore("on_demand", &on_demand, "a cluster that is not there is not asked for");
    cx.ignore("downstream_idle_timeout", &downstream_idle_timeout, "idle_timeout covers both directions");
    cx.ignore("upstream_idle_timeout", &upstream_idle_timeout, "idle_timeout covers both directions");
    cx.ignore(
        "proxy_protocol_tlvs",
        &proxy_protocol_tlvs,
        "a header sent upstream has the added_tlvs of its transport socket only",
    );
    cx.ignore("check_drain_close", &check_drain_close.filter(|f| f.value), "connections live on while draining");
    let jitter = max_downstream_connection_duration_jitter_percentage;
    cx.ignore("max_downstream_connection_duration_jitter_percentage", &jitter, "the duration is kept exactly");
    if connect_mode != pb::UpstreamConnectMode::Immediate {
        cx.note("upstream_connect_mode", "the upstream connection is made at once");
    }
    if tunneling_config.is_some() {
        return Ok(Err(cx.unsupported("tunneling_config", "tunneling_config")));
    }
    let metadata_match = cx.at("metadata_match", |cx| lb_fields(cx, &mut shared.interner, metadata_match))?;
    let specifier = cx.required("cluster_specifier", cluster_specifier)?;
    let flush = Flush { interval: access_log_flush_interval, on_connected: flush_access_log_on_connected };
    let more = More {
        max_connect_attempts: match max_connect_attempts.map_or(1, |w| w.value) {
            0 => return Err(cx.reject("max_connect_attempts", "value must be greater than or equal to 1")),
            attempts => attempts,
        },
        backoff: match backoff_options {
            None => None,
            Some(options) => Some(cx.at("backoff_options", |cx| backoff(cx, options))?),
        },
        max_duration: cx.at_least(
            "max_downstream_connection_duration",
            max_downstream_connection_duration,
            MILLISECOND,
        )?,
        hash_source_ip: hash_source_ip(cx, hash_policy)?,
        access_logs: access_log::access_logs(cx, &mut shared.access_logs, access_log)?,
        ..flush.settle(cx, access_log_options)?
    };
    let idle_timeout = cx.duration("idle_timeout", idle_timeout)?.unwrap_or(IDLE);
    Ok(Ok(TcpProxy {
        stat_prefix: shared.interner.string(&stat_prefix),
        route: route(cx, &mut shared.interner, specifier, metadata_match)?,
        idle_timeout: (!idle_timeout.is_zero()).then_some(idle_timeout),
        more: (!more.is_default()).then(|| Box::new(more)),
    }))
}

impl More {
    fn is_default(&self) -> bool {
        matches!(
            self,
            Self {
                max_connect_attempts: 1,
                backoff: None,
                max_duration: None,
                hash_source_ip: false,
                access_logs,
                flush_access_log_on_connected: false,
                access_log_flush_interval: None,
            } if access_logs.is_empty()
        )
    }
}

/// The deprecated twins of `access_log_options`.
struct Flush {
    interval: Option<envoy_types::pb::google::protobuf::Duration>,
    on_connected: bool,
}

impl Flush {
    fn settle(self, cx: &mut Context, options: Option<TcpAccessLogOptions>) -> Result<More, Rejection> {
        let field = "access_log_flush_interval";
        let own = cx.at_least(field, self.interval, MILLISECOND)?;
        let (interval, on_connected) = match options {
            None => (own, self.on_connected),
            Some(_) if self.on_connected || self.interval.is_some() => {
                return Err(cx.reject(
                    "access_log_options",
                    "only one of access_log_options or the deprecated top-level access log options may be set",
                ));
            }
            Some(options) => cx.at("access_log_options", |cx| {
                let TcpAccessLogOptions {
                    access_log_flush_interval,
                    flush_access_log_on_connected,
                    flush_access_log_on_start,
                } = options;
                cx.ignore("flush_access_log_on_start", &flush_access_log_on_start, "no line is written at the start");
                Ok::<_, Rejection>((
                    cx.at_least(field, access_log_flush_interval, MILLISECOND)?,
                    flush_access_log_on_connected,
                ))
            })?,
        };
        Ok(More { access_log_flush_interval: interval, flush_access_log_on_connected: on_connected, ..More::default() })
    }
}

fn backoff(cx: &mut Context, options: core::BackoffStrategy) -> Result<(Duration, Duration), Rejection> {
    let core::BackoffStrategy { base_interval, max_interval } = options;
    let base = cx.at_least("base_interval", base_interval, MILLISECOND)?;
    let base = cx.required("base_interval", base)?;
    let max = cx.longer_than("max_interval", max_interval, Duration::ZERO)?;
    let max = max.unwrap_or(base.saturating_mul(MAX_BACKOFF));
    if max < base {
        return Err(cx.reject("max_interval", "must be greater than or equal to the base_interval"));
    }
    Ok((base, max))
}

fn hash_source_ip(cx: &mut Context, policies: Vec<HashPolicy>) -> Result<bool, Rejection> {
    if policies.len() > 1 {
        return Err(cx.reject("hash_policy", "value must contain no more than 1 item(s)"));
    }
    let mut source_ip = false;
    for (i, HashPolicy { policy_specifier }) in policies.into_iter().enumerate() {
        cx.item("hash_policy", i, |cx| {
            match cx.required("policy_specifier", policy_specifier)? {
                hash_policy::PolicySpecifier::SourceIp(hash_policy::SourceIp {}) => source_ip = true,
                hash_policy::PolicySpecifier::FilterState(hash_policy::FilterState { key }) => {
                    cx.at("filter_state", |cx| cx.not_empty("key", &key))?;
                    cx.note("filter_state", "no filter state is kept: no hash is taken");
                }
            }
            Ok::<_, Rejection>(())
        })?;
    }
    Ok(source_ip)
}

fn route(
    cx: &mut Context,
    interner: &mut Interner,
    specifier: ClusterSpecifier,
    own: Option<Fields>,
) -> Result<Route, Rejection> {
    let own = own.map(Arc::new);
    match specifier {
        ClusterSpecifier::Cluster(name) => {
            Ok(Route::Cluster(Destination { cluster: interner.string(&name), metadata_match: own }))
        }
        ClusterSpecifier::WeightedClusters(WeightedCluster { clusters }) => cx.at("weighted_clusters", |cx| {
            let clusters = cx.each("clusters", clusters, |cx, weighted| {
                let ClusterWeight { name, weight, metadata_match } = weighted;
                cx.not_empty("name", &name)?;
                if weight == 0 {
                    return Err(cx.reject("weight", "value must be greater than or equal to 1"));
                }
                let more = cx.at("metadata_match", |cx| lb_fields(cx, interner, metadata_match))?;
                let metadata_match = merge(own.as_ref(), more);
                Ok((weight, Destination { cluster: interner.string(&name), metadata_match }))
            })?;
            if clusters.is_empty() {
                return Err(cx.reject("clusters", "value must contain at least 1 item(s)"));
            }
            let total = clusters.iter().map(|(weight, _)| u64::from(*weight)).sum();
            Ok(Route::Weighted { clusters, total })
        }),
    }
}

/// The filter's criteria, overridden key by key by those of the weighted cluster.
fn merge(own: Option<&Arc<Fields>>, more: Option<Fields>) -> Option<Arc<Fields>> {
    let (own, more) = match (own, more) {
        (own, None) => return own.cloned(),
        (None, Some(more)) => return Some(Arc::new(more)),
        (Some(own), Some(more)) => (own, more),
    };
    let kept = own.iter().filter(|(key, _)| more.binary_search_by(|(k, _)| k.cmp(key)).is_err());
    let mut merged: Vec<(Arc<str>, Value)> = kept.cloned().chain(more.iter().cloned()).collect();
    merged.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Some(Arc::new(merged.into()))
}

#[cfg(test)]
mod tests;
