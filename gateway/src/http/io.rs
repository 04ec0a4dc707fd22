//! A connection's bytes as hyper reads and writes them: counted, looked at where they are HTTP/1, and closed so that the
//! client gets to see the last answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use proxy::metrics::HttpStat;
use proxy::stream::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::context::Context;
use super::h1::{Gate, STAND_IN, Then};
use super::h2_watch::Frames;

/// One connection's bytes.
#[derive(Debug)]
pub(super) struct Io {
    stream: Stream,
    /// Read and not handed on.
    held: Vec<u8>,
    /// So many of those may be.
    cleared: usize,
    /// For HTTP/1.
    gate: Option<Gate>,
    /// For HTTP/2.
    frames: Option<Frames>,
    /// What came was no HTTP; the reader gets this once it has read what came before.
    broken: bool,
    ended: bool,
    /// Our end is sent; the client's is awaited.
    finished: bool,
    context: Arc<Context>,
}

/// Read at once while a head is held back.
const ROUND: usize = 4096;

impl Io {
    /// `head`: bytes read already.
    pub(super) fn new(stream: Stream, head: Vec<u8>, context: Arc<Context>) -> Self {
        Self {
            stream,
            held: head,
            cleared: 0,
            gate: None,
            frames: None,
            broken: false,
            ended: false,
            finished: false,
            context,
        }
    }

    /// HTTP/1 from here on.
    pub(super) fn with_gate(mut self, gate: Gate) -> Self {
        self.gate = Some(gate);
        if !self.held.is_empty() {
            self.look_at_held();
        }
        self
    }

    /// HTTP/2 from here on.
    pub(super) fn without_gate(mut self) -> Self {
        self.cleared = self.held.len();
        let mut frames = Frames::new();
        self.context.block(frames.pass(&self.held));
        self.context.reset(frames.take_resets());
        self.frames = Some(frames);
        self
    }

    /// What is read and not handed on.
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }

    /// No message is under way, and nothing of one has come.
    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty() && !self.ended && self.gate.as_ref().is_some_and(Gate::is_between)
    }

    /// Ready when there may be bytes, or the end.
    pub(super) fn poll_readable(&self, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() { self.stream.poll_readable(cx) } else { Poll::Ready(Ok(())) }
    }

    /// Reads some more into what is held; 0 is the end.
    pub(super) fn poll_hold(&mut self, cx: &mut Task<'_>) -> Poll<io::Result<usize>> {
        let before = self.held.len();
        self.held.resize(before + ROUND, 0);
        let mut buf = ReadBuf::new(&mut self.held[before..]);
        let result = Pin::new(&mut self.stream).poll_read(cx, &mut buf);
        let n = buf.filled().len();
        self.held.truncate(before + n);
        ready!(result)?;
        self.received(n);
        Poll::Ready(Ok(n))
    }

    fn received(&mut self, n: usize) {
        self.ended |= n == 0;
        self.context.control.touch();
        self.context.chain.stats.add(HttpStat::DownstreamCxRxBytesTotal, n as u64);
    }

    fn sent(&self, n: usize) {
        self.context.control.touch();
        self.context.chain.stats.add(HttpStat::DownstreamCxTxBytesTotal, n as u64);
    }

    /// Looks at what is held and not cleared.
    fn look_at_held(&mut self) {
        let Some(gate) = &mut self.gate else {
            self.cleared = self.held.len();
            return;
        };
        let seen = gate.look(&self.held[self.cleared..]);
        self.cleared += seen.pass;
        let keep = self.cleared;
        self.take(seen.heads, seen.then, keep);
    }

    /// What follows from what the gate saw; of what is held, `keep` bytes stay in front of anything else.
    fn take(&mut self, heads: u32, then: Then, keep: usize) {
        self.context.pass(heads);
        if self.gate.as_ref().is_some_and(Gate::is_raw) {
            self.context.set_raw();
        }
        match then {
            Then::Nothing => {}
            Then::Beginning => self.context.begin_head(),
            Then::Refused(refusal) => {
                self.context.refuse(refusal);
                self.held.truncate(keep);
                self.held.extend_from_slice(STAND_IN);
                self.cleared = self.held.len();
            }
            Then::Broken => {
                self.held.truncate(keep);
                self.broken = true;
            }
        }
    }

    /// A refusal from outside, such as for a head that takes too long.
    fn take_order(&mut self) {
        let Some(gate) = self.gate.as_mut().filter(|gate| gate.is_between()) else { return };
        if let Some(refusal) = self.context.take_order() {
            gate.shut();
            let keep = self.cleared;
            self.take(0, Then::Refused(refusal), keep);
        }
    }

    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) {
        let n = self.cleared.min(buf.remaining());
        buf.put_slice(&self.held[..n]);
        self.cleared -= n;
        if n == self.held.len() {
            self.held = Vec::new();
        } else {
            self.held.drain(..n);
        }
    }

    /// Reads straight into `buf`; what may not be handed on yet is moved out of it.
    fn poll_direct(&mut self, cx: &mut Task<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let n = buf.filled().len() - before;
        self.received(n);
        if let Some(frames) = &mut self.frames {
            self.context.block(frames.pass(&buf.filled()[before..]));
            self.context.reset(frames.take_resets());
        }
        let Some(gate) = self.gate.as_mut().filter(|_| n > 0) else { return Poll::Ready(Ok(true)) };
        let seen = gate.look(&buf.filled()[before..]);
        if seen.then == Then::Beginning {
            self.held.extend_from_slice(&buf.filled()[before + seen.pass..]);
        }
        buf.set_filled(before + seen.pass);
        self.take(seen.heads, seen.then, 0);
        Poll::Ready(Ok(seen.pass > 0))
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Task<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            this.take_order();
            if this.cleared > 0 {
                this.hand_on(buf);
                return Poll::Ready(Ok(()));
            }
            if this.broken {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "http1.codec_error")));
            }
            if this.gate.as_ref().is_some_and(Gate::is_shut) {
                // The answer to the stand-in is the last thing that happens.
                return Poll::Pending;
            }
            if this.held.is_empty() {
                if ready!(this.poll_direct(cx, buf))? {
                    return Poll::Ready(Ok(()));
                }
            } else {
                if this.gate.as_ref().is_some_and(Gate::is_between) {
                    this.context.begin_head();
                }
                if ready!(this.poll_hold(cx))? == 0 {
                    return Poll::Ready(Ok(()));
                }
                this.look_at_held();
            }
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.sent(n);
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Task<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        self.sent(n);
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Sends our end, then waits for the client's: closing over bytes that were not read resets the connection, and the
    /// client may lose the answer (RFC 9112 §9.6; Envoy's `delayed_close_timeout`).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.finished {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.finished = true;
            this.held = Vec::new();
            this.cleared = 0;
            this.context.linger();
        }
        let mut scrap = [0; 1024];
        while !this.ended && this.context.is_lingering() {
            let mut buf = ReadBuf::new(&mut scrap);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buf))?;
            let n = buf.filled().len();
            this.received(n);
        }
        Poll::Ready(Ok(()))
    }
}
