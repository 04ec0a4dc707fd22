//! `run`: as kuma-dp is called. Asks the control plane for a bootstrap and makes the settings of it.

pub mod config;
pub mod host;
mod values;
pub mod work_dir;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ::config::bootstrap::Bootstrap;
use ::config::bootstrap::kuma::{
    FetchError, Fetched, ProxyResource, ProxyType, Request, ResourceError, TokenCheckError, Version, check_token_file,
    fetch,
};
use ::config::model::address::Address;
use ::config::xds::token::Secret;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::app::settings::{DrainStrategy, Kuma, Logs, Settings, Sockets};
use crate::app::version;
use config::{ConfigError, RunConfig};
use work_dir::{WorkDir, WorkDirError};

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Flags and variables.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `--dataplane`, `--dataplane-file`.
    #[error("failed to read dataplane: {0}")]
    Resource(#[from] ResourceError),
    /// `--work-dir`.
    #[error(transparent)]
    WorkDir(#[from] WorkDirError),
    /// The token.
    #[error(
        "dataplane token is invalid, in Kubernetes you must mount a serviceAccount token, in universal you must start \
         your proxy with a generated token.: {0}"
    )]
    Token(#[from] TokenCheckError),
    /// The control plane.
    #[error("Failed to fetch Envoy bootstrap config. {0}")]
    Fetch(#[from] FetchError),
    /// A signal came first.
    #[error("interrupted while waiting for the control plane's answer")]
    Interrupted,
    /// The system.
    #[error("cannot start: {0}")]
    System(std::io::Error),
}

/// Everything up to serving. Blocks until the control plane has answered.
///
/// # Errors
/// See [`RunError`].
pub fn prepare(config: RunConfig) -> Result<Settings, RunError> {
    for note in &config.notes {
        warn!("{note}");
    }
    let resource = load_resource(&config)?;
    let (mesh, name) = match &resource {
        Some(resource) => (resource.mesh.clone(), resource.name.clone()),
        None => (config.mesh.clone(), config.name.clone()),
    };
    let work_dir = WorkDir::open(config.work_dir.as_deref())?;
    if let Some(other) = &config.socket_dir {
        WorkDir::make(other)?;
    }
    let sockets_in = config.socket_dir.clone().unwrap_or_else(|| work_dir.path().to_owned());
    let proxy_type = resource.as_ref().map_or(config.proxy_type(), |resource| resource.proxy_type);
    let token_path = token_path(&config, &work_dir, &name, proxy_type)?;
    let request = request(&config, resource, (&mesh, &name), &sockets_in, token_path.as_deref());
    info!(proxy_type = %request.proxy_type, mesh, name, version = version::VERSION, "starting");
    let Fetched { mut bootstrap, sidecar } = ask(&config, &request)?;
    if let Some(path) = &token_path {
        bootstrap.read_token_from(path);
    }
    for ignored in &bootstrap.ignored {
        warn!(field = %ignored.path, "bootstrap: not honoured: {}", ignored.note);
    }
    let readiness = readiness_address(&bootstrap, config.readiness_port, config.in_kubernetes, sidecar.address());
    info!(%readiness, "received the bootstrap");
    Ok(Settings {
        bootstrap,
        concurrency: config.concurrency.unwrap_or_else(host::cpus),
        drain_time: config.drain_time,
        drain_strategy: DrainStrategy::Immediate,
        readiness: Some(readiness),
        admin_address_path: None,
        logs: Logs::default(),
        config_path: None,
        kuma: Some(Kuma {
            sockets: Sockets::new(&sockets_in, &name, &mesh),
            mesh,
            name,
            work_dir,
            sidecar,
            refresh_interval: config.refresh_interval,
        }),
    })
}

fn load_resource(config: &RunConfig) -> Result<Option<ProxyResource>, RunError> {
    let Some(source) = &config.resource else { return Ok(None) };
    let resource = ProxyResource::load(source, &config.variables, &config.proxy_types)?;
    match &resource {
        Some(_) if !config.name.is_empty() || !config.mesh.is_empty() => Err(ConfigError::NameWithResource.into()),
        Some(_) => Ok(resource),
        // An empty file is no resource; then name and mesh must have been given.
        None => Ok(config.check_names().map(|()| None)?),
    }
}

/// A token on the command line goes into a file of its own, so that there is one way to read it.
fn token_path(
    config: &RunConfig,
    work_dir: &WorkDir,
    name: &str,
    proxy_type: ProxyType,
) -> Result<Option<PathBuf>, RunError> {
    let path = match &config.token {
        Some(token) => Some(work_dir.write_secret(name, token)?),
        None => config.token_path.clone(),
    };
    if let Some(path) = &path {
        check_token_file(path, proxy_type)?;
    }
    Ok(path)
}

fn request(
    config: &RunConfig,
    resource: Option<ProxyResource>,
    (mesh, name): (&str, &str),
    work_dir: &Path,
    token: Option<&Path>,
) -> Request {
    Request {
        mesh: mesh.to_owned(),
        name: name.to_owned(),
        proxy_type: resource.as_ref().map_or(config.proxy_type(), |resource| resource.proxy_type),
        token: token.map(|path| Secret::File(path.to_owned())),
        resource,
        ca_cert: config.ca_cert.clone(),
        version: Version { version: version::VERSION.to_owned(), commit: version::COMMIT.to_owned() },
        dynamic_metadata: config.dynamic_metadata.clone(),
        dns_port: config.dns_port,
        readiness_port: config.readiness_port,
        features: config.features.announced(),
        max_memory: config.max_memory.unwrap_or_else(host::memory_limit),
        work_dir: work_dir.to_owned(),
        metrics: config.metrics.clone(),
        system_ca_path: config.system_ca_path.clone(),
        ipv6: config.ipv6 && host::has_ipv6(),
        spire_socket: config.spire_socket.clone(),
    }
}

/// A runtime of its own, gone before the proxy starts.
fn ask(config: &RunConfig, request: &Request) -> Result<Fetched, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::System)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(RunError::System)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::System)?;
        tokio::select! {
            fetched = fetch(&config.control_plane, request) => Ok(fetched?),
            _ = terminate.recv() => Err(RunError::Interrupted),
            _ = interrupt.recv() => Err(RunError::Interrupted),
        }
    })
}

/// Next to the admin server; where that is a socket, on loopback, but for the kubelet on all addresses.
fn readiness_address(bootstrap: &Bootstrap, port: u16, in_kubernetes: bool, proxy: &str) -> SocketAddr {
    let ipv6 = proxy.parse::<Ipv6Addr>().is_ok();
    let ip = match bootstrap.admin.as_ref().map(|a| &a.address) {
        Some(Address::Socket(address)) => address.ip(),
        Some(Address::Pipe { .. }) | None => match (in_kubernetes, ipv6) {
            (true, true) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            (true, false) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            (false, true) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            (false, false) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        },
    };
    SocketAddr::new(ip, port)
}

/// `a=1` to a pair.
fn variables(pairs: &[String]) -> Result<BTreeMap<String, String>, ConfigError> {
    let split = |pair: &String| {
        let (name, value) = pair.split_once('=').ok_or_else(|| ConfigError::Variable(pair.clone()))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    pairs.iter().map(split).collect()
}
