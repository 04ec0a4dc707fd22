//! What stands between the socket and hyper's parser: whole heads and checked bodies come through, nothing else.

use super::chunk::Chunks;
use super::head::{self, Framing, Refusal, Rules};

/// In the place of a head that is refused: hyper gets this, and the service answers it with the refusal.
pub(crate) const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";

/// Follows one direction of a connection from message to message.
#[derive(Debug)]
pub(crate) struct Gate {
    rules: Rules,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// In a head; so many bytes of it are looked through and there is no end in them.
    Head { scanned: usize },
    /// So many bytes of a body are to come.
    Length(u64),
    /// In a chunked body.
    Chunked(Chunks),
    /// No messages any more.
    Raw,
    /// Nothing more comes through.
    Shut,
}

/// What became of bytes that were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// So many may pass.
    pub(crate) pass: usize,
    /// Heads among them.
    pub(crate) heads: u32,
    /// What stands behind those.
    pub(crate) then: Then,
}

/// What stands behind the bytes that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing, or nothing but what is due.
    Nothing,
    /// The beginning of a head.
    Beginning,
    /// A head that is refused.
    Refused(Refusal),
    /// Something else than the body that was announced.
    Broken,
}

impl Gate {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, stage: Stage::Head { scanned: 0 } }
    }

    /// Whether no message is under way.
    pub(crate) fn is_between(&self) -> bool {
        matches!(self.stage, Stage::Head { .. })
    }

    /// Whether what comes is looked at no more, since the last request asks for another protocol.
    pub(crate) fn is_raw(&self) -> bool {
        matches!(self.stage, Stage::Raw)
    }

    /// Whether nothing comes through any more.
    pub(crate) fn is_shut(&self) -> bool {
        matches!(self.stage, Stage::Shut)
    }

    /// Nothing comes through any more.
    pub(crate) fn shut(&mut self) {
        self.stage = Stage::Shut;
    }

    /// Looks at bytes: those behind the ones that have passed. The beginning of a head is shown again, with more of it.
    pub(crate) fn look(&mut self, bytes: &[u8]) -> Seen {
        let mut seen = Seen { pass: 0, heads: 0, then: Then::Nothing };
        while seen.pass < bytes.len() {
            let rest = &bytes[seen.pass..];
            let (n, next) = match self.stage {
                Stage::Raw => (rest.len(), Stage::Raw),
                Stage::Shut => break,
                Stage::Length(left) => {
                    let n = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    (n, length(left - n as u64))
                }
                Stage::Chunked(mut chunks) => match chunks.read(rest) {
                    Ok(n) if chunks == Chunks::Over => (n, Stage::Head { scanned: 0 }),
                    Ok(n) => (n, Stage::Chunked(chunks)),
                    Err(_) => return self.end(seen, Then::Broken),
                },
                Stage::Head { scanned } => match self.head(rest, scanned) {
                    Ok(Some((n, framing))) => {
                        seen.heads += 1;
                        (n, stage(framing))
                    }
                    Ok(None) => {
                        self.stage = Stage::Head { scanned: rest.len() };
                        seen.then = Then::Beginning;
                        break;
                    }
                    Err(refusal) => return self.end(seen, Then::Refused(refusal)),
                },
            };
            self.stage = next;
            seen.pass += n;
        }
        seen
    }

    fn head(&self, rest: &[u8], scanned: usize) -> Result<Option<(usize, Framing)>, Refusal> {
        let blank = head::blank(rest);
        let Some(end) = head::length(&rest[blank..], scanned.saturating_sub(blank)) else {
            return if rest.len() > self.rules.max_bytes { Err(Refusal::TOO_LARGE) } else { Ok(None) };
        };
        let end = blank + end;
        head::read(&rest[blank..end], &self.rules).map(|framing| Some((end, framing)))
    }

    fn end(&mut self, seen: Seen, then: Then) -> Seen {
        self.stage = Stage::Shut;
        Seen { then, ..seen }
    }
}

fn stage(framing: Framing) -> Stage {
    match framing {
        Framing::Length(left) => length(left),
        Framing::Chunked => Stage::Chunked(Chunks::START),
        Framing::Raw => Stage::Raw,
    }
}

fn length(left: u64) -> Stage {
    if left == 0 { Stage::Head { scanned: 0 } } else { Stage::Length(left) }
}
