//! `listener_filters`: what is read before a chain is chosen.

use envoy_types::pb::envoy::config::core::v3::{ProxyProtocolPassThroughTlVs, proxy_protocol_config::Version};
use envoy_types::pb::envoy::config::listener::v3 as pb;
use envoy_types::pb::envoy::extensions::filters::listener as filters;
use envoy_types::pb::google::protobuf::UInt32Value;
use pb::listener_filter::ConfigType;

use crate::model::extension;
use crate::model::listener::{ProxyProtocol, TlsInspector};
use crate::reject::{Context, Rejection, Unsupported, immaterial};

/// The largest ClientHello, where nothing is configured.
const MAX_HELLO: u32 = 64 * 1024;

/// What the listener filters come to.
#[derive(Default)]
pub(super) struct Filters {
    pub(super) tls_inspector: Option<TlsInspector>,
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    /// One that can't be run: without it no chain may be chosen.
    pub(super) unsupported: Option<Unsupported>,
}

/// Converts the listener filters.
pub(super) fn filters(cx: &mut Context, filters: Vec<pb::ListenerFilter>) -> Result<Filters, Rejection> {
    let mut found = Filters::default();
    for (i, filter) in filters.into_iter().enumerate() {
        cx.item("listener_filters", i, |cx| one(cx, filter, &mut found))?;
    }
    Ok(found)
}

fn one(cx: &mut Context, filter: pb::ListenerFilter, found: &mut Filters) -> Result<(), Rejection> {
    let pb::ListenerFilter { name, filter_disabled, config_type } = filter;
    cx.not_empty("name", &name)?;
    let any = match config_type {
        Some(ConfigType::ConfigDiscovery(_)) => {
            let why = cx.unsupported("config_discovery", "filter configuration by ECDS");
            found.unsupported.get_or_insert(why);
            return Ok(());
        }
        Some(ConfigType::TypedConfig(any)) => Some(any),
        None => None,
    };
    let (type_name, body) = extension::required(cx, &name, any)?;
    if filter_disabled.is_some() {
        let why = cx.unsupported("filter_disabled", "filter_disabled");
        found.unsupported.get_or_insert(why);
    }
    match &*type_name {
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector" => {
            found.tls_inspector = Some(cx.at("typed_config", |cx| tls_inspector(cx, &body))?);
        }
        "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol" => {
            found.proxy_protocol = Some(cx.at("typed_config", |cx| proxy_protocol(cx, &body))?);
        }
        // It fills in the ALPN of plain-text HTTP, for chains that are matched by it.
        other => {
            extension::check_known(cx, extension::Category::Listener, &name, other)?;
            let why = cx.unsupported("typed_config", other);
            found.unsupported.get_or_insert(why);
        }
    }
    Ok(())
}

fn tls_inspector(cx: &mut Context, body: &[u8]) -> Result<TlsInspector, Rejection> {
    let filters::tls_inspector::v3::TlsInspector {
        enable_ja3_fingerprinting,
        enable_ja4_fingerprinting,
        initial_read_buffer_size,
        close_connection_on_client_hello_parsing_errors,
        max_client_hello_size,
    } = cx.decode(body)?;
    let inside = |field, value: Option<UInt32Value>, most: u32| match value {
        Some(UInt32Value { value }) if !(256..=most).contains(&value) => {
            Err(cx.reject(field, format!("value must be inside range (255, {most}]")))
        }
        value => Ok(value.map(|w| w.value)),
    };
    let initial = inside("initial_read_buffer_size", initial_read_buffer_size, 65_536)?;
    immaterial(initial, "the buffer grows with the hello");
    Ok(TlsInspector {
        max_hello: inside("max_client_hello_size", max_client_hello_size, 16_384)?.unwrap_or(MAX_HELLO),
        close_on_error: close_connection_on_client_hello_parsing_errors,
        ja3: enable_ja3_fingerprinting.is_some_and(|f| f.value),
        ja4: enable_ja4_fingerprinting.is_some_and(|f| f.value),
    })
}

fn proxy_protocol(cx: &mut Context, body: &[u8]) -> Result<ProxyProtocol, Rejection> {
    let filters::proxy_protocol::v3::ProxyProtocol {
        rules,
        allow_requests_without_proxy_protocol,
        pass_through_tlvs,
        disallowed_versions,
        stat_prefix,
        tlv_location,
    } = cx.decode(body)?;
    for (i, rule) in rules.iter().enumerate() {
        if rule.tlv_type > 255 {
            return Err(cx.item("rules", i, |cx| cx.reject("tlv_type", "value must be less than 256")));
        }
    }
    cx.ignore("rules", &rules, "TLVs are skipped");
    if let Some(ProxyProtocolPassThroughTlVs { match_type, tlv_type }) = pass_through_tlvs {
        immaterial((match_type, tlv_type), "reported as a whole");
        cx.note("pass_through_tlvs", "TLVs are not kept for a header sent upstream");
    }
    immaterial(tlv_location, "goes with rules");
    let (mut v1, mut v2) = (true, true);
    for version in disallowed_versions {
        match cx.variant("disallowed_versions", version)? {
            Version::V1 => v1 = false,
            Version::V2 => v2 = false,
        }
    }
    Ok(ProxyProtocol {
        allow_without: allow_requests_without_proxy_protocol,
        v1,
        v2,
        stat_prefix: (!stat_prefix.is_empty()).then(|| stat_prefix.into()),
    })
}
