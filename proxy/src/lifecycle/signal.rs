//! Signals as `kuma-dp` and Envoy take them: a state machine, and the driver that feeds it from the system.
//!
//! | event | while running | while draining for good (after SIGUSR2) | while ending |
//! |---|---|---|---|
//! | SIGTERM, SIGINT | terminating, fail health checks, wait (or stop at once) | stop at once | stop at once |
//! | SIGUSR2 | drain listeners, go on | nothing | nothing |
//! | SIGUSR1, `/reopen_logs` | reopen logs | the same | the same |
//! | `/drain_listeners` | as asked | the same | the same |
//! | drain time over | – | – | stop |
//! | `/quitquitquit` | stop at once | the same | the same |
//!
//! Source: Kuma `app/kuma-dp/cmd/run.go` (the goroutine before `ComponentManager.Start`), which always waits the whole
//! drain time, even without connections. Envoy alone stops at once (`InstanceBase::shutdown`): a wait of zero.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::drain::DrainListeners;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// SIGTERM or SIGINT.
    Terminate,
    /// SIGUSR2.
    Drain,
    /// SIGUSR1, or `POST /reopen_logs`.
    ReopenLogs,
    /// The wait of [`Action::Wait`] is over.
    DrainTimeOver,
    /// `POST /drain_listeners`.
    DrainListeners(DrainListeners),
    /// `POST /quitquitquit`.
    Quit,
}

/// What is to be done, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The readiness reporter says TERMINATING.
    Terminating,
    /// As `POST /healthcheck/fail`.
    FailHealthCheck,
    /// Send [`Event::DrainTimeOver`] after this time.
    Wait(Duration),
    /// Drain listeners.
    DrainListeners(DrainListeners),
    /// Open log files anew.
    ReopenLogs,
    /// End the process.
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    Draining,
    Ending,
    Stopped,
}

/// The state machine.
#[derive(Debug)]
pub struct Machine {
    life: Life,
    wait: Duration,
}

impl Machine {
    /// Running. `wait`: from SIGTERM to the end; zero: none.
    pub const fn new(wait: Duration) -> Self {
        Self { life: Life::Running, wait }
    }

    /// Takes an event and says what to do about it.
    pub fn on(&mut self, event: Event) -> Vec<Action> {
        let (life, actions) = match (self.life, event) {
            (Life::Stopped, _) => (Life::Stopped, vec![]),
            (life, Event::ReopenLogs) => (life, vec![Action::ReopenLogs]),
            (life, Event::DrainListeners(which)) => (life, vec![Action::DrainListeners(which)]),
            (_, Event::Quit)
            | (Life::Draining | Life::Ending, Event::Terminate)
            | (Life::Ending, Event::DrainTimeOver) => (Life::Stopped, vec![Action::Stop]),
            (Life::Running, Event::Terminate) if self.wait.is_zero() => {
                (Life::Stopped, vec![Action::Terminating, Action::FailHealthCheck, Action::Stop])
            }
            (Life::Running, Event::Terminate) => {
                (Life::Ending, vec![Action::Terminating, Action::FailHealthCheck, Action::Wait(self.wait)])
            }
            (Life::Running, Event::Drain) => (Life::Draining, vec![Action::DrainListeners(DrainListeners::FOR_GOOD)]),
            (life, Event::Drain | Event::DrainTimeOver) => (life, vec![]),
        };
        self.life = life;
        actions
    }
}

/// The signals of this process and the requests of its admin server.
#[derive(Debug)]
pub struct Driver {
    terminate: Signal,
    interrupt: Signal,
    user1: Signal,
    user2: Signal,
    requests: mpsc::Receiver<Event>,
}

