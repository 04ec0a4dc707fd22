//! Flags, then variables, then defaults; checked with kuma-dp's own words.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use config::bootstrap::kuma::{
    ControlPlane, Features, ProxyType, ResourceSource, ServerTrust, UnknownProxyType, system_ca_path,
};

use super::values::Values;
use super::variables;
use crate::app::args::RunArgs;
use crate::app::env::Env;
use crate::app::role::Role;

/// What `run` was asked for.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// Which kinds of proxy it may be: the one that was asked for, else those of the program; the resource decides.
    pub proxy_types: Vec<ProxyType>,
    /// Empty where a resource says it, and for zone proxies of 2.x.
    pub mesh: String,
    /// Empty where a resource says it.
    pub name: String,
    /// From SIGTERM to the end.
    pub drain_time: Duration,
    /// Where the bootstrap comes from.
    pub control_plane: ControlPlane,
    /// PEM, sent along.
    pub ca_cert: String,
    /// `None`: by CPUs.
    pub concurrency: Option<NonZeroUsize>,
    /// `None`: a temporary one.
    pub work_dir: Option<PathBuf>,
    /// Where sockets are, if not in the work dir (deprecated).
    pub socket_dir: Option<PathBuf>,
    /// File with the token.
    pub token_path: Option<PathBuf>,
    /// The token itself.
    pub token: Option<String>,
    /// The resource.
    pub resource: Option<ResourceSource>,
    /// For its template.
    pub variables: BTreeMap<String, String>,
    /// What is announced.
    pub features: Features,
    /// Certificate and key of the metrics listener.
    pub metrics: (String, String),
    /// The system's CA bundle.
    pub system_ca_path: String,
    /// IPv6 may be used where the host has it.
    pub ipv6: bool,
    /// SPIRE agent's socket.
    pub spire_socket: String,
    /// `None`: as the cgroup says.
    pub max_memory: Option<u64>,
    /// Where `/ready` is answered.
    pub readiness_port: u16,
    /// Sent along.
    pub dns_port: u32,
    /// How often dynamic configuration is looked at.
    pub refresh_interval: Duration,
    /// Shown in insights and used by collectors on the node.
    pub dynamic_metadata: BTreeMap<String, String>,
    /// `POD_NAME` is set.
    pub in_kubernetes: bool,
    /// `--envoy-log-level`.
    pub data_path_level: Option<String>,
    /// `--envoy-component-log-level`.
    pub component_levels: Option<String>,
    /// To be said once the log is there.
    pub notes: Vec<String>,
}

