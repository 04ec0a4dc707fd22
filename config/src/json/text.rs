//! JSON or YAML text to a JSON value.

use serde_json::{Map, Value as Json};
use serde_yaml_ng::Value as Yaml;

use super::error::JsonError;

/// Reads a document. JSON is tried first where it looks like JSON; all else is YAML, of which JSON is a part.
pub fn parse_text(text: &str) -> Result<Json, JsonError> {
    if text.trim_start().starts_with('{')
        && let Ok(json) = serde_json::from_str(text)
    {
        return Ok(json);
    }
    let mut yaml: Yaml = serde_yaml_ng::from_str(text).map_err(|e| JsonError::Syntax(e.to_string()))?;
    yaml.apply_merge().map_err(|e| JsonError::Syntax(e.to_string()))?;
    convert(yaml)
}

fn convert(yaml: Yaml) -> Result<Json, JsonError> {
    Ok(match yaml {
        Yaml::Null => Json::Null,
        Yaml::Bool(b) => Json::Bool(b),
        Yaml::Number(n) => number(&n),
        Yaml::String(s) => Json::String(s),
        Yaml::Sequence(items) => Json::Array(items.into_iter().map(convert).collect::<Result<_, _>>()?),
        Yaml::Mapping(fields) => {
            let mut map = Map::new();
            for (key, value) in fields {
                map.insert(key_text(&key)?, convert(value)?);
            }
            Json::Object(map)
        }
        Yaml::Tagged(tagged) => convert(tagged.value)?,
    })
}

/// Keys may be written without quotes: `200: ok`, `true: yes`.
fn key_text(key: &Yaml) -> Result<String, JsonError> {
    match key {
        Yaml::String(s) => Ok(s.clone()),
        Yaml::Bool(b) => Ok(b.to_string()),
        Yaml::Number(n) => Ok(n.to_string()),
        Yaml::Null => Ok("null".to_owned()),
        Yaml::Sequence(_) | Yaml::Mapping(_) | Yaml::Tagged(_) => {
            Err(JsonError::Syntax("a key that is a list or a map".to_owned()))
        }
    }
}

/// As Envoy reads YAML: integers of 32 bits are numbers, all other numbers go on as strings. Numeric fields take both;
/// in a `Struct` (metadata, runtime layers) they stay strings.
fn number(n: &serde_yaml_ng::Number) -> Json {
    if let Some(v) = n.as_i64().and_then(|v| i32::try_from(v).ok()) {
        return v.into();
    }
    match n.as_f64() {
        Some(v) if v.is_nan() => "NaN".into(),
        Some(v) if v.is_infinite() => if v > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        _ => n.to_string().into(),
    }
}
