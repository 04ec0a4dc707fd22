//! A whole proxy as a process: the parts put together, the signals listened to, the end awaited.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::bootstrap::Bootstrap;
use config::source::Sources;
use config::xds::Sink;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::engine::{Engine, Parts};
use crate::lifecycle::ready::Readiness;
use crate::lifecycle::signal::{Action, Driver, Machine};
use crate::metrics::Registry;
use crate::report::Sinks;
use crate::runtime::Workers;
use crate::shared::{Limits, Shared};
use crate::system::{self, System};
use crate::upstream::Clusters;

/// What the command line and the control plane's bootstrap said.
#[derive(Debug)]
pub struct Settings {
    /// Resources and where more of them come from.
    pub bootstrap: Bootstrap,
    /// Data-path threads.
    pub concurrency: usize,
    /// From SIGTERM to the end, and from a chain's removal to the end of its connections.
    pub drain_time: Duration,
    /// Where Kuma's readiness reporter listens.
    pub readiness: Option<SocketAddr>,
}

/// Why a process ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// Threads or signal handlers could not be had.
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
    /// A server that must be reachable is not.
    #[error("cannot listen for {what}: {source}")]
    Listen {
        /// Which.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A static resource is refused: such a bootstrap is wrong as a whole, as in Envoy.
    #[error("static resources are refused: {0}")]
    Refused(String),
}

/// Runs until a signal or the admin server ends it.
///
/// # Errors
/// See [`ProcessError`]. What the control plane sends later is never an error here.
pub fn run(settings: Settings) -> Result<(), ProcessError> {
    let workers = Workers::start(settings.concurrency, Limits::default().pipes).map_err(ProcessError::Start)?;
    let control = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ProcessError::Start)?;
    control.block_on(control_side(settings, &workers))
}

async fn control_side(settings: Settings, workers: &Workers) -> Result<(), ProcessError> {
    let Settings { bootstrap, concurrency, drain_time, readiness: readiness_address } = settings;
    let (driver, _requests) = Driver::install().map_err(ProcessError::Start)?;
    let (readiness, start) = Readiness::new();
    let registry = Registry::new(concurrency);
    let sinks = Sinks::new(&registry, crate::report::sink::Options::default());
    let engine = RefCell::new(assemble(&bootstrap, &registry, &sinks, readiness.clone(), drain_time, workers));
    apply_fixed(&engine, &bootstrap)?;
    {
        let dynamic = &bootstrap.dynamic;
        engine.borrow_mut().await_first(dynamic.clusters.is_some(), dynamic.listeners.is_some());
    }
    drop(start);
    let (stop, stopped) = watch::channel(false);
    let sources = Sources::new(&bootstrap.node, &bootstrap.dynamic);
    let act = |action| act(action, &engine, &readiness, &sinks);
    tokio::select! {
        () = driver.run(Machine::new(drain_time), act) => {}
        () = async { tokio::join!(sources.run(&engine, stopped), expire(&engine)); } => {}
    }
    drop(stop);
    sinks.shutdown(Duration::from_secs(2));
    let _ = readiness_address;
    Ok(())
}

fn assemble(
    bootstrap: &Bootstrap,
    registry: &Arc<Registry>,
    sinks: &Arc<Sinks>,
    readiness: Readiness,
    drain_time: Duration,
    workers: &Workers,
) -> Engine {
    let clusters = Clusters::new(Arc::clone(registry), Handle::current());
    let limits = Limits { connections: bootstrap.overload.max_connections.unwrap_or(0), ..Limits::default() };
    let parts = system::Parts {
        control: Handle::current(),
        clusters: Arc::clone(&clusters),
        registry: Arc::clone(registry),
        readiness: readiness.clone(),
        drain_time,
    };
    let shared = Shared::new(clusters, Arc::clone(registry), Arc::clone(sinks), limits);
    Engine::new(Parts { shared, system: System::new(parts), readiness, drain_time }, workers)
}

/// Static resources: all of them, or the process does not start.
fn apply_fixed(engine: &RefCell<Engine>, bootstrap: &Bootstrap) -> Result<(), ProcessError> {
    for batch in &bootstrap.fixed {
        let applied = engine.borrow_mut().apply(batch.clone());
        let refused: Vec<_> = applied.rejected.iter().map(|(name, _, why)| format!("{name}: {why}")).collect();
        if !refused.is_empty() {
            return Err(ProcessError::Refused(refused.join("; ")));
        }
    }
    Ok(())
}

/// Admits clusters whose endpoints do not come.
async fn expire(engine: &RefCell<Engine>) {
    loop {
        let next = engine.borrow().next_deadline();
        let wait = next.map_or(Duration::from_secs(1), |at| at.saturating_duration_since(Instant::now()));
        tokio::time::sleep(wait.clamp(Duration::from_millis(10), Duration::from_secs(1))).await;
        engine.borrow_mut().expire_warming(Instant::now());
    }
}

fn act(action: Action, engine: &RefCell<Engine>, readiness: &Readiness, sinks: &Sinks) {
    match action {
        Action::Terminating => readiness.terminate(),
        Action::FailHealthCheck => readiness.fail_health_check(true),
        Action::DrainListeners(what) => engine.borrow_mut().drain_listeners(what),
        Action::ReopenLogs => sinks.reopen(),
        // The driver keeps these two to itself.
        Action::Wait(_) | Action::Stop => {}
    }
}
