//! Runs a proxy until it is told to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::app::logging::Levels;
use crate::app::role::Role;
use crate::app::settings::{DrainStrategy, Settings};
use crate::lifecycle::drain::Strategy;
use crate::process::{About, ProcessError};
use crate::report::sink;

/// Why the proxy ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ServeError(#[from] ProcessError);

/// Starts everything that `settings` say and returns when it has stopped. Must not be called within a runtime.
///
/// # Errors
/// What stopped it.
pub fn serve(role: &Role, settings: Settings, log: Levels) -> Result<(), ServeError> {
    let Settings {
        bootstrap,
        concurrency,
        drain_time,
        drain_strategy,
        readiness,
        admin_address_path,
        logs,
        config_path,
        kuma,
    } = settings;
    let sinks = sink::Options::default();
    let sinks = sink::Options {
        flush_interval: logs.flush_interval.unwrap_or(sinks.flush_interval),
        flush_bytes: logs.flush_bytes.unwrap_or(sinks.flush_bytes),
        ..sinks
    };
    let drain_strategy = match drain_strategy {
        DrainStrategy::Gradual => Strategy::Gradual,
        DrainStrategy::Immediate => Strategy::Immediate,
    };
    let metrics_socket: Option<PathBuf> = kuma.as_ref().map(|kuma| kuma.sockets.metrics.clone());
    // kuma-dp waits before it stops Envoy; Envoy itself stops at once.
    let terminate_after = if kuma.is_some() { drain_time } else { Duration::ZERO };
    let config_path = config_path.map(|path| path.display().to_string()).unwrap_or_default();
    let about = About {
        version: crate::app::version::text(role, false),
        config_path,
        log_level: log.default_level().to_owned(),
    };
    let result = crate::process::run(crate::process::Settings {
        bootstrap,
        concurrency: concurrency.get(),
        drain_time,
        terminate_after,
        drain_strategy,
        readiness,
        admin_address_path,
        metrics_socket,
        sinks,
        log: Arc::new(log),
        http: role.http.map(|make| make()),
        about,
    });
    // Holds the sockets until nothing listens on them any more.
    drop(kuma);
    Ok(result?)
}
