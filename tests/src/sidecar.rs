//! Real Envoy as a sidecar of the mesh: on the client's side it begins mutual TLS, on the server's side it ends it.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::bootstrap::{access_log, any_chain, bootstrap, cluster, listener, merged, tcp_proxy};
use crate::ca::{Authority, Leaf};
use crate::process::{Kind, Proxy, Site};
use crate::story::IN;
use crate::tls;

fn settings(mesh: &Authority, leaf: &Leaf) -> Value {
    merged(merged(tls::shows(&[leaf]), tls::trusts(&[mesh], json!({}))), json!({"alpn_protocols": ["kuma"]}))
}

/// The server's sidecar: ends mTLS on [`IN`] and passes on to the service beside it.
pub async fn of_server(service: SocketAddr, mesh: &Authority, leaf: &Leaf) -> Proxy {
    let site = Site::new();
    let log = access_log(&site, "%REQUESTED_SERVER_NAME% %DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_TLS_VERSION%");
    let chain = any_chain(tcp_proxy("service", json!({"access_log": log})));
    let listener = listener("inbound", site.at(IN), &[merged(chain, tls::mutual(settings(mesh, leaf)))]);
    let bootstrap = bootstrap(&site, &[listener], &[cluster("service", &[service], json!({}))]);
    Proxy::start(Kind::Envoy, site, &bootstrap).await
}

/// The client's sidecar: takes plain bytes on [`IN`] and begins mTLS towards a zone proxy, by this name, which may be
/// none of DNS.
pub async fn of_client(zone_proxy: SocketAddr, sni: &str, (mesh, leaf): (&Authority, &Leaf)) -> Proxy {
    let site = Site::new();
    let plain = merged(
        listener("outbound", site.at(IN), &[any_chain(tcp_proxy("zone-proxy", json!({})))]),
        json!({"listener_filters": []}),
    );
    let begins_tls = tls::upstream(settings(mesh, leaf), json!({"sni": sni}));
    let bootstrap = bootstrap(&site, &[plain], &[cluster("zone-proxy", &[zone_proxy], begins_tls)]);
    Proxy::start(Kind::Envoy, site, &bootstrap).await
}