/// What is wrong with flags and variables.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `--proxy-type`.
    #[error(transparent)]
    ProxyType(#[from] UnknownProxyType),
    /// `--proxy-type` of another program.
    #[error("invalid proxy type \"{asked}\": {program} takes {accepted}; use zone-{asked} for it")]
    OtherProgram {
        /// What was asked for.
        asked: ProxyType,
        /// This program.
        program: &'static str,
        /// What it takes.
        accepted: String,
    },
    /// A variable's value.
    #[error("processing environment variables failed: {name}: {reason}")]
    Env {
        /// Which.
        name: &'static str,
        /// Why.
        reason: String,
    },
    /// All that is missing or out of range.
    #[error("configuration validation failed: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// Both ways to say who we are.
    #[error(
        "--name and --mesh cannot be specified when a dataplane definition is provided, mesh and name will be read \
         from the dataplane definition"
    )]
    NameWithResource,
    /// `--dataplane-var`.
    #[error("--dataplane-var {0:?} must be formatted as key=value")]
    Variable(String),
    /// `--ca-cert-file`.
    #[error("could not read certificate file {path}: {source}")]
    CaFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl RunConfig {
    /// Puts flags, variables and defaults together.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn resolve(role: &Role, args: &RunArgs, env: &Env) -> Result<Self, ConfigError> {
        let from = Values { env };
        let resource_args = &args.resource;
        let resource = match from.path(&resource_args.dataplane_file, "KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH") {
            Some(path) if path.as_os_str() == "-" => Some(ResourceSource::Stdin),
            Some(path) => Some(ResourceSource::File(path)),
            None => from.text(&resource_args.dataplane, "KUMA_DATAPLANE_RUNTIME_RESOURCE").map(ResourceSource::Inline),
        };
        let (control_plane, ca_cert) = control_plane(args, from)?;
        let old_dir = from.path(&args.sidecar.config_dir, "KUMA_DATAPLANE_RUNTIME_CONFIG_DIR");
        let work_dir = from.path(&args.work_dir, "KUMA_DATAPLANE_RUNTIME_WORK_DIR").or(old_dir.clone());
        let socket_dir = from.path(&None, "KUMA_DATAPLANE_RUNTIME_SOCKET_DIR");
        let max_memory = from.number(None, "KUMA_DATAPLANE_RESOURCES_MAX_MEMORY_BYTES")?;
        let readiness_port: u64 = from.number(None, "KUMA_READINESS_PORT")?.unwrap_or(9902);
        let config = Self {
            proxy_types: proxy_types(role, from.text(&args.proxy_type, "KUMA_DATAPLANE_PROXY_TYPE"))?,
            mesh: from.text(&args.mesh, "KUMA_DATAPLANE_MESH").unwrap_or_default(),
            name: name(args, from, resource.is_some()),
            drain_time: from.duration(args.drain_time, "KUMA_DATAPLANE_DRAIN_TIME", 30_000)?,
            control_plane,
            ca_cert,
            concurrency: from.concurrency(args.concurrency)?,
            notes: notes(old_dir.is_some(), socket_dir.is_some()),
            work_dir,
            socket_dir,
            token_path: from.path(&resource_args.dataplane_token_file, "KUMA_DATAPLANE_RUNTIME_TOKEN_PATH"),
            token: from.text(&resource_args.dataplane_token, "KUMA_DATAPLANE_RUNTIME_TOKEN"),
            resource,
            variables: variables(&resource_args.dataplane_var)?,
            features: features(from)?,
            metrics: (
                from.text(&args.metrics_cert_path, "KUMA_DATAPLANE_RUNTIME_METRICS_CERT_PATH").unwrap_or_default(),
                from.text(&args.metrics_key_path, "KUMA_DATAPLANE_RUNTIME_METRICS_KEY_PATH").unwrap_or_default(),
            ),
            system_ca_path: from
                .text(&None, "KUMA_DATAPLANE_RUNTIME_DYNAMIC_SYSTEM_CA_PATH")
                .or_else(|| Some(system_ca_path()?.display().to_string()))
                .unwrap_or_default(),
            ipv6: from.flag(None, "KUMA_DATAPLANE_RUNTIME_IPV6_ENABLED", true)?,
            spire_socket: from.text(&None, "KUMA_DATAPLANE_RUNTIME_SPIRE_SOCKET_PATH").unwrap_or_default(),
            max_memory: max_memory.filter(|m| *m != 0),
            readiness_port: u16::try_from(readiness_port).unwrap_or(0),
            dns_port: from
                .number(args.sidecar.dns_envoy_port.map(u64::from), "KUMA_DNS_ENVOY_DNS_PORT")?
                .and_then(|p| u32::try_from(p).ok())
                .unwrap_or(15054),
            refresh_interval: from.duration(
                None,
                "KUMA_DATAPLANE_RUNTIME_DYNAMIC_CONFIGURATION_REFRESH_INTERVAL",
                1_000,
            )?,
            dynamic_metadata: env.get("HOST_IP").map(|ip| ("HOST_IP".to_owned(), ip.to_owned())).into_iter().collect(),
            in_kubernetes: env.get("POD_NAME").is_some(),
            data_path_level: from.text(&args.envoy_log_level, "KUMA_DATAPLANE_RUNTIME_ENVOY_LOG_LEVEL"),
            component_levels: from
                .text(&args.envoy_component_log_level, "KUMA_DATAPLANE_RUNTIME_ENVOY_COMPONENT_LOG_LEVEL"),
        };
        config.check()?;
        Ok(config)
    }

    /// Which kind of proxy it is where no resource says so.
    pub fn proxy_type(&self) -> ProxyType {
        self.proxy_types.first().copied().unwrap_or(ProxyType::Dataplane)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let mut wrong = Vec::new();
        if self.control_plane.backoff.is_zero() {
            wrong.push(".ControlPlane is not valid: .Retry is not valid: .Backoff must be a positive duration");
        }
        if self.control_plane.patience.is_zero() {
            wrong.push(".ControlPlane is not valid: .Retry is not valid: .MaxDuration must be a positive duration");
        }
        if self.drain_time.is_zero() {
            wrong.push(".Dataplane is not valid: .DrainTime must be positive");
        }
        if self.readiness_port == 0 {
            wrong.push(".Dataplane is not valid: .ReadinessPort has to be in (0, 65535] range (KUMA_READINESS_PORT)");
        }
        if self.resource.is_none() {
            wrong.extend(self.missing_names());
        }
        invalid(&wrong)
    }

    /// Without a resource, mesh and name must be given.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`].
    pub fn check_names(&self) -> Result<(), ConfigError> {
        invalid(&self.missing_names())
    }

    fn missing_names(&self) -> Vec<&'static str> {
        let mesh = (self.mesh.is_empty() && self.proxy_type().has_mesh())
            .then_some(".Dataplane is not valid: .Mesh must be non-empty (--mesh or a resource with --dataplane-file)");
        let name = self
            .name
            .is_empty()
            .then_some(".Dataplane is not valid: .Name must be non-empty (--name or a resource with --dataplane-file)");
        mesh.into_iter().chain(name).collect()
    }
}

