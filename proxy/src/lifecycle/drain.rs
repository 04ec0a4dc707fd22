//! Letting go of connections: announce, wait for those that end by themselves, then close the rest.
//!
//! [`Drain::new`] makes a [`Trigger`] for the owner (a listener, a chain) and a [`Watch`] for its connections. A watch
//! is one `Arc`: cloning it allocates nothing, and every clone holds the drain up until it is dropped.
//! Over TCP alone nothing can be said to the peers, so a relayed connection only waits for [`Watch::closing`], as
//! Envoy's tcp_proxy does; what speaks HTTP ends its connections from [`Watch::draining`] on.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// How long connections may take to end after they were told to close.
const AFTER_CLOSE: Duration = Duration::from_secs(1);

/// Makes both ends of a drain.
#[derive(Debug)]
pub struct Drain;

impl Drain {
    /// A trigger and the first watch. Drop the watch once the connections have their clones, else the drain waits
    /// for it too; [`Trigger::watch`] makes more.
    #[allow(clippy::new_ret_no_self)] // a pair, as channels have it
    pub fn new() -> (Trigger, Watch) {
        let shared = Arc::default();
        let watch = Watch::new(&shared);
        (Trigger { shared }, watch)
    }
}

/// `--drain-strategy`: how soon connections that can be told are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// One after the other over the drain time.
    Gradual,
    /// All at once; what `kuma-dp` asks of Envoy.
    Immediate,
}

/// A drain under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draining {
    /// Announced at.
    pub since: Instant,
    /// Connections still there after this time are closed.
    pub time: Duration,
    /// How soon connections are told.
    pub strategy: Strategy,
}

impl Draining {
    /// Whether a connection that has just finished an exchange should close. `lot` is drawn by the caller from
    /// `0.0..1.0`: under [`Strategy::Gradual`] the chance grows from none to certain over the drain time
    /// (Envoy, `DrainManagerImpl::drainClose`).
    pub fn close_now(&self, now: Instant, lot: f64) -> bool {
        match self.strategy {
            Strategy::Immediate => true,
            Strategy::Gradual => {
                let elapsed = now.saturating_duration_since(self.since).as_secs_f64();
                elapsed >= self.time.as_secs_f64() || lot < elapsed / self.time.as_secs_f64()
            }
        }
    }
}

/// What a drain of listeners covers: the parameters of Envoy's `POST /drain_listeners`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainListeners {
    /// Only listeners with `traffic_direction: INBOUND`.
    pub inbound_only: bool,
    /// Listeners accept for the drain time before they stop; else they stop at once.
    pub graceful: bool,
    /// Connections are told, but listeners never stop.
    pub skip_exit: bool,
}

impl DrainListeners {
    /// What `kuma-dp` asks of Envoy at SIGUSR2: connections are told, listeners stay.
    pub const FOR_GOOD: Self = Self { inbound_only: true, graceful: true, skip_exit: true };
}

/// The owner's end. Dropping it before it was used means that nothing will ever drain.
#[derive(Debug)]
pub struct Trigger {
    shared: Arc<Shared>,
}

impl Trigger {
    /// Another watch. It sees a drain that is already under way.
    pub fn watch(&self) -> Watch {
        Watch::new(&self.shared)
    }

    /// Tells the connections, and returns at once; false: they were told before, and that stands.
    pub fn announce(&self, strategy: Strategy, time: Duration) -> bool {
        let first = self.shared.draining.set(Draining { since: Instant::now(), time, strategy }).is_ok();
        if first {
            self.shared.enter(DRAINING);
        }
        first
    }

    /// Tells the connections to close now.
    pub fn close(&self) {
        self.announce(Strategy::Immediate, Duration::ZERO);
        self.shared.enter(CLOSING);
    }

    /// Watches not yet dropped.
    pub fn left(&self) -> usize {
        self.shared.watches.load(Ordering::Acquire)
    }

    /// Ends when no watch is left.
    pub async fn gone(&self) {
        loop {
            let gone = self.shared.gone.notified();
            if self.left() == 0 {
                return;
            }
            gone.await;
        }
    }

    /// The whole way: announce, wait up to `time`, close what is left and give it a second to go. Returns how many
    /// were closed by force.
    pub async fn drain(&self, strategy: Strategy, time: Duration) -> usize {
        self.announce(strategy, time);
        if timeout(time, self.gone()).await.is_ok() {
            return 0;
        }
        let left = self.left();
        self.close();
        if timeout(AFTER_CLOSE, self.gone()).await.is_err() {
            tracing::warn!(left = self.left(), "connections do not end although they were told to close");
        }
        left
    }
}

/// A connection's end: tells whether to finish, and holds the drain up while it lives.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
}

