//! What the engine is started with, whichever command line it came from.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::bootstrap::Bootstrap;
use config::bootstrap::kuma::Sidecar;

use crate::app::run::work_dir::WorkDir;

/// Everything the engine needs to know.
#[derive(Debug)]
pub struct Settings {
    /// Node, admin server, static resources, sources.
    pub bootstrap: Bootstrap,
    /// Workers.
    pub concurrency: NonZeroUsize,
    /// From failing health checks to the end of the process (`--drain-time`, `--drain-time-s`).
    pub drain_time: Duration,
    /// How removed chains and listeners are drained.
    pub drain_strategy: DrainStrategy,
    /// Where `/ready` alone is answered (kuma-dp's readiness reporter); `None` without Kuma.
    pub readiness: Option<SocketAddr>,
    /// Written with the admin server's address once it is known (`--admin-address-path`).
    pub admin_address_path: Option<PathBuf>,
    /// How access logs are written.
    pub logs: Logs,
    /// The bootstrap's file (`-c`); `None` where it came from the control plane.
    pub config_path: Option<PathBuf>,
    /// What only Kuma has; `None` for `-c FILE`.
    pub kuma: Option<Kuma>,
}

/// What comes with a Kuma control plane.
#[derive(Debug)]
pub struct Kuma {
    /// Mesh of the Dataplane; empty for zone proxies of 2.x.
    pub mesh: String,
    /// Name of the resource.
    pub name: String,
    /// Holds the sockets; a temporary one is removed when this is dropped.
    pub work_dir: WorkDir,
    /// Where the control plane's configuration looks for kuma-dp's helpers.
    pub sockets: Sockets,
    /// What else came with the bootstrap.
    pub sidecar: Sidecar,
    /// How often dynamic configuration is looked at.
    pub refresh_interval: Duration,
}

/// When access-log lines are written to their file; `None`: as Envoy does by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// At the latest after so long (`--file-flush-interval-msec`).
    pub flush_interval: Option<Duration>,
    /// Once so many bytes wait (`--file-flush-min-size-kb`).
    pub flush_bytes: Option<usize>,
}

/// `--drain-strategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DrainStrategy {
    /// The chance of a close grows over the drain time; Envoy's default.
    #[default]
    Gradual,
    /// At once; what kuma-dp passes.
    Immediate,
}

/// Paths that Kuma's control plane derives from the work dir (`pkg/core/xds/sockets.go`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// Lines of access logs that are to go to a TCP address.
    pub access_log: PathBuf,
    /// Metrics, merged.
    pub metrics: PathBuf,
    /// The listener that serves dynamic configuration.
    pub dynamic_config: PathBuf,
    /// The admin server (2.14 and later).
    pub admin: PathBuf,
    /// The readiness reporter (2.13).
    pub readiness: PathBuf,
}

impl Sockets {
    /// Of the proxy `name` in `mesh`.
    pub fn new(work_dir: &Path, name: &str, mesh: &str) -> Self {
        let socket = |stem: &str| socket_path(work_dir, stem);
        Self {
            access_log: socket(&format!("kuma-al-{name}-{mesh}")),
            metrics: socket(&format!("kuma-mh-{name}-{mesh}")),
            dynamic_config: socket("kuma-mesh-metric-config"),
            admin: socket("kuma-envoy-admin"),
            readiness: socket("kuma-readiness-reporter"),
        }
    }
}

/// The whole path is cut to 98 bytes, so that with `.sock` it fits into a socket address.
fn socket_path(work_dir: &Path, stem: &str) -> PathBuf {
    let mut path = work_dir.join(stem).to_string_lossy().into_owned();
    let mut end = path.len().min(98);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    path.truncate(end);
    PathBuf::from(path + ".sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_as_kuma_names_them() {
        let sockets = Sockets::new(Path::new("/tmp/kuma-dp-1"), "ingress", "");
        assert_eq!(sockets.access_log, Path::new("/tmp/kuma-dp-1/kuma-al-ingress-.sock"));
        assert_eq!(sockets.dynamic_config, Path::new("/tmp/kuma-dp-1/kuma-mesh-metric-config.sock"));
        let long = Sockets::new(Path::new("/tmp/kuma-dp-1"), &"n".repeat(200), "m").metrics;
        assert_eq!(long.to_string_lossy().len(), 103);
        assert!(long.to_string_lossy().ends_with("nnn.sock"));
    }
}
