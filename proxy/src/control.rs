//! What others may do to a connection while it lives: end it. And how its silence is noticed without a timer of its own.
//!
//! Every worker holds the controls of its connections and looks through them (`tick`, ten times a second): those
//! with a deadline at every tick, the established ones as rarely as their idle timeouts allow.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use config::model::chain::FilterChain;

use crate::error::{CloseReason, ConnectError};

/// The part of a connection that its worker can reach.
#[derive(Debug, Default)]
pub struct Control {
    /// Bytes moved since the last sweep.
    active: AtomicBool,
    /// Why it has to end; 0 while it may live.
    kill: AtomicU8,
    /// When the current phase has to be over, in ticks of the worker's clock; 0: no limit.
    deadline: AtomicU32,
    /// The worker has it in its list of those with a deadline.
    hurried: AtomicBool,
    /// The same for the whole connection (`max_downstream_connection_duration`).
    end: AtomicU32,
    /// Longest silence in ticks; 0: any.
    idle: AtomicU32,
    /// Last sweep that saw bytes move, in ticks of the worker's clock.
    seen: AtomicU32,
    /// Wakes the connection's task; set once, since that task never moves.
    waker: OnceLock<Waker>,
    /// The chain that took the connection, for draining.
    chain: OnceLock<Arc<FilterChain>>,
}

/// Why a connection is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// Its phase took too long: the ClientHello or the connect.
    Deadline,
    /// Idle for too long.
    Idle,
    /// Lived for too long.
    MaxDuration,
    /// Its listener or chain is gone and the drain time is over.
    Drained,
    /// Its endpoint is gone.
    HostRemoved,
}

const KILLS: [Kill; 5] = [Kill::Deadline, Kill::Idle, Kill::MaxDuration, Kill::Drained, Kill::HostRemoved];

impl Kill {
    const fn code(self) -> u8 {
        match self {
            Self::Deadline => 1,
            Self::Idle => 2,
            Self::MaxDuration => 3,
            Self::Drained => 4,
            Self::HostRemoved => 5,
        }
    }

    /// The close reason once bytes are relayed; a deadline then can only be that of the connect before.
    pub(crate) const fn reason(self) -> CloseReason {
        match self {
            Self::Deadline => CloseReason::ConnectFailed(ConnectError::Timeout),
            Self::Idle => CloseReason::IdleTimeout,
            Self::MaxDuration => CloseReason::MaxDuration,
            Self::Drained => CloseReason::Drained,
            Self::HostRemoved => CloseReason::HostRemoved,
        }
    }
}

impl Control {
    /// Remembers whom to wake. Cheap when called again.
    pub fn watch(&self, cx: &Context<'_>) {
        self.waker.get_or_init(|| cx.waker().clone());
    }

    /// Bytes moved.
    pub fn touch(&self) {
        self.active.store(true, Ordering::Relaxed);
    }

