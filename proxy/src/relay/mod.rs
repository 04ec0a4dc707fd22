//! Bytes both ways between two sockets until both ends are done.
//!
//! Each direction copies through the worker's one shared buffer while bursts are small and moves to splice(2) through
//! a pooled pipe once they are large (measured in docs/performance.md); an idle connection owns neither.

mod buffer;
mod pipe;
mod pump;

use std::future::poll_fn;
use std::task::{Context, Poll};

pub(crate) use buffer::with as with_buffer;
pub use pipe::Budget;
pub(crate) use pipe::install as install_pipes;
use pump::{Pump, Step};

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

/// Relays until both directions have ended, one side fails, or `control` says to stop. `moved` is right at any time.
///
/// `limit` is the most that is read at once (`per_connection_buffer_limit_bytes`); `head` are bytes already read from
/// the client, which go first.
pub(crate) async fn relay(
    client: &mut Stream,
    endpoint: &mut Stream,
    control: &Control,
    (limit, head): (usize, Box<[u8]>),
    moved: &mut Moved,
) -> CloseReason {
    let mut up = Pump::starting_with(head);
    let mut down = Pump::default();
    poll_fn(|cx| {
        control.watch(cx);
        if let Some(reason) = control.killed() {
            return Poll::Ready(reason);
        }
        let before = *moved;
        let result = both(cx, client, endpoint, (&mut up, &mut down), limit, moved);
        if *moved != before {
            control.touch();
        }
        result
    })
    .await
}

/// Gives each direction its turn.
fn both(
    cx: &mut Context<'_>,
    client: &mut Stream,
    endpoint: &mut Stream,
    (up, down): (&mut Pump, &mut Pump),
    limit: usize,
    moved: &mut Moved,
) -> Poll<CloseReason> {
    let mut again = false;
    if !up.is_done() {
        match up.advance(cx, client, endpoint, limit, down.is_done(), &mut moved.up) {
            Ok(step) => again |= step == Step::Again,
            Err(failure) => {
                return Poll::Ready(failure.reason(CloseReason::DownstreamReset, CloseReason::UpstreamReset));
            }
        }
    }
    if !down.is_done() {
        match down.advance(cx, endpoint, client, limit, up.is_done(), &mut moved.down) {
            Ok(step) => again |= step == Step::Again,
            Err(failure) => {
                return Poll::Ready(failure.reason(CloseReason::UpstreamReset, CloseReason::DownstreamReset));
            }
        }
    }
    if up.is_done() && down.is_done() {
        return Poll::Ready(CloseReason::Done);
    }
    if again {
        cx.waker().wake_by_ref();
    }
    Poll::Pending
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
