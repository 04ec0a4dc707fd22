//! Chunked bodies as they stand on the wire (RFC 9112 §7.1), read strictly: what hyper decodes, nobody else may read
//! differently.

use super::head::is_token;

/// How far a chunked body has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In the size; so many digits of it so far.
    Size { digits: u8, size: u64 },
    /// In the extension; so many bytes of it so far.
    Extension { size: u64, bytes: u16 },
    /// The line feed of the size line is due.
    SizeEnd { size: u64 },
    /// So much of the chunk is to come.
    Data { left: u64 },
    /// The carriage return behind a chunk is due.
    DataCr,
    /// The line feed behind a chunk is due.
    DataLf,
    /// At the beginning of a trailer line, or of the blank line; so many bytes of trailers so far.
    Line { bytes: u32 },
    /// In a trailer's name.
    Name { bytes: u32 },
    /// In a trailer's value.
    Value { bytes: u32 },
    /// The line feed of a trailer line is due.
    LineEnd { bytes: u32 },
    /// The last line feed is due.
    End,
    /// It is over.
    Over,
}

/// It is no chunked body, or an absurd one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Most bytes of an extension: nobody uses any.
const MAX_EXTENSION: u16 = 1024;
/// Most bytes of trailers.
const MAX_TRAILERS: u32 = 16 * 1024;

impl Chunks {
    pub(super) const START: Self = Self::Size { digits: 0, size: 0 };

    /// Reads on; how many of `bytes` belong to the body.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < bytes.len() && *self != Self::Over {
            if let Self::Data { left } = self {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                *left -= n as u64;
                at += n;
                if *left == 0 {
                    *self = Self::DataCr;
                }
                continue;
            }
            *self = self.step(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    fn step(self, byte: u8) -> Result<Self, Malformed> {
        let plain = byte == b'\t' || (0x20..0x7f).contains(&byte);
        Ok(match (self, byte) {
            (Self::Size { digits: 1.., size }, b'\r') => Self::SizeEnd { size },
            (Self::Size { digits: 1.., size }, b';') => Self::Extension { size, bytes: 0 },
            (Self::Size { digits, size }, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
                if digits == 15 {
                    return Err(Malformed);
                }
                Self::Size { digits: digits + 1, size: size << 4 | u64::from(digit) }
            }
            (Self::Extension { size, .. }, b'\r') => Self::SizeEnd { size },
            (Self::Extension { size, bytes }, _) if plain && bytes < MAX_EXTENSION => {
                Self::Extension { size, bytes: bytes + 1 }
            }
            (Self::SizeEnd { size: 0 }, b'\n') => Self::Line { bytes: 0 },
            (Self::SizeEnd { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::START,
            (Self::Line { .. }, b'\r') => Self::End,
            (Self::Line { bytes }, _) if is_token(&byte) => Self::Name { bytes: bytes + 1 },
            (Self::Name { bytes }, b':') => Self::Value { bytes: bytes + 1 },
            (Self::Name { bytes }, _) if is_token(&byte) && bytes < MAX_TRAILERS => Self::Name { bytes: bytes + 1 },
            (Self::Value { bytes }, b'\r') => Self::LineEnd { bytes: bytes + 1 },
            (Self::Value { bytes }, _) if (plain || byte >= 0x80) && bytes < MAX_TRAILERS => {
                Self::Value { bytes: bytes + 1 }
            }
            (Self::LineEnd { bytes }, b'\n') => Self::Line { bytes: bytes + 1 },
            (Self::End, b'\n') => Self::Over,
            _ => return Err(Malformed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<(usize, bool), Malformed> {
        let mut chunks = Chunks::START;
        let n = chunks.read(text)?;
        Ok((n, chunks == Chunks::Over))
    }

    #[test]
    fn knows_where_a_body_ends() {
        type Row = (&'static [u8], Result<(usize, bool), Malformed>);
        let rows: [Row; 14] = [
            (b"0\r\n\r\n", Ok((5, true))),
            (b"3\r\nabc\r\n0\r\n\r\nGET", Ok((13, true))),
            (b"3\r\nabc\r\n", Ok((8, false))),
            (b"A;x=y\r\n0123456789\r\n0\r\nt: v\r\n\r\n", Ok((30, true))),
            (b"3\nabc\r\n0\r\n\r\n", Err(Malformed)),
            (b"3;x\nabc\r\n0\r\n\r\n", Err(Malformed)),
            (b"3\r\nabcd\r\n0\r\n\r\n", Err(Malformed)),
            (b"3 \r\nabc\r\n0\r\n\r\n", Err(Malformed)),
            (b"0x3\r\nabc\r\n0\r\n\r\n", Err(Malformed)),
            (b"\r\n", Err(Malformed)),
            (b"ffffffffffffffff\r\n", Err(Malformed)),
            (b"-1\r\n", Err(Malformed)),
            (b"0\r\nt\r\n\r\n", Err(Malformed)),
            (b"0\r\n x: y\r\n\r\n", Err(Malformed)),
        ];
        for (text, expected) in rows {
            assert_eq!(read(text), expected, "{:?}", text.escape_ascii().to_string());
        }
    }

    #[test]
    fn it_does_not_matter_how_it_is_cut() {
        let text = b"A;x=y\r\n0123456789\r\n0\r\nt: v\r\n\r\n";
        for at in 0..text.len() {
            let mut chunks = Chunks::START;
            assert_eq!(chunks.read(&text[..at]), Ok(at));
            assert_eq!(chunks.read(&text[at..]), Ok(text.len() - at));
            assert_eq!(chunks, Chunks::Over);
        }
    }
}
