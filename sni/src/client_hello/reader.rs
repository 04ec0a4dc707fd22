use super::hello::{ClientHello, Origin};
use super::refusal::{Malformed, Refusal};

/// The limit of [`Reader::with_default_limit`], in bytes of the stream.
pub const DEFAULT_LIMIT: usize = 64 * 1024;

const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
const MAX_FRAGMENT: usize = 1 << 14;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// Finds the ClientHello at the start of a stream, however it arrives.
///
/// One per connection, 56 bytes at most. It remembers where it stopped, so the work over all calls
/// is linear in the bytes of the hello.
#[derive(Debug)]
pub struct Reader {
    limit: usize,
    /// Offset in the stream of the first byte not yet joined; 0 while the first record is awaited.
    at: usize,
    /// Bytes of the current record from `at` on.
    left: usize,
    /// The message so far, once it is known to span records.
    joined: Vec<u8>,
}

impl Reader {
    /// `limit` bounds the bytes of the stream that the hello may take, record headers included. A
    /// buffer of that size is always enough: the reader never asks for more.
    pub const fn new(limit: usize) -> Self {
        Self { limit, at: 0, left: 0, joined: Vec::new() }
    }

    /// A reader that allows [`DEFAULT_LIMIT`] bytes, four times what Envoy allows.
    pub const fn with_default_limit() -> Self {
        Self::new(DEFAULT_LIMIT)
    }

    /// Takes the stream so far and tells what is known by now.
    ///
    /// `bytes` is everything received from the start of the stream. It may grow between calls, and
    /// move, but not shrink or change. The answer is final unless it is
    /// [`Progress::Incomplete`]; asking again repeats it.
    pub fn read<'a>(&'a mut self, bytes: &'a [u8]) -> Progress<'a> {
        let place = match self.advance(bytes) {
            Ok(place) => place,
            Err(Stop::Need(needed)) => return Progress::Incomplete { needed },
            Err(Stop::Refused(why)) => return Progress::Refused(why),
        };
        let parsed = match place {
            Place::Stream { message, origin } => ClientHello::parse(message, origin),
            Place::Joined(origin) => ClientHello::parse(&self.joined, origin),
        };
        match parsed {
            Ok(hello) => Progress::Hello(hello),
            Err(why) => Progress::Refused(why),
        }
    }

    fn advance<'a>(&mut self, bytes: &'a [u8]) -> Result<Place<'a>, Stop> {
        if self.at == 0 {
            let fragment = first_fragment(bytes)?;
            if let Some(place) = self.in_one_record(bytes, fragment)? {
                return Ok(place);
            }
            self.at = RECORD_HEADER;
            self.left = fragment;
        }
        self.join(bytes)
    }

    /// The message, if the first record, of `fragment` bytes, holds the whole of it.
    fn in_one_record<'a>(&self, bytes: &'a [u8], fragment: usize) -> Result<Option<Place<'a>>, Stop> {
        let payload = bytes.get(RECORD_HEADER..).unwrap_or_default();
        let payload = payload.get(..fragment).unwrap_or(payload);
        self.check(payload)?;
        if fragment < MESSAGE_HEADER {
            return Ok(None);
        }
        let Some(len) = message_len(payload) else {
            return Err(Stop::Need(MESSAGE_HEADER - payload.len()));
        };
        if len > fragment {
            return Ok(None);
        }
        if len < fragment {
            return Err(Malformed::ExcessData.into());
        }
        match payload.get(..len) {
            Some(message) => {
                let origin = Origin { stream_len: RECORD_HEADER + len, in_place: true };
                Ok(Some(Place::Stream { message, origin }))
            }
            None => Err(Stop::Need(len - payload.len())),
        }
    }

    fn join<'a>(&mut self, bytes: &[u8]) -> Result<Place<'a>, Stop> {
        loop {
            let want = message_len(&self.joined).unwrap_or(MESSAGE_HEADER) - self.joined.len();
            if want == 0 {
                return match self.left {
                    0 => Ok(Place::Joined(Origin { stream_len: self.at, in_place: false })),
                    _ => Err(Malformed::ExcessData.into()),
                };
            }
            if self.left == 0 {
                // A header with no room for one byte of content behind it need not be waited for.
                self.within_limit(RECORD_HEADER + 1)?;
                self.left = later_fragment(bytes.get(self.at..).unwrap_or_default())?;
                self.at += RECORD_HEADER;
            }
            let want = want.min(self.left);
            self.within_limit(want)?;
            let part = bytes.get(self.at..).unwrap_or_default();
            let part = part.get(..want).unwrap_or(part);
            self.joined.extend_from_slice(part);
            self.at += part.len();
            self.left -= part.len();
            self.check(&self.joined)?;
            if part.len() < want {
                return Err(Stop::Need(want - part.len()));
            }
        }
    }

    /// Refuses what the first bytes of the message already forbid.
    fn check(&self, message: &[u8]) -> Result<(), Refusal> {
        match message.first() {
            Some(&kind) if kind != CLIENT_HELLO => {
                return Err(Refusal::NotClientHello { handshake_type: kind });
            }
            _ => {}
        }
        match message_len(message) {
            Some(len) if RECORD_HEADER + len > self.limit => Err(Refusal::TooLarge { limit: self.limit }),
            _ => Ok(()),
        }
    }

    fn within_limit(&self, further: usize) -> Result<(), Refusal> {
        if self.at + further > self.limit {
            return Err(Refusal::TooLarge { limit: self.limit });
        }
        Ok(())
    }
}

