//! Where the endpoints come from: `type` or `cluster_type`, and the DNS fields.

use std::sync::Arc;
use std::time::Duration;

use core::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::extensions::clusters::dns::v3::{DnsCluster, dns_cluster};
use envoy_types::pb::google::protobuf;
use pb::cluster::{ClusterDiscoveryType, CustomClusterType, DiscoveryType, DnsLookupFamily, EdsClusterConfig};

use crate::model::cluster::{Discovery, Dns, DnsFamily};
use crate::model::endpoint::Assignment;
use crate::model::endpoint::proto::{Names, assignment};
use crate::model::metadata::proto::Interner;
use crate::reject::{Context, Rejection, Unsupported, immaterial};

/// Envoy's default `initial_fetch_timeout`.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);
/// Envoy's default `dns_refresh_rate`.
const DNS_REFRESH: Duration = Duration::from_secs(5);
/// DNS intervals must be longer than this.
const DNS_BOUND: Duration = Duration::from_millis(1);

/// Cluster types of Envoy's that this version can't run.
const UNSUPPORTED: [&str; 5] = [
    "envoy.cluster.original_dst",
    "envoy.clusters.aggregate",
    "envoy.clusters.dynamic_forward_proxy",
    "envoy.clusters.redis",
    "envoy.clusters.reverse_connection",
];

const RESOLVER: &str = "names are resolved as the system is configured to";

/// The fields of a cluster that say where its endpoints come from.
pub(super) struct Fields {
    pub(super) cluster_discovery_type: Option<ClusterDiscoveryType>,
    pub(super) eds_cluster_config: Option<EdsClusterConfig>,
    pub(super) load_assignment: Option<ClusterLoadAssignment>,
    pub(super) dns: DnsFields,
}

/// The DNS fields of a cluster.
#[derive(Default)]
pub(super) struct DnsFields {
    pub(super) refresh_rate: Option<protobuf::Duration>,
    pub(super) jitter: Option<protobuf::Duration>,
    pub(super) failure_refresh_rate: Option<pb::cluster::RefreshRate>,
    pub(super) respect_ttl: bool,
    pub(super) lookup_family: i32,
    pub(super) resolvers: Vec<core::Address>,
    pub(super) use_tcp: bool,
    pub(super) resolution_config: Option<core::DnsResolutionConfig>,
    pub(super) resolver_config: Option<core::TypedExtensionConfig>,
}

/// What kind of cluster it is.
enum Kind {
    Static,
    Dns { logical: bool },
    Eds,
    Unsupported(Unsupported),
}

/// Where the endpoints come from. A type that this version can't run has none.
pub(super) fn discovery(
    cx: &mut Context,
    interner: &mut Interner,
    name: &Arc<str>,
    fields: Fields,
) -> Result<(Discovery, Option<Unsupported>), Rejection> {
    let Fields { cluster_discovery_type, eds_cluster_config, load_assignment, dns } = fields;
    // Checked for every type, as protoc-gen-validate does.
    let mut dns = self::dns(cx, dns)?;
    let kind = match cluster_discovery_type {
        None => Kind::Static,
        Some(ClusterDiscoveryType::Type(t)) => plain(cx, t)?,
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            let (kind, own) = cx.at("cluster_type", |cx| self::custom(cx, custom))?;
            dns = own.unwrap_or(dns);
            kind
        }
    };
    let mut endpoints = |cx: &mut Context, names| match load_assignment {
        None => Ok(Arc::default()),
        Some(ref load) => cx.at("load_assignment", |cx| {
            assignment(cx, interner, names, load.clone()).map(|(_, assignment)| Arc::new(assignment))
        }),
    };
    let discovery = match kind {
        Kind::Static => endpoints(cx, Names::Refused).map(Discovery::Static),
        Kind::Dns { logical } => {
            if dns.failure_refresh.is_some_and(|(base, max)| max < base) {
                let reason = "max_interval must be greater than or equal to the base_interval";
                return Err(cx.reject("dns_failure_refresh_rate", reason));
            }
            let assignment: Arc<Assignment> = endpoints(cx, Names::Resolved)?;
            if logical && !matches!(&*assignment.localities, [one] if one.endpoints.len() == 1) {
                return Err(cx.reject(
                    "load_assignment",
                    "LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint",
                ));
            }
            Ok(Discovery::Dns { assignment, dns: Box::new(Dns { logical, ..dns }) })
        }
        Kind::Eds => {
            cx.ignore("load_assignment", &load_assignment, "the endpoints come by EDS");
            let config = cx.required("eds_cluster_config", eds_cluster_config)?;
            cx.at("eds_cluster_config", |cx| eds(cx, name, config))
        }
        Kind::Unsupported(unsupported) => return Ok((Discovery::Static(Arc::default()), Some(unsupported))),
    };
    discovery.map(|discovery| (discovery, None))
}

