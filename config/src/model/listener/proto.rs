//! From `config.listener.v3.Listener`.
//!
//! A listener may hold ten thousand chains of which an update changes one. So its encoding is taken apart first: what
//! is not a chain is decoded as a listener without chains (its hash is the [`Listener::frame_id`]), and a chain is
//! decoded only if none with the same bytes is in force.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

mod filters;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::listener::v3 as pb;
use envoy_types::pb::google::protobuf::BoolValue;
use pb::listener::{DeprecatedV1, DrainType};
use xxhash_rust::xxh3::xxh3_128;

use super::{Direction, Listener};
use crate::model::access_log::proto::access_logs;
use crate::model::address::{Address, proto as address};
use crate::model::chain::proto::{self as chain, Names, Setting, matching};
use crate::model::chain::{FilterChain, Handler};
use crate::model::cluster::proto::{BUFFER_LIMIT, NO_TIMEOUT};
use crate::model::tcp_proxy::proto::Shared;
use crate::reject::{Context, Ignored, Rejection, Unsupported, immaterial, wire_fields};

/// Envoy's default `listener_filters_timeout`.
const FILTERS_TIMEOUT: Duration = Duration::from_secs(15);
/// Numbers of the fields that hold chains.
const FILTER_CHAINS: u32 = 3;
const DEFAULT_FILTER_CHAIN: u32 = 25;

/// A listener, and what else its encoding says.
pub(crate) struct Converted {
    /// The listener.
    pub(crate) listener: Listener,
    /// Chains that refuse their connections.
    pub(crate) unsupported: Vec<(Arc<str>, Unsupported)>,
    /// Chains that run their last good version, as the new one can't be run.
    pub(crate) held: Vec<(Arc<str>, Unsupported)>,
    /// Resources it refers to.
    pub(crate) names: Names,
    /// It says its own name; else it has that of its address.
    pub(crate) named: bool,
    /// Fields not honoured, of the chains that have any.
    pub(crate) notes: Notes,
}

/// Fields that are not honoured by the [id](FilterChain::id) of their chain, paths starting at the chain: a chain that
/// is taken over is not decoded again.
pub(crate) type Notes = HashMap<u128, Box<[Ignored]>>;

/// The version in force.
#[derive(Clone, Copy)]
pub(crate) struct InForce<'a> {
    /// The listener.
    pub(crate) listener: &'a Listener,
    /// What its chains do not honour.
    pub(crate) notes: Option<&'a Notes>,
}

/// Whether a listener is one of the control plane's own.
pub(crate) fn is_system(name: &str) -> bool {
    name.starts_with("kuma:") || name.starts_with("_kuma:") || name.starts_with("system_")
}

/// Converts an encoded listener. Chains of `previous` with the same bytes are taken over.
pub(crate) fn listener(
    cx: &mut Context,
    shared: &mut Shared,
    body: &[u8],
    previous: Option<InForce<'_>>,
) -> Result<Converted, Rejection> {
    let parts = Parts::split(body).ok_or_else(|| cx.reject("", "cannot be decoded: not a message"))?;
    let frame: pb::Listener = cx.decode(&parts.frame)?;
    let named = !frame.name.is_empty();
    let (mut listener, selection) = self::frame(cx, shared, frame)?;
    listener.frame_id = xxh3_128(&parts.frame);
    let no_chain = parts.chains.is_empty() && parts.default.is_none();
    if no_chain && selection.is_none() {
        return Err(cx.reject("filter_chains", "no filter chains specified"));
    }
    let mut names = Names::default();
    let setting = Setting { shared, system: listener.system, unsupported: selection, names: &mut names };
    let mut chains = Chains::new(setting, previous);
    let converted = cx.each("filter_chains", parts.chains, |cx, body| chains.take(cx, body, false))?;
    listener.chains = converted.into_iter().flatten().collect();
    listener.default_chain = match parts.default {
        None => None,
        Some(body) => cx.at("default_filter_chain", |cx| chains.take(cx, body, true))?,
    };
    let Chains { unsupported, held, notes, .. } = chains;
    if let Some(i) = matching::overlapping(&listener.chains) {
        return Err(cx.item("filter_chains", i, |cx| {
            cx.reject("filter_chain_match", "multiple filter chains with the same matching rules are defined")
        }));
    }
    Ok(Converted { listener, unsupported, held, names, named, notes })
}

