//! Extension points: what stands in an `Any`, and whether Envoy would know it.
//!
//! A type that Envoy knows and this version can't run makes what hangs on it unsupported; one that Envoy does not know
//! either makes the resource malformed.

use envoy_types::pb::google::protobuf::Any;

use crate::reject::{Context, Rejection};

/// What is extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Category {
    /// `envoy.filters.network`.
    Network,
    /// `envoy.filters.listener`.
    Listener,
    /// `envoy.filters.http`: the gateway's, none of which run here but the router.
    Http,
    /// `envoy.transport_sockets.*`.
    TransportSocket,
    /// `envoy.access_loggers`.
    AccessLogger,
    /// `envoy.access_loggers.extension_filters`.
    AccessLogFilter,
}

impl Category {
    /// Package of its types.
    const fn package(self) -> &'static str {
        match self {
            Self::Network => "envoy.extensions.filters.network.",
            Self::Listener => "envoy.extensions.filters.listener.",
            Self::Http => "envoy.extensions.filters.http.",
            Self::TransportSocket => "envoy.extensions.transport_sockets.",
            Self::AccessLogger => "envoy.extensions.access_loggers.",
            Self::AccessLogFilter => "envoy.extensions.access_loggers.filters.",
        }
    }

    /// The extensions of Envoy 1.40 (with contrib) in that package; `None`: any.
    const fn known(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Network => Some(&NETWORK),
            Self::Listener => Some(&LISTENER),
            Self::TransportSocket => Some(&TRANSPORT_SOCKET),
            Self::AccessLogger => Some(&ACCESS_LOGGER),
            Self::AccessLogFilter => Some(&ACCESS_LOG_FILTER),
            Self::Http => None,
        }
    }
}

const NETWORK: [&str; 33] = [
    "client_ssl_auth",
    "connection_limit",
    "direct_response",
    "dubbo_proxy",
    "dynamic_modules",
    "echo",
    "ext_authz",
    "ext_proc",
    "generic_proxy",
    "geoip",
    "golang",
    "http_connection_manager",
    "kafka_broker",
    "kafka_mesh",
    "local_ratelimit",
    "mongo_proxy",
    "mysql_proxy",
    "postgres_proxy",
    "ratelimit",
    "rbac",
    "redis_proxy",
    "reverse_tunnel",
    "rocketmq_proxy",
    "set_filter_state",
    "sip_proxy",
    "sni_cluster",
    "sni_dynamic_forward_proxy",
    "tcp_bandwidth_limit",
    "tcp_proxy",
    "thrift_proxy",
    "wasm",
    "zookeeper_proxy",
    "match_delegate",
];
const LISTENER: [&str; 9] = [
    "dynamic_modules",
    "http_inspector",
    "local_ratelimit",
    "original_dst",
    "original_src",
    "proxy_protocol",
    "set_filter_state",
    "tls_inspector",
    "postgres_inspector",
];
const TRANSPORT_SOCKET: [&str; 12] = [
    "alts",
    "dynamic_modules",
    "http_11_proxy",
    "internal_upstream",
    "proxy_protocol",
    "quic",
    "raw_buffer",
    "s2a",
    "starttls",
    "tap",
    "tcp_stats",
    "tls",
];
const ACCESS_LOGGER: [&str; 8] =
    ["dynamic_modules", "file", "fluentd", "grpc", "open_telemetry", "stats", "stream", "wasm"];
const ACCESS_LOG_FILTER: [&str; 2] = ["cel", "process_ratelimit"];

/// The type name and the body of an extension that must be there.
///
/// `name` is the extension's, for the message.
pub(crate) fn required(cx: &Context, name: &str, any: Option<Any>) -> Result<(Box<str>, Vec<u8>), Rejection> {
    let Any { type_url, value } = any.unwrap_or_default();
    match type_url.rsplit_once('/') {
        Some((_, type_name)) if !type_name.is_empty() => Ok((type_name.into(), value)),
        _ => Err(unknown(cx, name, &type_url)),
    }
}

/// Refuses what Envoy would refuse: a type that no extension of the category has.
pub(crate) fn check_known(cx: &Context, category: Category, name: &str, type_name: &str) -> Result<(), Rejection> {
    let wrapped = matches!(type_name, "xds.type.v3.TypedStruct" | "udpa.type.v1.TypedStruct");
    let known = type_name.strip_prefix(category.package()).is_some_and(|rest| {
        let module = rest.split('.').next().unwrap_or_default();
        category.known().is_none_or(|known| known.contains(&module))
    });
    if known || wrapped { Ok(()) } else { Err(unknown(cx, name, type_name)) }
}

/// What Envoy says of a type that it does not know.
pub(crate) fn unknown(cx: &Context, name: &str, type_url: &str) -> Rejection {
    cx.reject(
        "typed_config",
        format!("didn't find a registered implementation for '{name}' with type URL: '{type_url}'"),
    )
}

/// The transport socket that does nothing.
pub(crate) fn is_raw_buffer(type_name: &str) -> bool {
    type_name == "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn known_and_unknown_types() {
        let cx = Context::default();
        let check = |category, t: &str| check_known(&cx, category, "n", t).is_ok();
        assert!(check(Category::Network, "envoy.extensions.filters.network.rbac.v3.RBAC"));
        assert!(check(Category::Network, "xds.type.v3.TypedStruct"));
        assert!(!check(Category::Network, "envoy.extensions.filters.network.nonsense.v3.X"));
        assert!(!check(Category::Network, "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"));
        assert!(check(Category::Http, "envoy.extensions.filters.http.fault.v3.HTTPFault"));
    }

    #[test]
    fn a_missing_config_is_a_missing_implementation() {
        let cx = Context::default();
        let refused = required(&cx, "envoy.filters.network.tcp_proxy", None).unwrap_err();
        assert!(refused.reason.contains("envoy.filters.network.tcp_proxy"));
    }
}
