//! Reading the messages that JSON writes in a form of their own.

use serde_json::Value as Json;

use super::WellKnown;
use crate::json::clock;
use crate::json::error::JsonError;
use crate::json::loose;
use crate::json::read::wrong_type;
use crate::json::scalar::{self, Scalar};
use crate::json::schema::{Message, snake};
use crate::json::wire::put_bytes;

impl WellKnown {
    /// Appends the message that `json` says.
    pub(crate) fn read(self, message: Message, json: &Json, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let text = |expected| json.as_str().ok_or_else(|| wrong_type(expected, json));
        match self {
            Self::Duration => {
                let expected = "a duration like \"1.5s\"";
                clock::parse_duration(text(expected)?)
                    .map(|t| put_time(t, out))
                    .ok_or_else(|| wrong_type(expected, json))
            }
            Self::Timestamp => {
                let expected = "a time like \"2024-01-31T12:00:00Z\"";
                clock::parse_timestamp(text(expected)?)
                    .map(|t| put_time(t, out))
                    .ok_or_else(|| wrong_type(expected, json))
            }
            Self::FieldMask => {
                for path in text("a list of fields as one string")?.split(',').filter(|p| !p.is_empty()) {
                    put_bytes(1, snake(path).as_bytes(), out);
                }
                Ok(())
            }
            // The two that are read as messages never come here.
            Self::Struct | Self::TypedStruct | Self::Any => {
                let fields = json.as_object().ok_or_else(|| wrong_type("an object", json))?;
                loose::encode_struct(fields, out);
                Ok(())
            }
            Self::ListValue => {
                loose::encode_list(json.as_array().ok_or_else(|| wrong_type("a list", json))?, out);
                Ok(())
            }
            Self::Value => {
                loose::encode_value(json, out);
                Ok(())
            }
            Self::Wrapper => {
                let kind = message.field(1).and_then(|f| f.kind()).ok_or(JsonError::Schema)?;
                let scalar = scalar::read(kind, json)?;
                if !scalar.is_default() {
                    scalar.put_field(1, out);
                }
                Ok(())
            }
        }
    }
}

/// `Duration` and `Timestamp` are alike on the wire.
fn put_time((seconds, nanos): (i64, i32), out: &mut Vec<u8>) {
    for (number, value) in [(1, seconds), (2, i64::from(nanos))] {
        let scalar = Scalar::Varint(value.cast_unsigned());
        if !scalar.is_default() {
            scalar.put_field(number, out);
        }
    }
}
