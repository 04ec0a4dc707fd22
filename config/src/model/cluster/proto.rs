//! From `config.cluster.v3.Cluster`.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

mod balance;
mod discovery;
mod health_check;
mod http;
mod outlier;
mod subset;
mod thresholds;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::google::protobuf::UInt32Value;

use pb::upstream_connection_options::{FirstAddressFamilyVersion, HappyEyeballsConfig};

use super::{Cluster, HappyEyeballs, HttpOptions, IpFamily, SocketOptions, Transport, UpstreamProtocol};
use crate::model::address::{Address, proto as address};
use crate::model::metadata::{self, proto::Interner};
use crate::reject::{Context, Rejection, immaterial};

/// Envoy's default `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Envoy's default `per_connection_buffer_limit_bytes`.
pub(crate) const BUFFER_LIMIT: u32 = 1024 * 1024;

/// Converts a cluster.
pub(crate) fn cluster(cx: &mut Context, interner: &mut Interner, cluster: pb::Cluster) -> Result<Cluster, Rejection> {
    // Every field has a fate; those that belong together go down together.
    let pb::Cluster {
        transport_socket_matches,
        transport_socket_matcher,
        name,
        alt_stat_name,
        stats_matcher,
        eds_cluster_config,
        connect_timeout,
        per_connection_buffer_limit_bytes,
        per_connection_buffer_high_watermark_timeout,
        lb_policy,
        load_assignment,
        health_checks,
        max_requests_per_connection,
        circuit_breakers,
        upstream_http_protocol_options,
        common_http_protocol_options,
        http_protocol_options,
        http2_protocol_options,
        typed_extension_protocol_options,
        dns_refresh_rate,
        dns_jitter,
        dns_failure_refresh_rate,
        respect_dns_ttl,
        dns_lookup_family,
        dns_resolvers,
        use_tcp_for_dns_lookups,
        dns_resolution_config,
        typed_dns_resolver_config,
        wait_for_warm_on_init,
        outlier_detection,
        cleanup_interval,
        upstream_bind_config,
        lb_subset_config,
        common_lb_config,
        transport_socket,
        metadata: own_metadata,
        protocol_selection,
        upstream_connection_options,
        close_connections_on_host_health_failure,
        ignore_health_on_host_removal,
        filters,
        load_balancing_policy,
        lrs_server,
        lrs_report_endpoint_metrics,
        track_timeout_budgets,
        upstream_config,
        track_cluster_stats,
        preconnect_policy,
        connection_pool_per_downstream_connection,
        queuing_policies,
        cluster_discovery_type,
        lb_config,
    } = cluster;

    cx.not_empty("name", &name)?;
    immaterial(wait_for_warm_on_init, "a cluster with names to resolve is usable at once, and empty until they are");
    immaterial(cleanup_interval, "for ORIGINAL_DST, which is refused");
    immaterial(stats_matcher, "leaves metrics out, none of which cost anything here");
    cx.ignore(
        "per_connection_buffer_high_watermark_timeout",
        &per_connection_buffer_high_watermark_timeout,
        NO_TIMEOUT,
    );
    cx.ignore("lrs_server", &lrs_server, "no load reports are sent");
    immaterial(lrs_report_endpoint_metrics, "goes with lrs_server");
    cx.ignore("upstream_config", &upstream_config, "connections are made the standard way");
    cx.ignore("preconnect_policy", &preconnect_policy, "no connection is made ahead");
    cx.ignore("queuing_policies", &queuing_policies, "connections wait in order of arrival");
    let pools = &connection_pool_per_downstream_connection;
    cx.ignore("connection_pool_per_downstream_connection", pools, "HTTP requests of all clients share connections");
    cx.ignore("ignore_health_on_host_removal", &ignore_health_on_host_removal, "a removed host is removed");
    cx.ignore("close_connections_on_host_health_failure", &close_connections_on_host_health_failure, STAY);
    cx.ignore("filters", &filters, "no upstream network filter runs");
    let dns = discovery::DnsFields {
        refresh_rate: dns_refresh_rate,
        jitter: dns_jitter,
        failure_refresh_rate: dns_failure_refresh_rate,
        respect_ttl: respect_dns_ttl,
        lookup_family: dns_lookup_family,
        resolvers: dns_resolvers,
        use_tcp: use_tcp_for_dns_lookups,
        resolution_config: dns_resolution_config,
        resolver_config: typed_dns_resolver_config,
    };
    let discovery = discovery::Fields { cluster_discovery_type, eds_cluster_config, load_assignment, dns };
    let deprecated_http = http::Deprecated {
        upstream: upstream_http_protocol_options,
        common: common_http_protocol_options,
        http1: http_protocol_options,
        http2: http2_protocol_options,
        protocol_selection,
        max_requests_per_connection,
    };
    let provided = lb_policy == pb::cluster::LbPolicy::ClusterProvided as i32;
    let balance = balance::Fields { lb_policy, lb_config, load_balancing_policy, common_lb_config };

    let sockets = transport::Fields { transport_socket, transport_socket_matches, transport_socket_matcher };
    let (mut transport, mut transport_matches) = transport::transport(cx, interner, sockets)?;
    let (lb, lb_common) = balance::balance(cx, balance, lb_subset_config.is_some())?;
    let name: Arc<str> = interner.string(&name);
    let stat_name = stat_name(&name, &alt_stat_name);
    let (discovery, unsupported) = discovery::discovery(cx, interner, &name, discovery)?;
    if provided != unsupported.is_some() {
        return Err(cx.reject("lb_policy", "CLUSTER_PROVIDED is for clusters that provide it, and for them alone"));
    }
    let (http, cannot) = http::options(cx, typed_extension_protocol_options, deprecated_http)?;
    check_alpn(cx, &name, http.as_ref(), transport_matches.iter().map(|of| &of.transport).chain([&transport]))?;
    if let Some(unsupported) = unsupported.or(cannot) {
        transport = Transport::Unsupported(unsupported);
        transport_matches = Box::default();
    }
    Ok(Cluster {
        discovery,
        connect_timeout: cx.longer_than("connect_timeout", connect_timeout, Duration::ZERO)?.unwrap_or(CONNECT_TIMEOUT),
        lb,
        lb_common: (lb_common != Default::default()).then(|| Box::new(lb_common)),
        subsets: match lb_subset_config {
            None => None,
            Some(subsets) => cx.at("lb_subset_config", |cx| subset::subsets(cx, interner, subsets))?.map(Box::new),
        },
        circuit_breakers: match circuit_breakers {
            None => None,
            Some(breakers) => cx.at("circuit_breakers", |cx| thresholds::circuit_breakers(cx, breakers))?.map(Box::new),
        },
        outlier_detection: match outlier_detection {
            None => None,
            Some(outlier) => Some(Box::new(cx.at("outlier_detection", |cx| outlier::detection(cx, outlier))?)),
        },
        health_checks: cx.each("health_checks", health_checks, health_check::health_check)?,
        transport,
        transport_matches,
        http: http.map(Box::new),
        metadata: cx.at("metadata", |cx| metadata::proto::metadata(cx, interner, own_metadata))?,
        track: http::track(track_timeout_budgets, track_cluster_stats),
        socket: socket(cx, upstream_bind_config, upstream_connection_options)?.map(Box::new),
        buffer_limit: per_connection_buffer_limit_bytes.map_or(BUFFER_LIMIT, |w| w.value),
        name,
        stat_name,
    })
}

