//! JSON or YAML text, to wire format or to a JSON value.

use serde::de::DeserializeSeed as _;
use serde_json::Value as Json;
use serde_yaml_ng::Value as Yaml;

use super::error::JsonError;
use super::read::{Reading, Tree};
use super::schema::{Message, Schema};

/// Encodes a document.
pub(super) fn to_bytes(schema: Schema, message: Message, text: &str) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::new();
    if looks_like_json(text) {
        let reading = Reading::new(schema, false);
        let mut parser = serde_json::Deserializer::from_str(text);
        match reading.message(message, &mut parser, &mut out).and_then(|()| parser.end()) {
            Ok(()) => return Ok(out),
            // The text is JSON; it is not what it should be.
            Err(_) => {
                if let Some(fault) = reading.fault() {
                    return Err(fault);
                }
            }
        }
        out.clear();
    }
    let reading = Reading::new(schema, true);
    let read = if has_merge_keys(text) {
        reading.message(message, merged(text)?, &mut out)
    } else {
        reading.message(message, serde_yaml_ng::Deserializer::from_str(text), &mut out)
    };
    read.map(|()| out).map_err(|e| reading.fault().unwrap_or_else(|| JsonError::Syntax(e.to_string())))
}

/// Reads a document. JSON is tried first where it looks like JSON; all else is YAML, of which JSON is a part. Numbers
/// of YAML are taken as Envoy takes them.
///
/// # Errors
/// [`JsonError::Syntax`].
pub fn parse_text(text: &str) -> Result<Json, JsonError> {
    if looks_like_json(text)
        && let Ok(json) = serde_json::from_str(text)
    {
        return Ok(json);
    }
    let tree = Tree { yaml: true };
    let read = match has_merge_keys(text) {
        true => tree.deserialize(merged(text)?),
        false => tree.deserialize(serde_yaml_ng::Deserializer::from_str(text)),
    };
    read.map_err(|e| JsonError::Syntax(e.to_string()))
}

fn looks_like_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

fn has_merge_keys(text: &str) -> bool {
    text.contains("<<")
}

/// `<<: *anchor` needs the whole tree.
fn merged(text: &str) -> Result<Yaml, JsonError> {
    let bad = |e: serde_yaml_ng::Error| JsonError::Syntax(e.to_string());
    let mut yaml: Yaml = serde_yaml_ng::from_str(text).map_err(bad)?;
    yaml.apply_merge().map_err(bad)?;
    Ok(yaml)
}
