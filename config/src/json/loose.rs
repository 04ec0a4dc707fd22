//! `Struct`, `Value` and `ListValue`: JSON inside protobuf.

use serde::ser::{Error as _, Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use serde_json::Value as Json;

use super::print::{REDACTED, float};
use super::schema::Schema;
use super::wire::{self, MAX_DEPTH, Malformed, Payload, put_bytes};

/// Which of the three.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// `google.protobuf.Struct`
    Struct,
    /// `google.protobuf.Value`
    Value,
    /// `google.protobuf.ListValue`
    List,
}

/// What is not printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hide {
    /// All is printed.
    Nothing,
    /// Not what stands under a key that names a secret anywhere in Envoy's API (a `TypedStruct`'s content).
    SecretNames,
    /// No value at all.
    Everything,
}

/// A message to print.
#[derive(Clone, Copy)]
pub(super) struct Loose<'a> {
    /// All types, for their secret fields' names.
    pub(super) schema: Schema,
    /// Its type.
    pub(super) form: Form,
    /// Its bytes.
    pub(super) bytes: &'a [u8],
    /// What is not printed.
    pub(super) hide: Hide,
    /// How deep it stands.
    pub(super) depth: u8,
}

impl<'a> Loose<'a> {
    fn child(self, form: Form, bytes: &'a [u8]) -> Self {
        Self { form, bytes, depth: self.depth.saturating_add(1), ..self }
    }

    fn under(self, key: &str) -> Self {
        let secret = self.hide == Hide::SecretNames && self.schema.any_sensitive(key);
        Self { hide: if secret { Hide::Everything } else { self.hide }, ..self }
    }

    fn value<S: Serializer>(self, serializer: S) -> Result<S::Ok, S::Error> {
        let last = last_field(self.bytes).map_err(|_| malformed())?;
        let hidden = self.hide == Hide::Everything;
        match last {
            Some((2 | 4, _)) if hidden => serializer.serialize_unit(),
            Some((3, _)) if hidden => serializer.serialize_str(REDACTED),
            Some((2, Payload::Fixed64(bits))) => float(f64::from_bits(bits), false, serializer),
            Some((3, Payload::Bytes(b))) => serializer.serialize_str(std::str::from_utf8(b).map_err(|_| malformed())?),
            Some((4, Payload::Varint(v))) => serializer.serialize_bool(v != 0),
            Some((5, Payload::Bytes(b))) => self.child(Form::Struct, b).serialize(serializer),
            Some((6, Payload::Bytes(b))) => self.child(Form::List, b).serialize(serializer),
            _ => serializer.serialize_unit(),
        }
    }
}

impl Serialize for Loose<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.depth > MAX_DEPTH {
            return Err(S::Error::custom("a Struct is nested too deep"));
        }
        let mut bytes = self.bytes;
        match self.form {
            Form::Value => self.value(serializer),
            Form::List => {
                let mut list = serializer.serialize_seq(None)?;
                while let Some((_, payload)) = wire::next(&mut bytes).map_err(|_| malformed())? {
                    let Payload::Bytes(item) = payload else { return Err(malformed()) };
                    list.serialize_element(&self.child(Form::Value, item))?;
                }
                list.end()
            }
            Form::Struct => {
                let mut map = serializer.serialize_map(None)?;
                while let Some((_, payload)) = wire::next(&mut bytes).map_err(|_| malformed())? {
                    let Payload::Bytes(entry) = payload else { return Err(malformed()) };
                    let (key, value) = key_value(entry).map_err(|_| malformed())?;
                    map.serialize_entry(key, &self.under(key).child(Form::Value, value))?;
                }
                map.end()
            }
        }
    }
}

/// Writes any JSON as a `Value`'s bytes.
pub(super) fn encode_value(json: &Json, out: &mut Vec<u8>) {
    match json {
        Json::Null => out.extend([0x08, 0]),
        Json::Bool(b) => out.extend([0x20, u8::from(*b)]),
        Json::Number(n) => {
            out.push(0x11);
            out.extend(n.as_f64().unwrap_or(f64::NAN).to_le_bytes());
        }
        Json::String(s) => put_bytes(3, s.as_bytes(), out),
        Json::Object(fields) => {
            let mut inner = Vec::new();
            encode_struct(fields, &mut inner);
            put_bytes(5, &inner, out);
        }
        Json::Array(items) => {
            let mut inner = Vec::new();
            encode_list(items, &mut inner);
            put_bytes(6, &inner, out);
        }
    }
}

/// Writes an object as a `Struct`'s bytes.
pub(super) fn encode_struct(fields: &serde_json::Map<String, Json>, out: &mut Vec<u8>) {
    for (key, value) in fields {
        let (mut entry, mut inner) = (Vec::new(), Vec::new());
        put_bytes(1, key.as_bytes(), &mut entry);
        encode_value(value, &mut inner);
        put_bytes(2, &inner, &mut entry);
        put_bytes(1, &entry, out);
    }
}

/// Writes an array as a `ListValue`'s bytes.
pub(super) fn encode_list(items: &[Json], out: &mut Vec<u8>) {
    for item in items {
        let mut inner = Vec::new();
        encode_value(item, &mut inner);
        put_bytes(1, &inner, out);
    }
}

fn last_field(mut bytes: &[u8]) -> Result<Option<(u32, Payload<'_>)>, Malformed> {
    let mut last = None;
    while let Some(field) = wire::next(&mut bytes)? {
        last = Some(field);
    }
    Ok(last)
}

fn key_value(mut entry: &[u8]) -> Result<(&str, &[u8]), Malformed> {
    let (mut key, mut value): (&str, &[u8]) = ("", b"");
    while let Some((number, payload)) = wire::next(&mut entry)? {
        match (number, payload) {
            (1, Payload::Bytes(b)) => key = std::str::from_utf8(b).map_err(|_| Malformed)?,
            (2, Payload::Bytes(b)) => value = b,
            _ => {}
        }
    }
    Ok((key, value))
}

fn malformed<E: serde::ser::Error>() -> E {
    E::custom("a malformed Struct")
}
