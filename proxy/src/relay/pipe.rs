//! Pipes for splice(2), pooled per worker and counted per process.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

/// What a pipe should hold. Its slots matter more than its bytes: a slot holds one segment, 1.5–4 KiB on a real NIC.
const WANTED: usize = 1024 * 1024;
/// Fewer bytes than this move slower than a copy through the shared buffer does.
const WORTHWHILE: usize = 64 * 1024;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { free: Vec::new(), budget: None }) };
}

struct Pool {
    free: Vec<Pipe>,
    budget: Option<Arc<Budget>>,
}

/// How many pipes one proxy may have. Beyond 16,384 pages a user (`pipe-user-pages-soft`), that is 64 pipes of 1 MiB,
/// the kernel hands out pipes of two pages.
#[derive(Debug)]
pub struct Budget {
    left: AtomicUsize,
}

impl Budget {
    /// Room for `pipes`.
    pub fn new(pipes: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(pipes) })
    }

    fn take(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// Makes pipes available to this thread; without it every relay copies.
pub(crate) fn install(budget: Arc<Budget>) {
    POOL.with_borrow_mut(|pool| pool.budget = Some(budget));
}

/// An empty pipe, or one holding bytes on their way.
#[derive(Debug)]
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// What one splice may move into it.
    pub(crate) capacity: usize,
    budget: Arc<Budget>,
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.budget.left.fetch_add(1, Ordering::Relaxed);
    }
}

impl Pipe {
    /// A free pipe; `None` when there are none left, so that the caller goes on copying.
    pub(crate) fn acquire() -> Option<Self> {
        POOL.with_borrow_mut(|pool| {
            if let Some(pipe) = pool.free.pop() {
                return Some(pipe);
            }
            let budget = pool.budget.clone()?;
            if budget.take() { Self::open(budget) } else { None }
        })
    }

    fn open(budget: Arc<Budget>) -> Option<Self> {
        let Ok((read, write)) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK) else {
            budget.left.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        // EPERM when the user's soft limit is reached: the pipe keeps the size it has.
        let _ = fcntl_setpipe_size(&write, WANTED);
        let capacity = fcntl_getpipe_size(&write).unwrap_or(0);
        let pipe = Self { read, write, capacity, budget };
        (capacity >= WORTHWHILE).then_some(pipe)
    }

    /// Gives an **empty** pipe back; one that still holds bytes must be dropped.
    pub(crate) fn release(self) {
        POOL.with_borrow_mut(|pool| pool.free.push(self));
    }

    /// The end to splice from.
    pub(crate) fn reader(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    /// The end to splice to.
    pub(crate) fn writer(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }
}

#[cfg(test)]
pub(super) fn pooled() -> usize {
    POOL.with_borrow(|pool| pool.free.len())
}
