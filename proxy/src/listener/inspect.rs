//! The first bytes of a connection: read, never peeked at, and handed on with whatever was decided from them.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use sni::client_hello::{ClientHello, Progress, Reader, Refusal};

use crate::control::Control;
use crate::error::CloseReason;
use crate::relay::with_buffer;
use crate::stream::Stream;

/// Most that is read at once while a ClientHello is awaited. What a client sends behind it is forwarded all the same.
const ROUND: usize = 16 * 1024;

/// Reads until the bytes are a ClientHello or can't become one, calls `decide` with that, and returns the bytes.
///
/// The common case, a hello in one segment, is parsed in the worker's shared buffer and copied once, to be written to
/// the endpoint. `early` holds bytes that came with a PROXY protocol header.
///
/// # Errors
/// [`CloseReason::HelloEof`], [`CloseReason::HelloTimeout`] (by the control's deadline), [`CloseReason::DownstreamReset`].
pub(crate) async fn first_bytes<R>(
    stream: &mut Stream,
    control: &Control,
    limit: usize,
    early: Vec<u8>,
    mut decide: impl FnMut(Result<&ClientHello<'_>, Refusal>) -> R,
) -> Result<Judged<R>, CloseReason> {
    let mut reader = Reader::new(limit);
    let mut got = early;
    if !got.is_empty()
        && let Some(decision) = judge(&mut reader, &got, &mut decide)
    {
        return Ok((got.into_boxed_slice(), decision));
    }
    poll_fn(|cx| {
        control.watch(cx);
        loop {
            if control.kill_code().is_some() {
                return Poll::Ready(Err(control.hello_kill()));
            }
            let step = with_buffer(|buffer| {
                read_round(cx, stream, &mut got, &mut buffer[..ROUND], |bytes| judge(&mut reader, bytes, &mut decide))
            });
            if let Some(done) = ready!(step)? {
                return Poll::Ready(Ok(done));
            }
        }
    })
    .await
}

/// The bytes, and what was decided from them.
type Judged<R> = (Box<[u8]>, R);

/// One read. Bytes stay in `buffer` when they suffice, else they gather in `got`.
fn read_round<R>(
    cx: &mut Context<'_>,
    stream: &mut Stream,
    got: &mut Vec<u8>,
    buffer: &mut [u8],
    mut judge: impl FnMut(&[u8]) -> Option<R>,
) -> Poll<Result<Option<Judged<R>>, CloseReason>> {
    let n = match ready!(stream.poll_read_slice(cx, buffer)) {
        Ok(0) => return Poll::Ready(Err(CloseReason::HelloEof)),
        Ok(n) => n,
        Err(error) => return Poll::Ready(Err(failed(&error))),
    };
    let read = &buffer[..n];
    if got.is_empty()
        && let Some(decision) = judge(read)
    {
        return Poll::Ready(Ok(Some((read.into(), decision))));
    }
    let first = got.is_empty();
    got.extend_from_slice(read);
    if first {
        return Poll::Ready(Ok(None));
    }
    Poll::Ready(Ok(judge(got).map(|decision| (std::mem::take(got).into_boxed_slice(), decision))))
}

fn judge<R>(
    reader: &mut Reader,
    bytes: &[u8],
    decide: &mut impl FnMut(Result<&ClientHello<'_>, Refusal>) -> R,
) -> Option<R> {
    match reader.read(bytes) {
        Progress::Incomplete { .. } => None,
        Progress::Hello(hello) => Some(decide(Ok(&hello))),
        Progress::Refused(refusal) => Some(decide(Err(refusal))),
    }
}

pub(super) fn failed(_error: &io::Error) -> CloseReason {
    CloseReason::DownstreamReset
}
