//! `transport_socket` and `transport_socket_matches`: how bytes go on to an endpoint.

use std::sync::Arc;

use core::proxy_protocol_config::Version;
use core::transport_socket::ConfigType;
use envoy_types::pb::envoy::config::cluster::v3::cluster::TransportSocketMatch;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
use envoy_types::pb::xds::r#type::matcher::v3::Matcher;

use crate::model::cluster::{ProxyHeader, ProxyVersion, Transport, TransportMatch};
use crate::model::extension;
use crate::model::metadata::proto::{Interner, fields};
use crate::model::tls::proto::{Fault, upstream};
use crate::reject::{Context, Rejection, Unsupported, immaterial};

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
    match &*type_name {
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext" => {}
        "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport" => {
            return cx.at("typed_config", |cx| proxy_protocol(cx, interner, &body));
        }
        _ => return Ok(Transport::Unsupported(cx.unsupported("typed_config", &type_name))),
    }
    match cx.at("typed_config", |cx| upstream(cx, interner, &body)) {
        Ok(tls) => Ok(Transport::Tls(tls)),
        Err(Fault::Unsupported(unsupported)) => Ok(Transport::Unsupported(unsupported)),
        Err(Fault::Rejected(rejection)) => Err(rejection),
    }
}

/// The longest TLVs of a header: its length has 16 bits, of which IPv6 addresses take 36 bytes (spec section 2.2).
const LONGEST: usize = 65_535 - 36;

fn proxy_protocol(cx: &mut Context, interner: &mut Interner, body: &[u8]) -> Result<Transport, Rejection> {
    let ProxyProtocolUpstreamTransport { config, transport_socket, allow_unspecified_address, tlv_as_pool_key } =
        cx.decode(body)?;
    if transport_socket.is_none() {
        return Err(cx.reject("transport_socket", "value is required"));
    }
    immaterial(allow_unspecified_address, "Envoy does not use it");
    immaterial(tlv_as_pool_key, "all TLVs of a cluster are the same");
    let header = cx.at("config", |cx| header(cx, config.unwrap_or_default()))?;
    let inner = cx.at("transport_socket", |cx| socket(cx, interner, transport_socket))?;
    let header = match header {
        Ok(header) => Arc::new(header),
        Err(unsupported) => return Ok(Transport::Unsupported(unsupported)),
    };
    Ok(match inner {
        Transport::Raw => Transport::ProxyProtocol { header, tls: None },
        Transport::Tls(tls) => Transport::ProxyProtocol { header, tls: Some(tls) },
        Transport::ProxyProtocol { .. } => {
            Transport::Unsupported(cx.unsupported("transport_socket", "a second PROXY protocol header"))
        }
        Transport::Unsupported(unsupported) => Transport::Unsupported(unsupported),
    })
}

fn header(cx: &mut Context, config: core::ProxyProtocolConfig) -> Result<Result<ProxyHeader, Unsupported>, Rejection> {
    let core::ProxyProtocolConfig { version, pass_through_tlvs, added_tlvs } = config;
    let version = match cx.variant("version", version)? {
        Version::V1 => ProxyVersion::V1,
        Version::V2 => ProxyVersion::V2,
    };
    if let Some(core::ProxyProtocolPassThroughTlVs { match_type, tlv_type }) = pass_through_tlvs {
        if tlv_type.iter().any(|tlv| *tlv > 255) {
            return Err(cx.at("pass_through_tlvs", |cx| cx.reject("tlv_type", "value must be less than 256")));
        }
        immaterial(match_type, "reported as a whole");
        cx.note("pass_through_tlvs", "TLVs of the client's own header are not kept");
    }
    let mut cannot = None;
    let tlvs = cx.each("added_tlvs", added_tlvs, |cx, tlv| {
        let core::TlvEntry { r#type, value, format_string } = tlv;
        if value.is_empty() == format_string.is_none() {
            return Err(cx.reject("value", "one of value and format_string must be set"));
        }
        if format_string.is_some() {
            cannot.get_or_insert_with(|| cx.unsupported("format_string", "format_string"));
        }
        match u8::try_from(r#type) {
            Ok(kind) => Ok((kind, value.into_boxed_slice())),
            Err(_) => Err(cx.reject("type", "value must be less than 256")),
        }
    })?;
    if tlvs.iter().map(|(_, value)| 3 + value.len()).sum::<usize>() > LONGEST {
        cannot.get_or_insert_with(|| cx.unsupported("added_tlvs", "more TLVs than a header can hold"));
    }
    Ok(cannot.map_or(Ok(ProxyHeader { version, tlvs }), Err))
}
