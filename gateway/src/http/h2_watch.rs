//! What hyper does not watch on HTTP/2 connections: header blocks that do not come to their end, and clients that open
//! streams only to reset them (CVE-2023-44487).

use std::time::Instant;

use config::model::hcm::Http2Options;

/// Bytes of a frame's head (RFC 9113 §4.1).
const HEAD: usize = 9;
/// Bytes of the client's preface (RFC 9113 §3.4).
const PREFACE: usize = 24;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Follows the frames of a client as far as it takes to know whether a header block is under way.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes of the preface or of a payload that are still to come.
    skip: usize,
    head: [u8; HEAD],
    /// So many of the head are there.
    have: usize,
    /// A header block has begun and not ended.
    open: bool,
    /// It ends with the payload under way.
    last: bool,
    /// Frames that reset a stream, since somebody has asked.
    resets: u32,
}

impl Frames {
    pub(super) const fn new() -> Self {
        Self { skip: PREFACE, head: [0; HEAD], have: 0, open: false, last: false, resets: 0 }
    }

    /// Whether a header block is under way after these bytes.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let n = self.skip.min(bytes.len());
                self.skip -= n;
                bytes = &bytes[n..];
            } else {
                let n = (HEAD - self.have).min(bytes.len());
                self.head[self.have..self.have + n].copy_from_slice(&bytes[..n]);
                self.have += n;
                bytes = &bytes[n..];
                if self.have == HEAD {
                    self.begin();
                }
            }
            if self.skip == 0 && self.last {
                (self.open, self.last) = (false, false);
            }
        }
        self.open
    }

    /// Streams that were reset since this was asked last.
    pub(super) fn take_resets(&mut self) -> u32 {
        std::mem::take(&mut self.resets)
    }

    fn begin(&mut self) {
        let [a, b, c, kind, flags, ..] = self.head;
        self.have = 0;
        self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.resets += u32::from(kind == RST_STREAM);
        if kind == HEADERS || kind == CONTINUATION {
            self.open = true;
            self.last = flags & END_HEADERS != 0;
        }
    }
}

/// `stream_reset_burst` and `stream_reset_rate`: streams that the client may reset.
#[derive(Debug)]
pub(super) struct Resets {
    left: f64,
    seen: Instant,
}

impl Resets {
    pub(super) fn new(options: &Http2Options, now: Instant) -> Self {
        Self { left: as_float(options.stream_reset_burst), seen: now }
    }

    /// One stream was reset; false: one too many.
    pub(super) fn take(&mut self, options: &Http2Options, now: Instant) -> bool {
        let more = now.saturating_duration_since(self.seen).as_secs_f64() * as_float(options.stream_reset_rate);
        self.seen = now;
        self.left = (self.left + more).min(as_float(options.stream_reset_burst));
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

fn as_float(n: u64) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_header_block_ends_with_its_last_frame_however_it_is_cut() {
        let mut bytes = vec![0; PREFACE];
        // SETTINGS; HEADERS of three bytes; CONTINUATION of one, the last.
        bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
        let begin = bytes.len() + HEAD;
        bytes.extend([0, 0, 3, 1, 0, 0, 0, 0, 1, 7, 7, 7]);
        bytes.extend([0, 0, 1, 9, 4, 0, 0, 0, 1, 7]);
        let end = bytes.len();
        bytes.extend([0, 0, 0, 1, 5, 0, 0, 0, 3]);
        bytes.extend([0, 0, 4, 3, 0, 0, 0, 0, 3, 0, 0, 0, 8]);
        for size in [1, 2, 5, 64] {
            let mut frames = Frames::new();
            let mut at = 0;
            for chunk in bytes.chunks(size) {
                at += chunk.len();
                assert_eq!(frames.pass(chunk), (begin..end).contains(&at), "{size}: {at}");
            }
            assert_eq!([frames.take_resets(), frames.take_resets()], [1, 0]);
        }
    }

    #[test]
    fn resets_come_back_with_time() {
        let options = Http2Options { stream_reset_burst: 2, stream_reset_rate: 1, ..Http2Options::default() };
        let now = Instant::now();
        let mut resets = Resets::new(&options, now);
        assert_eq!([(); 3].map(|()| resets.take(&options, now)), [true, true, false]);
        assert!(resets.take(&options, now + Duration::from_secs(1)));
        let later = now + Duration::from_secs(100);
        assert_eq!([(); 3].map(|()| resets.take(&options, later)), [true, true, false]);
    }
}
