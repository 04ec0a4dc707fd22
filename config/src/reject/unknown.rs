//! Fields that the sender knows and our schema does not.
//!
//! prost drops them while decoding, so what comes out encodes shorter than what came in. Length alone is not proof:
//! Go writes map entries in full, prost leaves out an empty value (`filter_metadata: {"io.kuma.tags": {}}`), and
//! either may write a default that the other leaves out. So on a difference the two encodings are compared.

use prost::Message;

/// How many unlike fields of one number are compared each with each, as map entries come in any order.
const MAX_PAIRS: usize = 64;
/// How deep messages are compared; anything further down counts as known.
const MAX_DEPTH: usize = 32;

/// Whether `body` holds a field that is not in `message`, which was decoded from it.
pub(super) fn any(body: &[u8], message: &impl Message) -> bool {
    message.encoded_len() != body.len() && extra(body, &message.encode_to_vec(), MAX_DEPTH).unwrap_or(true)
}

/// One field as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Field<'a> {
    /// Its number.
    pub(crate) number: u32,
    /// Its value: the payload of a length-delimited field, else the encoded number.
    pub(crate) value: &'a [u8],
    /// Whether it is length-delimited.
    pub(crate) delimited: bool,
    /// All of it, key and length too.
    pub(crate) raw: &'a [u8],
}

impl Field<'_> {
    fn is_default(&self) -> bool {
        if self.delimited { self.value.is_empty() } else { self.value.iter().all(|&b| b == 0) }
    }
}

/// Splits a message into its fields; `None` if it is none.
pub(crate) fn fields(mut body: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    while !body.is_empty() {
        let whole = body;
        let key = u32::try_from(varint(&mut body)?).ok()?;
        let (length, delimited) = match key & 7 {
            0 => {
                let start = body;
                varint(&mut body)?;
                let length = start.len() - body.len();
                body = start;
                (length, false)
            }
            1 => (8, false),
            2 => (usize::try_from(varint(&mut body)?).ok()?, true),
            5 => (4, false),
            _ => return None,
        };
        let (value, rest) = body.split_at_checked(length)?;
        body = rest;
        if key >> 3 == 0 {
            return None;
        }
        let (raw, _) = whole.split_at_checked(whole.len() - rest.len())?;
        fields.push(Field { number: key >> 3, value, delimited, raw });
    }
    Some(fields)
}

fn varint(body: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = body.split_first()?;
        *body = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Whether `original` holds more than `known`; `None` if either is no message.
fn extra(original: &[u8], known: &[u8], depth: usize) -> Option<bool> {
    let Some(depth) = depth.checked_sub(1) else { return Some(false) };
    let (original, known) = (fields(original)?, fields(known)?);
    let mut numbers: Vec<u32> = original.iter().map(|f| f.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    Some(numbers.into_iter().any(|number| {
        let of = |fields: &[Field<'_>]| -> Vec<Vec<u8>> {
            fields.iter().filter(|f| f.number == number && !f.is_default()).map(|f| f.value.to_vec()).collect()
        };
        differ(&of(&original), &of(&known), depth)
    }))
}

/// Whether the values of one field hold more than the known ones.
fn differ(original: &[Vec<u8>], known: &[Vec<u8>], depth: usize) -> bool {
    if original.len() > known.len() {
        return true;
    }
    let same = |a: &Vec<u8>, b: &Vec<u8>| a == b || extra(a, b, depth) == Some(false);
    let in_order = original.iter().zip(known).all(|(a, b)| same(a, b));
    if in_order {
        return false;
    }
    original.len() > MAX_PAIRS || !original.iter().all(|a| known.iter().any(|b| same(a, b)))
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3::{Metadata, Pipe};
    use envoy_types::pb::google::protobuf::Struct;

    use super::*;

    #[test]
    fn what_prost_writes_itself_is_known() {
        let pipe = Pipe { path: "/p".into(), mode: 7 };
        assert!(!any(&pipe.encode_to_vec(), &pipe));
    }

    #[test]
    fn an_unknown_field_is_seen_at_any_depth() {
        let pipe = Pipe { path: "/p".into(), mode: 7 };
        let mut body = pipe.encode_to_vec();
        body.extend([0xf8, 0x07, 1]);
        assert!(any(&body, &pipe));

        let mut metadata = Metadata::default();
        metadata.filter_metadata.insert("a".into(), Struct::default());
        // filter_metadata entry { key: "a", value: { 15: 1 } }
        let nested = [0x0a, 7, 0x0a, 1, b'a', 0x12, 2, 0x78, 1];
        assert!(any(&nested, &metadata));
    }

    #[test]
    fn an_empty_map_value_written_in_full_is_no_unknown_field() {
        let mut metadata = Metadata::default();
        metadata.filter_metadata.insert("io.kuma.tags".into(), Struct::default());
        metadata.filter_metadata.insert("io.kuma.more".into(), Struct::default());
        let mut body = Vec::new();
        for key in ["io.kuma.tags", "io.kuma.more"] {
            body.extend([0x0a, 16, 0x0a, 12]);
            body.extend(key.as_bytes());
            body.extend([0x12, 0]);
        }
        assert_ne!(body.len(), metadata.encoded_len());
        assert!(!any(&body, &metadata));
    }

    #[test]
    fn cut_and_odd_messages_are_none() {
        assert_eq!(fields(&[0x0a, 5, 1]), None);
        assert_eq!(fields(&[0x80]), None);
        assert_eq!(fields(&[0x00, 0x00]), None);
        assert_eq!(fields(&[0x0b]), None);
        assert_eq!(fields(&[]), Some(Vec::new()));
    }
}
