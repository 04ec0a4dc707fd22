//! The data path's threads: one current-thread tokio runtime per core, because a wake-up across CPUs costs more than
//! the work. Control work (xDS, admin, DNS, health checks) runs on the caller's own runtime.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::control::{self, Kill, TICK};
use crate::metrics::enter_worker;
use crate::relay::{Budget, install_pipes};

/// The running workers; dropping it stops them and closes their connections, which report first.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads named `NAME:worker_N`, as Envoy's `wrk:worker_N`; `pipes` is what they share for splice(2).
    ///
    /// # Errors
    /// What the system said when it refused a thread or an epoll instance.
    pub fn start(count: usize, pipes: usize) -> io::Result<Self> {
        let budget = Budget::new(pipes);
        let workers = (0..count.max(1)).map(|index| Worker::start(index, &budget)).collect::<io::Result<_>>()?;
        Ok(Self { workers })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// Never: there is always at least one.
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Their runtimes, in order.
    pub fn handles(&self) -> impl Iterator<Item = &Handle> {
        self.workers.iter().map(|worker| &worker.handle)
    }

    /// Runs `call` once on every worker and collects what it returns.
    pub async fn on_each<R: Send + 'static>(&self, call: impl Fn() -> R + Clone + Send + 'static) -> Vec<R> {
        let calls: Vec<_> = self
            .handles()
            .map(|handle| {
                let call = call.clone();
                handle.spawn(async move { call() })
            })
            .collect();
        let mut results = Vec::with_capacity(calls.len());
        for call in calls {
            results.extend(call.await);
        }
        results
    }
}

impl Worker {
    fn start(index: usize, budget: &Arc<Budget>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let budget = Arc::clone(budget);
        let thread = std::thread::Builder::new().name(format!("wrk:worker_{index}")).spawn(move || {
            enter_worker(index);
            install_pipes(budget);
            runtime.block_on(async move {
                tokio::select! {
                    () = tick() => {}
                    _ = stopped => {}
                }
                end_connections().await;
            });
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }
}

/// Most time for this worker's connections to write their reports at the end.
const LAST_REPORTS: Duration = Duration::from_secs(1);

/// Ends this worker's connections and lets them report what they moved: dropped, they could not.
async fn end_connections() {
    let end = Instant::now() + LAST_REPORTS;
    while control::kill_all(Kill::Drained) > 0 && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The one timer of a worker.
async fn tick() {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        control::tick();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            drop(worker.stop.take());
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take()
                && thread.join().is_err()
            {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::control::Registered;

    #[test]
    fn connections_report_before_their_worker_ends() {
        let workers = Workers::start(2, 0).unwrap();
        let (open, opened) = mpsc::channel();
        let (report, reported) = mpsc::channel();
        for handle in workers.handles() {
            let (open, report) = (open.clone(), report.clone());
            handle.spawn(async move {
                let control = Registered::new();
                open.send(()).unwrap();
                control.deadline().await;
                report.send(control.killed()).unwrap();
            });
        }
        assert_eq!(opened.iter().take(2).count(), 2);
        let started = Instant::now();
        drop(workers);
        let reasons: Vec<_> = reported.try_iter().collect();
        assert_eq!(reasons, vec![Some(crate::error::CloseReason::Drained); 2]);
        assert!(started.elapsed() < LAST_REPORTS, "nobody waits for what has ended");
    }
}
