//! `x-forwarded-…`, request ids, client certificates.

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use envoy_types::pb::envoy::extensions::http::early_header_mutation::header_mutation::v3 as early_header_mutation;
use envoy_types::pb::envoy::extensions::http::original_ip_detection::{custom_header, xff};
use envoy_types::pb::envoy::extensions::request_id::uuid::v3::UuidRequestIdConfig;
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use http::{HeaderName, StatusCode};
use pb::http_connection_manager as inner;

use super::{Part, run};
use crate::model::chain::proto::matching::cidr;
use crate::model::extension;
use crate::model::hcm::{
    CertDetails, ForwardClientCert, ForwardProto, InternalAddresses, OriginalIp, RequestId, SchemeHeader,
    TrustedProxies, XfccFormat,
};
use crate::model::route::HeaderMutation;
use crate::model::route::proto::mutation::header_mutation;
use crate::reject::{Context, Rejection};

pub(super) fn internal_addresses(
    cx: &mut Context,
    config: Option<inner::InternalAddressConfig>,
) -> Result<InternalAddresses, Rejection> {
    let Some(inner::InternalAddressConfig { unix_sockets, cidr_ranges }) = config else {
        return Ok(InternalAddresses::default());
    };
    cx.at("internal_address_config", |cx| {
        Ok(InternalAddresses { unix_sockets, ranges: cx.each("cidr_ranges", cidr_ranges, cidr)? })
    })
}

/// Ways to the client's address. One that is not known here must not be passed over: it decides who is trusted.
pub(super) fn original_ip(cx: &mut Context, extensions: Vec<core::TypedExtensionConfig>) -> Part<Box<[OriginalIp]>> {
    let mut found = Vec::with_capacity(extensions.len());
    for (i, core::TypedExtensionConfig { name, typed_config }) in extensions.into_iter().enumerate() {
        found.push(run!(cx.item("original_ip_detection_extensions", i, |cx| {
            let (type_name, body) = extension::required(cx, &name, typed_config)?;
            cx.at("typed_config", |cx| match type_name.strip_prefix("envoy.extensions.http.original_ip_detection.") {
                Some("xff.v3.XffConfig") => by_xff(cx, &body).map(Ok),
                Some("custom_header.v3.CustomHeaderConfig") => by_custom_header(cx, &body).map(Ok),
                Some(_) => Ok(Err(cx.unsupported("", &type_name))),
                None => Err(extension::unknown(cx, &name, &type_name)),
            })
        })?));
    }
    Ok(Ok(found.into()))
}

fn by_xff(cx: &mut Context, body: &[u8]) -> Result<OriginalIp, Rejection> {
    let xff::v3::XffConfig { xff_num_trusted_hops, xff_trusted_cidrs, skip_xff_append } = cx.decode(body)?;
    let trusted = match xff_trusted_cidrs {
        None => TrustedProxies::Hops(xff_num_trusted_hops),
        Some(_) if xff_num_trusted_hops > 0 => {
            return Err(cx.reject("", "Cannot set both xff_num_trusted_hops and xff_trusted_cidrs"));
        }
        Some(xff::v3::XffTrustedCidrs { cidrs }) => {
            TrustedProxies::Networks(cx.at("xff_trusted_cidrs", |cx| cx.each("cidrs", cidrs, cidr))?)
        }
    };
    Ok(OriginalIp::Xff { trusted, skip_append: skip_xff_append.is_none_or(|f| f.value) })
}

fn by_custom_header(cx: &mut Context, body: &[u8]) -> Result<OriginalIp, Rejection> {
    let custom_header::v3::CustomHeaderConfig {
        header_name,
        allow_extension_to_set_address_as_trusted,
        reject_with_status,
    } = cx.decode(body)?;
    let name = HeaderName::from_bytes(header_name.as_bytes());
    let reject = match reject_with_status {
        None => None,
        Some(HttpStatus { code }) => {
            // As in Envoy: what is no error is Forbidden.
            let code = u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok());
            let code = code.ok_or_else(|| cx.reject("reject_with_status.code", "value is not defined"))?;
            Some(if code.as_u16() < 400 { StatusCode::FORBIDDEN } else { code })
        }
    };
    Ok(OriginalIp::CustomHeader {
        name: name.map_err(|_| cx.reject("header_name", "is not the name of a header"))?,
        trusted: allow_extension_to_set_address_as_trusted,
        reject,
    })
}

pub(super) fn request_id(cx: &mut Context, extension: Option<pb::RequestIdExtension>) -> Result<RequestId, Rejection> {
    const UUID: &str = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig";
    let Some(pb::RequestIdExtension { typed_config: Some(any) }) = extension else { return Ok(RequestId::default()) };
    cx.at("request_id_extension", |cx| {
        let name = "envoy.request_id.uuid";
        let (type_name, body) = extension::required(cx, name, Some(any))?;
        if &*type_name != UUID {
            return Err(extension::unknown(cx, name, &type_name));
        }
        cx.at("typed_config", |cx| {
            let UuidRequestIdConfig { pack_trace_reason, use_request_id_for_trace_sampling } = cx.decode(&body)?;
            Ok(RequestId {
                pack_trace_reason: pack_trace_reason.is_none_or(|f| f.value),
                use_for_sampling: use_request_id_for_trace_sampling.is_none_or(|f| f.value),
            })
        })
    })
}

