//! A whole proxy as a process: the parts put together, the signals listened to, the end awaited.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use config::bootstrap::{Bootstrap, TagValue};
use config::model::address::Address;
use config::source::Sources;
use config::store::Batch;
use config::xds::Sink;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use config::model::endpoint::Locality;

use crate::admin::{self, Admin, AdminState, LogLevels, serve_metrics};
use crate::engine::{Engine, Parts};
use crate::http::HttpServer;
use crate::lifecycle::drain::{Drain, Strategy, Trigger};
use crate::lifecycle::ready::Readiness;
use crate::lifecycle::reporter;
use crate::lifecycle::signal::{Action, Driver, Event, Machine};
use crate::metrics::Registry;
use crate::metrics::render::{TagSpecifier, Tags};
use crate::overload;
use crate::report::{Sinks, sink};
use crate::runtime::Workers;
use crate::shared::{Limits, Node, Shared};
use crate::system::socket::{self, Socket};
use crate::system::{self, System};
use crate::upstream::Clusters;

/// What the command line and the control plane's bootstrap said.
pub struct Settings {
    /// Resources and where more of them come from.
    pub bootstrap: Bootstrap,
    /// Data-path threads.
    pub concurrency: usize,
    /// From a chain's removal to the end of its connections.
    pub drain_time: Duration,
    /// From SIGTERM to the end: the drain time under kuma-dp's command line, zero under Envoy's.
    pub terminate_after: Duration,
    /// How soon connections that can be told are told to end.
    pub drain_strategy: Strategy,
    /// Where Kuma's readiness reporter listens.
    pub readiness: Option<SocketAddr>,
    /// Written with the admin server's address once it listens.
    pub admin_address_path: Option<PathBuf>,
    /// Where MeshMetric's listener looks for Prometheus text (`kuma-mh-….sock`).
    pub metrics_socket: Option<PathBuf>,
    /// How access logs are written.
    pub sinks: sink::Options,
    /// Log levels that can be changed while the process runs.
    pub log: Arc<dyn LogLevels>,
    /// What serves HTTP.
    pub http: Option<Arc<dyn HttpServer>>,
    /// What `/server_info` says of how the process was started.
    pub about: About,
}

/// How the process was started, for `/server_info`.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Name and version of the program.
    pub version: String,
    /// `-c`; empty: the bootstrap came from the control plane.
    pub config_path: String,
    /// As given: `info`.
    pub log_level: String,
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
    /// The file for the admin server's address can't be written.
    #[error("cannot write the admin server's address to {path}: {source}")]
    AddressFile {
        /// Which.
        path: PathBuf,
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
    control.block_on(control_side(settings, workers))
}

async fn control_side(mut settings: Settings, workers: Workers) -> Result<(), ProcessError> {
    let (driver, events) = Driver::install().map_err(ProcessError::Start)?;
    let (readiness, start) = Readiness::new();
    let registry = Registry::new(workers.len());
    let sinks = Sinks::new(&registry, settings.sinks);
    let engine = assemble(&settings, &registry, &sinks, &readiness, &workers);
    let servers = Servers::start(&settings, &engine, &registry, &readiness, events)?;
    let engine = RefCell::new(engine);
    apply_fixed(&engine, std::mem::take(&mut settings.bootstrap.fixed))?;
    let dynamic = &settings.bootstrap.dynamic;
    engine.borrow_mut().await_first(dynamic.clusters.is_some(), dynamic.listeners.is_some());
    drop(start);
    let (stop, stopped) = watch::channel(false);
    let sources = Sources::new(&settings.bootstrap.node, dynamic);
    tokio::select! {
        () = driver.run(Machine::new(settings.terminate_after), |action| act(action, &engine, &readiness, &sinks)) => {}
        ((), ()) = async { tokio::join!(sources.run(&engine, stopped), expire(&engine)) } => {}
    }
    drop(stop);
    servers.stop();
    // In this order no line is lost: no new connections, the end of those that are open, their last lines.
    engine.into_inner().stop();
    drop(workers);
    if !sinks.shutdown(LAST_LINES) {
        tracing::warn!("access log: lines that could not be written in time are lost");
    }
    Ok(())
}

/// Time for what is left of the access logs.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The admin server and the readiness reporter.
struct Servers {
    tasks: Vec<JoinHandle<()>>,
    drain: Trigger,
}

