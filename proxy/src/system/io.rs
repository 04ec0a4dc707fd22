//! The byte stream under a connection of the control runtime: any kind of socket or TLS, with bytes that were read
//! ahead put back in front, and a note of when bytes last moved.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What is read ahead at once.
const AHEAD: usize = 4096;

/// Anything that bytes go through in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// See the module.
pub(crate) struct Io {
    /// Read, but not yet given out.
    head: BytesMut,
    inner: Box<dyn Duplex>,
    clock: Clock,
}

impl Io {
    pub(crate) fn new(inner: impl Duplex + 'static) -> Self {
        Self { head: BytesMut::new(), inner: Box::new(inner), clock: Clock::new() }
    }

    /// What was read ahead so far.
    pub(crate) fn ahead(&self) -> &[u8] {
        &self.head
    }

    /// Reads further ahead; how many bytes came, 0 at the end of the stream.
    pub(crate) async fn read_ahead(&mut self) -> io::Result<usize> {
        self.head.reserve(AHEAD);
        let n = self.inner.read_buf(&mut self.head).await?;
        self.clock.touch();
        Ok(n)
    }

    /// Tells when bytes last moved, also while the stream is in somebody else's hands.
    pub(crate) fn clock(&self) -> Clock {
        self.clock.clone()
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.head.has_remaining() {
            let n = self.head.len().min(buf.remaining());
            buf.put_slice(&self.head[..n]);
            self.head.advance(n);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let result = Pin::new(&mut *self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.clock.touch();
        }
        result
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut *self.inner).poll_write(cx, buf);
        if matches!(result, Poll::Ready(Ok(n)) if n > 0) {
            self.clock.touch();
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.inner).poll_shutdown(cx)
    }
}

/// When something last happened.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// Milliseconds since `start`.
    last: Arc<AtomicU64>,
}

impl Clock {
    fn new() -> Self {
        Self { start: Instant::now(), last: Arc::default() }
    }

    fn touch(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Time since bytes last moved.
    pub(crate) fn quiet(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn gives_out_what_was_read_ahead_first_and_in_small_pieces_too() {
        let (mut far, near) = tokio::io::duplex(64);
        let mut io = Io::new(near);
        far.write_all(b"hello ").await.unwrap();
        assert_eq!(io.read_ahead().await.unwrap(), 6);
        far.write_all(b"world").await.unwrap();
        assert_eq!(io.read_ahead().await.unwrap(), 5);
        assert_eq!(io.ahead(), b"hello world");
        far.write_all(b"!").await.unwrap();
        drop(far);
        let mut one = [0; 1];
        io.read_exact(&mut one).await.unwrap();
        let mut rest = Vec::new();
        io.read_to_end(&mut rest).await.unwrap();
        assert_eq!((one, &*rest), (*b"h", &b"ello world!"[..]));
    }

    #[tokio::test]
    async fn notices_bytes_in_both_directions() {
        let (mut far, near) = tokio::io::duplex(64);
        let mut io = Io::new(near);
        let clock = io.clock();
        let pause = Duration::from_millis(30);
        std::thread::sleep(pause);
        assert!(clock.quiet() >= pause);
        io.write_all(b"x").await.unwrap();
        assert!(clock.quiet() < pause);
        std::thread::sleep(pause);
        far.write_all(b"x").await.unwrap();
        io.read_exact(&mut [0; 1]).await.unwrap();
        assert!(clock.quiet() < pause);
    }
}
