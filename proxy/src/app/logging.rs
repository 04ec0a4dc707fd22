//! The process's own log: to stderr, or to a file that is rotated.

mod rotate;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use crate::admin::{Level, LogLevels};
use crate::app::args::LogArgs;
use rotate::{Keep, RotatingFile};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `--log-level`, `--envoy-log-level` or one of `--component-log-level`.
    #[error("unknown log level {0:?}: it is off, critical, error, warn, info, debug or trace")]
    Level(String),
    /// `--component-log-level`.
    #[error("component log level {0:?} is not component:level")]
    Component(String),
    /// `--log-output-path`.
    #[error("cannot write the log to {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Envoy's components that have a counterpart here.
const COMPONENTS: [(&str, &str); 16] = [
    ("admin", "proxy::admin"),
    ("config", "config"),
    ("conn_handler", "proxy::listener"),
    ("connection", "proxy::connection"),
    ("dns", "proxy::upstream::dns"),
    ("filter", "proxy"),
    ("grpc", "config::xds"),
    ("hc", "proxy::upstream::health"),
    ("init", "proxy::engine"),
    ("main", "proxy::engine"),
    ("misc", "proxy"),
    ("pool", "proxy::upstream"),
    ("secret", "proxy::tls"),
    ("stats", "proxy::metrics"),
    ("tcp_proxy", "proxy::tcp_proxy"),
    ("upstream", "proxy::upstream"),
];

/// Starts the log of this process. A second call changes nothing.
///
/// # Errors
/// See [`LogError`].
pub fn start(args: &LogArgs, data_path: Option<&str>, components: Option<&str>) -> Result<Levels, LogError> {
    let (wanted, unknown) = wanted(&args.log_level, data_path, components)?;
    let (filter, handle) = reload::Layer::new(wanted.filter());
    let log = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_target(true).with_ansi(false);
    let started = match &args.log_output_path {
        None => log.with(lines.with_writer(std::io::stderr)).try_init(),
        Some(path) => {
            let keep = Keep {
                bytes: args.log_max_size.saturating_mul(1024 * 1024),
                files: args.log_max_retained_files,
                days: args.log_max_age,
            };
            let file = RotatingFile::open(path.clone(), keep);
            let file = file.map_err(|source| LogError::File { path: path.clone(), source })?;
            log.with(lines.with_writer(Mutex::new(file))).try_init()
        }
    };
    if started.is_ok() {
        for component in unknown {
            tracing::warn!(component, "--component-log-level: there is no such component here");
        }
    }
    Ok(Levels { wanted: Mutex::new(wanted), handle })
}

/// The levels in force, to be changed while the process runs.
#[derive(Debug)]
pub struct Levels {
    wanted: Mutex<Wanted>,
    handle: reload::Handle<Targets, Registry>,
}

impl Levels {
    /// The level of everything that has none of its own, by Envoy's name.
    pub fn default_level(&self) -> &'static str {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).default.as_str()
    }
}

impl LogLevels for Levels {
    /// A component of Envoy's that has a counterpart here, or a module of ours; without one, everything.
    fn set(&self, component: Option<&str>, level: Level) -> Result<(), String> {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        match component {
            None => *wanted = Wanted::all(level),
            Some(DEFAULT) => wanted.default = level,
            Some(name) => {
                let target = target(name).ok_or("unknown logger name")?;
                wanted.targets.insert(target, level);
            }
        }
        self.handle.reload(wanted.filter()).map_err(|error| error.to_string())
    }

    fn all(&self) -> Vec<(String, Level)> {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let components = COMPONENTS.iter().map(|(name, target)| ((*name).to_owned(), wanted.of(target)));
        std::iter::once((DEFAULT.to_owned(), wanted.default)).chain(components).collect()
    }
}

/// What has no level of its own.
const DEFAULT: &str = "default";

/// A level for everything, and others for some modules and what is below them.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    default: Level,
    targets: BTreeMap<&'static str, Level>,
}

impl Wanted {
    const fn all(default: Level) -> Self {
        Self { default, targets: BTreeMap::new() }
    }

