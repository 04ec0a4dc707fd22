//! Where access-log lines go. Each sink has a thread of its own and a bounded queue: what does not fit is dropped and
//! counted, so a full disk or a slow log server never holds up traffic.

mod file;
mod kuma;
mod otlp;
mod queue;
mod tcp;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use config::model::access_log::{AccessLog, Format, Sink};

use super::format::line;
use super::record::record;
use super::value::Subject;

use crate::metrics::{FilesystemStat, Registry, Scope, ZonegateStat};
use crate::shared::Node;
use crate::upstream::Clusters;
use file::Target;
use queue::Queue;

/// Bounds and intervals of sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A file is written at the latest after so long (Envoy: `--file-flush-interval-msec`, 10 s).
    pub flush_interval: Duration,
    /// A file is written when so many bytes wait (Envoy: `--file-flush-min-size-kb`, 64 KiB).
    pub flush_bytes: usize,
    /// Bytes that may wait in the queue of one sink.
    pub queue_bytes: usize,
    /// Sinks that may be open at once; log servers, whose addresses come with the lines, have as many again.
    pub sinks: usize,
    /// Time to connect to a log server, and to write one line to it (kuma-dp: 5 s to connect).
    pub tcp_timeout: Duration,
    /// Lines to a log server that could not be reached are dropped at once for so long.
    pub tcp_backoff: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            flush_interval: Duration::from_secs(10),
            flush_bytes: 64 * 1024,
            queue_bytes: 4 * 1024 * 1024,
            sinks: 64,
            tcp_timeout: Duration::from_secs(5),
            tcp_backoff: Duration::from_secs(1),
        }
    }
}

/// What sinks count.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    pub(super) own: Arc<Scope<ZonegateStat>>,
    pub(super) files: Arc<Scope<FilesystemStat>>,
}

/// All sinks of one engine, opened when first written to.
#[derive(Debug)]
pub struct Sinks {
    options: Options,
    counts: Counts,
    open: ArcSwap<HashMap<Sink, Arc<Open>>>,
    /// Held by who opens or closes a sink.
    changing: Mutex<()>,
    /// What collectors are reached by; absent until the engine is there.
    network: OnceLock<otlp::Network>,
}

/// An open sink.
#[derive(Debug)]
enum Open {
    /// Lines, and the thread that writes them.
    Lines(Queue),
    /// Records, and the task that sends them.
    Records(otlp::Records),
}

impl Sinks {
    /// None is open yet.
    pub fn new(registry: &Registry, options: Options) -> Arc<Self> {
        let counts = Counts { own: registry.zonegate(), files: registry.filesystem() };
        Arc::new(Self {
            options,
            counts,
            open: ArcSwap::default(),
            changing: Mutex::default(),
            network: OnceLock::new(),
        })
    }

    /// From now on collectors can be reached, through these clusters.
    pub(crate) fn attach(&self, clusters: &Arc<Clusters>, registry: &Arc<Registry>, node: &Node) {
        let (clusters, registry) = (Arc::clone(clusters), Arc::clone(registry));
        // Said again, it is what it was.
        let _ = self.network.set(otlp::Network { clusters, registry, node: node.clone() });
    }

    /// Hands a line over. Never waits for the sink.
    pub fn write(&self, sink: &Sink, line: String) {
        match self.get(sink).as_deref() {
            Some(Open::Lines(queue)) if queue.push(line) => {}
            _ => self.counts.own.inc(ZonegateStat::AccessLogDroppedQueueFull),
        }
    }

    /// Writes what `log` says of `subject`.
    pub(super) fn log(&self, log: &AccessLog, subject: &Subject<'_>) {
        match &*log.format {
            Format::Record { body, attributes } => {
                self.record(&log.sink, record(body.as_ref(), attributes, log.omit_empty, subject));
            }
            Format::Text(_) | Format::Json(_) => self.write(&log.sink, line(&log.format, log.omit_empty, subject)),
        }
    }

    /// Hands an encoded record over. Never waits for the collector.
    fn record(&self, sink: &Sink, record: bytes::Bytes) {
        match self.get(sink).as_deref() {
            Some(Open::Records(records)) => records.push(record),
            _ => self.counts.own.inc(ZonegateStat::AccessLogDroppedQueueFull),
        }
    }

    /// Opens files anew before their next line (`POST /reopen_logs`, `SIGUSR1`), after they were moved away.
    pub fn reopen(&self) {
        self.lines(&self.open.load()).for_each(Queue::reopen);
    }

    /// Writes what waits and closes all sinks; what could not be written within `limit` is lost. Blocks that long at
    /// most: for the end of the process. `false` when something was left.
    pub fn shutdown(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let open = self.open.swap(Arc::default());
        self.lines(&open).for_each(Queue::close);
        self.lines(&open).map(|queue| queue.wait(deadline)).min().unwrap_or(true)
    }

    fn lines<'a>(&self, open: &'a HashMap<Sink, Arc<Open>>) -> impl Iterator<Item = &'a Queue> {
        open.values().filter_map(|open| match &**open {
            Open::Lines(queue) => Some(queue),
            Open::Records(_) => None,
        })
    }

    fn get(&self, sink: &Sink) -> Option<Arc<Open>> {
        let known = self.open.load().get(sink).map(Arc::clone);
        known.or_else(|| self.open(sink))
    }

    fn open(&self, sink: &Sink) -> Option<Arc<Open>> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let open = self.open.load_full();
        if let Some(known) = open.get(sink) {
            return Some(Arc::clone(known));
        }
        if open.len() >= self.options.sinks {
            return None;
        }
        let opened = Arc::new(self.start(sink)?);
        let mut open = HashMap::clone(&open);
        open.insert(sink.clone(), Arc::clone(&opened));
        self.open.store(Arc::new(open));
        Some(opened)
    }

    fn start(&self, sink: &Sink) -> Option<Open> {
        let (options, counts) = (self.options, self.counts.clone());
        let result = match sink {
            Sink::File(path) if kuma::is_fifo(path) => {
                Queue::start("log-kuma", options.queue_bytes, move |queue| kuma::run(queue, options, &counts))
            }
            Sink::File(path) => {
                let target = Target::at(path);
                Queue::start("log-file", options.queue_bytes, move |queue| file::run(queue, &target, options, &counts))
            }
            Sink::Stdout => Queue::start("log-file", options.queue_bytes, move |queue| {
                file::run(queue, &Target::Stdout, options, &counts);
            }),
            Sink::Stderr => Queue::start("log-file", options.queue_bytes, move |queue| {
                file::run(queue, &Target::Stderr, options, &counts);
            }),
            Sink::OpenTelemetry(log) => {
                return Some(Open::Records(otlp::Records::start(log, self.network.get()?, options)));
            }
        };
        let result = result.map(Open::Lines);
        result.inspect_err(|error| tracing::error!(?sink, %error, "access log: no thread for the sink")).ok()
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        // Threads end by themselves after writing what they have.
        self.lines(&self.open.load()).for_each(Queue::close);
    }
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}