/// What [`Reader::read`] knows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress<'a> {
    /// Nothing wrong so far, and not enough.
    Incomplete {
        /// Fewer further bytes than this, at least 1, cannot complete the hello. It counts to the
        /// next point where the reader learns something, so it is the right size for a read only
        /// when nothing behind the hello may be touched.
        needed: usize,
    },
    /// The ClientHello, borrowed from the stream or from the reader.
    Hello(ClientHello<'a>),
    /// There will be none.
    Refused(Refusal),
}

/// Why reading stopped short of a whole message.
enum Stop {
    Need(usize),
    Refused(Refusal),
}

impl From<Refusal> for Stop {
    fn from(why: Refusal) -> Self {
        Self::Refused(why)
    }
}

impl From<Malformed> for Stop {
    fn from(why: Malformed) -> Self {
        Self::Refused(why.into())
    }
}

/// Where the whole message, header included, is to be found.
enum Place<'a> {
    Stream { message: &'a [u8], origin: Origin },
    Joined(Origin),
}

/// Length of the first record's content. Bytes are judged in the order in which they arrive, so
/// that the outcome is the same for every way of cutting the stream.
fn first_fragment(bytes: &[u8]) -> Result<usize, Stop> {
    match *bytes {
        [first, ..] if first & 0x80 != 0 => Err(ssl_v2(bytes)),
        [first, ..] if !(20..=24).contains(&first) => Err(Refusal::NotTls.into()),
        [_, major, ..] if major != 3 => Err(Refusal::NotTls.into()),
        [content_type, _, ..] if content_type != HANDSHAKE => Err(Refusal::NotHandshake { content_type }.into()),
        _ => fragment_len(bytes),
    }
}

/// Length of the content of a record that should continue the hello.
fn later_fragment(bytes: &[u8]) -> Result<usize, Stop> {
    match *bytes {
        [kind, ..] if kind != HANDSHAKE => Err(Malformed::InterleavedRecord.into()),
        [_, major, ..] if major != 3 => Err(Malformed::RecordVersion.into()),
        _ => fragment_len(bytes),
    }
}

/// The second version byte is ignored: RFC 8446 §5.1 wants that, and first records in the wild say
/// 3.0 to 3.4.
fn fragment_len(bytes: &[u8]) -> Result<usize, Stop> {
    match *bytes {
        [_, _, _, high, low, ..] => match usize::from(u16::from_be_bytes([high, low])) {
            0 => Err(Malformed::EmptyRecord.into()),
            len if len > MAX_FRAGMENT => Err(Malformed::RecordTooLong.into()),
            len => Ok(len),
        },
        _ => Err(Stop::Need(RECORD_HEADER - bytes.len())),
    }
}

/// A two-byte header with the top bit set, message type 1, version 3.x or 0.2
/// (RFC 5246 appendix E.2).
fn ssl_v2(bytes: &[u8]) -> Stop {
    match *bytes {
        [_, _, CLIENT_HELLO, 3, ..] | [_, _, CLIENT_HELLO, 0, 2, ..] => Refusal::SslV2.into(),
        [_] | [_, _] | [_, _, CLIENT_HELLO] | [_, _, CLIENT_HELLO, 0] => Stop::Need(RECORD_HEADER - bytes.len()),
        _ => Refusal::NotTls.into(),
    }
}

/// Length of the handshake message with its header, once the header is there.
fn message_len(message: &[u8]) -> Option<usize> {
    match *message {
        [_, a, b, c, ..] => Some(MESSAGE_HEADER + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c))),
        _ => None,
    }
}
