//! `transport_socket` and `transport_socket_matches`: how bytes go on to an endpoint.

use core::transport_socket::ConfigType;
use envoy_types::pb::envoy::config::cluster::v3::cluster::TransportSocketMatch;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::xds::r#type::matcher::v3::Matcher;

use crate::model::cluster::{Transport, TransportMatch};
use crate::model::extension;
use crate::model::metadata::proto::{Interner, fields};
use crate::model::tls::proto::{Fault, upstream};
use crate::reject::{Context, Rejection};

/// The fields of a cluster that say how its endpoints are reached.
pub(super) struct Fields {
    pub(super) transport_socket: Option<core::TransportSocket>,
    pub(super) transport_socket_matches: Vec<TransportSocketMatch>,
    pub(super) transport_socket_matcher: Option<Matcher>,
}

/// How endpoints are reached where nothing matches, and the matches.
pub(super) fn transport(
    cx: &mut Context,
    interner: &mut Interner,
    fields: Fields,
) -> Result<(Transport, Box<[TransportMatch]>), Rejection> {
    let Fields { transport_socket, transport_socket_matches, transport_socket_matcher } = fields;
    let matches = cx.each("transport_socket_matches", transport_socket_matches, |cx, one| {
        let TransportSocketMatch { name, r#match, transport_socket } = one;
        cx.not_empty("name", &name)?;
        let metadata = cx.at("match", |cx| self::fields(cx, interner, r#match.unwrap_or_default()))?;
        let transport = cx.at("transport_socket", |cx| socket(cx, interner, transport_socket))?;
        Ok::<_, Rejection>(TransportMatch { name: interner.string(&name), metadata, transport })
    })?;
    let own = cx.at("transport_socket", |cx| socket(cx, interner, transport_socket))?;
    if transport_socket_matcher.is_some() {
        // It takes the place of the others' choice.
        let field = "transport_socket_matcher";
        return Ok((Transport::Unsupported(cx.unsupported(field, field)), Box::default()));
    }
    Ok((own, matches))
}

fn socket(
    cx: &mut Context,
    interner: &mut Interner,
    socket: Option<core::TransportSocket>,
) -> Result<Transport, Rejection> {
    let Some(core::TransportSocket { name, config_type }) = socket else { return Ok(Transport::Raw) };
    cx.not_empty("name", &name)?;
    let any = config_type.map(|ConfigType::TypedConfig(any)| any);
    let (type_name, body) = extension::required(cx, &name, any)?;
    if extension::is_raw_buffer(&type_name) {
        return Ok(Transport::Raw);
    }
    extension::check_known(cx, extension::Category::TransportSocket, &name, &type_name)?;
    if &*type_name != "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext" {
        return Ok(Transport::Unsupported(cx.unsupported("typed_config", &type_name)));
    }
    match cx.at("typed_config", |cx| upstream(cx, interner, &body)) {
        Ok(tls) => Ok(Transport::Tls(tls)),
        Err(Fault::Unsupported(unsupported)) => Ok(Transport::Unsupported(unsupported)),
        Err(Fault::Rejected(rejection)) => Err(rejection),
    }
}
