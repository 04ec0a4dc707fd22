//! Reading and writing once the handshake is over.

use rustls::crypto::cipher::OutboundChunks;

use super::*;

impl TlsStream {
    /// Reads as much ciphertext as `limit` and the buffer allow, and opens it there; `plain` gets where the plaintext
    /// lies. Nothing in it means the end of the peer's direction.
    ///
    /// # Errors
    /// Of the socket; what the peer did wrong (it was told by an alert).
    pub(crate) fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        limit: usize,
        plain: &mut Plain,
    ) -> Poll<io::Result<()>> {
        let limit = limit.max(2 * MAX_RECORD).min(buffer.len());
        loop {
            let Stage::Established(established) = &mut self.stage else { return Poll::Ready(Err(not_established())) };
            if established.take_unread(buffer, plain) || established.has_ended() {
                return Poll::Ready(Ok(()));
            }
            let kept = established.sealed.len();
            let mut filled = kept;
            if !std::mem::take(&mut established.fresh) {
                match ready!(self.socket.poll_read_slice(cx, &mut buffer[kept..limit.max(kept + MAX_RECORD)]))? {
                    0 => established.ended = Some(Ending::Truncated),
                    n => filled += n,
                }
            }
            buffer[..kept].copy_from_slice(&std::mem::take(&mut established.sealed));
            let opened = established.records.open(&mut buffer[..filled], plain);
            let used = match opened {
                Ok(used) => used,
                Err(error) => return Poll::Ready(Err(self.fail(cx, error))),
            };
            if used < filled {
                established.sealed = buffer[used..filled].into();
            }
            self.answer(cx)?;
            if !plain.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Seals all of `chunks` and writes what the socket takes; the rest waits. To be called when
    /// [`poll_flush`](Self::poll_flush) is ready, so that no more than one call's bytes wait.
    pub(crate) fn seal(&mut self, cx: &mut Context<'_>, chunks: &[&[u8]]) -> io::Result<()> {
        let Stage::Established(established) = &mut self.stage else { return Err(not_established()) };
        let mut records = Vec::with_capacity(SEALED);
        established.records.seal(OutboundChunks::new(chunks), &mut records)?;
        self.outbox.send(cx, &mut self.socket, records)
    }

    /// Ready when the socket has taken all that was sealed.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.poll_flush(cx, &mut self.socket)
    }

    /// Ends our direction with a close_notify. The TCP connection stays open both ways, as in Envoy: its FIN would
    /// tell the peer nothing more, and some peers take it for an end of both directions.
    pub(crate) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Stage::Established(established) = &mut self.stage else { return Poll::Ready(Err(not_established())) };
        if !std::mem::replace(&mut established.closing, true) {
            let close = established.records.close().map_err(io::Error::from)?;
            self.outbox.push(close);
        }
        self.poll_flush(cx)
    }

    /// Reads plaintext into `out`; 0 is the end of the peer's direction.
    pub(crate) fn poll_read_slice(&mut self, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        with_buffer(|buffer| {
            let mut plain = Plain::new();
            ready!(self.poll_open(cx, buffer, out.len(), &mut plain))?;
            let opened = plain.slices(buffer).concat();
            let n = opened.len().min(out.len());
            out[..n].copy_from_slice(&opened[..n]);
            if let Stage::Established(established) = &mut self.stage
                && n < opened.len()
            {
                established.unread = opened[n..].into();
            }
            Poll::Ready(Ok(n))
        })
    }

    /// Seals and writes some of `bytes`.
    pub(crate) fn poll_write_slice(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        let some = &bytes[..bytes.len().min(MOST)];
        self.seal(cx, &[some])?;
        Poll::Ready(Ok(some.len()))
    }

    /// Sends the new keys that the peer asked for, unless it does not even take what was sealed before.
    fn answer(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Stage::Established(established) = &mut self.stage else { return Ok(()) };
        if !established.records.owes_update() || self.outbox.poll_flush(cx, &mut self.socket)?.is_pending() {
            return Ok(());
        }
        let mut records = Vec::new();
        established.records.keep_keys_fresh(&mut records)?;
        self.outbox.send(cx, &mut self.socket, records)
    }

    /// Tells the peer why, as far as the socket takes it.
    fn fail(&mut self, cx: &mut Context<'_>, error: TlsError) -> io::Error {
        if let Stage::Established(established) = &mut self.stage
            && let Some(alert) = established.records.alert(&error)
        {
            self.outbox.push(alert);
            let _ = self.outbox.poll_flush(cx, &mut self.socket);
        }
        self.stage = Stage::Failed;
        error.into()
    }
}

/// Plaintext that is sealed at once where a caller has more.
const MOST: usize = 256 * 1024;
/// Records of one round of the relay.
const SEALED: usize = MOST / (16 * 1024);

impl Established {
    /// Gives out what an earlier reader had no room for.
    fn take_unread(&mut self, buffer: &mut [u8], plain: &mut Plain) -> bool {
        if self.unread.is_empty() {
            return false;
        }
        let n = self.unread.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.unread[..n]);
        self.unread = self.unread[n..].into();
        plain.push(buffer, 0..n);
        true
    }

    /// Whether the peer's direction has ended; bytes that were cut off are nobody's.
    fn has_ended(&mut self) -> bool {
        if self.records.peer_closed() {
            self.ended = Some(Ending::Closed);
        }
        if self.ended.is_some() {
            self.sealed = Box::default();
        }
        self.ended.is_some()
    }
}
