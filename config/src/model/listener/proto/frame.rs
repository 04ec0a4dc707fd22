//! A listener but for its chains.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::listener::v3 as pb;
use envoy_types::pb::google::protobuf::BoolValue;
use pb::listener::{DeprecatedV1, DrainType};

use super::{filters, is_system};
use crate::model::access_log::proto::access_logs;
use crate::model::address::{Address, proto as address};
use crate::model::cluster::proto::{BUFFER_LIMIT, NO_TIMEOUT};
use crate::model::listener::{Direction, Listener};
use crate::model::tcp_proxy::proto::Shared;
use crate::reject::{Context, Rejection, Unsupported, immaterial};

/// Envoy's default `listener_filters_timeout`.
const FILTERS_TIMEOUT: Duration = Duration::from_secs(15);

/// All but the chains, and what makes every chain refuse.
pub(super) fn frame(
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
