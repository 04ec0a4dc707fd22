//! Listeners while they run: started, changed in place, stopped; what did not change is not touched.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use config::model::chain::{FilterChain, Handler, NetworkFilter, SourceType, TransportProtocol};
use config::model::listener::{Direction, Listener};
use config::runtime::Numbers;
use config::snapshot::{Changes, Snapshot};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::accept;
use super::bind::{BindError, Bound, bind};
use super::chain::Chains;
use super::state::ChainState;
use crate::control::{self, Kill};
use crate::lifecycle::drain::Strategy;
use crate::metrics::{ListenerManagerStat, ListenerStat, ProxyProtocolStat, Scope};
use crate::report::Reporter;
use crate::report::tls::wants_certificates;
use crate::shared::Shared;
use crate::tls::Downstream;

/// One version of a listener's configuration, ready for use. A connection keeps the one it was accepted under.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) listener: Arc<Listener>,
    pub(crate) chains: Chains,
    /// Somebody wants the ClientHello: `tls_inspector`, or a chain that matches on what is in it (Envoy then adds the
    /// inspector itself).
    pub(crate) inspects: bool,
    /// Some chain or log wants to know which address a connection came in on.
    pub(crate) wants_local: bool,
    /// The listener's own logs may print or judge by certificates.
    pub(crate) logs_certificates: bool,
    pub(crate) proxy_protocol: Option<Arc<Scope<ProxyProtocolStat>>>,
    pub(crate) reporter: Arc<Reporter>,
}

impl Version {
    fn new(listener: Arc<Listener>, before: Option<&Self>, shared: &Arc<Shared>) -> Self {
        let known: HashMap<u128, &Arc<ChainState>> =
            before.into_iter().flat_map(|b| b.chains.iter()).map(|state| (state.chain.id, state)).collect();
        let chains = Chains::new(&listener, |chain| match known.get(&chain.id) {
            Some(state) => Arc::clone(state),
            None => {
                let tls = Downstream::of(chain, &shared.tls, &shared.registry, &listener.stat_name);
                let http = shared.http.as_ref().and_then(|server| server.chain(chain, &listener, shared));
                ChainState::serving(chain, &shared.registry, tls, http)
            }
        });
        let inspects = inspects(&listener);
        let local = |c: &Arc<FilterChain>| {
            let m = &c.matches;
            let matched = m.destination_port.is_some() || !m.destination.is_empty() || m.source_type != SourceType::Any;
            let permitted = c.filters.iter().any(|filter| matches!(filter, NetworkFilter::Rbac(_)));
            matched || permitted || matches!(&c.handler, Handler::TcpProxy(proxy) if proxy.more.is_some())
        };
        let wants_local =
            !listener.access_logs.is_empty() || listener.chains.iter().chain(&listener.default_chain).any(local);
        let proxy_protocol =
            listener.proxy_protocol.as_ref().map(|p| shared.registry.proxy_protocol(p.stat_prefix.as_deref()));
        let reporter = Reporter::new(&listener, &shared.registry, &shared.sinks);
        let logs_certificates = wants_certificates(&listener.access_logs);
        Self { listener, chains, inspects, wants_local, logs_certificates, proxy_protocol, reporter }
    }
}

/// A listener that has its sockets.
#[derive(Debug)]
pub struct Active {
    name: Arc<str>,
    version: ArcSwap<Version>,
    pub(crate) stats: Arc<Scope<ListenerStat>>,
    pub(crate) open: AtomicU64,
    /// Most connections at a time; the largest number: any.
    limit: AtomicU64,
    accept_failures: AtomicU64,
    stop: CancellationToken,
}

impl Active {
    /// Resource name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The configuration in force.
    pub fn listener(&self) -> Arc<Listener> {
        Arc::clone(&self.version.load().listener)
    }