/// What is chosen by ALPN needs TLS everywhere, as in Envoy.
fn check_alpn<'a>(
    cx: &Context,
    name: &str,
    http: Option<&HttpOptions>,
    mut transports: impl Iterator<Item = &'a Transport>,
) -> Result<(), Rejection> {
    let by_alpn = http.is_some_and(|http| http.protocol == UpstreamProtocol::Auto);
    if by_alpn
        && transports.any(|transport| matches!(transport, Transport::Raw | Transport::ProxyProtocol { tls: None, .. }))
    {
        let why = format!("ALPN configured for cluster {name} which has a non-ALPN transport socket");
        return Err(cx.reject("typed_extension_protocol_options", why));
    }
    Ok(())
}

/// Why the buffer timeouts are not honoured.
pub(crate) const NO_TIMEOUT: &str = "a connection whose peer does not read is ended by the idle timeout only";

/// Why `close_connections_on_host_health_failure` is not honoured.
const STAY: &str = "connections to a host that turns unhealthy stay";

fn stat_name(name: &Arc<str>, alt: &str) -> Arc<str> {
    match if alt.is_empty() { &**name } else { alt } {
        same if same == &**name && !same.contains(':') => Arc::clone(name),
        other => other.replace(':', "_").into(),
    }
}

fn socket(
    cx: &mut Context,
    bind: Option<core::BindConfig>,
    options: Option<pb::UpstreamConnectionOptions>,
) -> Result<Option<SocketOptions>, Rejection> {
    let mut found = SocketOptions::default();
    if let Some(bind) = bind {
        found.source = cx.at("upstream_bind_config", |cx| self::bind(cx, bind))?;
    }
    if let Some(options) = options {
        let pb::UpstreamConnectionOptions {
            tcp_keepalive,
            set_local_interface_name_on_upstream_connections,
            happy_eyeballs_config,
        } = options;
        cx.at("upstream_connection_options", |cx| {
            immaterial(set_local_interface_name_on_upstream_connections, "goes into filter state, which nothing reads");
            if let Some(config) = happy_eyeballs_config {
                found.happy_eyeballs = cx.at("happy_eyeballs_config", |cx| happy_eyeballs(cx, &config))?;
            }
            Ok::<_, Rejection>(())
        })?;
        found.keepalive = tcp_keepalive.map(keepalive);
    }
    Ok((found != SocketOptions::default()).then_some(found))
}

