//! The protobuf wire format, field by field.

use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

use super::schema::{Field, Kind, Message};

/// Messages nested deeper than this are refused, as protobuf's own decoders do.
pub(super) const MAX_DEPTH: u8 = 100;

/// A field's value as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Payload<'a> {
    /// Integers, booleans, enums.
    Varint(u64),
    /// 64-bit fixed numbers, double.
    Fixed64(u64),
    /// 32-bit fixed numbers, float.
    Fixed32(u32),
    /// Strings, bytes, messages, packed lists.
    Bytes(&'a [u8]),
}

/// The bytes are not a protobuf message of the type they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads the next field off the front.
pub(crate) fn next<'a>(bytes: &mut &'a [u8]) -> Result<Option<(u32, Payload<'a>)>, Malformed> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (number, wire) = decode_key(bytes).map_err(|_| Malformed)?;
    let payload = match wire {
        WireType::Varint => Payload::Varint(decode_varint(bytes).map_err(|_| Malformed)?),
        WireType::SixtyFourBit => Payload::Fixed64(u64::from_le_bytes(take_array(bytes)?)),
        WireType::ThirtyTwoBit => Payload::Fixed32(u32::from_le_bytes(take_array(bytes)?)),
        WireType::LengthDelimited => {
            let length = decode_varint(bytes).map_err(|_| Malformed)?;
            Payload::Bytes(take(bytes, usize::try_from(length).map_err(|_| Malformed)?)?)
        }
        WireType::StartGroup | WireType::EndGroup => return Err(Malformed),
    };
    Ok(Some((number, payload)))
}

/// All fields that the message knows, each with its type, ordered by number; of a oneof only the member that came last.
pub(super) fn fields(message: Message, mut bytes: &[u8]) -> Result<Vec<(Field, Payload<'_>)>, Malformed> {
    let mut found: Vec<(Field, Payload<'_>)> = Vec::new();
    while let Some((number, payload)) = next(&mut bytes)? {
        let known = found.last().map(|(f, _)| *f).filter(|f| f.number == number);
        let Some(field) = known.or_else(|| message.field(number)) else { continue };
        if field.oneof != 0 {
            found.retain(|(f, _)| f.oneof != field.oneof || f.number == number);
        }
        expand(field, payload, &mut found)?;
    }
    found.sort_by_key(|(f, _)| f.number);
    Ok(found)
}

/// Unpacks a packed list; checks that the payload fits the field's type.
fn expand<'a>(field: Field, payload: Payload<'a>, found: &mut Vec<(Field, Payload<'a>)>) -> Result<(), Malformed> {
    let kind = field.kind().ok_or(Malformed)?;
    let own = wire_type(kind);
    match payload {
        Payload::Bytes(mut packed) if field.repeated && own != WireType::LengthDelimited => {
            while !packed.is_empty() {
                let item = match own {
                    WireType::SixtyFourBit => Payload::Fixed64(u64::from_le_bytes(take_array(&mut packed)?)),
                    WireType::ThirtyTwoBit => Payload::Fixed32(u32::from_le_bytes(take_array(&mut packed)?)),
                    _ => Payload::Varint(decode_varint(&mut packed).map_err(|_| Malformed)?),
                };
                found.push((field, item));
            }
            Ok(())
        }
        payload => {
            let fits = match payload {
                Payload::Varint(_) => own == WireType::Varint,
                Payload::Fixed64(_) => own == WireType::SixtyFourBit,
                Payload::Fixed32(_) => own == WireType::ThirtyTwoBit,
                Payload::Bytes(_) => own == WireType::LengthDelimited,
            };
            found.push((field, payload));
            fits.then_some(()).ok_or(Malformed)
        }
    }
}

/// Whether the bytes decode as this message, all the way down.
pub(super) fn sound(message: Message, bytes: &[u8], depth: u8) -> Result<(), Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed);
    }
    for (field, payload) in fields(message, bytes)? {
        match (field.kind(), payload) {
            (Some(Kind::Message(inner)), Payload::Bytes(b)) => sound(inner, b, depth + 1)?,
            (Some(Kind::String), Payload::Bytes(b)) => {
                std::str::from_utf8(b).map_err(|_| Malformed)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// How a type stands on the wire.
pub(super) fn wire_type(kind: Kind) -> WireType {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => WireType::SixtyFourBit,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => WireType::ThirtyTwoBit,
        Kind::String | Kind::Bytes | Kind::Message(_) => WireType::LengthDelimited,
        Kind::Int64
        | Kind::Uint64
        | Kind::Int32
        | Kind::Bool
        | Kind::Uint32
        | Kind::Enum(_)
        | Kind::Sint32
        | Kind::Sint64 => WireType::Varint,
    }
}

/// Writes a length-delimited field.
pub(super) fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (head, tail) = bytes.split_at_checked(length).ok_or(Malformed)?;
    *bytes = tail;
    Ok(head)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Malformed> {
    take(bytes, N)?.try_into().map_err(|_| Malformed)
}
