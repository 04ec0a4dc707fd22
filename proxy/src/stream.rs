//! A connected byte stream, TCP, Unix or TLS over one of them, as the relay and the listeners use it.

mod traits;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::tls::{Plain, TlsStream};

/// A connected stream.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix domain socket.
    Unix(UnixStream),
    /// TLS, its handshake over. Boxed, since most connections have none.
    Tls(Box<TlsStream>),
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
            Self::Tls(s) => return s.poll_read_slice(cx, buf.initialized_mut()),
        })?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Writes some of `bytes`.
    pub(crate) fn poll_write_slice(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(s) => Pin::new(s).poll_write(cx, bytes),
            Self::Unix(s) => Pin::new(s).poll_write(cx, bytes),
            Self::Tls(s) => s.poll_write_slice(cx, bytes),
        }
    }

    /// Writes some of the bytes of all slices together; of TLS, of the first that has any.
    pub(crate) fn poll_write_slices(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(s) => Pin::new(s).poll_write_vectored(cx, slices),
            Self::Unix(s) => Pin::new(s).poll_write_vectored(cx, slices),
            Self::Tls(s) => s.poll_write_slice(cx, slices.iter().find(|slice| !slice.is_empty()).map_or(&[], |s| s)),
        }
    }

    /// Whether bytes are sealed here.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Reads into `buffer` at most `limit` bytes, or somewhat more of TLS, which is opened there. `plain` gets where
    /// the bytes lie; nothing is the end of the stream.
    pub(crate) fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        limit: usize,
        plain: &mut Plain,
    ) -> Poll<io::Result<()>> {
        if let Self::Tls(s) = self {
            return s.poll_open(cx, buffer, limit, plain);
        }
        let room = limit.clamp(1, buffer.len());
        let n = ready!(self.poll_read_slice(cx, &mut buffer[..room]))?;
        plain.push(buffer, 0..n);
        Poll::Ready(Ok(()))
    }

    /// Writes as many bytes of `slices` as the socket takes; TLS takes all, when [`poll_flush`](Self::poll_flush) was
    /// ready before.
    pub(crate) fn write_all_of(&mut self, cx: &mut Context<'_>, slices: &[&[u8]]) -> io::Result<usize> {
        let total = slices.iter().map(|slice| slice.len()).sum();
        if let Self::Tls(s) = self {
            return s.seal(cx, slices).map(|()| total);
        }
        let mut left: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        let mut left = &mut left[..];
        let mut written = 0;
        while written < total {
            match self.poll_write_slices(cx, left)? {
                Poll::Pending => break,
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(n) => {
                    written += n;
                    IoSlice::advance_slices(&mut left, n);
                }
            }
        }
        Ok(written)
    }

    /// Ready when the socket has taken what TLS has sealed; at once on anything else.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(s) => s.poll_flush(cx),
        }
    }

    /// Sends the end of the stream (half-close).
    pub(crate) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Self::Unix(s) => Pin::new(s).poll_shutdown(cx),
            Self::Tls(s) => s.poll_finish(cx),
        }
    }

    /// Waits until the socket may be readable or writable.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>> {
        match (self, direction) {
            (Self::Tcp(s), Direction::Read) => s.poll_read_ready(cx),
            (Self::Tcp(s), Direction::Write) => s.poll_write_ready(cx),
            (Self::Unix(s), Direction::Read) => s.poll_read_ready(cx),
            (Self::Unix(s), Direction::Write) => s.poll_write_ready(cx),
            (Self::Tls(s), direction) => s.socket().poll_ready(cx, direction),
        }
    }

    /// Ready when there may be bytes, or the end: for those who hold no buffer while there is nothing to read.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Self::Tls(tls) = self
            && tls.holds_data()
        {
            return Poll::Ready(Ok(()));
        }
        self.poll_ready(cx, Direction::Read)
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
            Self::Tls(s) => s.socket().try_io(direction, call),
        }
    }

    /// What ALPN agreed on; `None`: nothing, or no TLS.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Tls(s) => s.facts()?.alpn.as_deref(),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    /// Our own address; `None` on a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(s) => s.local_addr().ok(),
            Self::Unix(_) => None,
            Self::Tls(s) => s.socket().local_addr(),
        }
    }

    /// The socket's peer; `None` on a Unix socket.
    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(s) => s.peer_addr().ok(),
            Self::Unix(_) => None,
            Self::Tls(s) => s.socket().peer_addr(),
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
