//! Bodies that are written by a thread of their own, piece by piece, as fast as the client takes them.

use std::io::{self, Write};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::system::reply::{Body, BodyError};

/// What goes out at once.
const PIECE: usize = 32 * 1024;

/// Pieces that wait for the client.
const AHEAD: usize = 2;

/// How many may be written at a time: each holds a thread.
const WRITERS: usize = 4;

/// Starts writers, a few at a time.
#[derive(Clone, Debug)]
pub(super) struct Writers {
    free: Arc<Semaphore>,
}

impl Default for Writers {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(WRITERS)) }
    }
}

impl Writers {
    /// A body that `write` produces on a blocking thread. It waits for its turn without holding anything, and ends with
    /// an error when the client goes away. An error of its own breaks the body off.
    pub(super) fn body(&self, write: impl FnOnce(&mut Writer) -> io::Result<()> + Send + 'static) -> Body {
        let (pieces, rest) = mpsc::channel(AHEAD);
        let free = Arc::clone(&self.free);
        tokio::spawn(async move {
            let turn = tokio::select! {
                turn = free.acquire_owned() => turn,
                () = pieces.closed() => return,
            };
            let Ok(turn) = turn else { return };
            tokio::task::spawn_blocking(move || run(write, pieces, turn));
        });
        Pieces(rest).boxed_unsync()
    }
}

fn run(
    write: impl FnOnce(&mut Writer) -> io::Result<()>,
    pieces: mpsc::Sender<Result<Bytes, BodyError>>,
    _turn: OwnedSemaphorePermit,
) {
    let mut writer = Writer { buffer: Vec::with_capacity(PIECE), pieces };
    let result = write(&mut writer).and_then(|()| writer.flush());
    if let Err(error) = result
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        tracing::warn!(%error, "an admin answer broke off");
        let _ = writer.pieces.blocking_send(Err(error.into()));
    }
}

/// Gathers what is written and hands it on in pieces; blocks while the client is slow.
pub(super) struct Writer {
    buffer: Vec<u8>,
    pieces: mpsc::Sender<Result<Bytes, BodyError>>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        self.pieces.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

struct Pieces(mpsc::Receiver<Result<Bytes, BodyError>>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn all_bytes_come_in_order() {
        let expected: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        let bytes = expected.clone();
        let body = Writers::default().body(move |out| out.write_all(&bytes));
        assert_eq!(body.collect().await.unwrap().to_bytes(), expected);
    }

    #[tokio::test]
    async fn writes_no_further_than_the_client_reads_and_stops_when_it_goes() {
        let written = Arc::new(AtomicUsize::new(0));
        let stopped = Arc::new(AtomicUsize::new(0));
        let (count, stop) = (Arc::clone(&written), Arc::clone(&stopped));
        let mut body = Writers::default().body(move |out| {
            let result = (0..1000).try_for_each(|_| {
                count.fetch_add(1, Ordering::SeqCst);
                out.write_all(&[0; PIECE])
            });
            stop.fetch_add(1, Ordering::SeqCst);
            result
        });
        body.frame().await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(written.load(Ordering::SeqCst) <= AHEAD + 3, "{}", written.load(Ordering::SeqCst));
        drop(body);
        while stopped.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn an_error_breaks_the_body_off() {
        let body = Writers::default().body(|out| {
            out.write_all(b"x")?;
            Err(io::Error::other("no more"))
        });
        assert_eq!(body.collect().await.unwrap_err().to_string(), "no more");
    }
}
