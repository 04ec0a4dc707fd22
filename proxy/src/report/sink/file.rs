//! Lines into a file, as Envoy's `AccessLogFileImpl`: gathered, written when 64 KiB wait or 10 s are over.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::queue::{Lines, Next};
use super::{Counts, Options};
use crate::metrics::{FilesystemStat, ZonegateStat};

/// What is written to.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Path(Arc<Path>),
    Stdout,
    Stderr,
}

impl Target {
    /// `/dev/stdout` and `/dev/stderr` are our own streams: opened as files they would be truncated or refused,
    /// depending on what stands behind them.
    pub(super) fn at(path: &Arc<Path>) -> Self {
        match path.to_str() {
            Some("/dev/stdout") => Self::Stdout,
            Some("/dev/stderr") => Self::Stderr,
            _ => Self::Path(Arc::clone(path)),
        }
    }

    fn open(&self) -> io::Result<Box<dyn Write>> {
        match self {
            Self::Path(path) => Ok(Box::new(open(path)?)),
            Self::Stdout => Ok(Box::new(io::stdout())),
            Self::Stderr => Ok(Box::new(io::stderr())),
        }
    }
}

/// For appending, created where absent with Envoy's permissions; a FIFO that nobody reads fails at once.
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // O_NONBLOCK concerns FIFOs alone; regular files ignore it.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new().append(true).create(true).mode(0o644).custom_flags(flags).open(path)
}

/// Writes until the queue is closed and empty.
pub(super) fn run(lines: &Lines, target: &Target, options: Options, counts: &Counts) {
    let mut writer = Writer { target, counts, out: None, waiting: Vec::new(), held: 0 };
    let mut due: Option<Instant> = None;
    loop {
        match lines.next(due) {
            Next::Lines(batch) => {
                batch.into_iter().for_each(|line| {
                    writer.gather(&line);
                    if writer.waiting.len() >= options.flush_bytes {
                        writer.flush();
                    }
                });
                due = (!writer.waiting.is_empty())
                    .then(|| due.unwrap_or_else(|| Instant::now() + options.flush_interval));
                if due.is_some_and(|due| due <= Instant::now()) {
                    due = writer.flush_by_timer();
                }
            }
            Next::Timeout => due = writer.flush_by_timer(),
            Next::Reopen => {
                writer.flush();
                writer.reopen();
                due = None;
            }
            Next::Closed => return writer.flush(),
        }
    }
}

struct Writer<'a> {
    target: &'a Target,
    counts: &'a Counts,
    out: Option<Box<dyn Write>>,
    waiting: Vec<u8>,
    /// Lines among the bytes that wait.
    held: u64,
}

impl Writer<'_> {
    fn gather(&mut self, line: &str) {
        self.waiting.extend_from_slice(line.as_bytes());
        self.held += 1;
        self.counts.files.inc(FilesystemStat::WriteBuffered);
        self.counts.files.add(FilesystemStat::WriteTotalBuffered, line.len() as u64);
    }

    fn flush_by_timer(&mut self) -> Option<Instant> {
        self.counts.files.inc(FilesystemStat::FlushedByTimer);
        self.flush();
        None
    }

    fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let (bytes, held) = (self.waiting.len() as u64, std::mem::take(&mut self.held));
        let result = self.write();
        self.waiting.clear();
        self.counts.files.sub(FilesystemStat::WriteTotalBuffered, bytes);
        match result {
            Ok(()) => {
                self.counts.files.inc(FilesystemStat::WriteCompleted);
                self.counts.own.add(ZonegateStat::AccessLogWritten, held);
            }
            Err(error) => {
                tracing::warn!(target = ?self.target, %error, lines = held, "access log: lines lost");
                self.out = None;
                self.counts.files.inc(FilesystemStat::WriteFailed);
                self.counts.own.add(ZonegateStat::AccessLogDroppedWriteFailed, held);
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let out = match &mut self.out {
            Some(out) => out,
            None => self.out.insert(self.target.open()?),
        };
        out.write_all(&self.waiting)?;
        out.flush()
    }

    /// Keeps the old file where the new one can't be opened, as Envoy does.
    fn reopen(&mut self) {
        match self.target.open() {
            Ok(out) => self.out = Some(out),
            Err(error) => {
                tracing::warn!(target = ?self.target, %error, "access log: can't be opened anew");
                self.counts.files.inc(FilesystemStat::ReopenFailed);
            }
        }
    }
}
