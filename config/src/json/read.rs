//! JSON and YAML to wire format, as the parser goes: there is never a tree of the document, which for ten thousand
//! clusters would take a hundred MiB.
//!
//! Both spellings of field names, durations, bytes, `Any` with `@type`; nothing unknown is let through, as in Envoy.

mod field;
mod key;
mod shape;

use std::cell::RefCell;

use serde::de::{DeserializeSeed as _, Deserializer, Error};
use serde_json::Value as Json;

use super::error::{Fault, JsonError};
use super::schema::{Message, Schema};
pub(super) use key::Tree;
use shape::{Shape, Want};

/// What all parts of one reading share.
pub(super) struct Reading {
    /// All types.
    pub(super) schema: Schema,
    /// The text is YAML: numbers are taken as Envoy takes them.
    yaml: bool,
    /// What is wrong and where; the parser's own error then says nothing.
    fault: RefCell<Option<JsonError>>,
}

impl Reading {
    /// Begins.
    pub(super) fn new(schema: Schema, yaml: bool) -> Self {
        Self { schema, yaml, fault: RefCell::default() }
    }

    /// Reads one message. `Err` is the parser's; `None` within: see [`Self::fault`].
    pub(super) fn message<'de, D: Deserializer<'de>>(
        &self,
        message: Message,
        deserializer: D,
        out: &mut Vec<u8>,
    ) -> Result<(), D::Error> {
        Shape { cx: self, want: Want::of(message), depth: 0, out }.deserialize(deserializer)
    }

    /// What was wrong with the document's content, if it was that.
    pub(super) fn fault(&self) -> Option<JsonError> {
        self.fault.borrow_mut().take()
    }

    /// Remembers what is wrong.
    fn fail<E: Error>(&self, error: JsonError) -> E {
        *self.fault.borrow_mut() = Some(error);
        E::custom("")
    }

    /// Adds a step to the place of an error on its way up.
    fn within<T, E>(&self, result: Result<T, E>, step: impl FnOnce(JsonError) -> JsonError) -> Result<T, E> {
        if result.is_err() {
            let error = self.fault.borrow_mut().take();
            *self.fault.borrow_mut() = error.map(step);
        }
        result
    }
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