    /// Whether and why the connection has to end.
    pub fn kill_code(&self) -> Option<Kill> {
        let code = self.kill.load(Ordering::Relaxed);
        KILLS.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// The same as a close reason.
    pub(crate) fn killed(&self) -> Option<CloseReason> {
        self.kill_code().map(Kill::reason)
    }

    /// The same while the first bytes are awaited.
    pub(crate) fn hello_kill(&self) -> CloseReason {
        match self.kill_code() {
            Some(Kill::Deadline) | None => CloseReason::HelloTimeout,
            Some(kill) => kill.reason(),
        }
    }

    /// Ends the connection, unless something else did before.
    pub fn kill(&self, kill: Kill) {
        let first = self.kill.compare_exchange(0, kill.code(), Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if let Some(waker) = self.waker.get().filter(|_| first) {
            waker.wake_by_ref();
        }
    }

    /// The current phase must be over within `limit` from `now` on; `None` or zero: no limit. To be called on the
    /// worker of the connection.
    pub fn set_deadline(self: &Arc<Self>, now: Instant, limit: Option<Duration>) {
        let due = due(now, limit);
        self.deadline.store(due, Ordering::Relaxed);
        if due != 0 && !self.hurried.swap(true, Ordering::Relaxed) {
            WORKER.with_borrow_mut(|worker| worker.hurried.push(Arc::clone(self)));
        }
    }

    /// Ready when the current phase, or the connection as a whole, has to end.
    pub fn deadline(&self) -> impl Future<Output = ()> {
        poll_fn(|cx| {
            self.watch(cx);
            if self.kill_code().is_some() { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    /// Takes back an end from outside that was seen, and the limit that it came from; silence is measured anew.
    pub fn pardon(&self, kill: Kill) {
        match kill {
            Kill::Deadline => self.deadline.store(0, Ordering::Relaxed),
            Kill::MaxDuration => self.end.store(0, Ordering::Relaxed),
            Kill::Idle => self.touch(),
            Kill::Drained | Kill::HostRemoved => {}
        }
        let _ = self.kill.compare_exchange(kill.code(), 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Forgets a deadline, passed or not, so that another endpoint may be tried.
    pub fn forgive_deadline(&self) {
        self.deadline.store(0, Ordering::Relaxed);
        let _ = self.kill.compare_exchange(Kill::Deadline.code(), 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The chain that took the connection.
    pub(crate) fn set_chain(&self, chain: &Arc<FilterChain>) {
        let _ = self.chain.set(Arc::clone(chain));
    }

    /// From here on the connection may be silent for `idle` and live for `max` after `start`.
    pub fn establish(&self, start: Instant, idle: Option<Duration>, max: Option<Duration>) {
        self.deadline.store(0, Ordering::Relaxed);
        self.idle.store(idle.map_or(0, |d| ticks(d).max(1)), Ordering::Relaxed);
        self.end.store(due(start, max), Ordering::Relaxed);
        if idle.is_some() || max.is_some() {
            self.touch();
            WORKER.with_borrow_mut(|worker| worker.hasten(self.interval()));
        }
    }

    /// From here on it may be silent for `idle`; other limits stay. To be called on the worker of the connection.
    pub fn set_idle(&self, idle: Option<Duration>) {
        self.idle.store(idle.map_or(0, |d| ticks(d).max(1)), Ordering::Relaxed);
        self.touch();
        WORKER.with_borrow_mut(|worker| worker.hasten(self.interval()));
    }

    /// Ends the connection when its phase has taken too long; whether a deadline still stands.
    fn check_deadline(&self, now: u32) -> bool {
        let deadline = self.deadline.load(Ordering::Relaxed);
        if deadline != 0 && now >= deadline {
            self.deadline.store(0, Ordering::Relaxed);
            self.kill(Kill::Deadline);
            return false;
        }
        deadline != 0
    }

    /// Ends the connection when it has been silent or alive for too long; in how many ticks to look again.
    fn check_idle(&self, now: u32) -> u32 {
        if self.active.swap(false, Ordering::Relaxed) {
            self.seen.store(now, Ordering::Relaxed);
        }
        let end = self.end.load(Ordering::Relaxed);
        if end != 0 && now >= end {
            self.kill(Kill::MaxDuration);
        }
        let idle = self.idle.load(Ordering::Relaxed);
        if idle != 0 && now.saturating_sub(self.seen.load(Ordering::Relaxed)) >= idle {
            self.kill(Kill::Idle);
        }
        self.interval()
    }

    /// Ticks between two looks: an eighth of the idle timeout, and a second where a whole life is limited.
    fn interval(&self) -> u32 {
        let idle = match self.idle.load(Ordering::Relaxed) {
            0 => RAREST,
            idle => (idle / 8).clamp(1, RAREST),
        };
        if self.end.load(Ordering::Relaxed) == 0 { idle } else { idle.min(10) }
    }
}

/// The worker's clock: coarse, so that 32 bits last for 13 years.
pub const TICK: Duration = Duration::from_millis(100);
/// Established connections are looked at at least every 50 ticks.
const RAREST: u32 = 50;

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::new(Worker::new());
}

/// A worker's connections.
struct Worker {
    epoch: Instant,
    live: Vec<Option<Arc<Control>>>,
    free: Vec<u32>,
    /// Those with a deadline, and those that had one at the last tick.
    hurried: Vec<Arc<Control>>,
    /// The tick of the next look at all of them.
    next: u32,
}

impl Worker {
    fn new() -> Self {
        // Starting in the past keeps every deadline above 0, which means none.
        let epoch = Instant::now().checked_sub(TICK).unwrap_or_else(Instant::now);
        Self { epoch, live: Vec::new(), free: Vec::new(), hurried: Vec::new(), next: 0 }
    }

    fn now(&self) -> u32 {
        ticks(self.epoch.elapsed())
    }

    fn hasten(&mut self, interval: u32) {
        if interval < RAREST {
            self.next = self.next.min(self.now() + interval);
        }
    }
}

/// Keeps a control in its worker's list; must be dropped on the same worker.
#[derive(Debug)]
pub struct Registered {
    control: Arc<Control>,
    slot: u32,
}

impl Registered {
    /// Registers a new control with this thread's worker.
    #[allow(clippy::new_without_default)] // it enters a list: not a value like others
    pub fn new() -> Self {
        let control = Arc::new(Control::default());
        let slot = WORKER.with_borrow_mut(|worker| {
            let slot = worker.free.pop().unwrap_or_else(|| {
                worker.live.push(None);
                u32::try_from(worker.live.len() - 1).unwrap_or(u32::MAX)
            });
            if let Some(place) = worker.live.get_mut(slot as usize) {
                *place = Some(Arc::clone(&control));
            }
            slot
        });
        Self { control, slot }
    }
}

impl Registered {
    /// The current phase must be over within `limit` from `now` on; `None` or zero: no limit.
    pub fn set_deadline(&self, now: Instant, limit: Option<Duration>) {
        self.control.set_deadline(now, limit);
    }

    /// For others on the same worker.
    pub fn share(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }
}

impl std::ops::Deref for Registered {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // The thread may be ending, its list gone already.
        let _ = WORKER.try_with(|worker| {
            if let Ok(mut worker) = worker.try_borrow_mut()
                && let Some(place) = worker.live.get_mut(self.slot as usize)
            {
                *place = None;
                worker.free.push(self.slot);
            }
        });
    }
}

/// Looks through this worker's connections, those that are due. Must run every [`TICK`].
pub fn tick() {
    WORKER.with_borrow_mut(|worker| {
        let now = worker.now();
        worker.hurried.retain(|control| {
            let stays = control.check_deadline(now);
            control.hurried.store(stays, Ordering::Relaxed);
            stays
        });
        if now >= worker.next {
            let interval = worker.live.iter().flatten().map(|control| control.check_idle(now)).min();
            worker.next = now + interval.unwrap_or(RAREST);
        }
    });
}

/// Ends this worker's connections whose chain satisfies `gone`; how many there were.
pub(crate) fn kill_where(kill: Kill, gone: impl Fn(&Arc<FilterChain>) -> bool) -> usize {
    let hit: Vec<_> = WORKER.with_borrow(|worker| {
        worker.live.iter().flatten().filter(|c| c.chain.get().is_some_and(&gone)).map(Arc::clone).collect()
    });
    hit.iter().for_each(|control| control.kill(kill));
    hit.len()
}

/// Ends all of this worker's connections; how many there are.
pub(crate) fn kill_all(kill: Kill) -> usize {
    let all: Vec<_> = WORKER.with_borrow(|worker| worker.live.iter().flatten().map(Arc::clone).collect());
    all.iter().for_each(|control| control.kill(kill));
    all.len()
}

fn due(from: Instant, limit: Option<Duration>) -> u32 {
    match limit {
        None | Some(Duration::ZERO) => 0,
        // One tick more: the limit may be passed by a little, never cut short.
        Some(limit) => WORKER.with_borrow(|worker| ticks(from.saturating_duration_since(worker.epoch) + limit) + 1),
    }
}

fn ticks(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX - 1)
}
