//! Protobuf, as much of it as reports need: messages are written front to back, nested ones as bytes.

use bytes::{BufMut, BytesMut};

/// A message under construction.
#[derive(Debug, Default)]
pub struct Message(BytesMut);

impl Message {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// `string` or `bytes` or a message; left out where empty.
    #[must_use]
    pub fn bytes(mut self, field: u32, value: impl AsRef<[u8]>) -> Self {
        if !value.as_ref().is_empty() {
            self.put(field, value.as_ref());
        }
        self
    }

    /// A message or an element of a repeated field; also where empty.
    #[must_use]
    pub fn message(mut self, field: u32, value: impl AsRef<[u8]>) -> Self {
        self.put(field, value.as_ref());
        self
    }

    /// Each element of a repeated field.
    #[must_use]
    pub fn each<T: AsRef<[u8]>>(mut self, field: u32, values: impl IntoIterator<Item = T>) -> Self {
        values.into_iter().for_each(|value| self.put(field, value.as_ref()));
        self
    }

    /// `int32`, `int64`, `uint64`, an enumeration or `bool`; left out where 0.
    #[must_use]
    pub fn varint(mut self, field: u32, value: u64) -> Self {
        if value != 0 {
            self.tag(field, 0);
            varint(&mut self.0, value);
        }
        self
    }

    /// `fixed64`; left out where 0.
    #[must_use]
    pub fn fixed64(mut self, field: u32, value: u64) -> Self {
        if value != 0 {
            self.tag(field, 1);
            self.0.put_u64_le(value);
        }
        self
    }

    /// `fixed32`; left out where 0.
    #[must_use]
    pub fn fixed32(mut self, field: u32, value: u32) -> Self {
        if value != 0 {
            self.tag(field, 5);
            self.0.put_u32_le(value);
        }
        self
    }

    /// `double` or `sfixed64` of a oneof: also where 0.
    #[must_use]
    pub fn eight(mut self, field: u32, bits: u64) -> Self {
        self.tag(field, 1);
        self.0.put_u64_le(bits);
        self
    }

    fn put(&mut self, field: u32, value: &[u8]) {
        self.tag(field, 2);
        varint(&mut self.0, value.len() as u64);
        self.0.put_slice(value);
    }

    fn tag(&mut self, field: u32, kind: u32) {
        varint(&mut self.0, u64::from(field << 3 | kind));
    }

    /// The encoded message.
    pub fn finish(self) -> bytes::Bytes {
        self.0.freeze()
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
fn varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_protobuf_has_it() {
        let inner = Message::new().bytes(1, "ab");
        let message = Message::new().varint(1, 300).message(2, inner).bytes(3, "").fixed64(4, 1).fixed32(16, 257);
        let expected =
            [&[8, 0xac, 2, 0x12, 4, 0x0a, 2, b'a', b'b', 0x21, 1, 0, 0, 0, 0, 0, 0, 0][..], &[0x85, 1, 1, 1, 0, 0]];
        assert_eq!(message.finish(), expected.concat());
    }
}