fn happy_eyeballs(cx: &Context, config: &HappyEyeballsConfig) -> Result<HappyEyeballs, Rejection> {
    let HappyEyeballsConfig { first_address_family_version, first_address_family_count } = config;
    let first = match cx.variant("first_address_family_version", *first_address_family_version)? {
        FirstAddressFamilyVersion::V4 => Some(IpFamily::V4),
        FirstAddressFamilyVersion::V6 => Some(IpFamily::V6),
        // An endpoint with several addresses has IP addresses only: no other family could come first.
        FirstAddressFamilyVersion::Default | FirstAddressFamilyVersion::Pipe | FirstAddressFamilyVersion::Internal => {
            None
        }
    };
    let count = first_address_family_count.map_or(1, |w| w.value);
    if count == 0 {
        return Err(cx.reject("first_address_family_count", "value must be greater than or equal to 1"));
    }
    Ok(HappyEyeballs { first, count })
}

fn bind(cx: &mut Context, bind: core::BindConfig) -> Result<Option<Address>, Rejection> {
    let core::BindConfig {
        source_address,
        freebind,
        socket_options,
        extra_source_addresses,
        additional_source_addresses,
        local_address_selector,
        validate_network_namespaces,
    } = bind;
    cx.ignore("freebind", &freebind.filter(|f| f.value), "the source address must be one of the host's");
    cx.ignore("socket_options", &socket_options, "no raw socket options are set");
    cx.ignore("extra_source_addresses", &extra_source_addresses, "source_address is used for every endpoint");
    cx.ignore("additional_source_addresses", &additional_source_addresses, "source_address is used for every endpoint");
    cx.ignore("local_address_selector", &local_address_selector, "source_address is used for every endpoint");
    immaterial(validate_network_namespaces, "network namespaces are reported as not honoured where they are given");
    let Some(source) = source_address else { return Ok(None) };
    let source = core::Address { address: Some(core::address::Address::SocketAddress(source)) };
    cx.at("source_address", |cx| address::address(cx, source)).map(Some)
}

/// Probes, idle time, interval.
type Keepalive = (Option<u32>, Option<Duration>, Option<Duration>);

fn keepalive(keepalive: core::TcpKeepalive) -> Keepalive {
    let core::TcpKeepalive { keepalive_probes, keepalive_time, keepalive_interval } = keepalive;
    let seconds = |w: Option<UInt32Value>| w.map(|w| Duration::from_secs(u64::from(w.value)));
    (keepalive_probes.map(|w| w.value), seconds(keepalive_time), seconds(keepalive_interval))
}

#[cfg(test)]
mod tests;
