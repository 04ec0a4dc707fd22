//! The three compressions behind one face: what goes in comes out at once, as far as a flush brings it out.

use std::fmt;
use std::io::{self, Write as _};

use brotli::enc::backward_references::BrotliEncoderMode;
use brotli::enc::{BrotliEncoderParams, writer::CompressorWriter};
use config::model::http_filter::{Brotli, BrotliMode, Gzip, Library, Zstd};
use flate2::{Compress, Compression, FlushCompress, Status};

/// A compression under way.
pub(super) enum Encoder {
    Gzip(Box<Compress>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
}

impl Encoder {
    /// Begins one.
    ///
    /// # Errors
    /// Zstandard takes no such level.
    pub(super) fn new(library: &Library) -> io::Result<Self> {
        Ok(match library {
            Library::Gzip(Gzip { level, window_bits, strategy: _ }) => {
                let level = level.map_or_else(Compression::default, |level| Compression::new(level.into()));
                Self::Gzip(Box::new(Compress::new_gzip(level, *window_bits)))
            }
            Library::Brotli(config) => {
                const BUFFER: usize = 4096;
                Self::Brotli(Box::new(CompressorWriter::with_params(Vec::new(), BUFFER, &parameters(config))))
            }
            Library::Zstd(Zstd { level, checksum }) => {
                let level = i32::try_from(*level).unwrap_or(i32::MAX);
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
                encoder.include_checksum(*checksum)?;
                Self::Zstd(Box::new(encoder))
            }
        })
    }

    /// Compresses some more, so that all of it can be read.
    ///
    /// # Errors
    /// The library fails.
    pub(super) fn write(&mut self, data: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(compress) => deflate(compress, data, FlushCompress::Sync),
            Self::Brotli(writer) => {
                writer.write_all(data)?;
                writer.flush()?;
                Ok(std::mem::take(writer.get_mut()))
            }
            Self::Zstd(encoder) => {
                encoder.write_all(data)?;
                encoder.flush()?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }

    /// What comes at the end.
    ///
    /// # Errors
    /// The library fails.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(mut compress) => deflate(&mut compress, &[], FlushCompress::Finish),
            Self::Brotli(writer) => Ok(writer.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

fn parameters(config: &Brotli) -> BrotliEncoderParams {
    BrotliEncoderParams {
        quality: config.quality.into(),
        lgwin: config.window_bits.into(),
        lgblock: config.input_block_bits.into(),
        disable_literal_context_modeling: config.no_literal_context.into(),
        mode: match config.mode {
            BrotliMode::Generic => BrotliEncoderMode::BROTLI_MODE_GENERIC,
            BrotliMode::Text => BrotliEncoderMode::BROTLI_MODE_TEXT,
            BrotliMode::Font => BrotliEncoderMode::BROTLI_MODE_FONT,
        },
        ..BrotliEncoderParams::default()
    }
}

fn deflate(compress: &mut Compress, data: &[u8], flush: FlushCompress) -> io::Result<Vec<u8>> {
    /// A flush needs at least this much room.
    const ROOM: usize = 64;
    let mut out = Vec::with_capacity(data.len() / 2 + ROOM);
    let begun = compress.total_in();
    loop {
        let taken = usize::try_from(compress.total_in() - begun).unwrap_or(usize::MAX);
        let rest = data.get(taken..).unwrap_or_default();
        let status = compress.compress_vec(rest, &mut out, flush).map_err(io::Error::other)?;
        let taken = usize::try_from(compress.total_in() - begun).unwrap_or(usize::MAX);
        let full = out.len() == out.capacity();
        if status == Status::StreamEnd || (taken >= data.len() && !full) {
            return Ok(out);
        }
        out.reserve(out.len().max(ROOM));
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip(_) => "Gzip",
            Self::Brotli(_) => "Brotli",
            Self::Zstd(_) => "Zstd",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read as _;

    use config::model::http_filter::GzipStrategy;

    use super::*;

    fn libraries() -> [Library; 3] {
        let brotli = Brotli {
            quality: 3,
            mode: BrotliMode::Generic,
            window_bits: 18,
            input_block_bits: 24,
            no_literal_context: false,
        };
        [
            Library::Gzip(Gzip { level: None, strategy: GzipStrategy::Default, window_bits: 12 }),
            Library::Brotli(brotli),
            Library::Zstd(Zstd { level: 0, checksum: true }),
        ]
    }

    fn plain(library: &Library, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        // What was flushed is readable, even where the end is missing.
        let _ = match library {
            Library::Gzip(_) => flate2::read::GzDecoder::new(data).read_to_end(&mut out),
            Library::Brotli(_) => brotli::Decompressor::new(data, 4096).read_to_end(&mut out),
            Library::Zstd(_) => zstd::stream::read::Decoder::new(data).unwrap().read_to_end(&mut out),
        };
        out
    }

    #[test]
    fn every_flush_can_be_read_and_the_end_is_one() {
        for library in libraries() {
            for size in [1, 100, 100_000] {
                let first: Vec<u8> = (0..size).map(|i: u64| u8::try_from((i * i / 7) % 251).unwrap()).collect();
                let mut encoder = Encoder::new(&library).unwrap();
                let mut wire = encoder.write(&first).unwrap();
                assert_eq!(plain(&library, &wire), first, "{library:?} {size}");
                wire.extend(encoder.write(b"more").unwrap());
                wire.extend(encoder.finish().unwrap());
                assert_eq!(plain(&library, &wire), [&first[..], b"more"].concat(), "{library:?} {size}");
            }
        }
    }
}
