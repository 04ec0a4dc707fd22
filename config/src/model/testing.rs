//! What tests of conversions share: resources written as JSON.
#![allow(clippy::unwrap_used, clippy::panic)]

use bytes::Bytes;
use serde_json::{Value, json};

use crate::json::Converter;
use crate::reject::{Ignored, Rejection};

/// `@type` of a type name.
pub(crate) fn url(type_name: &str) -> String {
    format!("type.googleapis.com/{type_name}")
}

/// An encoded message.
pub(crate) fn encode(message: &str, value: &Value) -> Bytes {
    Converter::new().unwrap().to_bytes(message, value).unwrap_or_else(|e| panic!("{e}: {value}")).into()
}

/// An encoded cluster.
pub(crate) fn cluster(value: &Value) -> Bytes {
    encode("envoy.config.cluster.v3.Cluster", value)
}

/// An encoded assignment.
pub(crate) fn endpoints(value: &Value) -> Bytes {
    encode("envoy.config.endpoint.v3.ClusterLoadAssignment", value)
}

/// An encoded listener.
pub(crate) fn listener(value: &Value) -> Bytes {
    encode("envoy.config.listener.v3.Listener", value)
}

/// An endpoint's address.
pub(crate) fn address(ip: &str, port: u16) -> Value {
    json!({"socketAddress": {"address": ip, "portValue": port}})
}

/// A listener filter, network filter or HTTP filter.
pub(crate) fn filter(name: &str, type_name: &str, mut config: Value) -> Value {
    config["@type"] = url(type_name).into();
    json!({"name": name, "typedConfig": config})
}

/// A tcp_proxy to cluster `c` with more settings.
pub(crate) fn tcp_proxy(more: Value) -> Value {
    let mut config = json!({"statPrefix": "p", "cluster": "c"});
    merge(&mut config, more);
    filter("envoy.filters.network.tcp_proxy", "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", config)
}

/// A listener `l` with these chains.
pub(crate) fn with_chains(chains: Value) -> Value {
    json!({"name": "l", "address": address("127.0.0.1", 1), "filterChains": chains})
}

/// Sets top-level fields.
pub(crate) fn merge(into: &mut Value, more: Value) {
    let Value::Object(more) = more else { panic!("not an object") };
    into.as_object_mut().unwrap().extend(more);
}

/// Where a refused resource is refused.
pub(crate) fn path<T>(result: Result<T, Rejection>) -> String {
    match result {
        Ok(_) => "accepted".into(),
        Err(rejection) => rejection.path.to_string(),
    }
}

/// Paths of what is not honoured.
pub(crate) fn paths(ignored: &[Ignored]) -> Vec<String> {
    ignored.iter().map(|i| i.path.to_string()).collect()
}
