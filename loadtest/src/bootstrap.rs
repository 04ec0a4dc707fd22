//! The configuration that every proxy gets: an Envoy bootstrap of the shape that Kuma sends.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::mutual::{Mutual, TRUST_DOMAIN};

/// The server name with this number, and the name of its cluster.
pub fn server_name(number: u32) -> String {
    format!("svc-{number:05}.mesh.test")
}

/// What a proxy is to do.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many server names there are.
    pub names: u32,
    /// End mutual TLS, instead of routing it by SNI.
    pub tls: Option<Arc<Mutual>>,
}

/// A bootstrap (JSON) with one listener, and `names` server names with a filter chain and a STATIC
/// cluster each, as Kuma's zone ingress has them. All clusters lead to one backend. The circuit
/// breakers are out of the way: the figures are to be about carrying connections, not refusing them.
///
/// With TLS each chain ends it as in a zone egress: certificate and authority by SDS (static secrets here), a client
/// certificate required whose URI is of the trust domain, and a network RBAC filter that allows the trust domain.
pub fn bootstrap(listen: SocketAddr, backend: SocketAddr, setup: &Setup) -> String {
    let mut chains = String::new();
    let mut clusters = String::new();
    for number in 0..setup.names {
        let name = server_name(number);
        let comma = if number == 0 { "" } else { ",\n" };
        // Writing to a String cannot fail.
        let _ = write!(chains, "{comma}{}", chain(&name, setup.tls.is_some()));
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
]{}}}}}
"#,
        address(listen),
        setup.tls.as_deref().map(secrets).unwrap_or_default()
    )
}

fn chain(name: &str, tls: bool) -> String {
    let (socket, rbac) = if tls { (socket(), rbac()) } else { <_>::default() };
    format!(
        r#"{{"name": "{name}", "filter_chain_match": {{"transport_protocol": "tls", "server_names": ["{name}"]}},{socket}
  "filters": [{rbac}{{"name": "envoy.filters.network.tcp_proxy", "typed_config": {{
    "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    "stat_prefix": "{name}", "cluster": "{name}"}}}}]}}"#
    )
}

fn socket() -> String {
    format!(
        r#" "transport_socket": {{"name": "envoy.transport_sockets.tls", "typed_config": {{
    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    "require_client_certificate": true, "common_tls_context": {{
      "tls_certificate_sds_secret_configs": [{{"name": "identity"}}],
      "combined_validation_context": {{"default_validation_context": {{"match_typed_subject_alt_names": [
        {{"san_type": "URI", "matcher": {{"prefix": "{TRUST_DOMAIN}"}}}}]}},
        "validation_context_sds_secret_config": {{"name": "authority"}}}}}}}}}},"#
    )
}

fn rbac() -> String {
    format!(
        r#"{{"name": "envoy.filters.network.rbac", "typed_config": {{
    "@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC", "stat_prefix": "inbound.",
    "rules": {{"action": "ALLOW", "policies": {{"mesh": {{"permissions": [{{"any": true}}],
      "principals": [{{"authenticated": {{"principal_name": {{"prefix": "{TRUST_DOMAIN}"}}}}}}]}}}}}}}}}}, "#
    )
}

fn secrets(tls: &Mutual) -> String {
    // PEM has no character that JSON escapes but the end of a line.
    let inline = |pem: &str| format!(r#"{{"inline_string": "{}"}}"#, pem.replace("\r\n", "\n").replace('\n', "\\n"));
    format!(
        r#", "secrets": [
{{"name": "identity", "tls_certificate": {{"certificate_chain": {}, "private_key": {}}}}},
{{"name": "authority", "validation_context": {{"trusted_ca": {}}}}}]"#,
        inline(&tls.certificate),
        inline(&tls.key),
        inline(&tls.authority)
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::mutual::Keys;

    #[test]
    fn every_name_has_a_chain_and_a_cluster_and_brackets_match() {
        let text =
            bootstrap(([127, 0, 0, 1], 1000).into(), ([127, 0, 0, 1], 2000).into(), &Setup { names: 3, tls: None });
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

    #[test]
    fn secrets_are_there_once() {
        let setup = Setup { names: 3, tls: Some(Arc::new(Mutual::new(Keys::Ecdsa).unwrap())) };
        let text = bootstrap(([127, 0, 0, 1], 1000).into(), ([127, 0, 0, 1], 2000).into(), &setup);
        assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 2);
        assert_eq!(text.matches("DownstreamTlsContext").count(), 3);
        for (open, close) in [('{', '}'), ('[', ']')] {
            assert_eq!(text.matches(open).count(), text.matches(close).count());
        }
    }
}
