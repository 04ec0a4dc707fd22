//! One of the control plane's own listeners at work: its sockets, and the newest version of its configuration.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use config::model::address::Address;
use config::model::listener::Listener;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::chain::{Chain, ChainSet};
use super::connection;
use super::forward::Upstreams;
use super::socket::{Options, Socket};
use super::status::Board;
use crate::lifecycle::drain::Strategy;
use crate::metrics::{ListenerStat, Scope};

/// Connections at a time: these listeners serve probes and the control plane, nobody else.
const MAX_CONNECTIONS: usize = 1024;

/// One version of a listener.
pub(super) struct Version {
    pub(super) listener: Arc<Listener>,
    pub(super) chains: ChainSet,
    /// Held here, since statistics vanish with their last holder.
    pub(super) stats: Arc<Scope<ListenerStat>>,
}

impl Version {
    fn new(listener: &Arc<Listener>, before: Option<&Self>, upstreams: &Upstreams) -> Self {
        let chains = ChainSet::new(listener, before.map(|version| &version.chains), upstreams);
        Self { listener: Arc::clone(listener), chains, stats: upstreams.registry.listener(&listener.stat_name) }
    }
}

/// A listener that runs. Dropping it closes its sockets; connections live on.
pub(super) struct Running {
    version: Arc<ArcSwap<Version>>,
    sockets: Vec<Accepting>,
    shared: Arc<Shared>,
}

/// What all listeners have in common.
pub(super) struct Shared {
    pub(super) control: Handle,
    pub(super) upstreams: Upstreams,
    pub(super) board: Arc<Board>,
    pub(super) drain_time: Duration,
}

/// The task that accepts on one address.
struct Accepting {
    address: Address,
    task: JoinHandle<()>,
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    pub(super) fn start(listener: &Arc<Listener>, shared: Arc<Shared>) -> Self {
        let version = Version::new(listener, None, &shared.upstreams);
        let mut running = Self { version: Arc::new(ArcSwap::from_pointee(version)), sockets: Vec::new(), shared };
        running.open(listener);
        running
    }

    /// Takes over a new version: sockets stay where the address stays, chains where the chain stays; connections of
    /// chains that are gone drain.
    pub(super) fn update(&mut self, listener: &Arc<Listener>) {
        let before = self.version.load_full();
        if Arc::ptr_eq(&before.listener, listener) {
            return;
        }
        let version = Version::new(listener, Some(&before), &self.shared.upstreams);
        let gone = before.chains.without(&version.chains);
        self.version.store(Arc::new(version));
        self.drain(gone);
        let name = &listener.name;
        let board = &self.shared.board;
        self.sockets.retain(|socket| {
            let stays = listener.addresses.contains(&socket.address);
            if !stays {
                board.forget(name, &socket.address);
            }
            stays
        });
        self.open(listener);
    }

    /// Closes the sockets and drains every connection.
    pub(super) fn stop(self) {
        let version = self.version.load_full();
        for socket in &self.sockets {
            self.shared.board.forget(&version.listener.name, &socket.address);
        }
        self.drain(version.chains.all());
    }

    fn drain(&self, chains: Vec<Arc<Chain>>) {
        for chain in chains {
            let time = self.shared.drain_time;
            self.shared.control.spawn(async move { chain.trigger.drain(Strategy::Immediate, time).await });
        }
    }

    fn open(&mut self, listener: &Arc<Listener>) {
        for address in &listener.addresses {
            if self.sockets.iter().any(|socket| socket.address == *address) || !listener.bind {
                continue;
            }
            let defaults = Options::default();
            let options = Options {
                reuse_port: listener.reuse_port,
                backlog: listener.backlog.unwrap_or(defaults.backlog),
                ..defaults
            };
            let (version, shared) = (Arc::clone(&self.version), Arc::clone(&self.shared));
            let task = self.shared.control.spawn(accept(address.clone(), options, version, shared));
            self.sockets.push(Accepting { address: address.clone(), task });
        }
    }
}

/// Listens, sooner or later, and accepts for ever.
async fn accept(address: Address, options: Options, version: Arc<ArcSwap<Version>>, shared: Arc<Shared>) {
    let name = Arc::clone(&version.load().listener.name);
    let socket = bind(&name, &address, options, &shared.board).await;
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let incoming = socket.accept().await;
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            tracing::warn!(listener = &*name, limit = MAX_CONNECTIONS, "too many connections: one is refused");
            continue;
        };
        let version = version.load_full();
        tokio::spawn(async move {
            connection::serve(incoming, &version).await;
            drop(permit);
        });
    }
}

async fn bind(name: &Arc<str>, address: &Address, options: Options, board: &Board) -> Socket {
    let mut pause = Duration::from_millis(100);
    loop {
        match Socket::bind(address, options) {
            Ok(socket) => {
                tracing::info!(listener = &**name, address = %socket.address(), "listening");
                board.set(name, address, Ok(socket.address().clone()));
                return socket;
            }
            Err(error) => {
                if board.set(name, address, Err(error.to_string())) {
                    tracing::error!(listener = &**name, %address, %error, "cannot listen; trying again");
                }
                tokio::time::sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        }
    }
}

/// A lock that a panic elsewhere does not take away.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
