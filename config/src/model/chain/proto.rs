//! From `config.listener.v3.FilterChain`.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

mod filters;
pub(crate) mod matching;

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::listener::v3 as pb;
use xxhash_rust::xxh3::xxh3_128;

use super::{FilterChain, Handler};
use crate::model::extension;
use crate::model::tcp_proxy::proto::Shared;
use crate::model::tls::DownstreamTls;
use crate::model::tls::proto::{self as tls, Fault};
use crate::reject::{Context, Rejection, Unsupported, immaterial};

/// What a listener's chains are converted with.
pub(crate) struct Setting<'a> {
    /// Shared parts.
    pub(crate) shared: &'a mut Shared,
    /// One of the control plane's own listeners.
    pub(crate) system: bool,
    /// What makes every chain of the listener refuse.
    pub(crate) unsupported: Option<Unsupported>,
    /// Names asked of RDS.
    pub(crate) names: &'a mut Names,
}

/// Resources that a listener refers to.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// RDS.
    pub(crate) routes: Vec<Arc<str>>,
}

/// Identifies a chain by its encoded form.
pub(crate) fn id(body: &[u8]) -> u128 {
    xxh3_128(body)
}

/// Converts a chain, or the `default` one; `None`: it never matches. Paths start at the chain.
pub(crate) fn chain(
    cx: &mut Context,
    setting: &mut Setting<'_>,
    body: &[u8],
    default: bool,
) -> Result<Option<FilterChain>, Rejection> {
    let pb::FilterChain {
        filter_chain_match,
        filters,
        use_proxy_proto,
        metadata,
        transport_socket,
        transport_socket_connect_timeout,
        name,
    } = cx.decode(body)?;
    cx.ignore("use_proxy_proto", &use_proxy_proto.filter(|f| f.value), "use the proxy_protocol listener filter");
    immaterial(metadata, "read by nothing that runs here");
    let interner = &mut setting.shared.interner;
    // Envoy does not look at the match of the chain for all that no other takes.
    let r#match = filter_chain_match.filter(|_| !default).unwrap_or_default();
    let matches = cx.at("filter_chain_match", |cx| matching::matches(cx, interner, r#match))?;
    let (tls, socket) = match transport_socket {
        None => (None, None),
        Some(socket) => cx.at("transport_socket", |cx| transport(cx, setting, socket))?,
    };
    let (filters, handler) = filters::filters(cx, setting, filters)?;
    let unsupported = match (&setting.unsupported, socket) {
        (Some(of_listener), _) => Some(of_listener.clone()),
        (None, Some(of_socket)) => Some(of_socket),
        (None, None) => None,
    };
    let timeout = cx.duration("transport_socket_connect_timeout", transport_socket_connect_timeout)?;
    let Some(matches) = matches else { return Ok(None) };
    Ok(Some(FilterChain {
        name: setting.shared.interner.string(&name),
        id: id(body),
        matches,
        tls,
        filters,
        handler: unsupported.map_or(handler, Handler::Unsupported),
        transport_socket_connect_timeout: timeout.filter(|t| !t.is_zero()),
    }))
}

type Socket = (Option<Arc<DownstreamTls>>, Option<Unsupported>);

fn transport(
    cx: &mut Context,
    setting: &mut Setting<'_>,
    core::TransportSocket { name, config_type }: core::TransportSocket,
) -> Result<Socket, Rejection> {
    use core::transport_socket::ConfigType;
    cx.not_empty("name", &name)?;
    let any = config_type.map(|ConfigType::TypedConfig(any)| any);
    let (type_name, body) = extension::required(cx, &name, any)?;
    if extension::is_raw_buffer(&type_name) {
        return Ok((None, None));
    }
    extension::check_known(cx, extension::Category::TransportSocket, &name, &type_name)?;
    if &*type_name == "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext" {
        let interner = &mut setting.shared.interner;
        return match cx.at("typed_config", |cx| tls::downstream(cx, interner, &body)) {
            Ok(tls) => Ok((Some(tls), None)),
            Err(Fault::Unsupported(unsupported)) => Ok((None, Some(unsupported))),
            Err(Fault::Rejected(rejection)) => Err(rejection),
        };
    }
    Ok((None, Some(cx.unsupported("typed_config", &type_name))))
}

#[cfg(test)]
mod tests;
