//! One direction of a relay.

use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

use super::pipe::Pipe;
use super::{Failure, ROUNDS, buffer};
use crate::stream::{Direction, Stream};
use crate::tls::Plain;

/// Reads at least this large count as bulk.
const BULK_READ: usize = 16 * 1024;
/// Bulk bytes in a row after which splice pays.
const BULK_AFTER: u32 = 256 * 1024;
/// Small splices in a row after which copying pays again.
const SMALL_SPLICES: u8 = 8;

/// Where one direction stands.
#[derive(Debug, Default)]
pub(super) struct Pump {
    /// What the sink did not take yet; absent on an idle connection.
    left: Option<Box<Left>>,
    /// Bulk bytes in a row, saturating.
    bulk: u32,
    state: State,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Copy,
    Splice {
        small: u8,
    },
    /// The source ended; what is left still has to be written.
    Ending,
    /// `last`: after the other direction.
    Done {
        last: bool,
    },
}

/// Bytes on their way while the sink is full, or the pipe of a direction that splices.
#[derive(Debug)]
enum Left {
    Bytes { bytes: Box<[u8]>, written: usize },
    Pipe { pipe: Pipe, held: usize },
}

/// Where bytes come from and go to in one turn.
pub(super) struct Way<'a> {
    pub(super) from: &'a mut Stream,
    pub(super) to: &'a mut Stream,
    /// Most that is read at once.
    pub(super) limit: usize,
    /// The other direction has ended: the end of this one needs no shutdown(2), both sockets close.
    pub(super) last: bool,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Waiting for one of the sockets, or done.
    Wait,
    /// More to do, but others come first.
    Again,
}

