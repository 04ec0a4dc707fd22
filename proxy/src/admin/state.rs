//! What the admin server shows and moves: handles on the rest of the engine.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::engine::View;
use crate::lifecycle::drain::Strategy;
use crate::lifecycle::ready::Readiness;
use crate::lifecycle::signal::Event;
use crate::metrics::Registry;
use crate::metrics::render::Tags;
use crate::system::StatusReader;
use crate::upstream::Clusters;

/// Everything the admin server needs; the engine makes it.
#[derive(Clone)]
pub struct AdminState {
    /// What is in force, and how the control plane's stream is.
    pub view: Arc<View>,
    /// Clusters at run time.
    pub clusters: Arc<Clusters>,
    /// Statistics.
    pub registry: Arc<Registry>,
    /// How Prometheus labels are cut out of names.
    pub tags: Arc<Tags>,
    /// `/ready`.
    pub readiness: Readiness,
    /// Where the system listeners listen.
    pub system: StatusReader,
    /// Where `/quitquitquit`, `/drain_listeners` and `/reopen_logs` go.
    pub events: mpsc::Sender<Event>,
    /// The bootstrap in force.
    pub bootstrap: Bootstrap,
    /// How the process was started.
    pub options: Arc<Options>,
    /// Log levels.
    pub log: Arc<dyn LogLevels>,
}

/// The bootstrap in force.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Encoded `envoy.config.bootstrap.v3.Bootstrap`.
    pub body: Bytes,
    /// When it was loaded.
    pub loaded: SystemTime,
}

/// What `/server_info` says of the command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name and version of the program.
    pub version: String,
    /// Started at.
    pub started: Instant,
    /// Worker threads.
    pub concurrency: u32,
    /// `-c`; empty: the bootstrap came from the control plane.
    pub config_path: String,
    /// As given: `info`.
    pub log_level: String,
    /// Time from SIGTERM to the end.
    pub drain_time: Duration,
    /// How soon connections are told.
    pub drain_strategy: Strategy,
}

/// Log levels that can be changed while the process runs (a reload handle of `tracing_subscriber`).
pub trait LogLevels: Send + Sync {
    /// Sets the level of one target and what is below it, or of everything.
    ///
    /// # Errors
    /// Why it can't be, in one sentence.
    fn set(&self, target: Option<&str>, level: Level) -> Result<(), String>;
    /// (target, level) as in force; the level of everything else under the target `default`.
    fn all(&self) -> Vec<(String, Level)>;
}

/// Envoy's log levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is the level of that name
pub enum Level {
    Trace,
    Debug,
    Info,
    Warning,
    Error,
    /// The same as `Error` here.
    Critical,
    Off,
}

impl Level {
    /// All, most talkative first.
    pub const ALL: [Self; 7] =
        [Self::Trace, Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical, Self::Off];

    /// Envoy's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Off => "off",
        }
    }

    /// By its name; `warn` is known as well.
    pub fn parse(name: &str) -> Option<Self> {
        let name = if name == "warn" { "warning" } else { name };
        Self::ALL.into_iter().find(|level| level.as_str() == name)
    }
}
