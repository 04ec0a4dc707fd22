//! The body of `POST /bootstrap` (`pkg/xds/bootstrap/types/bootstrap_request.go`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::features::Feature;
use super::{ProxyResource, ProxyType};
use crate::xds::token::Secret;

/// Who asks, and what it can do.
#[derive(Clone)]
pub struct Request {
    /// Empty for zone proxies of 2.x.
    pub mesh: String,
    /// Name of the resource.
    pub name: String,
    /// Which kind of proxy.
    pub proxy_type: ProxyType,
    /// Read anew for each attempt.
    pub token: Option<Secret>,
    /// The resource to register; `None` where the control plane has it already (Kubernetes).
    pub resource: Option<ProxyResource>,
    /// PEM of the CA that the control plane is verified with; it comes back in the bootstrap.
    pub ca_cert: String,
    /// Who we are.
    pub version: Version,
    /// Shown in insights.
    pub dynamic_metadata: BTreeMap<String, String>,
    /// Port that answers DNS in sidecars; kuma-dp sends its default for all.
    pub dns_port: u32,
    /// Where `/ready` is answered.
    pub readiness_port: u16,
    /// What is announced.
    pub features: Vec<Feature>,
    /// Memory that the process may use; 0: not known. Becomes the heap limit of gateways.
    pub max_memory: u64,
    /// Folder of all sockets.
    pub work_dir: PathBuf,
    /// Certificate and key of the metrics listener.
    pub metrics: (String, String),
    /// The system's CA bundle, put where an external service names no CA.
    pub system_ca_path: String,
    /// IPv6 may be used.
    pub ipv6: bool,
    /// SPIRE agent's socket.
    pub spire_socket: String,
}

/// Who we are, for people.
#[derive(Clone, Debug)]
pub struct Version {
    /// Ours, as `x.y.z`.
    pub version: String,
    /// Commit we were built from.
    pub commit: String,
}

/// On the wire.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wire<'a> {
    mesh: &'a str,
    name: &'a str,
    proxy_type: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    dataplane_token: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    dataplane_token_path: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    dataplane_resource: &'a str,
    version: WireVersion<'a>,
    ca_cert: &'a str,
    dynamic_metadata: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_zero")]
    dns_port: u32,
    readiness_port: u16,
    operating_system: &'static str,
    features: &'a [Feature],
    resources: Resources,
    workdir: String,
    metrics_resources: Metrics<'a>,
    system_ca_path: &'a str,
    #[serde(rename = "ipv6Enabled")]
    ipv6_enabled: bool,
    spire_resources: Spire<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireVersion<'a> {
    kuma_dp: KumaDp<'a>,
    envoy: Envoy<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KumaDp<'a> {
    version: String,
    git_tag: String,
    git_commit: &'a str,
    build_date: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envoy<'a> {
    version: &'a str,
    build: String,
    kuma_dp_compatible: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resources {
    max_heap_size_bytes: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics<'a> {
    cert_path: &'a str,
    key_path: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spire<'a> {
    socket_path: &'a str,
}

impl Request {
    /// With the token as read just now.
    pub(super) fn wire<'a>(&'a self, token: &'a str) -> Wire<'a> {
        let Version { version, commit } = &self.version;
        let token_path = match &self.token {
            Some(Secret::File(path)) => path.display().to_string(),
            Some(Secret::Inline(_)) | None => String::new(),
        };
        Wire {
            mesh: &self.mesh,
            name: &self.name,
            proxy_type: self.proxy_type.as_str(),
            dataplane_token: token.trim(),
            dataplane_token_path: token_path,
            dataplane_resource: self.resource.as_ref().map_or("", |r| &r.json),
            version: WireVersion {
                // "preview" is how Kuma knows versions that follow no release of its own; any other number would be
                // shown as too old or too new for the control plane.
                kuma_dp: KumaDp {
                    version: format!("{version}-preview.zonegate"),
                    git_tag: format!("v{version}"),
                    git_commit: commit,
                    build_date: "unknown",
                },
                // kuma-dp splits `envoy --version` at slashes; the same five parts.
                envoy: Envoy {
                    version,
                    build: format!("{commit}/{version}/Clean/RELEASE/rustls"),
                    kuma_dp_compatible: true,
                },
            },
            ca_cert: &self.ca_cert,
            dynamic_metadata: &self.dynamic_metadata,
            dns_port: self.dns_port,
            readiness_port: self.readiness_port,
            operating_system: "linux",
            features: &self.features,
            resources: Resources { max_heap_size_bytes: self.max_memory },
            workdir: self.work_dir.display().to_string(),
            metrics_resources: Metrics { cert_path: &self.metrics.0, key_path: &self.metrics.1 },
            system_ca_path: &self.system_ca_path,
            ipv6_enabled: self.ipv6,
            spire_resources: Spire { socket_path: &self.spire_socket },
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}