impl Driver {
    /// Takes over the process' signals: two engines in one process cannot both have a driver that acts alone. What is
    /// sent to the returned handle counts as a signal.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub fn install() -> io::Result<(Self, mpsc::Sender<Event>)> {
        let (handle, requests) = mpsc::channel(8);
        let driver = Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            requests,
        };
        Ok((driver, handle))
    }

    /// Runs until [`Action::Stop`], which it returns after; every other action but waiting goes to `act`.
    pub async fn run(mut self, mut machine: Machine, mut act: impl FnMut(Action)) {
        let mut over: Option<Instant> = None;
        loop {
            let event = self.next(over).await;
            if event == Event::DrainTimeOver {
                over = None;
            }
            for action in machine.on(event) {
                match action {
                    Action::Stop => return,
                    Action::Wait(time) => {
                        tracing::info!(?time, "ending: waiting for connections to be drained");
                        over = Some(Instant::now() + time);
                    }
                    other => act(other),
                }
            }
        }
    }

    async fn next(&mut self, over: Option<Instant>) -> Event {
        let wait = async {
            match over {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => Event::Terminate,
            _ = self.interrupt.recv() => Event::Terminate,
            _ = self.user1.recv() => Event::ReopenLogs,
            _ = self.user2.recv() => Event::Drain,
            Some(event) = self.requests.recv() => event,
            () = wait => Event::DrainTimeOver,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rustix::process::{Signal as Number, getpid, kill_process};

    use super::*;

    const DRAIN: Duration = Duration::from_secs(30);

    fn run(events: &[Event]) -> Vec<Vec<Action>> {
        let mut machine = Machine::new(DRAIN);
        events.iter().map(|event| machine.on(*event)).collect()
    }

    #[test]
    fn terminate_waits_the_drain_time_and_stops() {
        assert_eq!(
            run(&[Event::Terminate, Event::DrainTimeOver]),
            [vec![Action::Terminating, Action::FailHealthCheck, Action::Wait(DRAIN)], vec![Action::Stop]]
        );
    }

    #[test]
    fn without_a_wait_terminate_stops_at_once() {
        let mut machine = Machine::new(Duration::ZERO);
        let actions = machine.on(Event::Terminate);
        assert_eq!(actions, [Action::Terminating, Action::FailHealthCheck, Action::Stop]);
        assert_eq!(machine.on(Event::Terminate), [], "stopped");
    }

    #[test]
    fn a_second_signal_ends_the_wait() {
        assert_eq!(run(&[Event::Terminate, Event::Terminate])[1], [Action::Stop]);
        assert_eq!(run(&[Event::Terminate, Event::Quit])[1], [Action::Stop]);
    }

    #[test]
    fn after_usr2_terminate_stops_at_once() {
        assert_eq!(
            run(&[Event::Drain, Event::Drain, Event::Terminate]),
            [vec![Action::DrainListeners(DrainListeners::FOR_GOOD)], vec![], vec![Action::Stop]]
        );
    }

    #[test]
    fn logs_are_reopened_in_every_state_and_nothing_happens_after_the_end() {
        assert_eq!(
            run(&[
                Event::ReopenLogs,
                Event::Terminate,
                Event::ReopenLogs,
                Event::Quit,
                Event::ReopenLogs,
                Event::Terminate
            ])
            .iter()
            .map(Vec::len)
            .collect::<Vec<_>>(),
            [1, 3, 1, 1, 0, 0]
        );
        assert_eq!(run(&[Event::DrainTimeOver]), [vec![]], "nobody waits");
    }

    #[tokio::test]
    async fn driver_hears_the_system_and_the_admin_server() {
        let (driver, handle) = Driver::install().unwrap();
        let (seen_tx, mut seen) = mpsc::unbounded_channel();
        let running = tokio::spawn(driver.run(Machine::new(Duration::from_millis(20)), move |action| {
            seen_tx.send(action).unwrap();
        }));
        kill_process(getpid(), Number::USR1).unwrap();
        assert_eq!(seen.recv().await, Some(Action::ReopenLogs));
        handle.send(Event::ReopenLogs).await.unwrap();
        assert_eq!(seen.recv().await, Some(Action::ReopenLogs));
        kill_process(getpid(), Number::TERM).unwrap();
        assert_eq!(seen.recv().await, Some(Action::Terminating));
        assert_eq!(seen.recv().await, Some(Action::FailHealthCheck));
        tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
        assert_eq!(seen.recv().await, None);
    }
}
