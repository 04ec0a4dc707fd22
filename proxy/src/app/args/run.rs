//! The flags of `kuma-dp run` (2.13, 2.14 and 3.0) and what Kong Mesh adds.
//!
//! Every flag has the variable that is named with it; the flag has precedence. Variables are read in `run/config.rs`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::app::duration::{parse_bool, parse_duration};

/// `run`.
#[derive(Debug, Default, Args)]
pub struct RunArgs {
    /// dataplane, or as which zone proxy Kuma 2.x knows this program (ingress, egress); from 3.0 on always dataplane,
    /// with zone proxies as its listeners [env: KUMA_DATAPLANE_PROXY_TYPE] [default: as the resource says, else
    /// dataplane]
    #[arg(long, value_name = "TYPE")]
    pub proxy_type: Option<String>,
    /// Name of the resource; not together with --dataplane or --dataplane-file [env: KUMA_DATAPLANE_NAME]
    #[arg(long)]
    pub name: Option<String>,
    /// Mesh of the Dataplane; not together with --dataplane or --dataplane-file [env: KUMA_DATAPLANE_MESH]
    #[arg(long)]
    pub mesh: Option<String>,
    /// Time from SIGTERM to the end, so that connections can move elsewhere [env: KUMA_DATAPLANE_DRAIN_TIME]
    /// [default: 30s]
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub drain_time: Option<Duration>,
    /// The control plane's data plane server [env: KUMA_CONTROL_PLANE_URL] [default: https://localhost:5678]
    #[arg(long, value_name = "URL")]
    pub cp_address: Option<String>,
    /// CA that the control plane's certificate is verified by; the system's roots without it
    /// [env: KUMA_CONTROL_PLANE_CA_CERT_FILE, or the PEM itself in KUMA_CONTROL_PLANE_CA_CERT]
    #[arg(long, value_name = "FILE")]
    pub ca_cert_file: Option<PathBuf>,
    /// Do not verify the control plane's certificate; for tests only [env: KUMA_CONTROL_PLANE_TLS_SKIP_VERIFY]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = parse_bool)]
    pub skip_verify: Option<bool>,
    /// Worker threads; 0: one for each CPU that this process may use [env: KUMA_DATAPLANE_RUNTIME_CONCURRENCY]
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
    /// Folder of all sockets; by default a temporary one, removed at the end [env: KUMA_DATAPLANE_RUNTIME_WORK_DIR]
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// Log level of the data path; as --log-level without it [env: KUMA_DATAPLANE_RUNTIME_ENVOY_LOG_LEVEL]
    #[arg(long, value_name = "LEVEL")]
    pub envoy_log_level: Option<String>,
    /// Log levels of parts: upstream:debug,config:trace [env: KUMA_DATAPLANE_RUNTIME_ENVOY_COMPONENT_LOG_LEVEL]
    #[arg(long, value_name = "LIST")]
    pub envoy_component_log_level: Option<String>,
    /// Certificate of the metrics listener [env: KUMA_DATAPLANE_RUNTIME_METRICS_CERT_PATH]
    #[arg(long, value_name = "FILE")]
    pub metrics_cert_path: Option<String>,
    /// Its key [env: KUMA_DATAPLANE_RUNTIME_METRICS_KEY_PATH]
    #[arg(long, value_name = "FILE")]
    pub metrics_key_path: Option<String>,
    /// The resource and the token.
    #[command(flatten)]
    pub resource: ResourceArgs,
    /// Of sidecars.
    #[command(flatten)]
    pub sidecar: SidecarArgs,
    /// Of Kong Mesh.
    #[command(flatten)]
    pub kong: KongArgs,
}

/// Who we are to the control plane.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Resource and token")]
pub struct ResourceArgs {
    /// File with the token; read again whenever the stream is opened [env: KUMA_DATAPLANE_RUNTIME_TOKEN_PATH]
    #[arg(long, value_name = "FILE")]
    pub dataplane_token_file: Option<PathBuf>,
    /// The token itself [env: KUMA_DATAPLANE_RUNTIME_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    pub dataplane_token: Option<String>,
    /// ZoneIngress, ZoneEgress or Dataplane as a template in YAML or JSON [env: KUMA_DATAPLANE_RUNTIME_RESOURCE]
    #[arg(long, value_name = "RESOURCE")]
    pub dataplane: Option<String>,
    /// The same in a file, - for stdin [env: KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH]
    #[arg(short = 'd', long, value_name = "FILE")]
    pub dataplane_file: Option<PathBuf>,
    /// Fills in {{ name }} in the resource; may be repeated, or be a list a=1,b=2
    #[arg(short = 'v', long, value_name = "NAME=VALUE", value_delimiter = ',')]
    pub dataplane_var: Vec<String>,
}

/// Flags that concern sidecars.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Accepted from kuma-dp command lines, without effect in a zone proxy")]
#[allow(missing_docs)]
pub struct SidecarArgs {
    #[arg(long, hide_short_help = true, value_name = "PATH")]
    pub binary_path: Option<String>,
    /// Deprecated: use --work-dir
    #[arg(long, hide_short_help = true, value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
    #[arg(long, hide_short_help = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = parse_bool)]
    pub bind_outbounds: Option<bool>,
    #[arg(long, hide_short_help = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = parse_bool)]
    pub dns_enabled: Option<bool>,
    #[arg(long, hide_short_help = true, value_name = "PORT")]
    pub dns_envoy_port: Option<u32>,
    #[arg(long, hide_short_help = true, value_name = "PORT")]
    pub dns_proxy_port: Option<u32>,
    #[arg(long, hide_short_help = true, value_name = "PORT")]
    pub dns_coredns_port: Option<u32>,
    #[arg(long, hide_short_help = true, value_name = "PATH")]
    pub dns_coredns_path: Option<String>,
    #[arg(long, hide_short_help = true, value_name = "PATH")]
    pub dns_coredns_config_template_path: Option<String>,
    #[arg(long, hide_short_help = true, value_name = "DIR")]
    pub dns_server_config_dir: Option<String>,
    #[arg(long, hide_short_help = true, value_name = "PORT")]
    pub dns_prometheus_port: Option<u32>,
    #[arg(long, hide_short_help = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = parse_bool)]
    pub dns_enable_logging: Option<bool>,
    #[arg(long, hide_short_help = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = parse_bool)]
    pub transparent_proxy: Option<bool>,
    #[arg(long, hide_short_help = true, value_name = "CONFIG")]
    pub transparent_proxy_config: Vec<String>,
}

/// Flags that Kong Mesh adds for its OPA agent, which a zone proxy has no use for.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Accepted from Kong Mesh command lines, without effect in a zone proxy")]
#[allow(missing_docs)]
pub struct KongArgs {
    #[arg(long, hide_short_help = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = parse_bool)]
    pub opa_enabled: Option<bool>,
    #[arg(long, hide_short_help = true, value_name = "ADDRESS")]
    pub opa_addr: Option<String>,
    #[arg(long, hide_short_help = true, value_name = "ADDRESS")]
    pub opa_diagnostic_addr: Option<String>,
    #[arg(long, hide_short_help = true, value_name = "ADDRESS")]
    pub opa_ext_authz_addr: Option<String>,
    #[arg(long, hide_short_help = true, value_name = "PATH")]
    pub opa_config_path: Option<String>,
    #[arg(long, hide_short_help = true, value_name = "KEY=VALUE")]
    pub opa_set: Vec<String>,
}