pub(super) fn forward_client_cert(cx: &Context, details: i32) -> Result<ForwardClientCert, Rejection> {
    use inner::ForwardClientCertDetails as Details;
    Ok(match cx.variant("forward_client_cert_details", details)? {
        Details::Sanitize => ForwardClientCert::Sanitize,
        Details::ForwardOnly => ForwardClientCert::ForwardOnly,
        Details::AppendForward => ForwardClientCert::AppendForward,
        Details::SanitizeSet => ForwardClientCert::SanitizeSet,
        Details::AlwaysForwardOnly => ForwardClientCert::AlwaysForwardOnly,
    })
}

pub(super) fn cert_details(
    cx: &mut Context,
    details: Option<inner::SetCurrentClientCertDetails>,
) -> Result<CertDetails, Rejection> {
    let Some(details) = details else { return Ok(CertDetails::default()) };
    let inner::SetCurrentClientCertDetails { subject, cert, chain, dns, uri, issuer, format } = details;
    cx.at("set_current_client_cert_details", |cx| {
        let format = match cx.variant("format", format)? {
            inner::ForwardClientCertFormat::Text => XfccFormat::Text,
            inner::ForwardClientCertFormat::Json => XfccFormat::Json,
        };
        Ok(CertDetails { subject: subject.is_some_and(|f| f.value), cert, chain, dns, uri, issuer, format })
    })
}

pub(super) fn scheme(
    cx: &Context,
    transformation: Option<core::SchemeHeaderTransformation>,
) -> Result<SchemeHeader, Rejection> {
    use core::scheme_header_transformation::Transformation::SchemeToOverwrite;
    let Some(core::SchemeHeaderTransformation { match_upstream, transformation }) = transformation else {
        return Ok(SchemeHeader::Keep);
    };
    match transformation {
        Some(SchemeToOverwrite(scheme)) => match scheme.as_str() {
            "http" => Ok(SchemeHeader::Overwrite { https: false }),
            "https" => Ok(SchemeHeader::Overwrite { https: true }),
            _ => {
                Err(cx.reject("scheme_header_transformation.scheme_to_overwrite", "value must be in list [http https]"))
            }
        },
        None if match_upstream => Ok(SchemeHeader::MatchUpstream),
        None => Ok(SchemeHeader::Keep),
    }
}

pub(super) fn forward_proto(
    cx: &mut Context,
    config: Option<pb::ForwardProtoConfig>,
) -> Result<Option<Box<ForwardProto>>, Rejection> {
    let Some(pb::ForwardProtoConfig { https_destination_ports, http_destination_ports }) = config else {
        return Ok(None);
    };
    let port = |cx: &mut Context, port| cx.port("", port);
    cx.at("forward_proto_config", |cx| {
        let https = cx.each("https_destination_ports", https_destination_ports, port)?;
        let http = cx.each("http_destination_ports", http_destination_ports, port)?;
        Ok(Some(Box::new(ForwardProto { https, http })))
    })
}

/// Mutations before the route is looked for.
pub(super) fn early_mutations(
    cx: &mut Context,
    extensions: Vec<core::TypedExtensionConfig>,
) -> Part<Box<[HeaderMutation]>> {
    const KIND: &str = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation";
    let mut found = Vec::new();
    for (i, core::TypedExtensionConfig { name, typed_config }) in extensions.into_iter().enumerate() {
        let mutations = cx.item("early_header_mutation_extensions", i, |cx| {
            let (type_name, body) = extension::required(cx, &name, typed_config)?;
            if &*type_name != KIND {
                return match type_name.starts_with("envoy.extensions.http.early_header_mutation.") {
                    true => Ok(Err(cx.unsupported("typed_config", &type_name))),
                    false => Err(extension::unknown(cx, &name, &type_name)),
                };
            }
            cx.at("typed_config", |cx| mutations(cx, &body))
        });
        found.extend(run!(mutations?));
    }
    Ok(Ok(found.into()))
}

fn mutations(cx: &mut Context, body: &[u8]) -> Part<Vec<HeaderMutation>> {
    let early_header_mutation::HeaderMutation { mutations } = cx.decode(body)?;
    if mutations.is_empty() {
        return Err(cx.reject("mutations", "value must contain at least 1 item(s)"));
    }
    let mut found = Vec::with_capacity(mutations.len());
    for (i, mutation) in mutations.into_iter().enumerate() {
        found.push(run!(cx.item("mutations", i, |cx| header_mutation(cx, mutation))?));
    }
    Ok(Ok(found))
}
