//! What may be looked at, and custom matchers of it.

use envoy_types::pb::xds::core::v3::TypedExtensionConfig;

use crate::model::extension;
use crate::model::matcher::Input;
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