fn plain(cx: &Context, t: i32) -> Result<Kind, Rejection> {
    Ok(match cx.variant("type", t)? {
        DiscoveryType::Static => Kind::Static,
        DiscoveryType::StrictDns => Kind::Dns { logical: false },
        DiscoveryType::LogicalDns => Kind::Dns { logical: true },
        DiscoveryType::Eds => Kind::Eds,
        DiscoveryType::OriginalDst => Kind::Unsupported(cx.unsupported("type", "ORIGINAL_DST")),
    })
}

/// `cluster_type`: a name, and for DNS a configuration of its own.
fn custom(cx: &mut Context, custom: CustomClusterType) -> Result<(Kind, Option<Dns>), Rejection> {
    let CustomClusterType { name, typed_config } = custom;
    cx.not_empty("name", &name)?;
    let dns = match typed_config {
        Some(any) if any.type_url.ends_with("/envoy.extensions.clusters.dns.v3.DnsCluster") => {
            Some(cx.at("typed_config", |cx| typed_dns(cx, &any.value))?)
        }
        _ => None,
    };
    let kind = match (&*name, &dns) {
        ("envoy.cluster.static", None) => Kind::Static,
        ("envoy.cluster.eds", None) => Kind::Eds,
        ("envoy.cluster.strict_dns", _) => Kind::Dns { logical: false },
        ("envoy.cluster.logical_dns", _) => Kind::Dns { logical: true },
        (_, Some(dns)) => Kind::Dns { logical: dns.logical },
        _ if UNSUPPORTED.contains(&&*name) => Kind::Unsupported(cx.unsupported("name", &name)),
        _ => {
            let reason = format!("didn't find a registered cluster factory implementation for name: '{name}'");
            return Err(cx.reject("name", reason));
        }
    };
    Ok((kind, dns))
}

fn eds(cx: &mut Context, name: &Arc<str>, config: EdsClusterConfig) -> Result<Discovery, Rejection> {
    let EdsClusterConfig { eds_config, service_name } = config;
    let service_name = if service_name.is_empty() { Arc::clone(name) } else { service_name.into() };
    let source = cx.required("eds_config", eds_config)?;
    let initial_fetch_timeout = cx.at("eds_config", |cx| {
        let core::ConfigSource { authorities, initial_fetch_timeout, resource_api_version, config_source_specifier } =
            source;
        immaterial(authorities, "not implemented by Envoy either, which hides the field");
        cx.variant::<core::ApiVersion>("resource_api_version", resource_api_version)?;
        match cx.required("config_source_specifier", config_source_specifier)? {
            ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_) => {}
            ConfigSourceSpecifier::Path(_)
            | ConfigSourceSpecifier::PathConfigSource(_)
            | ConfigSourceSpecifier::ApiConfigSource(_) => {
                cx.note("config_source_specifier", "the endpoints are asked of the source of the cluster itself");
            }
        }
        let timeout = cx.duration("initial_fetch_timeout", initial_fetch_timeout)?;
        Ok::<_, Rejection>(timeout.unwrap_or(FETCH_TIMEOUT))
    })?;
    Ok(Discovery::Eds { service_name, initial_fetch_timeout })
}

