//! A connected byte stream, TCP or Unix, as the relay and the listeners use it.

mod traits;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected stream socket.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix domain socket.
    Unix(UnixStream),
}

impl Stream {
    /// Reads what is there into `buffer`; 0 is the end of the stream.
    ///
    /// tokio marks the socket as drained after a short read, which saves the system call that would say `EAGAIN`.
    pub(crate) fn poll_read_slice(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buffer);
        ready!(match self {
            Self::Tcp(s) => Pin::new(s).poll_read(cx, &mut buf),
            Self::Unix(s) => Pin::new(s).poll_read(cx, &mut buf),
        })?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Writes some of `bytes`.
    pub(crate) fn poll_write_slice(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(s) => Pin::new(s).poll_write(cx, bytes),
            Self::Unix(s) => Pin::new(s).poll_write(cx, bytes),
        }
    }

    /// Sends the end of the stream (half-close).
    pub(crate) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Self::Unix(s) => Pin::new(s).poll_shutdown(cx),
        }
    }

    /// Waits until the socket may be readable or writable.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>> {
        match (self, direction) {
            (Self::Tcp(s), Direction::Read) => s.poll_read_ready(cx),
            (Self::Tcp(s), Direction::Write) => s.poll_write_ready(cx),
            (Self::Unix(s), Direction::Read) => s.poll_read_ready(cx),
            (Self::Unix(s), Direction::Write) => s.poll_write_ready(cx),
        }
    }

    /// Runs one system call on the socket; `WouldBlock` from it clears the readiness that [`poll_ready`](Self::poll_ready) saw.
    pub(crate) fn try_io<R>(
        &self,
        direction: Direction,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        let interest = match direction {
            Direction::Read => Interest::READABLE,
            Direction::Write => Interest::WRITABLE,
        };
        match self {
            Self::Tcp(s) => s.try_io(interest, || call(s.as_fd())),
            Self::Unix(s) => s.try_io(interest, || call(s.as_fd())),
        }
    }

    /// Our own address; `None` on a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(s) => s.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

/// Which side of a socket is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Bytes to read, or the end.
    Read,
    /// Room to write.
    Write,
}
