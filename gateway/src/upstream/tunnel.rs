//! Bytes both ways, after an upgrade or CONNECT.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use proxy::stream::Stream;
use proxy::upstream::{Lease, RequestPermit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pool::Conduit;

/// The endpoint's side of a tunnel, before the client's is there.
#[derive(Debug)]
pub struct Tunnel(End);

#[derive(Debug)]
enum End {
    /// A connection or stream of HTTP.
    Http { upgrade: OnUpgrade, held: Held },
    /// TCP (`connect_config`).
    Raw { stream: Box<Stream>, lease: Lease },
}

/// Kept as long as the tunnel is.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) conduit: Conduit,
    pub(super) permit: RequestPermit,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the endpoint.
    Up,
    /// From the endpoint to the client.
    Down,
}

/// Read at once; on the stack, so that an idle tunnel owns no buffer.
const CHUNK: usize = 16 * 1024;

/// Then everybody else has a turn.
const ROUNDS: usize = 16;

impl Tunnel {
    /// Over a connection or stream that was HTTP.
    pub(super) fn http(upgrade: OnUpgrade, held: Held) -> Self {
        Self(End::Http { upgrade, held })
    }

    /// Over TCP.
    pub(super) fn raw(stream: Stream, lease: Lease) -> Self {
        Self(End::Raw { stream: Box::new(stream), lease })
    }

    /// Relays until both ends are through, or one fails; `moved` learns of all bytes. No limit on time is kept here.
    ///
    /// # Errors
    /// What a socket said.
    pub async fn run(self, client: OnUpgrade, moved: impl FnMut(Way, usize)) -> io::Result<()> {
        let client = TokioIo::new(client.await.map_err(io::Error::other)?);
        match self.0 {
            End::Http { upgrade, held } => {
                let endpoint: TokioIo<Upgraded> = TokioIo::new(upgrade.await.map_err(io::Error::other)?);
                let end = relay(client, endpoint, moved).await;
                let Held { conduit, permit } = held;
                drop((conduit, permit));
                end
            }
            End::Raw { stream, lease } => {
                let end = relay(client, *stream, moved).await;
                drop(lease);
                end
            }
        }
    }
}

async fn relay(
    client: impl AsyncRead + AsyncWrite,
    endpoint: impl AsyncRead + AsyncWrite,
    mut moved: impl FnMut(Way, usize),
) -> io::Result<()> {
    let (mut client, mut endpoint) = (pin!(client), pin!(endpoint));
    let (mut up, mut down) = (Pump::default(), Pump::default());
    poll_fn(|cx| {
        let ups = up.poll(cx, client.as_mut(), endpoint.as_mut(), |n| moved(Way::Up, n))?;
        let downs = down.poll(cx, endpoint.as_mut(), client.as_mut(), |n| moved(Way::Down, n))?;
        match (ups, downs) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    })
    .await
}

/// One way.
#[derive(Default)]
struct Pump {
    /// What was read and is not written yet.
    left: Vec<u8>,
    ended: bool,
    finished: bool,
}

impl Pump {
    fn poll<R: AsyncRead, W: AsyncWrite>(
        &mut self,
        cx: &mut Context<'_>,
        mut from: Pin<&mut R>,
        mut to: Pin<&mut W>,
        mut moved: impl FnMut(usize),
    ) -> Poll<io::Result<()>> {
        for _ in 0..ROUNDS {
            while !self.left.is_empty() {
                let n = ready!(to.as_mut().poll_write(cx, &self.left))?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.left.drain(..n);
            }
            self.left = Vec::new();
            if self.ended {
                if !self.finished {
                    ready!(to.as_mut().poll_shutdown(cx))?;
                    self.finished = true;
                }
                return Poll::Ready(Ok(()));
            }
            let mut space = [0; CHUNK];
            let mut buffer = ReadBuf::new(&mut space);
            if from.as_mut().poll_read(cx, &mut buffer)?.is_pending() {
                // Whatever was written before is to leave now.
                ready!(to.as_mut().poll_flush(cx))?;
                return Poll::Pending;
            }
            let read = buffer.filled();
            moved(read.len());
            self.ended = read.is_empty();
            self.left.extend_from_slice(read);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
