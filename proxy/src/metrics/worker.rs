//! Which worker this thread is: decides the array its numbers go to.

use std::cell::Cell;

thread_local! {
    static WORKER: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Makes this thread worker `index` (0-based) of its engine: from now on it is the only writer of that worker's
/// numbers, in every registry it touches. To be called once, first thing, by each data-path thread.
pub fn enter_worker(index: usize) {
    WORKER.set(index);
}

/// This thread's worker; `None` on threads that never [entered](enter_worker) (control, tests): they share a slot.
#[inline]
pub fn current_worker() -> Option<usize> {
    let worker = WORKER.get();
    (worker != usize::MAX).then_some(worker)
}