fn family(cx: &Context, family: i32) -> Result<DnsFamily, Rejection> {
    Ok(match cx.variant("dns_lookup_family", family)? {
        DnsLookupFamily::Auto => DnsFamily::Auto,
        DnsLookupFamily::V4Only => DnsFamily::V4Only,
        DnsLookupFamily::V6Only => DnsFamily::V6Only,
        DnsLookupFamily::V4Preferred => DnsFamily::V4Preferred,
        DnsLookupFamily::All => DnsFamily::All,
    })
}

fn dns(cx: &mut Context, fields: DnsFields) -> Result<Dns, Rejection> {
    let DnsFields {
        refresh_rate,
        jitter,
        failure_refresh_rate,
        respect_ttl,
        lookup_family,
        resolvers,
        use_tcp,
        resolution_config,
        resolver_config,
    } = fields;
    cx.ignore("dns_resolvers", &resolvers, RESOLVER);
    cx.ignore("use_tcp_for_dns_lookups", &use_tcp, RESOLVER);
    cx.ignore("dns_resolution_config", &resolution_config, RESOLVER);
    cx.ignore("typed_dns_resolver_config", &resolver_config, RESOLVER);
    let failure_refresh = match failure_refresh_rate {
        None => None,
        Some(pb::cluster::RefreshRate { base_interval, max_interval }) => {
            Some(failure_refresh(cx, base_interval, max_interval)?)
        }
    };
    Ok(Dns {
        logical: false,
        family: family(cx, lookup_family)?,
        refresh_rate: cx.longer_than("dns_refresh_rate", refresh_rate, DNS_BOUND)?.unwrap_or(DNS_REFRESH),
        respect_ttl,
        min_refresh: Duration::ZERO,
        jitter: cx.duration("dns_jitter", jitter)?.unwrap_or_default(),
        failure_refresh,
    })
}

fn typed_dns(cx: &mut Context, body: &[u8]) -> Result<Dns, Rejection> {
    let DnsCluster {
        dns_refresh_rate,
        dns_failure_refresh_rate,
        respect_dns_ttl,
        dns_jitter,
        typed_dns_resolver_config,
        dns_lookup_family,
        all_addresses_in_single_endpoint,
        dns_min_refresh_rate,
    } = cx.decode(body)?;
    cx.ignore("typed_dns_resolver_config", &typed_dns_resolver_config, RESOLVER);
    let failure_refresh = match dns_failure_refresh_rate {
        None => None,
        Some(dns_cluster::RefreshRate { base_interval, max_interval }) => {
            Some(failure_refresh(cx, base_interval, max_interval)?)
        }
    };
    use envoy_types::pb::envoy::extensions::clusters::common::dns::v3::DnsLookupFamily as Family;
    let family = match cx.variant("dns_lookup_family", dns_lookup_family)? {
        Family::Unspecified | Family::Auto => DnsFamily::Auto,
        Family::V4Only => DnsFamily::V4Only,
        Family::V6Only => DnsFamily::V6Only,
        Family::V4Preferred => DnsFamily::V4Preferred,
        Family::All => DnsFamily::All,
    };
    Ok(Dns {
        logical: all_addresses_in_single_endpoint,
        family,
        refresh_rate: cx.longer_than("dns_refresh_rate", dns_refresh_rate, DNS_BOUND)?.unwrap_or(DNS_REFRESH),
        respect_ttl: respect_dns_ttl,
        min_refresh: cx
            .at_least("dns_min_refresh_rate", dns_min_refresh_rate, Duration::from_secs(1))?
            .unwrap_or_default(),
        jitter: cx.duration("dns_jitter", dns_jitter)?.unwrap_or_default(),
        failure_refresh,
    })
}

fn failure_refresh(
    cx: &mut Context,
    base: Option<protobuf::Duration>,
    max: Option<protobuf::Duration>,
) -> Result<(Duration, Duration), Rejection> {
    cx.at("dns_failure_refresh_rate", |cx| {
        let base = cx.longer_than("base_interval", base, DNS_BOUND)?;
        let base = cx.required("base_interval", base)?;
        let max = cx.longer_than("max_interval", max, DNS_BOUND)?;
        Ok((base, max.unwrap_or(base.saturating_mul(10))))
    })
}
