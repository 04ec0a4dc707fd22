//! Resources written as JSON, sent to a proxy by the harness' control plane.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config::json::Converter;
use config::snapshot::Kind;
use serde_json::{Value, json};

use crate::bootstrap::{address, merged};
use crate::control_plane::{Bootstrap, ControlPlane, Options, Quirks};
use crate::process::{ADMIN, Site};

/// A control plane without TLS, so that Envoy can be sent to it as well; `node` on every request, as Kuma 2.13 wants.
///
/// # Panics
/// When it can't listen.
pub async fn control_plane() -> ControlPlane {
    let quirks = Quirks { nack_backoff: std::time::Duration::ZERO, ..Quirks::default() };
    let options = Options { tls: false, quirks, ..Options::default() };
    ControlPlane::start(options).await.expect("a free port")
}

/// Which form of ADS is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Increments.
    Delta,
    /// All of a kind, each time.
    StateOfTheWorld,
}

/// A bootstrap that takes listeners and clusters by incremental ADS.
pub fn bootstrap(site: &Site, control_plane: &ControlPlane) -> Value {
    bootstrap_by(Protocol::Delta, site, control_plane)
}

/// The same by either protocol.
pub fn bootstrap_by(protocol: Protocol, site: &Site, control_plane: &ControlPlane) -> Value {
    let api_type = match protocol {
        Protocol::Delta => "DELTA_GRPC",
        Protocol::StateOfTheWorld => "GRPC",
    };
    let http2 = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }});
    let cluster = crate::bootstrap::cluster(
        "ads_cluster",
        &[control_plane.address()],
        json!({"typed_extension_protocol_options": http2}),
    );
    json!({
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": address(site.at(ADMIN))},
        "static_resources": {"clusters": [cluster]},
        "dynamic_resources": {
            "ads_config": {
                "api_type": api_type,
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "ads_cluster"}}],
            },
            "lds_config": {"ads": {}, "resource_api_version": "V3"},
            "cds_config": {"ads": {}, "resource_api_version": "V3"},
        },
    })
}

/// Lets the control plane answer `/bootstrap`, as Kuma's does, with the [`bootstrap`] for this site.
pub fn answer_bootstrap(site: &Site, control_plane: &ControlPlane) {
    let text = STANDARD.encode(bootstrap(site, control_plane).to_string());
    let sidecar = json!({"networking": {"address": site.address.to_string()}});
    let body = json!({"bootstrap": text, "kumaSidecarConfiguration": sidecar});
    control_plane.set_bootstrap(Bootstrap { status: 200, body: body.to_string().into() });
}

/// A cluster whose endpoints come by EDS; `more` is merged into it.
pub fn eds_cluster(name: &str, more: Value) -> Value {
    let config = json!({
        "name": name,
        "type": "EDS",
        "connect_timeout": "5s",
        "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}},
    });
    merged(config, more)
}

/// The endpoints of a cluster.
pub fn endpoints(name: &str, at: &[std::net::SocketAddr]) -> Value {
    let endpoints: Vec<_> = at.iter().map(|at| json!({"endpoint": {"address": address(*at)}})).collect();
    json!({"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]})
}

/// Adds or replaces a resource under the name that it holds.
///
/// # Panics
/// When the JSON is no such resource.
pub fn put(control_plane: &ControlPlane, kind: Kind, resource: &Value) {
    let message = kind.type_url().rsplit('/').next().expect("a type URL");
    let bytes = Converter::new().and_then(|c| c.to_bytes(message, resource)).expect("a resource");
    let name = resource.get("name").or_else(|| resource.get("cluster_name")).and_then(Value::as_str);
    control_plane.set_bytes(kind, name.expect("a name"), bytes);
}