fn invalid(wrong: &[&str]) -> Result<(), ConfigError> {
    if wrong.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(wrong.iter().map(ToString::to_string).collect())) }
}

fn proxy_types(role: &Role, asked: Option<String>) -> Result<Vec<ProxyType>, ConfigError> {
    let Some(asked) = asked else { return Ok(role.accepted().collect()) };
    let asked: ProxyType = asked.parse()?;
    if role.accepts(asked) {
        return Ok(vec![asked]);
    }
    let accepted = role.accepted().map(ProxyType::as_str).collect::<Vec<_>>().join(" and ");
    Err(ConfigError::OtherProgram { asked, program: role.program, accepted })
}

/// On Kubernetes the control plane knows the proxy by its Pod.
fn name(args: &RunArgs, from: Values<'_>, has_resource: bool) -> String {
    let given = from.text(&args.name, "KUMA_DATAPLANE_NAME");
    let pod = || Some(format!("{}.{}", from.env.get("POD_NAME")?, from.env.get("POD_NAMESPACE")?));
    given.or_else(|| pod().filter(|_| !has_resource)).unwrap_or_default()
}

fn control_plane(args: &RunArgs, from: Values<'_>) -> Result<(ControlPlane, String), ConfigError> {
    let ca_file = from.path(&args.ca_cert_file, "KUMA_CONTROL_PLANE_CA_CERT_FILE");
    let ca_cert = match (from.text(&None, "KUMA_CONTROL_PLANE_CA_CERT"), ca_file) {
        (Some(pem), _) => pem,
        (None, Some(path)) => std::fs::read_to_string(&path).map_err(|source| ConfigError::CaFile { path, source })?,
        (None, None) => String::new(),
    };
    let skip = from.flag(args.skip_verify, "KUMA_CONTROL_PLANE_TLS_SKIP_VERIFY", false)?;
    let trust = match (skip, ca_cert.is_empty()) {
        (true, _) => ServerTrust::Nobody,
        (false, false) => ServerTrust::Ca(ca_cert.clone()),
        (false, true) => ServerTrust::System,
    };
    let url = from.text(&args.cp_address, "KUMA_CONTROL_PLANE_URL");
    let control_plane = ControlPlane {
        url: url.unwrap_or_else(|| "https://localhost:5678".to_owned()),
        trust,
        backoff: from.duration(None, "KUMA_CONTROL_PLANE_RETRY_BACKOFF", 3_000)?,
        patience: from.duration(None, "KUMA_CONTROL_PLANE_RETRY_MAX_DURATION", 300_000)?,
    };
    Ok((control_plane, ca_cert))
}

fn features(from: Values<'_>) -> Result<Features, ConfigError> {
    const VARIANT: &str = "KUMA_DATAPLANE_RUNTIME_ENVOY_XDS_TRANSPORT_PROTOCOL_VARIANT";
    let state_of_the_world = match from.env.get(VARIANT) {
        None | Some("DELTA_GRPC") => false,
        Some("GRPC") => true,
        Some(other) => {
            return Err(ConfigError::Invalid(vec![format!(
                ".DataplaneRuntime is not valid: .EnvoyXdsTransportProtocolVariant invalid value: {other} . Must be one \
                 of: DELTA_GRPC or GRPC when defined"
            )]));
        }
    };
    Ok(Features {
        state_of_the_world,
        unified_naming: from.flag(None, "KUMA_DATAPLANE_RUNTIME_UNIFIED_RESOURCE_NAMING_ENABLED", false)?,
        spire: from.flag(None, "KUMA_DATAPLANE_RUNTIME_SPIRE_SUPPORTED", false)?,
        strict_inbound_ports: from.flag(None, "KUMA_DATAPLANE_RUNTIME_STRICT_INBOUND_PORTS_ENABLED", true)?,
        reuse_port: from.flag(None, "KUMA_DATAPLANE_RUNTIME_REUSE_PORT_ENABLED", true)?,
    })
}

fn notes(config_dir: bool, socket_dir: bool) -> Vec<String> {
    let notes = [
        (config_dir, "ConfigDir is deprecated, please use WorkDir instead"),
        (socket_dir, "SocketDir is deprecated, please use WorkDir instead"),
    ];
    notes.into_iter().filter(|(set, _)| *set).map(|(_, note)| note.to_owned()).collect()
}