impl Watch {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.watches.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(shared) }
    }

    /// Whether a drain was announced; one atomic load.
    pub fn is_draining(&self) -> bool {
        self.shared.reached(DRAINING)
    }

    /// The drain under way; `None`: there is none.
    pub fn current(&self) -> Option<Draining> {
        self.is_draining().then(|| self.shared.draining.get().copied()).flatten()
    }

    /// Ends when a drain is announced; never, when the trigger is dropped unused.
    pub async fn draining(&self) {
        self.shared.reach(DRAINING).await;
    }

    /// Ends when the connection must close now; never, when the trigger is dropped before.
    pub async fn closing(&self) {
        self.shared.reach(CLOSING).await;
    }
}

impl Clone for Watch {
    fn clone(&self) -> Self {
        Self::new(&self.shared)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.shared.watches.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.gone.notify_waiters();
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    /// One of the phases below; it only grows.
    phase: AtomicU8,
    /// Set before `DRAINING` is entered.
    draining: OnceLock<Draining>,
    watches: AtomicUsize,
    entered: Notify,
    gone: Notify,
}

const DRAINING: u8 = 1;
const CLOSING: u8 = 2;

impl Shared {
    fn enter(&self, phase: u8) {
        self.phase.fetch_max(phase, Ordering::AcqRel);
        self.entered.notify_waiters();
    }

    fn reached(&self, phase: u8) -> bool {
        self.phase.load(Ordering::Acquire) >= phase
    }

    async fn reach(&self, phase: u8) {
        loop {
            // Registered before the look, so that nothing falls in between.
            let entered = self.entered.notified();
            if self.reached(phase) {
                return;
            }
            entered.await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn ends_as_soon_as_the_last_connection_has_gone() {
        let (trigger, watch) = Drain::new();
        let connections: Vec<_> = (1..=3u64)
            .map(|n| {
                let watch = watch.clone();
                tokio::spawn(async move {
                    watch.draining().await;
                    tokio::time::sleep(Duration::from_secs(n)).await;
                })
            })
            .collect();
        drop(watch);
        let start = Instant::now();
        assert_eq!(trigger.drain(Strategy::Immediate, TIME).await, 0);
        assert_eq!(start.elapsed().as_secs(), 3);
        for connection in connections {
            connection.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn closes_by_force_when_the_time_is_over() {
        let (trigger, watch) = Drain::new();
        let connection = tokio::spawn(async move {
            watch.closing().await;
            Instant::now()
        });
        let start = Instant::now();
        assert_eq!(trigger.drain(Strategy::Immediate, TIME).await, 1);
        assert_eq!(connection.await.unwrap() - start, TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ignores_the_order_does_not_hold_up_for_ever() {
        let (trigger, _deaf) = Drain::new();
        let start = Instant::now();
        assert_eq!(trigger.drain(Strategy::Gradual, TIME).await, 1);
        assert_eq!(start.elapsed(), TIME + AFTER_CLOSE);
    }

    #[tokio::test]
    async fn all_watches_tell_the_same_old_cloned_and_new() {
        let (trigger, old) = Drain::new();
        assert!(!old.is_draining() && !old.clone().is_draining() && !trigger.watch().is_draining());
        assert!(trigger.announce(Strategy::Gradual, TIME));
        assert!(!trigger.announce(Strategy::Immediate, Duration::ZERO), "the first stands");
        for watch in [old.clone(), trigger.watch(), trigger.watch().clone(), old] {
            assert!(watch.is_draining());
            assert_eq!(watch.current().unwrap().strategy, Strategy::Gradual);
            assert_eq!(watch.current().unwrap().time, TIME);
            watch.draining().await;
        }
        assert_eq!(trigger.left(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_drains_when_the_trigger_is_dropped_unused_but_an_announcement_outlives_it() {
        let (trigger, watch) = Drain::new();
        drop(trigger);
        assert!(!watch.is_draining());
        assert!(timeout(TIME, watch.draining()).await.is_err());

        let (trigger, watch) = Drain::new();
        trigger.announce(Strategy::Immediate, TIME);
        drop(trigger);
        assert!(watch.is_draining());
        watch.draining().await;
        assert!(timeout(TIME, watch.closing()).await.is_err());
    }

    #[test]
    fn gradual_lets_go_of_more_and_more() {
        let since = Instant::now();
        let draining = Draining { since, time: TIME, strategy: Strategy::Gradual };
        let share = |after: u64| {
            let now = since + Duration::from_secs(after);
            (0..100).filter(|lot| draining.close_now(now, f64::from(*lot) / 100.0)).count()
        };
        assert_eq!([share(0), share(15), share(30), share(60)], [0, 50, 100, 100]);
        let at_once = Draining { strategy: Strategy::Immediate, ..draining };
        assert!(at_once.close_now(since, 0.99));
        let no_time = Draining { time: Duration::ZERO, ..draining };
        assert!(no_time.close_now(since, 0.99));
    }

    #[test]
    fn costs_a_connection_little() {
        let (_trigger, watch) = Drain::new();
        assert_eq!(size_of::<Watch>(), size_of::<usize>());
        assert!(size_of_val(&watch.closing()) <= 128, "{}", size_of_val(&watch.closing()));
    }
}
