//! Envoy's protobuf messages to and from JSON and YAML: bootstrap files, `/config_dump`.
//!
//! Every message of Envoy's API (and of xDS, CEL, OpenTelemetry that occur in it) is known, from a flat table of
//! about 270 KiB in the executable; there is no descriptor pool, and a conversion holds no more than the messages that
//! are open. Reading follows protobuf's JSON mapping and refuses what it does not know, naming the place. Printing
//! follows Envoy's admin endpoints, and never prints a secret.

mod clock;
mod error;
mod loose;
mod print;
mod read;
mod scalar;
mod schema;
mod text;
mod well_known;
pub(crate) mod wire;

#[cfg(test)]
mod tests;

use std::io;

use serde::Serialize;
use serde_json::Value;

pub use error::{Fault, JsonError, Path};
pub use text::parse_text;

use print::Node;
use read::Reading;
use schema::{Message, Schema};

/// Converts messages, named by their full proto names (`envoy.config.bootstrap.v3.Bootstrap`). Costs nothing to make.
#[derive(Clone, Copy, Debug)]
pub struct Converter {
    schema: Schema,
}

impl Converter {
    /// Looks at the built-in table of types; [`JsonError::Schema`] if the build went wrong.
    pub fn new() -> Result<Self, JsonError> {
        Ok(Self { schema: Schema::load().ok_or(JsonError::Schema)? })
    }

    /// Encodes a JSON value. Field names in either spelling; enums by name or number; durations, times, bytes in
    /// base64 and `Any` with `@type` as in protobuf's JSON mapping. An unknown field, type or enum value is an error.
    pub fn to_bytes(&self, message: &str, value: &Value) -> Result<Vec<u8>, JsonError> {
        let mut out = Vec::new();
        let reading = Reading::new(self.schema, false);
        let read = reading.message(self.message(message)?, value, &mut out);
        read.map(|()| out).map_err(|e| reading.fault().unwrap_or_else(|| JsonError::Syntax(e.to_string())))
    }

    /// Encodes a document in JSON or YAML, which is read as it goes: no more is held than what is made of it (and for
    /// YAML, what its parser holds).
    pub fn text_to_bytes(&self, message: &str, text: &str) -> Result<Vec<u8>, JsonError> {
        text::to_bytes(self.schema, self.message(message)?, text)
    }

    /// Prints a message as Envoy's admin endpoints do: proto field names, enums by name, 64-bit integers as strings,
    /// no default values. An `Any` whose type is not known, or does not decode, becomes
    /// `{"@type": …, "value": base64}`. Secrets become `[redacted]`.
    pub fn to_json(&self, message: &str, bytes: &[u8]) -> Result<Value, JsonError> {
        serde_json::to_value(self.printable(message, bytes)?).map_err(|e| JsonError::Print(e.to_string()))
    }

    /// The same, streamed as compact JSON. Output may have been written when an error comes.
    pub fn write_json(&self, message: &str, bytes: &[u8], out: &mut impl io::Write) -> Result<(), JsonError> {
        serde_json::to_writer(out, &self.printable(message, bytes)?).map_err(|e| JsonError::Print(e.to_string()))
    }

    /// The same as a part of a larger document that serde writes: serializes to what [`Self::to_json`] returns.
    pub fn printable<'a>(&self, message: &str, bytes: &'a [u8]) -> Result<impl Serialize + 'a, JsonError> {
        Ok(Node { schema: self.schema, message: self.message(message)?, bytes, secret: false, depth: 0 })
    }

    /// Whether Envoy's API has a message of this name or type URL.
    pub fn knows(&self, url: &str) -> bool {
        self.schema.message_of_url(url).is_some()
    }

    fn message(&self, name: &str) -> Result<Message, JsonError> {
        self.schema.message(name).ok_or_else(|| JsonError::UnknownMessage(name.to_owned()))
    }
}
