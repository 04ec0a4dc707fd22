//! Bootstraps that Envoy and we take alike.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::process::{ADMIN, Site};

/// A bootstrap with static resources and an admin interface.
pub fn bootstrap(site: &Site, listeners: &[Value], clusters: &[Value]) -> Value {
    json!({
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": address(site.at(ADMIN))},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    })
}

/// A listener that reads ClientHellos, with these filter chains.
pub fn listener(name: &str, at: SocketAddr, chains: &[Value]) -> Value {
    json!({
        "name": name,
        "address": address(at),
        "listener_filters": [tls_inspector()],
        "filter_chains": chains,
    })
}

/// The listener filter that reads ClientHellos.
pub fn tls_inspector() -> Value {
    json!({
        "name": "envoy.filters.listener.tls_inspector",
        "typed_config": {"@type": kind("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")},
    })
}

/// A chain for TLS with these server names.
pub fn chain(names: &[&str], filter: Value) -> Value {
    json!({
        "filter_chain_match": {"server_names": names, "transport_protocol": "tls"},
        "filters": [filter],
    })
}

/// A chain that takes every connection.
pub fn any_chain(filter: Value) -> Value {
    json!({"filters": [filter]})
}

/// `tcp_proxy` to a cluster; `more` is merged into it.
pub fn tcp_proxy(cluster: &str, more: Value) -> Value {
    let config = json!({
        "@type": kind("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"),
        "stat_prefix": cluster,
        "cluster": cluster,
    });
    json!({"name": "envoy.filters.network.tcp_proxy", "typed_config": merged(config, more)})
}

/// `direct_response` with this text.
pub fn direct_response(text: &str) -> Value {
    json!({
        "name": "envoy.filters.network.direct_response",
        "typed_config": {
            "@type": kind("envoy.extensions.filters.network.direct_response.v3.Config"),
            "response": {"inline_string": text},
        },
    })
}

/// The network filter that lets through `tokens` connections, and as many more every `interval`.
pub fn local_ratelimit(tokens: u32, interval: &str) -> Value {
    json!({
        "name": "envoy.filters.network.local_ratelimit",
        "typed_config": {
            "@type": kind("envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit"),
            "stat_prefix": "limited",
            "token_bucket": {"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": interval},
        },
    })
}

/// The network filter that lets through whom `principals` describe, under the policy name `allow`; nobody without any.
pub fn rbac(stat_prefix: &str, principals: &[Value]) -> Value {
    let policies = match principals {
        [] => json!({}),
        principals => json!({"allow": {"permissions": [{"any": true}], "principals": principals}}),
    };
    json!({
        "name": "envoy.filters.network.rbac",
        "typed_config": {
            "@type": kind("envoy.extensions.filters.network.rbac.v3.RBAC"),
            "stat_prefix": stat_prefix,
            "rules": {"policies": policies},
        },
    })
}

/// Whose certificate holds exactly this identity.
pub fn principal(identity: &str) -> Value {
    json!({"authenticated": {"principal_name": {"exact": identity}}})
}

/// A cluster with these endpoints; `more` is merged into it.
pub fn cluster(name: &str, endpoints: &[SocketAddr], more: Value) -> Value {
    let endpoints: Vec<_> = endpoints.iter().map(|at| json!({"endpoint": {"address": address(*at)}})).collect();
    let config = json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    });
    merged(config, more)
}

/// An access log to the site's file, one line of this format a connection.
pub fn access_log(site: &Site, format: &str) -> Value {
    json!([{
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": kind("envoy.extensions.access_loggers.file.v3.FileAccessLog"),
            "path": site.access_log(),
            "log_format": {"text_format_source": {"inline_string": format!("{format}\n")}},
        },
    }])
}

/// A TCP address.
pub fn address(at: SocketAddr) -> Value {
    json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}})
}

/// The type URL of a message.
pub fn kind(message: &str) -> String {
    format!("type.googleapis.com/{message}")
}

/// `more` written over `base`: objects are merged, everything else is replaced.
pub fn merged(base: Value, more: Value) -> Value {
    match (base, more) {
        (base, Value::Null) => base,
        (Value::Object(mut base), Value::Object(more)) => {
            for (key, value) in more {
                let old = base.remove(&key).unwrap_or(Value::Null);
                base.insert(key, merged(old, value));
            }
            Value::Object(base)
        }
        (_, more) => more,
    }
}