    /// The level of a module: its own, or that of the nearest one above it.
    fn of(&self, module: &str) -> Level {
        let above =
            |target: &str| module.strip_prefix(target).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        let nearest = self.targets.iter().filter(|(target, _)| above(target)).max_by_key(|(target, _)| target.len());
        nearest.map_or(self.default, |(_, level)| *level)
    }

    fn filter(&self) -> Targets {
        let targets = self.targets.iter().map(|(target, level)| (*target, of_tracing(*level)));
        Targets::new().with_default(of_tracing(self.default)).with_targets(targets)
    }
}

fn of_tracing(level: Level) -> LevelFilter {
    match level {
        Level::Trace => LevelFilter::TRACE,
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warning => LevelFilter::WARN,
        Level::Error | Level::Critical => LevelFilter::ERROR,
        Level::Off => LevelFilter::OFF,
    }
}

/// The module behind one of Envoy's components, or one of ours by its own name.
fn target(name: &str) -> Option<&'static str> {
    let by_component = COMPONENTS.iter().find(|(component, _)| *component == name);
    by_component.or_else(|| COMPONENTS.iter().find(|(_, target)| *target == name)).map(|(_, target)| *target)
}

/// What the command line asks for, and the components that are not ours.
fn wanted(level: &str, data_path: Option<&str>, components: Option<&str>) -> Result<(Wanted, Vec<String>), LogError> {
    let mut wanted = Wanted::all(self::level(level)?);
    if let Some(data_path) = data_path {
        wanted.targets.insert("proxy", self::level(data_path)?);
    }
    let mut unknown = Vec::new();
    for pair in components.unwrap_or_default().split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (component, of) = pair.split_once(':').ok_or_else(|| LogError::Component(pair.to_owned()))?;
        let of = self::level(of)?;
        match target(component) {
            Some(target) => {
                wanted.targets.insert(target, of);
            }
            None => unknown.push(component.to_owned()),
        }
    }
    Ok((wanted, unknown))
}

/// Kuma's and Envoy's levels.
fn level(text: &str) -> Result<Level, LogError> {
    Level::parse(text).ok_or_else(|| LogError::Level(text.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_components() {
        assert_eq!(wanted("info", None, None).unwrap(), (Wanted::all(Level::Info), vec![]));
        let (wanted_levels, unknown) = wanted("warning", Some("debug"), Some("upstream:trace, wasm:info")).unwrap();
        let targets = [("proxy", Level::Debug), ("proxy::upstream", Level::Trace)].into();
        assert_eq!((wanted_levels, unknown), (Wanted { default: Level::Warning, targets }, vec!["wasm".to_owned()]));
        assert!(wanted("loud", None, None).unwrap_err().to_string().contains("\"loud\""));
        assert!(wanted("info", None, Some("upstream")).unwrap_err().to_string().contains("component:level"));
    }

    #[test]
    fn levels_change_while_the_process_runs() {
        let (filter, handle) = reload::Layer::new(Wanted::all(Level::Info).filter());
        let levels = Levels { wanted: Mutex::new(Wanted::all(Level::Info)), handle };
        let seen = |target: &'static str| match target {
            "upstream" => tracing::enabled!(target: "proxy::upstream::dns", tracing::Level::DEBUG),
            _ => tracing::enabled!(target: "config::xds", tracing::Level::DEBUG),
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(filter), || {
            assert!(!seen("upstream") && !seen("config"));
            levels.set(Some("upstream"), Level::Debug).unwrap();
            assert!(seen("upstream") && !seen("config"));
            let all = levels.all();
            assert_eq!(all[0], ("default".to_owned(), Level::Info));
            assert!(all.contains(&("dns".to_owned(), Level::Debug)), "below upstream");
            assert!(all.contains(&("tcp_proxy".to_owned(), Level::Info)));
            levels.set(None, Level::Debug).unwrap();
            assert!(seen("upstream") && seen("config"));
            levels.set(None, Level::Off).unwrap();
            assert!(!seen("upstream") && !seen("config"));
        });
        assert_eq!(levels.set(Some("nobody"), Level::Debug).unwrap_err(), "unknown logger name");
    }
}
