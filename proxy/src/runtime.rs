//! The data path's threads: one current-thread tokio runtime per core, because a wake-up across CPUs costs more than
//! the work. Control work (xDS, admin, DNS, health checks) runs on the caller's own runtime.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::control::{self, TICK};
use crate::metrics::enter_worker;
use crate::relay::{Budget, install_pipes};

/// The running workers; dropping it stops them and closes their connections.
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
            });
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
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