    /// Connections open at this moment.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Accept calls that failed.
    pub fn accept_failures(&self) -> u64 {
        self.accept_failures.load(Ordering::Relaxed)
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// The listener's own limit, or else the runtime's.
    fn set_limit(&self, runtime: &Numbers) {
        let listener = self.listener();
        let limit = listener.connection_limit.or_else(|| runtime.listener_limit(&listener.name));
        self.limit.store(limit.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn version(&self) -> Arc<Version> {
        self.version.load_full()
    }

    pub(crate) fn accept_failed(&self) {
        self.accept_failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// All listeners of the data path. Lives on the control runtime.
#[derive(Debug)]
pub struct Listeners {
    shared: Arc<Shared>,
    workers: Vec<Handle>,
    active: HashMap<Arc<str>, Arc<Active>>,
    manager: Arc<Scope<ListenerManagerStat>>,
    runtime: Numbers,
    drain_time: Duration,
    strategy: Strategy,
    stopped: bool,
}

impl Listeners {
    /// None yet. Removed chains keep their connections for `drain_time`.
    pub fn new(shared: Arc<Shared>, workers: Vec<Handle>, drain_time: Duration, strategy: Strategy) -> Self {
        let manager = shared.registry.listener_manager();
        manager.set(ListenerManagerStat::WorkersStarted, 1);
        Self {
            shared,
            workers,
            active: HashMap::new(),
            manager,
            runtime: Numbers::default(),
            drain_time,
            strategy,
            stopped: false,
        }
    }

    /// Those that have their sockets.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Active>> {
        self.active.values()
    }

    /// Takes over runtime values: limits on connections hold for the next one that is accepted.
    pub fn set_runtime(&mut self, runtime: Numbers) {
        self.runtime = runtime;
        self.active.values().for_each(|active| active.set_limit(&self.runtime));
    }

    /// Applies the named listeners of `snapshot`, and no more. Which of them can't have their address.
    pub fn apply(&mut self, snapshot: &Snapshot, changes: &Changes) -> Vec<(Arc<str>, BindError)> {
        let mut failed = Vec::new();
        for name in &changes.listeners {
            let wanted = snapshot.listeners.get(name).map(|entry| &entry.listener);
            let wanted = wanted.filter(|listener| !listener.system && listener.bind && !self.stopped);
            match (wanted, self.active.get(name).cloned()) {
                (None, None) => {}
                (None, Some(active)) => self.remove(&active),
                (Some(listener), Some(active)) if same_sockets(&active.listener(), listener) => {
                    self.swap(&active, listener);
                }
                (Some(listener), before) => match self.start(listener) {
                    Ok(()) => before.iter().for_each(|active| self.retire(active)),
                    Err(error) => {
                        self.manager.inc(ListenerManagerStat::ListenerCreateFailure);
                        failed.push((Arc::clone(name), error));
                    }
                },
            }
        }
        self.manager
            .set(ListenerManagerStat::TotalListenersActive, i64::try_from(self.active.len()).unwrap_or(i64::MAX));
        failed
    }

    /// Tells the connections that can be told (HTTP) to end; listeners stay.
    pub fn announce_drain(&self, inbound_only: bool) {
        let concerned = self.active.values().filter(|a| !inbound_only || a.listener().direction == Direction::Inbound);
        for active in concerned {
            active.version().chains.iter().for_each(|state| self.announce(state));
        }
    }

    fn announce(&self, state: &ChainState) {
        state.drain.announce(self.strategy, self.drain_time);
    }

    /// Closes the listening sockets, at once or (`graceful`) after the drain time; connections live on. `inbound_only`
    /// concerns listeners with `traffic_direction: INBOUND` alone.
    pub fn stop_accepting(&mut self, inbound_only: bool, graceful: bool) {
        let concerned = self.active.values().filter(|a| !inbound_only || a.listener().direction == Direction::Inbound);
        let stops: Vec<CancellationToken> = concerned.map(|active| active.stop.clone()).collect();
        self.stopped = !inbound_only;
        self.manager.add(ListenerManagerStat::ListenerStopped, stops.len() as u64);
        if !graceful {
            return stops.iter().for_each(CancellationToken::cancel);
        }
        let wait = self.drain_time;
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            stops.iter().for_each(CancellationToken::cancel);
        });
    }

    fn start(&mut self, listener: &Arc<Listener>) -> Result<(), BindError> {
        let sockets = bind(listener, self.workers.len())?;
        let active = Arc::new(Active {
            name: Arc::clone(&listener.name),
            version: ArcSwap::from_pointee(Version::new(Arc::clone(listener), None, &self.shared)),
            stats: self.shared.registry.listener(&listener.stat_name),
            open: AtomicU64::new(0),
            limit: AtomicU64::new(u64::MAX),
            accept_failures: AtomicU64::new(0),
            stop: CancellationToken::new(),
        });
        active.set_limit(&self.runtime);
        for (worker, sockets) in self.workers.iter().zip(sockets) {
            for (address, socket) in sockets.into_iter().enumerate() {
                self.accept_on(worker, &active, address, socket);
            }
        }
        tracing::info!(listener = &*listener.name, addresses = ?listener.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), "listening");
        let known = self.active.insert(Arc::clone(&listener.name), active).is_some();
        self.manager.inc(if known {
            ListenerManagerStat::ListenerModified
        } else {
            ListenerManagerStat::ListenerAdded
        });
        self.manager.add(ListenerManagerStat::ListenerCreateSuccess, self.workers.len() as u64);
        Ok(())
    }

    fn accept_on(&self, worker: &Handle, active: &Arc<Active>, address: usize, socket: Bound) {
        let stop = active.stop.clone();
        worker.spawn(accept::run(socket, address, Arc::clone(active), Arc::clone(&self.shared), stop));
    }

    /// New configuration, same sockets; connections of chains that are gone drain.
    fn swap(&self, active: &Arc<Active>, listener: &Arc<Listener>) {
        let before = active.version();
        let after = Arc::new(Version::new(Arc::clone(listener), Some(&before), &self.shared));
        let kept: HashSet<u128> = after.chains.iter().map(|state| state.chain.id).collect();
        let gone = before.chains.iter().filter(|state| !kept.contains(&state.chain.id)).map(Arc::clone).collect();
        active.version.store(after);
        active.set_limit(&self.runtime);
        self.manager.inc(ListenerManagerStat::ListenerModified);
        self.manager.inc(ListenerManagerStat::ListenerInPlaceUpdated);
        self.drain(gone, ListenerManagerStat::TotalFilterChainsDraining);
    }

    fn remove(&mut self, active: &Arc<Active>) {
        self.active.remove(active.name());
        tracing::info!(listener = &**active.name(), "removed");
        self.manager.inc(ListenerManagerStat::ListenerRemoved);
        self.retire(active);
    }

    fn retire(&self, active: &Arc<Active>) {
        active.stop.cancel();
        self.drain(
            active.version().chains.iter().map(Arc::clone).collect(),
            ListenerManagerStat::TotalListenersDraining,
        );
    }

    /// Ends the connections of `gone` when the drain time is over.
    fn drain(&self, gone: Vec<Arc<ChainState>>, gauge: ListenerManagerStat) {
        if gone.is_empty() {
            return;
        }
        gone.iter().for_each(|state| self.announce(state));
        let n = if gauge == ListenerManagerStat::TotalFilterChainsDraining { gone.len() as u64 } else { 1 };
        let gone: Arc<HashSet<usize>> = Arc::new(gone.iter().map(|state| address(&state.chain)).collect());
        let (workers, wait, manager) = (self.workers.clone(), self.drain_time, Arc::clone(&self.manager));
        manager.add(gauge, n);
        let end = async move {
            tokio::time::sleep(wait).await;
            for worker in workers {
                let gone = Arc::clone(&gone);
                let kill = async move { control::kill_where(Kill::Drained, |chain| gone.contains(&address(chain))) };
                if worker.spawn(kill).await.is_err() {
                    tracing::debug!("a worker ended before its connections were drained");
                }
            }
            manager.sub(gauge, n);
        };
        tokio::spawn(end);
    }
}

/// Chains are told apart by where they are: the same configuration may stand in two listeners.
fn address(chain: &Arc<FilterChain>) -> usize {
    Arc::as_ptr(chain).addr()
}

/// Whether a change can keep the sockets.
fn same_sockets(before: &Listener, after: &Listener) -> bool {
    before.addresses == after.addresses && before.reuse_port == after.reuse_port && before.backlog == after.backlog
}
/// Whether the ClientHello is read before a chain is chosen: it is asked for, or a chain hangs on what it says.
pub(crate) fn inspects(listener: &Listener) -> bool {
    let hello = |c: &Arc<FilterChain>| {
        let m = &c.matches;
        !m.server_names.is_empty()
            || !m.application_protocols.is_empty()
            || m.transport_protocol == TransportProtocol::Tls
    };
    listener.tls_inspector.is_some() || listener.chains.iter().any(hello)
}
