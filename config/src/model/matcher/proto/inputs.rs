//! What may be looked at, and custom matchers of it.

use envoy_types::pb::envoy::r#type::matcher::v3 as pb;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;

use crate::model::extension;
use crate::model::matcher::{HttpInput, Input};
use crate::model::route::proto::header_key;
use crate::reject::{Context, Rejection, Unsupported};

/// Packages of inputs that Envoy knows for HTTP: it refuses them in a network filter, by another message than an
/// unknown type.
const OF_HTTP: [&str; 3] = ["envoy.type.matcher.v3.", "envoy.extensions.matching.", "xds.type.matcher.v3."];
/// Inputs that it knows for listeners alone.
const OF_LISTENERS: [&str; 2] = ["TransportProtocolInput", "ApplicationProtocolInput"];

/// Converts an input that a network filter may look at. The inner error: it can't be had here.
pub(super) fn network(
    cx: &mut Context,
    filter: &str,
    TypedExtensionConfig { name, typed_config }: TypedExtensionConfig,
) -> Result<Result<Input, Unsupported>, Rejection> {
    let (type_name, _body) = extension::required(cx, &name, typed_config)?;
    let own = type_name.strip_prefix("envoy.extensions.matching.common_inputs.").unwrap_or_default();
    Ok(Ok(match own {
        "network.v3.DestinationIPInput" => Input::DestinationIp,
        "network.v3.DestinationPortInput" => Input::DestinationPort,
        "network.v3.SourceIPInput" => Input::SourceIp,
        "network.v3.SourcePortInput" => Input::SourcePort,
        "network.v3.DirectSourceIPInput" => Input::DirectSourceIp,
        "network.v3.ServerNameInput" => Input::ServerName,
        "network.v3.NetworkNamespaceInput" => Input::NetworkNamespace,
        "ssl.v3.UriSanInput" => Input::UriSan,
        "ssl.v3.DnsSanInput" => Input::DnsSan,
        "ssl.v3.SubjectInput" => Input::Subject,
        "network.v3.FilterStateInput" | "environment_variable.v3.Config" => {
            return Ok(Err(cx.unsupported("typed_config", &type_name)));
        }
        _ => {
            let of_http = OF_HTTP.iter().any(|package| type_name.starts_with(package));
            return Err(match of_http && !OF_LISTENERS.iter().any(|input| type_name.ends_with(input)) {
                true => cx.reject("typed_config", format!("{filter} cannot match 'type.googleapis.com/{type_name}'")),
                false => extension::unknown(cx, &name, &type_name),
            });
        }
    }))
}

/// Packages of inputs that Envoy knows for HTTP alone.
const HTTP: &str = "envoy.type.matcher.v3.";

/// Converts an input that an HTTP filter may look at. The inner error: it can't be had here.
pub(super) fn http(
    cx: &mut Context,
    only_requests: Option<&str>,
    config: TypedExtensionConfig,
) -> Result<Result<HttpInput, Unsupported>, Rejection> {
    let (type_name, body) = extension::required(cx, &config.name, config.typed_config.clone())?;
    let of_request = matches!(
        &*type_name,
        "envoy.type.matcher.v3.HttpRequestHeaderMatchInput" | "xds.type.matcher.v3.HttpAttributesCelMatchInput"
    );
    if type_name.starts_with(HTTP)
        && !of_request
        && let Some(filter) = only_requests
    {
        return Err(cx.reject("typed_config", format!("{filter} cannot match on 'type.googleapis.com/{type_name}'")));
    }
    cx.at("typed_config", |cx| {
        Ok(Ok(match type_name.strip_prefix(HTTP) {
            Some("HttpRequestHeaderMatchInput") => {
                let pb::HttpRequestHeaderMatchInput { header_name } = cx.decode(&body)?;
                HttpInput::RequestHeader(header_key(cx, "header_name", &header_name)?)
            }
            Some("HttpResponseHeaderMatchInput") => {
                let pb::HttpResponseHeaderMatchInput { header_name } = cx.decode(&body)?;
                HttpInput::ResponseHeader(header_key(cx, "header_name", &header_name)?)
            }
            Some("HttpRequestQueryParamMatchInput") => {
                let pb::HttpRequestQueryParamMatchInput { query_param } = cx.decode(&body)?;
                cx.not_empty("query_param", &query_param)?;
                HttpInput::Query(query_param.into())
            }
            Some("HttpResponseStatusCodeMatchInput") => HttpInput::Status,
            Some("HttpResponseStatusCodeClassMatchInput") => HttpInput::StatusClass,
            Some("HttpResponseLocalReplyMatchInput") => HttpInput::LocalReply,
            Some("HttpRequestTrailerMatchInput" | "HttpResponseTrailerMatchInput") => {
                return Ok(Err(cx.unsupported("", &type_name)));
            }
            _ if type_name.as_ref() == "xds.type.matcher.v3.HttpAttributesCelMatchInput" => {
                return Ok(Err(cx.unsupported("", &type_name)));
            }
            _ if OF_HTTP_ALONE.contains(&&*type_name) => return Ok(Err(cx.unsupported("", &type_name))),
            _ => return Ok(network(cx, only_requests.unwrap_or("HTTP filter"), config)?.map(HttpInput::Connection)),
        }))
    })
}

/// Inputs of connections that network filters may not look at.
const OF_HTTP_ALONE: [&str; 2] = [
    "envoy.extensions.matching.common_inputs.network.v3.DynamicMetadataInput",
    "envoy.extensions.matching.common_inputs.network.v3.SourceTypeInput",
];

/// Matchers of inputs beside strings: none runs here.
pub(super) fn custom_match(
    cx: &Context,
    TypedExtensionConfig { name, typed_config }: TypedExtensionConfig,
) -> Result<Unsupported, Rejection> {
    let (type_name, _body) = extension::required(cx, &name, typed_config)?;
    let known = type_name.starts_with("envoy.extensions.matching.input_matchers.")
        || type_name.starts_with("xds.type.matcher.v3.");
    if known { Ok(cx.unsupported("typed_config", &type_name)) } else { Err(extension::unknown(cx, &name, &type_name)) }
}
