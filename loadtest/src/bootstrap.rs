//! The configuration that every proxy gets: an Envoy bootstrap of the shape that Kuma sends.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// The server name with this number, and the name of its cluster.
pub fn server_name(number: u32) -> String {
    format!("svc-{number:05}.mesh.test")
}

/// A bootstrap (JSON) with one listener, and `names` server names with a filter chain and a STATIC
/// cluster each, as Kuma's zone ingress has them. All clusters lead to one backend. The circuit
/// breakers are out of the way: the figures are to be about carrying connections, not refusing them.
pub fn bootstrap(listen: SocketAddr, backend: SocketAddr, names: u32) -> String {
    let mut chains = String::new();
    let mut clusters = String::new();
    for number in 0..names {
        let name = server_name(number);
        let comma = if number == 0 { "" } else { ",\n" };
        // Writing to a String cannot fail.
        let _ = write!(chains, "{comma}{}", chain(&name));
        let _ = write!(clusters, "{comma}{}", cluster(&name, backend));
    }
    format!(
        r#"{{"node": {{"id": "loadtest", "cluster": "loadtest"}},
"static_resources": {{"listeners": [{{
"name": "inbound:{listen}",
"address": {},
"traffic_direction": "INBOUND",
"listener_filters": [{{"name": "envoy.filters.listener.tls_inspector", "typed_config": {{
  "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"}}}}],
"filter_chains": [
{chains}
]}}], "clusters": [
{clusters}
]}}}}
"#,
        address(listen)
    )
}

fn chain(name: &str) -> String {
    format!(
        r#"{{"name": "{name}", "filter_chain_match": {{"transport_protocol": "tls", "server_names": ["{name}"]}},
  "filters": [{{"name": "envoy.filters.network.tcp_proxy", "typed_config": {{
    "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    "stat_prefix": "{name}", "cluster": "{name}"}}}}]}}"#
    )
}

fn cluster(name: &str, backend: SocketAddr) -> String {
    format!(
        r#"{{"name": "{name}", "type": "STATIC", "connect_timeout": "5s",
  "circuit_breakers": {{"thresholds": [{{"max_connections": 1000000, "max_pending_requests": 1000000,
    "max_requests": 1000000, "max_retries": 1000000}}]}},
  "load_assignment": {{"cluster_name": "{name}", "endpoints": [{{"lb_endpoints": [
    {{"endpoint": {{"address": {}}}}}]}}]}}}}"#,
        address(backend)
    )
}

fn address(at: SocketAddr) -> String {
    format!(r#"{{"socket_address": {{"address": "{}", "port_value": {}}}}}"#, at.ip(), at.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_chain_and_a_cluster_and_brackets_match() {
        let text = bootstrap(([127, 0, 0, 1], 1000).into(), ([127, 0, 0, 1], 2000).into(), 3);
        for number in 0..3 {
            assert!(text.contains(&format!(r#""server_names": ["svc-0000{number}.mesh.test"]"#)), "{text}");
        }
        assert!(!text.contains("svc-00003"));
        assert_eq!(text.matches(r#""port_value": 2000"#).count(), 3);
        assert_eq!(text.matches(r#""port_value": 1000"#).count(), 1);
        for (open, close) in [('{', '}'), ('[', ']')] {
            assert_eq!(text.matches(open).count(), text.matches(close).count());
        }
        assert_eq!(text.matches(",\n{\"name\"").count(), 4, "a comma between, none at the end");
    }
}
