//! `FilterChainMatch`, and whether two chains of a listener match the same connections.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::CidrRange;
use envoy_types::pb::envoy::config::listener::v3 as pb;
use foldhash::fast::RandomState;
use pb::filter_chain_match::ConnectionSourceType;

use crate::model::chain::{Cidr, FilterChain, Match, SourceType, TransportProtocol};
use crate::model::metadata::proto::Interner;
use crate::reject::{Context, Rejection};

/// A transport protocol that no connection has here; such a chain never matches.
const NEVER: &str = "no connection has this transport protocol: the chain never matches";

/// Converts a match; `None`: no connection can have it.
pub(crate) fn matches(
    cx: &mut Context,
    interner: &mut Interner,
    matches: pb::FilterChainMatch,
) -> Result<Option<Match>, Rejection> {
    let pb::FilterChainMatch {
        destination_port,
        prefix_ranges,
        address_suffix,
        suffix_len,
        direct_source_prefix_ranges,
        source_type,
        source_prefix_ranges,
        source_ports,
        server_names,
        transport_protocol,
        application_protocols,
    } = matches;
    if !address_suffix.is_empty() || suffix_len.is_some() {
        return Err(cx.reject("address_suffix", "unimplemented, as is suffix_len"));
    }
    let source_type = match cx.variant("source_type", source_type)? {
        ConnectionSourceType::Any => SourceType::Any,
        ConnectionSourceType::SameIpOrLoopback => SourceType::SameIpOrLoopback,
        ConnectionSourceType::External => SourceType::External,
    };
    let port = |field: &str, port: u32| match u16::try_from(port) {
        Ok(port @ 1..) => Ok(port),
        _ => Err(cx.reject(field, "value must be inside range [1, 65535]")),
    };
    let destination_port = destination_port.map(|w| port("destination_port", w.value)).transpose()?;
    let source_ports: Result<_, _> = source_ports.into_iter().map(|p| port("source_ports", p)).collect();
    let source_ports = source_ports?;
    let known = match &*transport_protocol {
        "" => Some(TransportProtocol::Any),
        "raw_buffer" => Some(TransportProtocol::RawBuffer),
        "tls" => Some(TransportProtocol::Tls),
        _ => None,
    };
    let matches = Match {
        destination_port,
        destination: cx.each("prefix_ranges", prefix_ranges, cidr)?,
        server_names: cx.each("server_names", server_names, |cx, name| server_name(cx, interner, &name))?,
        transport_protocol: known.unwrap_or_default(),
        application_protocols: application_protocols.into_iter().map(Into::into).collect(),
        direct_source: cx.each("direct_source_prefix_ranges", direct_source_prefix_ranges, cidr)?,
        source_type,
        source: cx.each("source_prefix_ranges", source_prefix_ranges, cidr)?,
        source_ports,
    };
    if known.is_none() {
        cx.note("transport_protocol", NEVER);
    }
    Ok(known.map(|_| matches))
}

fn server_name(cx: &Context, interner: &mut Interner, name: &str) -> Result<Arc<str>, Rejection> {
    if name.contains('*') && !name.starts_with("*.") {
        return Err(cx.reject("", "partial wildcards are not supported in \"server_names\""));
    }
    Ok(interner.string(&name.to_ascii_lowercase()))
}

/// An address range, bits beyond the prefix cleared; a prefix too long is the whole address, as in Envoy.
pub(crate) fn cidr(cx: &mut Context, range: CidrRange) -> Result<Cidr, Rejection> {
    let CidrRange { address_prefix, prefix_len } = range;
    cx.not_empty("address_prefix", &address_prefix)?;
    let length = prefix_len.map_or(0, |w| w.value);
    if length > 128 {
        return Err(cx.reject("prefix_len", "value must be less than or equal to 128"));
    }
    let address: IpAddr = address_prefix
        .parse()
        .map_err(|_| cx.reject("address_prefix", format!("malformed IP address: {address_prefix}")))?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = u8::try_from(length).unwrap_or(u8::MAX).min(bits);
    Ok(Cidr { address: cleared(address, prefix), prefix })
}

fn cleared(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

/// One combination of criteria, as Envoy's nested maps have it at a leaf.
type Leaf<'a> = (
    (Option<u16>, Option<Cidr>),
    (Option<&'a str>, TransportProtocol, Option<&'a str>),
    (Option<Cidr>, SourceType, Option<Cidr>, Option<u16>),
);

/// The first chain, by its place, whose criteria an earlier one has too.
pub(crate) fn overlapping(chains: &[Arc<FilterChain>]) -> Option<usize> {
    let mut seen: HashSet<Leaf<'_>, RandomState> =
        HashSet::with_capacity_and_hasher(chains.len(), RandomState::default());
    chains.iter().position(|chain| !leaves(&chain.matches).all(|leaf| seen.insert(leaf)))
}

fn leaves(matches: &Match) -> impl Iterator<Item = Leaf<'_>> {
    let Match {
        destination_port,
        destination,
        server_names,
        transport_protocol,
        application_protocols,
        direct_source,
        source_type,
        source,
        source_ports,
    } = matches;
    any_of(destination).flat_map(move |dst| {
        any_of(server_names).flat_map(move |name| {
            any_of(application_protocols).flat_map(move |alpn| {
                any_of(direct_source).flat_map(move |direct| {
                    any_of(source).flat_map(move |src| {
                        any_of(source_ports).map(move |port| {
                            (
                                (*destination_port, dst.copied()),
                                (name.map(|n| &**n), *transport_protocol, alpn.map(|a| &**a)),
                                (direct.copied(), *source_type, src.copied(), port.copied()),
                            )
                        })
                    })
                })
            })
        })
    })
}

/// Each of the values, or the one absence that stands for any.
fn any_of<T>(values: &[T]) -> impl Iterator<Item = Option<&T>> {
    values.is_empty().then_some(None).into_iter().chain(values.iter().map(Some))
}
