//! What the parts of one connection share: its bytes, its requests, and what drives them. All on one worker.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use proxy::control::{Control, Kill};
use proxy::http::HttpConnection;
use proxy::lifecycle::drain::Watch;
use proxy::report::flow::Flow;
use proxy::shared::Shared;

use super::chain::Chain;
use super::h1::head::Refusal;
use super::h2_watch::Resets;

/// One connection, as its requests see it.
pub(super) struct Context {
    pub(super) chain: Arc<Chain>,
    pub(super) flow: Arc<Flow>,
    pub(super) shared: Arc<Shared>,
    pub(super) control: Arc<Control>,
    drain: Watch,
    /// Requests under way.
    active: AtomicU32,
    /// Requests so far.
    requests: AtomicU32,
    /// It ends with the answers under way.
    closing: AtomicBool,
    /// It is over.
    gone: AtomicBool,
    /// The client wants the connection to end.
    client_closes: AtomicBool,
    /// Heads of HTTP/1 that were handed to hyper.
    heads: AtomicU32,
    /// The last of them asks for another protocol: nobody has judged what comes behind it.
    raw: AtomicBool,
    /// The client does what nobody needs to.
    abused: AtomicBool,
    resets: Mutex<Resets>,
    phase: AtomicU8,
    orders: Mutex<Orders>,
}

/// What a connection waits for between requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Anything.
    Open,
    /// The rest of a head.
    Head,
    /// The end of the requests under way; a deadline stands.
    Leaving,
    /// The client's end, ours being sent.
    Lingering,
    /// Nothing.
    Over,
}

#[derive(Debug, Default)]
struct Orders {
    /// The first byte of the head under way came then.
    begun: Option<Instant>,
    /// The head under way is to be refused.
    order: Option<Refusal>,
    /// The head of this number stands for one that was refused.
    refused: Option<(u32, Refusal)>,
}

impl Context {
    pub(super) fn new(chain: Arc<Chain>, connection: HttpConnection) -> (Arc<Self>, proxy::stream::Stream, Box<[u8]>) {
        let HttpConnection { stream, head, flow, shared, stats: _, control, drain } = connection;
        let resets = Mutex::new(Resets::new(&chain.manager.http2, Instant::now()));
        let context = Self {
            chain,
            flow,
            shared,
            control,
            drain,
            active: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            closing: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            client_closes: AtomicBool::new(false),
            heads: AtomicU32::new(0),
            raw: AtomicBool::new(false),
            abused: AtomicBool::new(false),
            resets,
            phase: AtomicU8::new(0),
            orders: Mutex::default(),
        };
        (Arc::new(context), stream, head)
    }

    pub(super) fn drain(&self) -> &Watch {
        &self.drain
    }

    fn orders(&self) -> std::sync::MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins; its number on the connection, from 1.
    pub(super) fn begin(&self) -> u32 {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A request is over.
    pub(super) fn end(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
        self.control.touch();
    }

    /// Requests under way.
    pub(super) fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Requests so far.
    pub(super) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The client has said that the connection ends with its request.
    pub(super) fn set_client_closes(&self) {
        self.client_closes.store(true, Ordering::Relaxed);
    }

    pub(super) fn client_closes(&self) -> bool {
        self.client_closes.load(Ordering::Relaxed)
    }

    /// The connection is to end with the answers under way.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Whether it is.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// The connection is over, whatever its requests think.
    pub(super) fn set_gone(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// So many whole heads went to hyper.
    pub(super) fn pass(&self, heads: u32) {
        if heads > 0 {
            self.heads.fetch_add(heads, Ordering::Relaxed);
            if self.phase() == Phase::Head {
                self.set_phase(Phase::Open);
                self.control.forgive_deadline();
            }
        }
    }

    /// What comes behind the heads so far is judged by nobody.
    pub(super) fn set_raw(&self) {
        self.raw.store(true, Ordering::Relaxed);
    }

    /// Whether the request of this number is the last that may be one.
    pub(super) fn is_last(&self, number: u32) -> bool {
        self.raw.load(Ordering::Relaxed) && self.heads.load(Ordering::Relaxed) == number
    }

    /// Part of a head is there.
    pub(super) fn begin_head(&self) {
        if self.phase() != Phase::Open || self.active() > 0 {
            return;
        }
        self.set_phase(Phase::Head);
        let now = Instant::now();
        self.orders().begun = Some(now);
        self.control.set_deadline(now, self.chain.head_timeout());
    }

    /// A header block of HTTP/2 is under way, or not any more. While it is, nothing else comes through.
    pub(super) fn block(&self, open: bool) {
        match self.phase() {
            Phase::Open if open => {
                self.set_phase(Phase::Head);
                self.control.set_deadline(Instant::now(), self.chain.head_timeout());
            }
            Phase::Head if !open => {
                self.set_phase(Phase::Open);
                self.control.forgive_deadline();
            }
            Phase::Open | Phase::Head | Phase::Leaving | Phase::Lingering | Phase::Over => {}
        }
    }

    /// The client has reset so many streams.
    pub(super) fn reset(&self, streams: u32) {
        if streams == 0 {
            return;
        }
        let (options, now) = (&self.chain.manager.http2, Instant::now());
        let may = {
            let mut resets = self.resets.lock().unwrap_or_else(PoisonError::into_inner);
            (0..streams).all(|_| resets.take(options, now))
        };
        if !may && !self.abused.swap(true, Ordering::Relaxed) {
            // Wakes whoever drives the connection.
            self.control.kill(Kill::Deadline);
        }
    }

    /// Whether the connection ends for what the client does.
    pub(super) fn is_abused(&self) -> bool {
        self.abused.load(Ordering::Relaxed)
    }

    /// When the head under way, or the last one, began, where it did not come as a whole.
    pub(super) fn head_begun(&self) -> Option<Instant> {
        self.orders().begun.take()
    }

    /// The head under way is refused.
    pub(super) fn order(&self, refusal: Refusal) {
        self.set_phase(Phase::Open);
        self.orders().order = Some(refusal);
    }

    pub(super) fn take_order(&self) -> Option<Refusal> {
        self.orders().order.take()
    }

    /// The next head that hyper sees is one that stands for a refused one.
    pub(super) fn refuse(&self, refusal: Refusal) {
        let number = self.heads.fetch_add(1, Ordering::Relaxed) + 1;
        self.set_phase(Phase::Open);
        self.control.forgive_deadline();
        self.orders().refused = Some((number, refusal));
    }

    /// Why the request of this number is refused before it is one.
    pub(super) fn refused(&self, number: u32) -> Option<Refusal> {
        self.orders().refused.filter(|(at, _)| *at == number).map(|(_, refusal)| refusal)
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Open,
            1 => Phase::Head,
            2 => Phase::Leaving,
            3 => Phase::Lingering,
            _ => Phase::Over,
        }
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Our end is sent: the client has `delayed_close_timeout` for its own.
    pub(super) fn linger(&self) {
        let limit = self.chain.manager.delayed_close_timeout;
        if limit.is_zero() || self.phase() == Phase::Over {
            return self.set_phase(Phase::Over);
        }
        self.set_phase(Phase::Lingering);
        self.control.set_deadline(Instant::now(), Some(limit));
    }

    pub(super) fn is_lingering(&self) -> bool {
        self.phase() == Phase::Lingering
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("id", &self.flow.id).field("active", &self.active()).finish_non_exhaustive()
    }
}
