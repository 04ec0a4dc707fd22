//! The memory below a scope: pages of eight numbers in an append-only chain, made when first touched.
//!
//! Ten thousand clusters that nobody talks to must cost next to nothing, and an add must cost next to nothing: a
//! dense array of all of a cluster's statistics would be 1 KiB per cluster and worker.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// Numbers per page: one cache line.
pub(super) const PAGE: usize = 8;

/// A chain of pages. Readers may walk it at any time; a page never moves.
#[derive(Debug, Default)]
pub(super) struct Chain {
    head: OnceLock<Box<Page>>,
}

#[derive(Debug)]
struct Page {
    number: u16,
    /// One bit per number: written at least once.
    used: AtomicU8,
    values: [AtomicU64; PAGE],
    next: Chain,
}

/// One number in a chain.
#[derive(Clone, Copy)]
pub(super) struct Cell<'a> {
    page: &'a Page,
    at: usize,
}

impl Chain {
    /// The cell at `index`; its page is made where absent.
    #[inline]
    pub(super) fn cell(&self, index: usize) -> Cell<'_> {
        let (number, at) = split(index);
        let mut chain = self;
        loop {
            let page = chain.head.get_or_init(|| Page::new(number));
            if page.number == number {
                return Cell { page, at };
            }
            chain = &page.next;
        }
    }

    /// The cell at `index`, if its page exists.
    pub(super) fn peek(&self, index: usize) -> Option<Cell<'_>> {
        let (number, at) = split(index);
        let mut chain = self;
        while let Some(page) = chain.head.get() {
            if page.number == number {
                return Some(Cell { page, at });
            }
            chain = &page.next;
        }
        None
    }

    /// Something was written to it.
    pub(super) fn is_used(&self) -> bool {
        self.head.get().is_some()
    }
}

impl Page {
    #[cold]
    fn new(number: u16) -> Box<Self> {
        Box::new(Self { number, used: AtomicU8::new(0), values: Default::default(), next: Chain::default() })
    }
}

impl Cell<'_> {
    /// Adds, as the only writer: a load and a store, no locked instruction.
    #[inline]
    pub(super) fn add_alone(self, n: u64) {
        let value = &self.page.values[self.at];
        value.store(value.load(Relaxed).wrapping_add(n), Relaxed);
        self.mark(|used, bit| used.store(used.load(Relaxed) | bit, Relaxed));
    }

    /// Adds, among several writers.
    pub(super) fn add_shared(self, n: u64) {
        self.page.values[self.at].fetch_add(n, Relaxed);
        self.mark(|used, bit| {
            used.fetch_or(bit, Relaxed);
        });
    }

    /// Sets.
    pub(super) fn store(self, n: u64) {
        self.page.values[self.at].store(n, Relaxed);
        self.mark(|used, bit| {
            used.fetch_or(bit, Relaxed);
        });
    }

    /// The number.
    pub(super) fn load(self) -> u64 {
        self.page.values[self.at].load(Relaxed)
    }

    /// Written at least once.
    pub(super) fn used(self) -> bool {
        self.page.used.load(Relaxed) & (1 << self.at) != 0
    }

    #[inline]
    fn mark(self, set: impl FnOnce(&AtomicU8, u8)) {
        if !self.used() {
            set(&self.page.used, 1 << self.at);
        }
    }
}

fn split(index: usize) -> (u16, usize) {
    (u16::try_from(index / PAGE).unwrap_or(u16::MAX), index % PAGE)
}