/// An encoded listener, taken apart.
struct Parts<'a> {
    /// All but the chains.
    frame: Vec<u8>,
    chains: Vec<&'a [u8]>,
    default: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn split(body: &'a [u8]) -> Option<Self> {
        let mut parts = Self { frame: Vec::new(), chains: Vec::new(), default: None };
        for field in wire_fields(body)? {
            match field.number {
                FILTER_CHAINS if field.delimited => parts.chains.push(field.value),
                DEFAULT_FILTER_CHAIN if field.delimited => parts.default = Some(field.value),
                _ => parts.frame.extend_from_slice(field.raw),
            }
        }
        Some(parts)
    }
}

/// The chains in force, by what a new one is compared with.
#[derive(Default)]
struct Previous<'a> {
    by_id: HashMap<u128, &'a Arc<FilterChain>, foldhash::fast::RandomState>,
    all: &'a [Arc<FilterChain>],
    default: Option<&'a Arc<FilterChain>>,
    notes: Option<&'a Notes>,
}

impl<'a> Previous<'a> {
    fn of(previous: Option<InForce<'a>>) -> Self {
        let Some(InForce { listener, notes }) = previous else { return Self::default() };
        let good = listener.chains.iter().filter(|chain| is_good(chain));
        Self {
            by_id: good.map(|chain| (chain.id, chain)).collect(),
            all: &listener.chains,
            default: listener.default_chain.as_ref(),
            notes,
        }
    }

    /// The good version of a chain that can't be run any more: the one of its name, else the one of its match.
    fn version_of(&self, chain: &FilterChain) -> Option<&'a Arc<FilterChain>> {
        let same = |old: &FilterChain| match (&*chain.name, &*old.name) {
            ("", _) => old.matches == chain.matches,
            (new, old) => new == old,
        };
        self.all.iter().chain(self.default).find(|old| is_good(old) && same(old))
    }
}

fn is_good(chain: &FilterChain) -> bool {
    !matches!(chain.handler, Handler::Unsupported(_))
}

/// Converts the chains of one listener.
struct Chains<'a> {
    setting: Setting<'a>,
    previous: Previous<'a>,
    unsupported: Vec<(Arc<str>, Unsupported)>,
    held: Vec<(Arc<str>, Unsupported)>,
    notes: Notes,
}

impl<'a> Chains<'a> {
    fn new(setting: Setting<'a>, previous: Option<InForce<'a>>) -> Self {
        let (unsupported, held) = (Vec::new(), Vec::new());
        Self { setting, previous: Previous::of(previous), unsupported, held, notes: Notes::new() }
    }

    fn take(&mut self, cx: &mut Context, body: &[u8], default: bool) -> Result<Option<Arc<FilterChain>>, Rejection> {
        let id = chain::id(body);
        if let Some(known) = self.in_force(id, default) {
            let notes = self.previous.notes.and_then(|notes| notes.get(&id)).cloned();
            self.note(cx, id, notes.unwrap_or_default());
            return Ok(Some(known));
        }
        let mut inner = Context::default();
        let converted = chain::chain(&mut inner, &mut self.setting, body, default);
        let converted = converted.map_err(|Rejection { path, reason }| cx.reject(&path.0, reason))?;
        self.note(cx, id, inner.into_ignored());
        Ok(converted.map(|new| self.settle(cx, new)))
    }

    /// The chain with the same bytes. The default chain is another with the same bytes, as its match is not looked at.
    fn in_force(&self, id: u128, default: bool) -> Option<Arc<FilterChain>> {
        let known = match default {
            true => self.previous.default.filter(|chain| chain.id == id && is_good(chain)),
            false => self.previous.by_id.get(&id).copied(),
        };
        known.filter(|_| self.setting.unsupported.is_none()).cloned()
    }

