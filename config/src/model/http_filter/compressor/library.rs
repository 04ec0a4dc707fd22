//! Which compression: gzip, Brotli or Zstandard, and its parameters.

use envoy_types::pb::envoy::extensions::compression::{brotli, gzip, zstd};
use envoy_types::pb::google::protobuf::{Any, UInt32Value};

use crate::model::extension;
use crate::model::http_filter::proto::Part;
use crate::reject::{Context, IsSet as _, Rejection, immaterial};

/// A compressor library. A new one is made for each body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Library {
    /// `envoy.compression.gzip.compressor`
    Gzip(Gzip),
    /// `envoy.compression.brotli.compressor`
    Brotli(Brotli),
    /// `envoy.compression.zstd.compressor`
    Zstd(Zstd),
}

/// `Gzip` (zlib's parameters).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gzip {
    /// `compression_level`: 1 to 9; `None`: zlib's default, 6.
    pub level: Option<u8>,
    /// `compression_strategy`.
    pub strategy: GzipStrategy,
    /// `window_bits`: 9 to 15; Envoy's default is 12.
    pub window_bits: u8,
}

/// `CompressionStrategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // zlib's
pub enum GzipStrategy {
    #[default]
    Default,
    Filtered,
    HuffmanOnly,
    Rle,
    Fixed,
}

/// `Brotli`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brotli {
    /// `quality`: 0 to 11; Envoy's default is 3.
    pub quality: u8,
    /// `encoder_mode`.
    pub mode: BrotliMode,
    /// `window_bits`: 10 to 24; Envoy's default is 18.
    pub window_bits: u8,
    /// `input_block_bits`: 16 to 24; Envoy's default is 24.
    pub input_block_bits: u8,
    /// `disable_literal_context_modeling`.
    pub no_literal_context: bool,
}

/// `EncoderMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // Brotli's
pub enum BrotliMode {
    #[default]
    Generic,
    Text,
    Font,
}

/// `Zstd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zstd {
    /// `compression_level`; Zstandard's default, 3, for 0.
    pub level: u32,
    /// `enable_checksum`.
    pub checksum: bool,
}

impl Library {
    /// `Content-Encoding`.
    pub const fn content_encoding(&self) -> &'static str {
        match self {
            Self::Gzip(_) => "gzip",
            Self::Brotli(_) => "br",
            Self::Zstd(_) => "zstd",
        }
    }

    /// What stands in the names of its statistics.
    pub const fn stat_name(&self) -> &'static str {
        match self {
            Self::Gzip(_) => "gzip",
            Self::Brotli(_) => "brotli",
            Self::Zstd(_) => "zstd",
        }
    }
}

pub(super) fn library(cx: &mut Context, name: &str, any: Option<Any>) -> Part<Library> {
    let (type_name, body) = extension::required(cx, name, any)?;
    let own = type_name.strip_prefix("envoy.extensions.compression.").unwrap_or_default();
    cx.at("typed_config", |cx| {
        Ok(Ok(match own {
            "gzip.compressor.v3.Gzip" => Library::Gzip(gzip(cx, &body)?),
            "brotli.compressor.v3.Brotli" => Library::Brotli(brotli(cx, &body)?),
            "zstd.compressor.v3.Zstd" => return Ok(zstd(cx, &body)?.map(Library::Zstd)),
            "qatzip.compressor.v3alpha.Qatzip" | "qatzstd.compressor.v3alpha.Qatzstd" => {
                return Ok(Err(cx.unsupported("", &type_name)));
            }
            _ => return Err(extension::unknown(cx, name, &type_name)),
        }))
    })
}

/// A number in a range; absent: a default.
fn within(
    cx: &Context,
    field: &str,
    value: Option<UInt32Value>,
    (low, high, default): (u8, u8, u8),
) -> Result<u8, Rejection> {
    let Some(UInt32Value { value }) = value else { return Ok(default) };
    let found = u8::try_from(value).ok().filter(|value| (low..=high).contains(value));
    found.ok_or_else(|| cx.reject(field, format!("value must be inside range [{low}, {high}]")))
}

