//! Recordings of what real control planes sent.

use std::io;
use std::path::Path;

use bytes::Bytes;
use config::json::Converter;
use config::snapshot::Kind;
use serde_json::Value;

/// Reads `{type_url: {name: resource}}`. An `@type` inside a resource is tolerated.
pub(super) fn read(path: &Path) -> io::Result<Vec<(Kind, String, Bytes)>> {
    let text = std::fs::read_to_string(path).map_err(|error| invalid(path, &error))?;
    let recording: serde_json::Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| invalid(path, &error))?;
    let converter = Converter::new().map_err(|error| invalid(path, &error))?;
    let mut resources = Vec::new();
    for (type_url, by_name) in recording {
        let short = type_url.rsplit('/').next().unwrap_or_default();
        let kind = Kind::ALL.into_iter().find(|kind| kind.type_url().ends_with(&format!("/{short}")));
        let kind = kind.ok_or_else(|| invalid(path, &format!("{type_url}: not a type that is served here")))?;
        let Value::Object(by_name) = by_name else {
            return Err(invalid(path, &format!("{type_url}: not an object of resources by name")));
        };
        for (name, mut resource) in by_name {
            if let Some(fields) = resource.as_object_mut() {
                fields.remove("@type");
            }
            let body = converter.to_bytes(short, &resource);
            let body = body.map_err(|error| invalid(path, &format!("{type_url}: {name}: {error}")))?;
            resources.push((kind, name, Bytes::from(body)));
        }
    }
    Ok(resources)
}

fn invalid(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
}
