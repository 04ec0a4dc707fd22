//! The bytes of a connection, counted.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use proxy::metrics::{ClusterStat, Scope};
use proxy::stream::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection whose bytes are counted in its cluster's statistics.
#[derive(Debug)]
pub(crate) struct Counted {
    stream: Stream,
    stats: Arc<Scope<ClusterStat>>,
}

impl Counted {
    /// Counts from now on.
    pub(crate) fn new(stream: Stream, stats: Arc<Scope<ClusterStat>>) -> Self {
        Self { stream, stats }
    }

    fn sent(&self, written: io::Result<usize>) -> io::Result<usize> {
        if let Ok(n) = written {
            self.stats.add(ClusterStat::UpstreamCxTxBytesTotal, n as u64);
        }
        written
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.stats.add(ClusterStat::UpstreamCxRxBytesTotal, (buf.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        Poll::Ready(self.sent(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices));
        Poll::Ready(self.sent(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.stream), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