impl Servers {
    fn start(
        settings: &Settings,
        engine: &Engine,
        registry: &Arc<Registry>,
        readiness: &Readiness,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, ProcessError> {
        let (drain, watch) = Drain::new();
        let mut tasks = Vec::new();
        if let Some(at) = settings.readiness {
            let socket = listen("the readiness reporter", &Address::Socket(at))?;
            tasks.push(tokio::spawn(reporter::serve(socket, readiness.clone(), watch.clone())));
        }
        if let Some(admin) = &settings.bootstrap.admin {
            let socket = listen("the admin server", &admin.address)?;
            if let Some(path) = &settings.admin_address_path {
                let failed = |source| ProcessError::AddressFile { path: path.clone(), source };
                std::fs::write(path, socket.address().to_string()).map_err(failed)?;
            }
            let state = admin_state(settings, engine, registry, readiness, events);
            if let Some(path) = &settings.metrics_socket {
                let address = Address::Pipe { path: path.as_path().into(), mode: 0o600 };
                let socket = listen("metrics", &address)?;
                tasks.push(tokio::spawn(serve_metrics(socket, state.clone(), watch.clone())));
            }
            tasks.push(tokio::spawn(Admin::serve(socket, state, watch)));
        }
        Ok(Self { tasks, drain })
    }

    fn stop(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.drain.close();
    }
}

fn listen(what: &'static str, address: &Address) -> Result<Socket, ProcessError> {
    Socket::bind(address, socket::Options::default()).map_err(|source| ProcessError::Listen { what, source })
}

fn admin_state(
    settings: &Settings,
    engine: &Engine,
    registry: &Arc<Registry>,
    readiness: &Readiness,
    events: mpsc::Sender<Event>,
) -> AdminState {
    let About { version, config_path, log_level } = settings.about.clone();
    let options = admin::Options {
        version,
        started: Instant::now(),
        concurrency: u32::try_from(settings.concurrency).unwrap_or(u32::MAX),
        config_path,
        log_level,
        drain_time: settings.drain_time,
        drain_strategy: settings.drain_strategy,
    };
    AdminState {
        view: engine.view(),
        clusters: Arc::clone(&engine.shared().clusters),
        registry: Arc::clone(registry),
        tags: Arc::new(tags(&settings.bootstrap)),
        readiness: readiness.clone(),
        system: engine.system_status(),
        events,
        bootstrap: admin::Bootstrap { body: settings.bootstrap.raw.clone(), loaded: SystemTime::now() },
        options: Arc::new(options),
        log: Arc::clone(&settings.log),
    }
}

/// How Prometheus labels are cut out of names: the bootstrap's `stats_tags` before Envoy's own.
fn tags(bootstrap: &Bootstrap) -> Tags {
    let regexes = bootstrap.stats.tags.iter().filter_map(|tag| match &tag.value {
        TagValue::Regex(regex) => Some(TagSpecifier { name: tag.name.to_string(), regex: regex.to_string() }),
        TagValue::Fixed(_) | TagValue::Default => None,
    });
    let (tags, errors) = Tags::new(&regexes.collect::<Vec<_>>());
    for error in errors {
        let tag = &error.name;
        if error.is_look_around() {
            // Kuma's `kafka_type`, say; nothing here has a name that it would match.
            tracing::debug!(tag, "stats_tags: the expression uses look-around, tag left out");
        } else {
            tracing::warn!(tag, error = %error.source, "stats_tags: expression not understood, tag left out");
        }
    }
    let fixed = bootstrap.stats.tags.iter().filter_map(|tag| match &tag.value {
        TagValue::Fixed(value) => Some((tag.name.to_string(), value.to_string())),
        TagValue::Regex(_) | TagValue::Default => None,
    });
    tags.with_fixed(fixed)
}

fn assemble(
    settings: &Settings,
    registry: &Arc<Registry>,
    sinks: &Arc<Sinks>,
    readiness: &Readiness,
    workers: &Workers,
) -> Engine {
    let clusters = Clusters::new(Arc::clone(registry), Handle::current());
    if let Some(name) = &settings.bootstrap.local_cluster {
        let locality = settings.bootstrap.node.locality.clone().unwrap_or_default();
        let (region, zone, sub_zone) = (locality.region.into(), locality.zone.into(), locality.sub_zone.into());
        clusters.set_local(Arc::clone(name), Locality { region, zone, sub_zone });
    }
    let connections = settings.bootstrap.overload.max_connections.unwrap_or(0);
    let limits = Limits { connections, ..Limits::default() };
    let parts = system::Parts {
        control: Handle::current(),
        clusters: Arc::clone(&clusters),
        registry: Arc::clone(registry),
        readiness: readiness.clone(),
        drain_time: settings.drain_time,
    };
    if let Some(http) = &settings.http {
        let node = &settings.bootstrap.node;
        http.introduce(&node.id, &node.cluster);
    }
    let shared = Shared::new(clusters, Arc::clone(registry), Arc::clone(sinks), limits, settings.http.clone());
    let node = &settings.bootstrap.node;
    let zone = node.locality.as_ref().map(|locality| locality.zone.as_str()).unwrap_or_default();
    shared.identify(Node { id: node.id.as_str().into(), cluster: node.cluster.as_str().into(), zone: zone.into() });
    let overload =
        overload::watch(Arc::clone(&shared.overload), settings.bootstrap.overload.clone(), Arc::clone(registry));
    drop(tokio::spawn(overload));
    let system = System::new(parts);
    let control_planes = settings.bootstrap.dynamic.control_planes();
    let (drain_time, runtime) = (settings.drain_time, settings.bootstrap.runtime.clone());
    let drain_strategy = settings.drain_strategy;
    let readiness = readiness.clone();
    let parts = Parts { shared, system, readiness, drain_time, drain_strategy, runtime, control_planes };
    Engine::new(parts, workers)
}

/// Static resources: all of them, or the process does not start.
fn apply_fixed(engine: &RefCell<Engine>, fixed: Vec<Batch>) -> Result<(), ProcessError> {
    for batch in fixed {
        let applied = engine.borrow_mut().apply(batch);
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
        // Envoy's HTTP connections are told to end as soon as health checks fail.
        Action::FailHealthCheck => {
            readiness.fail_health_check(true);
            engine.borrow().announce_end();
        }
        Action::DrainListeners(what) => engine.borrow_mut().drain_listeners(what),
        Action::ReopenLogs => sinks.reopen(),
        // The driver keeps these two to itself.
        Action::Wait(_) | Action::Stop => {}
    }
}
