//! Runs a proxy until it is told to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proxy::admin::{Level, LogLevels};
use proxy::lifecycle::drain::Strategy;
use proxy::process::{About, ProcessError};

use crate::settings::{DrainStrategy, Settings};

/// Why the proxy ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ServeError(#[from] ProcessError);

/// Starts everything that `settings` say and returns when it has stopped. Must not be called within a runtime.
///
/// # Errors
/// What stopped it.
pub fn serve(settings: Settings) -> Result<(), ServeError> {
    let Settings { bootstrap, concurrency, drain_time, drain_strategy, readiness, admin_address_path, kuma } = settings;
    let drain_strategy = match drain_strategy {
        DrainStrategy::Gradual => Strategy::Gradual,
        DrainStrategy::Immediate => Strategy::Immediate,
    };
    let metrics_socket: Option<PathBuf> = kuma.as_ref().map(|kuma| kuma.sockets.metrics.clone());
    // kuma-dp waits before it stops Envoy; Envoy itself stops at once.
    let terminate_after = if kuma.is_some() { drain_time } else { Duration::ZERO };
    let result = proxy::process::run(proxy::process::Settings {
        bootstrap,
        concurrency: concurrency.get(),
        drain_time,
        terminate_after,
        drain_strategy,
        readiness,
        admin_address_path,
        metrics_socket,
        log: Arc::new(Levels),
        about: About { version: crate::version::text(false), ..About::default() },
    });
    // Holds the sockets until nothing listens on them any more.
    drop(kuma);
    Ok(result?)
}

struct Levels;

impl LogLevels for Levels {
    fn set(&self, _target: Option<&str>, _level: Level) -> Result<(), String> {
        Err("log levels are fixed at the start".to_owned())
    }

    fn all(&self) -> Vec<(String, Level)> {
        vec![("default".to_owned(), Level::Info)]
    }
}