impl Pump {
    /// A direction with bytes already read.
    pub(super) fn starting_with(head: Box<[u8]>) -> Self {
        let left = (!head.is_empty()).then(|| Box::new(Left::Bytes { bytes: head, written: 0 }));
        Self { left, bulk: 0, state: State::Copy }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done { .. })
    }

    /// It ended, and the other direction had ended before.
    pub(super) fn ended_last(&self) -> bool {
        self.state == State::Done { last: true }
    }

    /// Moves bytes until one of the sockets would block or the turn is over.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>, mut way: Way<'_>, moved: &mut u64) -> Result<Step, Failure> {
        for _ in 0..ROUNDS {
            if self.drain(cx, way.to, moved)?.is_pending() {
                return Ok(Step::Wait);
            }
            let more = match self.state {
                State::Copy if way.from.is_tls() || way.to.is_tls() => self.crypt(cx, &mut way, moved)?,
                State::Copy => self.copy(cx, &mut way, moved)?,
                State::Splice { small } => self.splice(cx, way.from, small)?,
                State::Ending => {
                    // An endpoint that is gone already has no use for our end; the other direction tells. A TLS peer
                    // is told always: without a close_notify it could not tell the end from a cut.
                    if (!way.last || way.to.is_tls()) && way.to.poll_finish(cx).is_pending() {
                        return Ok(Step::Wait);
                    }
                    self.state = State::Done { last: way.last };
                    return Ok(Step::Wait);
                }
                State::Done { .. } => return Ok(Step::Wait),
            };
            if more.is_pending() {
                return Ok(Step::Wait);
            }
        }
        Ok(Step::Again)
    }

    /// Writes what an earlier round left over, and gives a pipe back that is no longer of use.
    fn drain(&mut self, cx: &mut Context<'_>, to: &mut Stream, moved: &mut u64) -> Result<Poll<()>, Failure> {
        loop {
            let result = match self.left.as_deref_mut() {
                None => match to.poll_flush(cx) {
                    Poll::Ready(Err(_)) => return Err(Failure::Sink),
                    Poll::Ready(Ok(())) => return Ok(Poll::Ready(())),
                    Poll::Pending => return Ok(Poll::Pending),
                },
                Some(Left::Pipe { held: 0, .. }) => {
                    if !matches!(self.state, State::Splice { .. }) {
                        self.release_pipe();
                    }
                    return Ok(Poll::Ready(()));
                }
                Some(Left::Bytes { bytes, written }) => to.poll_write_slice(cx, &bytes[*written..]),
                Some(Left::Pipe { pipe, held }) => poll_splice_out(cx, pipe, to, *held),
            };
            let n = match result {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Err(_)) => return Err(Failure::Sink),
                Poll::Ready(Ok(n)) => n,
            };
            *moved += n as u64;
            match self.left.as_deref_mut() {
                Some(Left::Pipe { held, .. }) => *held = held.saturating_sub(n),
                Some(Left::Bytes { bytes, written }) => {
                    *written += n;
                    if *written >= bytes.len() {
                        self.left = None;
                    }
                }
                None => {}
            }
        }
    }

    /// One read and its write through the shared buffer.
    fn copy(&mut self, cx: &mut Context<'_>, way: &mut Way<'_>, moved: &mut u64) -> Result<Poll<()>, Failure> {
        buffer::with(|buffer| {
            let room = way.limit.clamp(1, buffer.len());
            let n = match way.from.poll_read_slice(cx, &mut buffer[..room]) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Err(_)) => return Err(Failure::Source),
                Poll::Ready(Ok(n)) => n,
            };
            if n == 0 {
                self.state = State::Ending;
                return Ok(Poll::Ready(()));
            }
            let mut written = 0;
            while written < n {
                match way.to.poll_write_slice(cx, &buffer[written..n]) {
                    Poll::Ready(Ok(more)) => {
                        written += more;
                        *moved += more as u64;
                    }
                    Poll::Ready(Err(_)) => return Err(Failure::Sink),
                    Poll::Pending => {
                        let bytes = buffer[written..n].into();
                        self.left = Some(Box::new(Left::Bytes { bytes, written: 0 }));
                        break;
                    }
                }
            }
            self.consider_splice(n);
            Ok(Poll::Ready(()))
        })
    }

    /// The same where one side or both are TLS: records are opened where they were read, and written from there in one
    /// call; or sealed, as many as a read gave, and written in one call.
    fn crypt(&mut self, cx: &mut Context<'_>, way: &mut Way<'_>, moved: &mut u64) -> Result<Poll<()>, Failure> {
        buffer::with(|buffer| {
            let mut plain = Plain::new();
            match way.from.poll_open(cx, buffer, way.limit, &mut plain) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Err(_)) => return Err(Failure::Source),
                Poll::Ready(Ok(())) if plain.is_empty() => self.state = State::Ending,
                Poll::Ready(Ok(())) => {
                    let taken = way.to.write_all_of(cx, &plain.slices(buffer)).map_err(|_| Failure::Sink)?;
                    *moved += taken as u64;
                    if taken < plain.len() {
                        let bytes = plain.slices(buffer).concat().split_off(taken).into_boxed_slice();
                        self.left = Some(Box::new(Left::Bytes { bytes, written: 0 }));
                    }
                }
            }
            Ok(Poll::Ready(()))
        })
    }

    /// Counts bulk reads and turns to splice once there are enough of them and a pipe is free.
    fn consider_splice(&mut self, n: usize) {
        if n < BULK_READ {
            self.bulk = 0;
            return;
        }
        self.bulk = self.bulk.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
        if self.bulk >= BULK_AFTER && self.left.is_none() {
            self.state = State::Splice { small: 0 };
        }
    }

    /// One splice from the source into an empty pipe; `drain` moves it on.
    fn splice(&mut self, cx: &mut Context<'_>, from: &Stream, small: u8) -> Result<Poll<()>, Failure> {
        let Some((pipe, held)) = self.pipe() else {
            self.state = State::Copy;
            self.bulk = 0;
            return Ok(Poll::Ready(()));
        };
        match poll_splice_in(cx, from, pipe) {
            Poll::Pending => {
                // Quiet: others may need the pipe more.
                self.release_pipe();
                Ok(Poll::Pending)
            }
            Poll::Ready(Err(_)) => Err(Failure::Source),
            Poll::Ready(Ok(0)) => {
                self.state = State::Ending;
                Ok(Poll::Ready(()))
            }
            Poll::Ready(Ok(n)) => {
                *held = n;
                let small = if n < BULK_READ { small + 1 } else { 0 };
                self.state = if small < SMALL_SPLICES { State::Splice { small } } else { State::Copy };
                self.bulk = 0;
                Ok(Poll::Ready(()))
            }
        }
    }

    /// The pipe of this direction, empty; taken from the pool when it has none.
    fn pipe(&mut self) -> Option<(&Pipe, &mut usize)> {
        if self.left.is_none() {
            let pipe = Pipe::acquire()?;
            self.left = Some(Box::new(Left::Pipe { pipe, held: 0 }));
        }
        match self.left.as_deref_mut() {
            Some(Left::Pipe { pipe, held }) => Some((pipe, held)),
            Some(Left::Bytes { .. }) | None => None,
        }
    }

    /// Gives an empty pipe back to the pool; one that holds bytes of a dead connection is closed with them.
    fn release_pipe(&mut self) {
        if let Some(Left::Pipe { pipe, held: 0 }) = self.left.take().map(|left| *left) {
            pipe.release();
        }
    }

    /// Whether this direction splices at the moment.
    #[cfg(test)]
    pub(super) fn splices(&self) -> bool {
        matches!(self.state, State::Splice { .. })
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.release_pipe();
    }
}

const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

/// splice(2) from a socket, waiting for it to be readable. The pipe is empty, so `EAGAIN` speaks of the socket.
fn poll_splice_in(cx: &mut Context<'_>, from: &Stream, pipe: &Pipe) -> Poll<io::Result<usize>> {
    poll_call(cx, from, Direction::Read, |fd| splice(fd, None, pipe.writer(), None, pipe.capacity, FLAGS))
}

/// splice(2) to a socket, waiting for room. The pipe holds bytes, so `EAGAIN` speaks of the socket.
fn poll_splice_out(cx: &mut Context<'_>, pipe: &Pipe, to: &Stream, held: usize) -> Poll<io::Result<usize>> {
    poll_call(cx, to, Direction::Write, |fd| splice(pipe.reader(), None, fd, None, held, FLAGS))
}

/// Makes `call` as often as the socket was thought ready and was not.
fn poll_call(
    cx: &mut Context<'_>,
    stream: &Stream,
    direction: Direction,
    call: impl Fn(BorrowedFd<'_>) -> Result<usize, Errno>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_ready(cx, direction))?;
        match stream.try_io(direction, |fd| call(fd).map_err(io::Error::from)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            result => return Poll::Ready(result),
        }
    }
}