    fn note(&mut self, cx: &mut Context, id: u128, notes: Box<[Ignored]>) {
        cx.adopt(&notes);
        if !notes.is_empty() {
            self.notes.insert(id, notes);
        }
    }

    /// A chain that can't be run gives way to its last good version.
    fn settle(&mut self, cx: &Context, mut new: FilterChain) -> Arc<FilterChain> {
        let Handler::Unsupported(why) = &mut new.handler else { return Arc::new(new) };
        // What stops the listener as a whole is named from the listener on.
        if self.setting.unsupported.is_none() {
            why.path = cx.path(&why.path.0);
        }
        let named = (Arc::clone(&new.name), why.clone());
        match self.previous.version_of(&new) {
            None => {
                self.unsupported.push(named);
                Arc::new(new)
            }
            Some(old) => {
                self.held.push(named);
                hold(old, new)
            }
        }
    }
}

/// The last good version, under the new match.
fn hold(old: &Arc<FilterChain>, new: FilterChain) -> Arc<FilterChain> {
    if old.matches == new.matches {
        return Arc::clone(old);
    }
    let id = xxh3_128(&[old.id.to_le_bytes(), new.id.to_le_bytes()].concat());
    Arc::new(FilterChain { id, matches: new.matches, ..FilterChain::clone(old) })
}

/// All but the chains, and what makes every chain refuse.
fn frame(
    cx: &mut Context,
    shared: &mut Shared,
    listener: pb::Listener,
) -> Result<(Listener, Option<Unsupported>), Rejection> {
    let pb::Listener {
        name,
        address,
        additional_addresses,
        stat_prefix,
        stats_matcher,
        filter_chains,
        fcds_config,
        filter_chain_matcher,
        use_original_dst,
        default_filter_chain,
        per_connection_buffer_limit_bytes,
        per_connection_buffer_high_watermark_timeout,
        metadata,
        deprecated_v1,
        drain_type,
        listener_filters,
        listener_filters_timeout,
        continue_on_listener_filters_timeout,
        transparent,
        freebind,
        socket_options,
        tcp_fast_open_queue_length,
        traffic_direction,
        udp_listener_config,
        api_listener,
        connection_balance_config,
        reuse_port,
        enable_reuse_port,
        access_log,
        tcp_backlog_size,
        max_connections_to_accept_per_socket_event,
        bind_to_port,
        enable_mptcp,
        ignore_global_conn_limit,
        bypass_overload_manager,
        tcp_keepalive,
        listener_specifier,
    } = listener;
    immaterial((filter_chains, default_filter_chain), "taken out before, and converted one by one");
    immaterial(stats_matcher, "leaves metrics out, none of which cost anything here");
    immaterial(metadata, "read by nothing that runs here; Kuma keeps tags for its own GUI there");
    immaterial(reuse_port, "replaced by enable_reuse_port, whose default it is");
    immaterial(bypass_overload_manager, "there is no overload manager");
    if max_connections_to_accept_per_socket_event.as_ref().is_some_and(|w| w.value == 0) {
        return Err(cx.reject("max_connections_to_accept_per_socket_event", "value must be greater than 0"));
    }
    immaterial(max_connections_to_accept_per_socket_event, "how many are accepted in a row is the worker's to settle");
    if api_listener.is_some() {
        return Err(cx.reject("api_listener", "API listeners are not supported"));
    }
    if listener_specifier.is_some() {
        return Err(cx.reject("internal_listener", "internal listeners are not supported"));
    }
    let high_watermark = &per_connection_buffer_high_watermark_timeout;
    cx.ignore("per_connection_buffer_high_watermark_timeout", high_watermark, NO_TIMEOUT);
    cx.ignore("udp_listener_config", &udp_listener_config, "only TCP is listened on");
    cx.ignore("transparent", &on(transparent), "the socket is a plain one");
    cx.ignore("freebind", &on(freebind), "the address must be one of the host's");
    cx.ignore("socket_options", &socket_options, "no raw socket options are set");
    cx.ignore("tcp_fast_open_queue_length", &tcp_fast_open_queue_length, "no TCP Fast Open");
    cx.ignore("connection_balance_config", &connection_balance_config, "the kernel spreads connections over workers");
    cx.ignore("enable_mptcp", &enable_mptcp, "plain TCP is spoken");
    cx.ignore("ignore_global_conn_limit", &ignore_global_conn_limit, "the total limit holds for every listener");
    cx.ignore("tcp_keepalive", &tcp_keepalive, "accepted connections have the system's keepalive");
    if cx.variant::<DrainType>("drain_type", drain_type)? == DrainType::ModifyOnly {
        cx.note("drain_type", "the listener drains with all others");
    }
    let addresses = addresses(cx, &name, address, additional_addresses)?;
    let filters = filters::filters(cx, listener_filters)?;
    let selection = [
        ("filter_chain_matcher", filter_chain_matcher.is_some()),
        ("fcds_config", fcds_config.is_some()),
        ("use_original_dst", use_original_dst.is_some_and(|f| f.value)),
    ];
    let selection = selection.into_iter().find(|(_, set)| *set).map(|(field, _)| cx.unsupported(field, field));
    let own_bind = deprecated_v1.and_then(|DeprecatedV1 { bind_to_port }| bind_to_port);
    let pipes = addresses.iter().any(|a| matches!(a, Address::Pipe { .. }));
    let name: Arc<str> = if name.is_empty() { addresses_name(&addresses) } else { name.into() };
    let listener = Listener {
        system: is_system(&name),
        frame_id: 0,
        stat_name: stat_name(&stat_prefix, &addresses),
        addresses,
        direction: match cx.variant("traffic_direction", traffic_direction)? {
            core::TrafficDirection::Unspecified => Direction::Unspecified,
            core::TrafficDirection::Inbound => Direction::Inbound,
            core::TrafficDirection::Outbound => Direction::Outbound,
        },
        reuse_port: enable_reuse_port.is_none_or(|f| f.value) && !pipes,
        bind: bind_to_port.is_none_or(|f| f.value) && own_bind.is_none_or(|f| f.value),
        backlog: tcp_backlog_size.map(|w| w.value),
        tls_inspector: filters.tls_inspector,
        proxy_protocol: filters.proxy_protocol,
        listener_filters_timeout: cx
            .duration("listener_filters_timeout", listener_filters_timeout)?
            .unwrap_or(FILTERS_TIMEOUT),
        continue_on_timeout: continue_on_listener_filters_timeout,
        buffer_limit: per_connection_buffer_limit_bytes.map_or(BUFFER_LIMIT, |w| w.value),
        chains: Box::default(),
        default_chain: None,
        access_logs: access_logs(cx, &mut shared.access_logs, access_log)?,
        connection_limit: None,
        name,
    };
    Ok((listener, selection.or(filters.unsupported)))
}

