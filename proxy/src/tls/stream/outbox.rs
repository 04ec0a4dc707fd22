//! Sealed bytes on their way to the socket.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use crate::stream::Stream;

/// Slices of one vectored write.
const SLICES: usize = 32;

/// What the socket has not taken yet; nothing on an idle connection.
#[derive(Default)]
pub(super) struct Outbox(Option<Box<Rest>>);

struct Rest {
    bytes: Vec<u8>,
    written: usize,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds bytes behind those that wait.
    pub(super) fn push(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match &mut self.0 {
            Some(rest) => rest.bytes.extend_from_slice(&bytes),
            None => self.0 = Some(Box::new(Rest { bytes, written: 0 })),
        }
    }

    /// Ready when the socket has taken all.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, socket: &mut Stream) -> Poll<io::Result<()>> {
        while let Some(rest) = &mut self.0 {
            rest.written += match ready!(socket.poll_write_slice(cx, &rest.bytes[rest.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => n,
            };
            if rest.written >= rest.bytes.len() {
                self.0 = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes records past an empty outbox; what the socket does not take waits here.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, socket: &mut Stream, records: Vec<Vec<u8>>) -> io::Result<()> {
        let mut left = &records[..];
        let mut written = 0;
        while self.is_empty() && !left.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            for (slice, record) in slices.iter_mut().zip(left) {
                *slice = IoSlice::new(record);
            }
            slices[0] = IoSlice::new(&left[0][written..]);
            let mut n = match socket.poll_write_slices(cx, &slices[..left.len().min(SLICES)]) {
                Poll::Pending => break,
                Poll::Ready(n) => n?,
            };
            while let Some(first) = left.first() {
                let rest = first.len() - written;
                if n < rest {
                    written += n;
                    break;
                }
                n -= rest;
                written = 0;
                left = &left[1..];
            }
        }
        for record in left {
            self.push(record[written..].to_vec());
            written = 0;
        }
        Ok(())
    }
}
