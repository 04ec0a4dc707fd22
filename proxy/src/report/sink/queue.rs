//! A bounded queue of lines with the thread that empties it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// The end that is written to. The thread behind it ends after [`close`](Self::close), when the queue is empty.
#[derive(Debug)]
pub(super) struct Queue(Arc<Shared>);

/// The end that is read, in the thread.
#[derive(Debug)]
pub(super) struct Lines(Arc<Shared>);

/// What the reading end is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Lines, oldest first.
    Lines(VecDeque<String>),
    /// The time is over, and no line came.
    Timeout,
    /// Open the file anew.
    Reopen,
    /// Nothing will come any more.
    Closed,
}

#[derive(Debug)]
struct Shared {
    most: usize,
    state: Mutex<State>,
    /// Something changed.
    bell: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<String>,
    bytes: usize,
    reopen: bool,
    closed: bool,
    ended: bool,
}

impl Queue {
    /// Starts a thread that runs `work` over a queue of at most so many bytes.
    pub(super) fn start(name: &str, most: usize, work: impl FnOnce(&Lines) + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared { most, state: Mutex::default(), bell: Condvar::new() });
        let lines = Lines(Arc::clone(&shared));
        thread::Builder::new().name(name.to_owned()).spawn(move || work(&lines))?;
        Ok(Self(shared))
    }

    /// `false`: no room, or closed; the line is gone.
    pub(super) fn push(&self, line: String) -> bool {
        let mut state = self.0.lock();
        let bytes = state.bytes + line.len() + size_of::<String>();
        if state.closed || state.ended || bytes > self.0.most {
            return false;
        }
        state.bytes = bytes;
        state.lines.push_back(line);
        // The thread sleeps only while the queue is empty.
        if state.lines.len() == 1 {
            self.0.bell.notify_all();
        }
        true
    }

    pub(super) fn reopen(&self) {
        self.0.lock().reopen = true;
        self.0.bell.notify_all();
    }

    pub(super) fn close(&self) {
        self.0.lock().closed = true;
        self.0.bell.notify_all();
    }

    /// Waits for the thread to have ended; `false` if it has not by then.
    pub(super) fn wait(&self, deadline: Instant) -> bool {
        let mut state = self.0.lock();
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.0.bell.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Lines {
    /// Waits for lines, at most until `deadline` if there is one.
    pub(super) fn next(&self, deadline: Option<Instant>) -> Next {
        let mut state = self.0.lock();
        loop {
            if !state.lines.is_empty() {
                state.bytes = 0;
                return Next::Lines(std::mem::take(&mut state.lines));
            }
            if std::mem::take(&mut state.reopen) {
                return Next::Reopen;
            }
            if state.closed {
                return Next::Closed;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match left {
                Some(left) if left.is_zero() => return Next::Timeout,
                Some(left) => self.0.bell.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.0.bell.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.bell.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
