//! JSON to wire format: both spellings of field names, durations, bytes, `Any` with `@type`; nothing unknown is let
//! through, as in Envoy.

use prost::encoding::WireType;
use serde_json::{Map, Value as Json};

use super::error::{Fault, JsonError};
use super::scalar::{self, Scalar};
use super::schema::{Field, Kind, Message, Schema};
use super::well_known::WellKnown;
use super::wire::{MAX_DEPTH, put_bytes, wire_type};

/// Reads documents.
#[derive(Clone, Copy)]
pub(super) struct Reader {
    /// All types.
    pub(super) schema: Schema,
    /// How deep this message stands.
    pub(super) depth: u8,
}

impl Reader {
    /// Appends the message that `json` says.
    pub(super) fn message(self, message: Message, json: &Json, out: &mut Vec<u8>) -> Result<(), JsonError> {
        if self.depth > MAX_DEPTH {
            return Err(JsonError::here(Fault::TooDeep));
        }
        match WellKnown::of(message.name) {
            Some(WellKnown::TypedStruct) | None => {
                let fields = json.as_object().ok_or_else(|| wrong_type("an object", json))?;
                self.object(message, fields, out)
            }
            Some(kind) => kind.read(self, message, json, out),
        }
    }

    /// Appends the fields of an object, but for `@type`.
    pub(super) fn object(
        self,
        message: Message,
        object: &Map<String, Json>,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        let mut fields = Vec::with_capacity(object.len());
        for (name, value) in object.iter().filter(|(name, _)| *name != "@type") {
            let Some(field) = message.field_named(name) else {
                return Err(JsonError::here(Fault::UnknownField { message: message.name, name: name.clone() }));
            };
            if !value.is_null() || takes_null(field) {
                fields.push((field, value));
            }
        }
        fields.sort_by_key(|(f, _)| f.number);
        check_unique(&fields)?;
        for (field, value) in fields {
            self.field(field, value, out).map_err(|e| e.in_field(field.name))?;
        }
        Ok(())
    }

    fn field(self, field: Field, json: &Json, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let Some(kind) = field.kind() else { return Err(JsonError::Schema) };
        if let Some(entry) = field.map_entry() {
            let object = json.as_object().ok_or_else(|| wrong_type("an object", json))?;
            for (key, value) in object {
                self.map_entry(field, entry, (key, value), out).map_err(|e| e.at_key(key))?;
            }
            return Ok(());
        }
        if !field.repeated {
            return self.single(field, kind, json, out);
        }
        let items = json.as_array().ok_or_else(|| wrong_type("a list", json))?;
        if wire_type(kind) != WireType::LengthDelimited {
            let mut packed = Vec::new();
            for (i, item) in items.iter().enumerate() {
                scalar::read(kind, item).map_err(|e| e.at_index(i))?.put(&mut packed);
            }
            if !packed.is_empty() {
                put_bytes(field.number, &packed, out);
            }
            return Ok(());
        }
        for (i, item) in items.iter().enumerate() {
            self.value(field.number, kind, item, out).map_err(|e| e.at_index(i))?;
        }
        Ok(())
    }

    /// A field that is not repeated: a default value without presence is left out.
    fn single(self, field: Field, kind: Kind, json: &Json, out: &mut Vec<u8>) -> Result<(), JsonError> {
        if field.presence || matches!(kind, Kind::Message(_)) {
            return self.value(field.number, kind, json, out);
        }
        let scalar = scalar::read(kind, json)?;
        if !scalar.is_default() {
            scalar.put_field(field.number, out);
        }
        Ok(())
    }

    /// Appends one value with its key.
    pub(super) fn value(self, number: u32, kind: Kind, json: &Json, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let Kind::Message(message) = kind else {
            scalar::read(kind, json)?.put_field(number, out);
            return Ok(());
        };
        let mut inner = Vec::new();
        Self { depth: self.depth + 1, ..self }.message(message, json, &mut inner)?;
        put_bytes(number, &inner, out);
        Ok(())
    }

    fn map_entry(
        self,
        field: Field,
        entry: Message,
        (key, value): (&str, &Json),
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        let kind = |n| entry.field(n).and_then(Field::kind).ok_or(JsonError::Schema);
        let mut inner = Vec::new();
        map_key(kind(1)?, key)?.put_field(1, &mut inner);
        self.value(2, kind(2)?, value, &mut inner)?;
        put_bytes(field.number, &inner, out);
        Ok(())
    }
}

/// Map keys are strings in JSON whatever their type.
fn map_key(kind: Kind, key: &str) -> Result<Scalar, JsonError> {
    match (kind, key) {
        (Kind::Bool, "true") => Ok(Scalar::Varint(1)),
        (Kind::Bool, "false") => Ok(Scalar::Varint(0)),
        _ => scalar::read(kind, &Json::String(key.to_owned())),
    }
}

fn takes_null(field: Field) -> bool {
    match field.kind() {
        Some(Kind::Message(m)) => m.name == "google.protobuf.Value",
        Some(Kind::Enum(e)) => e.name == "google.protobuf.NullValue",
        _ => false,
    }
}

fn check_unique(fields: &[(Field, &Json)]) -> Result<(), JsonError> {
    for (i, (field, _)) in fields.iter().enumerate() {
        for (other, _) in &fields[..i] {
            if other.number == field.number {
                return Err(JsonError::here(Fault::Twice).in_field(field.name));
            }
            if field.oneof != 0 && other.oneof == field.oneof {
                return Err(JsonError::here(Fault::OneOf(other.name, field.name)));
            }
        }
    }
    Ok(())
}

/// The error for a value of the wrong JSON type.
pub(super) fn wrong_type(expected: &'static str, json: &Json) -> JsonError {
    let found = match json {
        Json::Null => "null".to_owned(),
        Json::Bool(b) => b.to_string(),
        Json::Number(n) => n.to_string(),
        Json::String(s) if s.chars().count() > 40 => format!("\"{}…\"", s.chars().take(40).collect::<String>()),
        Json::String(s) => format!("\"{s}\""),
        Json::Array(_) => "a list".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    };
    JsonError::here(Fault::Type { expected, found })
}
