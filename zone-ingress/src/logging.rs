//! The process's own log: to stderr, or to a file that is rotated.

mod rotate;

use std::path::PathBuf;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::args::LogArgs;
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
pub fn start(args: &LogArgs, data_path: Option<&str>, components: Option<&str>) -> Result<(), LogError> {
    let (directives, unknown) = directives(&args.log_level, data_path, components)?;
    let filter = EnvFilter::new(&directives);
    let log = fmt().with_env_filter(filter).with_target(true);
    let started = match &args.log_output_path {
        None => log.with_writer(std::io::stderr).with_ansi(false).try_init(),
        Some(path) => {
            let keep = Keep {
                bytes: args.log_max_size.saturating_mul(1024 * 1024),
                files: args.log_max_retained_files,
                days: args.log_max_age,
            };
            let file = RotatingFile::open(path.clone(), keep);
            let file = file.map_err(|source| LogError::File { path: path.clone(), source })?;
            log.with_writer(Mutex::new(file)).with_ansi(false).try_init()
        }
    };
    if started.is_ok() {
        for component in unknown {
            tracing::warn!(component, "--component-log-level: there is no such component here");
        }
    }
    Ok(())
}

/// The filter in tracing's words, and the components that are not ours.
fn directives(
    level: &str,
    data_path: Option<&str>,
    components: Option<&str>,
) -> Result<(String, Vec<String>), LogError> {
    let mut directives = vec![self::level(level)?.to_owned()];
    if let Some(data_path) = data_path {
        directives.push(format!("proxy={}", self::level(data_path)?));
    }
    let mut unknown = Vec::new();
    for pair in components.unwrap_or_default().split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (component, of) = pair.split_once(':').ok_or_else(|| LogError::Component(pair.to_owned()))?;
        let of = self::level(of)?;
        match COMPONENTS.iter().find(|(name, _)| *name == component) {
            Some((_, target)) => directives.push(format!("{target}={of}")),
            None => unknown.push(component.to_owned()),
        }
    }
    Ok((directives.join(","), unknown))
}

/// Kuma's and Envoy's levels.
fn level(text: &str) -> Result<&'static str, LogError> {
    Ok(match text {
        "off" => "off",
        "critical" | "error" => "error",
        "warning" | "warn" => "warn",
        "info" => "info",
        "debug" => "debug",
        "trace" => "trace",
        other => return Err(LogError::Level(other.to_owned())),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_components() {
        assert_eq!(directives("info", None, None).unwrap(), ("info".to_owned(), vec![]));
        let (text, unknown) = directives("warning", Some("debug"), Some("upstream:trace, wasm:info")).unwrap();
        assert_eq!((text.as_str(), unknown), ("warn,proxy=debug,proxy::upstream=trace", vec!["wasm".to_owned()]));
        assert!(text.parse::<EnvFilter>().is_ok());
        assert!(directives("loud", None, None).unwrap_err().to_string().contains("\"loud\""));
        assert!(directives("info", None, Some("upstream")).unwrap_err().to_string().contains("component:level"));
    }
}
