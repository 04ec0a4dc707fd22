//! Bytes both ways between two sockets until both ends are done.
//!
//! Each direction copies through the worker's one shared buffer while bursts are small and moves to splice(2) through
//! a pooled pipe once they are large (measured in docs/performance.md); an idle connection owns neither.

mod buffer;
mod pipe;
mod pump;

use std::task::{Context, Poll};

pub(crate) use buffer::with as with_buffer;
pub use pipe::Budget;
pub(crate) use pipe::install as install_pipes;
use pump::{Pump, Step, Way};

use crate::control::Control;
use crate::error::CloseReason;
use crate::stream::Stream;

/// Rounds of one direction before the other and all other connections of the worker get their turn.
const ROUNDS: u32 = 16;

/// Bytes moved so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// From client to endpoint.
    pub up: u64,
    /// From endpoint to client.
    pub down: u64,
}

/// Both directions of one connection.
#[derive(Debug)]
pub(crate) struct Relay {
    up: Pump,
    down: Pump,
    moved: Moved,
    /// Most that is read at once (`per_connection_buffer_limit_bytes`).
    limit: u32,
}

impl Relay {
    /// `head` are bytes already read from the client; they go first.
    pub(crate) fn new(head: Box<[u8]>, limit: u32) -> Self {
        Self { up: Pump::starting_with(head), down: Pump::default(), moved: Moved::default(), limit }
    }

    /// Bytes moved so far.
    pub(crate) fn moved(&self) -> Moved {
        self.moved
    }

    /// Both sides have ended, the client first.
    pub(crate) fn client_ended_first(&self) -> bool {
        self.down.ended_last()
    }

    /// Ready when both directions have ended, one side failed, or `control` says to stop.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Stream,
        endpoint: &mut Stream,
        control: &Control,
    ) -> Poll<CloseReason> {
        control.watch(cx);
        if let Some(reason) = control.killed() {
            return Poll::Ready(reason);
        }
        let before = self.moved;
        let result = self.both(cx, client, endpoint);
        if self.moved != before {
            control.touch();
        }
        result
    }

    /// Gives each direction its turn.
    fn both(&mut self, cx: &mut Context<'_>, client: &mut Stream, endpoint: &mut Stream) -> Poll<CloseReason> {
        let limit = self.limit as usize;
        let mut again = false;
        if !self.up.is_done() {
            let way = Way { from: client, to: endpoint, limit, last: self.down.is_done() };
            match self.up.advance(cx, way, &mut self.moved.up) {
                Ok(step) => again |= step == Step::Again,
                Err(side) => return Poll::Ready(side.reason(CloseReason::DownstreamReset, CloseReason::UpstreamReset)),
            }
        }
        if !self.down.is_done() {
            let way = Way { from: endpoint, to: client, limit, last: self.up.is_done() };
            match self.down.advance(cx, way, &mut self.moved.down) {
                Ok(step) => again |= step == Step::Again,
                Err(side) => return Poll::Ready(side.reason(CloseReason::UpstreamReset, CloseReason::DownstreamReset)),
            }
        }
        if self.up.is_done() && self.down.is_done() {
            return Poll::Ready(CloseReason::Done);
        }
        if again {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Which of a direction's two sockets failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The one that is read.
    Source,
    /// The one that is written.
    Sink,
}

impl Failure {
    fn reason(self, source: CloseReason, sink: CloseReason) -> CloseReason {
        match self {
            Self::Source => source,
            Self::Sink => sink,
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
