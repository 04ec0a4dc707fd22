//! Numbers, strings, bytes and enums of JSON as the wire has them.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::Value as Json;

use super::error::{Fault, JsonError};
use super::read::wrong_type;
use super::schema::{Enum, Kind};
use super::wire::put_bytes;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// A value that is not a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scalar {
    /// Integers, booleans, enums.
    Varint(u64),
    /// 64-bit fixed numbers, double.
    Fixed64(u64),
    /// 32-bit fixed numbers, float.
    Fixed32(u32),
    /// Strings and bytes.
    Bytes(Vec<u8>),
}

impl Scalar {
    /// Appends key and value.
    pub(super) fn put_field(&self, number: u32, out: &mut Vec<u8>) {
        match self {
            Self::Bytes(b) => return put_bytes(number, b, out),
            Self::Varint(_) => encode_key(number, WireType::Varint, out),
            Self::Fixed64(_) => encode_key(number, WireType::SixtyFourBit, out),
            Self::Fixed32(_) => encode_key(number, WireType::ThirtyTwoBit, out),
        }
        self.put(out);
    }

    /// Appends the value alone.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Varint(v) => encode_varint(*v, out),
            Self::Fixed64(v) => out.extend(v.to_le_bytes()),
            Self::Fixed32(v) => out.extend(v.to_le_bytes()),
            Self::Bytes(b) => out.extend(b),
        }
    }

    /// Zero, false, empty.
    pub(super) fn is_default(&self) -> bool {
        match self {
            Self::Varint(v) | Self::Fixed64(v) => *v == 0,
            Self::Fixed32(v) => *v == 0,
            Self::Bytes(b) => b.is_empty(),
        }
    }
}

/// Reads a value of this kind; a message is no scalar.
pub(super) fn read(kind: Kind, json: &Json) -> Result<Scalar, JsonError> {
    let signed = |low, high, what| integer(json, low, high, what);
    Ok(match kind {
        Kind::Bool => match json {
            Json::Bool(b) => Scalar::Varint(u64::from(*b)),
            _ => return Err(wrong_type("true or false", json)),
        },
        Kind::String => Scalar::Bytes(json.as_str().ok_or_else(|| wrong_type("a string", json))?.as_bytes().to_vec()),
        Kind::Bytes => Scalar::Bytes(bytes(json)?),
        Kind::Enum(e) => Scalar::Varint(enumerated(e, json)?),
        Kind::Double => Scalar::Fixed64(float(json)?.to_bits()),
        Kind::Float => Scalar::Fixed32(single(json)?.to_bits()),
        Kind::Int32 => Scalar::Varint(low_u64(signed(I32.0, I32.1, "a 32-bit integer")?)),
        Kind::Int64 => Scalar::Varint(low_u64(signed(I64.0, I64.1, "a 64-bit integer")?)),
        Kind::Uint32 => Scalar::Varint(low_u64(signed(0, u32::MAX.into(), "an unsigned 32-bit integer")?)),
        Kind::Uint64 => Scalar::Varint(low_u64(signed(0, u64::MAX.into(), "an unsigned 64-bit integer")?)),
        Kind::Sint32 => Scalar::Varint(zigzag(signed(I32.0, I32.1, "a 32-bit integer")?)),
        Kind::Sint64 => Scalar::Varint(zigzag(signed(I64.0, I64.1, "a 64-bit integer")?)),
        Kind::Fixed32 => Scalar::Fixed32(low_u32(signed(0, u32::MAX.into(), "an unsigned 32-bit integer")?)),
        Kind::Sfixed32 => Scalar::Fixed32(low_u32(signed(I32.0, I32.1, "a 32-bit integer")?)),
        Kind::Fixed64 => Scalar::Fixed64(low_u64(signed(0, u64::MAX.into(), "an unsigned 64-bit integer")?)),
        Kind::Sfixed64 => Scalar::Fixed64(low_u64(signed(I64.0, I64.1, "a 64-bit integer")?)),
        Kind::Message(_) => return Err(wrong_type("a scalar", json)),
    })
}

const I32: (i128, i128) = (i32::MIN as i128, i32::MAX as i128);
const I64: (i128, i128) = (i64::MIN as i128, i64::MAX as i128);

/// Integers may be written as numbers, as whole floats, or as strings.
fn integer(json: &Json, low: i128, high: i128, what: &'static str) -> Result<i128, JsonError> {
    let text = match json {
        Json::Number(n) => n.to_string(),
        Json::String(s) => s.clone(),
        _ => return Err(wrong_type(what, json)),
    };
    let value = text.parse::<i128>().ok().or_else(|| whole(text.parse().ok()?));
    value.filter(|v| (low..=high).contains(v)).ok_or_else(|| wrong_type(what, json))
}

#[expect(clippy::cast_possible_truncation, reason = "checked to be whole and within 2^64")]
fn whole(value: f64) -> Option<i128> {
    (value.fract() == 0.0 && value.abs() <= 18_446_744_073_709_551_615.0).then_some(value as i128)
}

fn float(json: &Json) -> Result<f64, JsonError> {
    let value = match json {
        Json::Number(n) => n.as_f64(),
        Json::String(s) => match s.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            s => s.parse().ok().filter(|v: &f64| v.is_finite()),
        },
        _ => None,
    };
    value.ok_or_else(|| wrong_type("a number", json))
}

#[expect(clippy::cast_possible_truncation, reason = "checked: a finite number stays finite")]
fn single(json: &Json) -> Result<f32, JsonError> {
    let wide = float(json)?;
    let value = wide as f32;
    if wide.is_finite() && !value.is_finite() { Err(wrong_type("a 32-bit float", json)) } else { Ok(value) }
}

fn bytes(json: &Json) -> Result<Vec<u8>, JsonError> {
    let text = json.as_str().ok_or_else(|| wrong_type("bytes in base64", json))?;
    let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    engine
        .decode(text)
        .map_err(|_| JsonError::here(Fault::Type { expected: "bytes in base64", found: "other text".into() }))
}

fn enumerated(e: Enum, json: &Json) -> Result<u64, JsonError> {
    match json {
        Json::String(name) => e.number_of(name).map(|n| low_u64(n.into())).ok_or_else(|| {
            let known = e.values().map(|(_, n)| n).collect::<Vec<_>>().join(", ");
            JsonError::here(Fault::UnknownValue { name: e.name, value: name.clone(), known })
        }),
        Json::Null if e.name == "google.protobuf.NullValue" => Ok(0),
        _ => integer(json, I32.0, I32.1, "the name of a value").map(low_u64),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "two's complement is what the wire has")]
fn low_u64(value: i128) -> u64 {
    value as u64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "two's complement is what the wire has")]
fn low_u32(value: i128) -> u32 {
    value as u32
}

fn zigzag(value: i128) -> u64 {
    low_u64((value << 1) ^ (value >> 127))
}