fn on(flag: Option<BoolValue>) -> Option<BoolValue> {
    flag.filter(|f| f.value)
}

fn addresses(
    cx: &mut Context,
    name: &str,
    address: Option<core::Address>,
    additional: Vec<pb::AdditionalAddress>,
) -> Result<Box<[Address]>, Rejection> {
    let Some(first) = address else {
        return Err(cx.reject("address", format!("error adding listener named '{name}': address is necessary")));
    };
    let first = cx.at("address", |cx| address::address(cx, first))?;
    let more = cx.each("additional_addresses", additional, |cx, additional| {
        let pb::AdditionalAddress { address, socket_options, tcp_keepalive } = additional;
        cx.ignore("socket_options", &socket_options, "no raw socket options are set");
        cx.ignore("tcp_keepalive", &tcp_keepalive, "accepted connections have the system's keepalive");
        let address = cx.required("address", address)?;
        cx.at("address", |cx| address::address(cx, address))
    })?;
    Ok(std::iter::once(first).chain(more).collect())
}

fn addresses_name(addresses: &[Address]) -> Arc<str> {
    addresses.first().map(ToString::to_string).unwrap_or_default().into()
}

fn stat_name(prefix: &str, addresses: &[Address]) -> Arc<str> {
    match prefix {
        "" => addresses_name(addresses).replace(':', "_").into(),
        prefix => prefix.replace(':', "_").into(),
    }
}

#[cfg(test)]
mod tests;