fn chunk_size(cx: &Context, value: Option<UInt32Value>) -> Result<(), Rejection> {
    match value {
        Some(UInt32Value { value }) if !(4096..=65_536).contains(&value) => {
            Err(cx.reject("chunk_size", "value must be inside range [4096, 65536]"))
        }
        size => {
            immaterial(size, "how much Envoy's library writes at a time; ours writes what there is");
            Ok(())
        }
    }
}

fn gzip(cx: &mut Context, body: &[u8]) -> Result<Gzip, Rejection> {
    use gzip::compressor::v3::{Gzip as Pb, gzip as pb};
    let Pb { memory_level, compression_level, compression_strategy, window_bits, chunk_size } = cx.decode(body)?;
    within(cx, "memory_level", memory_level, (1, 9, 5))?;
    immaterial(memory_level, "memory of zlib's hash table, which is not zlib's here");
    let level: pb::CompressionLevel = cx.variant("compression_level", compression_level)?;
    let strategy = match cx.variant("compression_strategy", compression_strategy)? {
        pb::CompressionStrategy::DefaultStrategy => GzipStrategy::Default,
        pb::CompressionStrategy::Filtered => GzipStrategy::Filtered,
        pb::CompressionStrategy::HuffmanOnly => GzipStrategy::HuffmanOnly,
        pb::CompressionStrategy::Rle => GzipStrategy::Rle,
        pb::CompressionStrategy::Fixed => GzipStrategy::Fixed,
    };
    if strategy != GzipStrategy::Default {
        cx.note("compression_strategy", "the default strategy is used: the same data, not as small or as fast");
    }
    self::chunk_size(cx, chunk_size)?;
    let level = u8::try_from(level as i32).ok().filter(|level| *level > 0);
    Ok(Gzip { level, strategy, window_bits: within(cx, "window_bits", window_bits, (9, 15, 12))? })
}

fn brotli(cx: &mut Context, body: &[u8]) -> Result<Brotli, Rejection> {
    use brotli::compressor::v3::{Brotli as Pb, brotli::EncoderMode};
    let Pb { quality, encoder_mode, window_bits, input_block_bits, chunk_size, disable_literal_context_modeling } =
        cx.decode(body)?;
    self::chunk_size(cx, chunk_size)?;
    let quality = within(cx, "quality", quality, (0, 11, 3))?;
    let mode = match cx.variant("encoder_mode", encoder_mode)? {
        EncoderMode::Default | EncoderMode::Generic => BrotliMode::Generic,
        EncoderMode::Text => BrotliMode::Text,
        EncoderMode::Font => BrotliMode::Font,
    };
    let window_bits = within(cx, "window_bits", window_bits, (10, 24, 18))?;
    let input_block_bits = within(cx, "input_block_bits", input_block_bits, (16, 24, 24))?;
    Ok(Brotli { quality, mode, window_bits, input_block_bits, no_literal_context: disable_literal_context_modeling })
}

fn zstd(cx: &mut Context, body: &[u8]) -> Part<Zstd> {
    use zstd::compressor::v3::{Zstd as Pb, zstd::Strategy};
    let Pb { compression_level, enable_checksum, strategy, dictionary, chunk_size } = cx.decode(body)?;
    self::chunk_size(cx, chunk_size)?;
    if cx.variant::<Strategy>("strategy", strategy)? != Strategy::Default {
        cx.note("strategy", "the level's own strategy is used: the same data, not as small or as fast");
    }
    if dictionary.is_set() {
        // Who has the dictionary could not read what was written without it.
        return Ok(Err(cx.unsupported("dictionary", "a Zstandard dictionary")));
    }
    let level = compression_level.map_or(0, |level| level.value);
    Ok(Ok(Zstd { level, checksum: enable_checksum }))
}
