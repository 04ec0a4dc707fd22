//! A file of resources: an `envoy.service.discovery.v3.DiscoveryResponse` in JSON, YAML or (`.pb`) binary.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
use envoy_types::pb::google::protobuf::Any;
use prost::Message;
use serde_json::Value;

use crate::json::{Converter, JsonError, parse_text};
use crate::reject::{FieldPath, Rejection};
use crate::snapshot::Kind;
use crate::xds::{Entry, Refused, bundled};

const RESPONSE: &str = "envoy.service.discovery.v3.DiscoveryResponse";

/// Why a file says nothing. What was read from it before stays in force.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be opened or read.
    #[error("{path}: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no text.
    #[error("{0}: not UTF-8")]
    NotText(PathBuf),
    /// It is not well-formed, or something outside its resources is wrong; the error has line and column or the field.
    #[error("{path}: {source}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: JsonError,
    },
    /// It is not the list of resources that is expected.
    #[error("{path}: {reason}")]
    Unexpected {
        /// Which.
        path: PathBuf,
        /// What it is instead.
        reason: &'static str,
    },
    /// A binary file that does not decode.
    #[error("{path}: {source}")]
    Binary {
        /// Which.
        path: PathBuf,
        /// Why.
        source: prost::DecodeError,
    },
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) version: Arc<str>,
    pub(super) resources: Vec<Result<Entry, Refused>>,
}

/// Reads a file's content. A resource that cannot be converted is refused alone.
pub(super) fn read(kind: Kind, path: &Path, content: &[u8]) -> Result<Contents, FileError> {
    if path.extension().is_some_and(|extension| extension == "pb") {
        let response = DiscoveryResponse::decode(content);
        let response = response.map_err(|source| FileError::Binary { path: path.to_owned(), source })?;
        let version: Arc<str> = response.version_info.into();
        let parsed = response.resources.into_iter().enumerate();
        let resources = parsed.map(|(index, any)| bundled(kind, index, any, &version)).collect();
        return Ok(Contents { version, resources });
    }
    let text = std::str::from_utf8(content).map_err(|_| FileError::NotText(path.to_owned()))?;
    let malformed = |source| FileError::Malformed { path: path.to_owned(), source };
    let unexpected = |reason| FileError::Unexpected { path: path.to_owned(), reason };
    let Value::Object(mut response) = parse_text(text).map_err(malformed)? else {
        return Err(unexpected("not an object with \"resources\""));
    };
    let listed = match response.remove("resources") {
        Some(Value::Array(listed)) => listed,
        None | Some(Value::Null) => Vec::new(),
        Some(_) => return Err(unexpected("\"resources\" is not a list")),
    };
    let converter = Converter::new().map_err(malformed)?;
    // What is left is read as the message that it is, so that a misspelt field is an error.
    let rest = converter.to_bytes(RESPONSE, &Value::Object(response)).map_err(malformed)?;
    let rest = DiscoveryResponse::decode(rest.as_slice());
    let rest = rest.map_err(|source| FileError::Binary { path: path.to_owned(), source })?;
    let version: Arc<str> = rest.version_info.into();
    let resources = listed.into_iter().enumerate().map(|(index, value)| {
        let name = name_of(&value, index);
        let any = convert(&converter, value).map_err(|reason| {
            let rejection = Rejection { path: FieldPath::default(), reason: reason.into() };
            Refused { name: name.into(), rejection }
        })?;
        bundled(kind, index, any, &version)
    });
    let resources = resources.collect();
    Ok(Contents { version, resources })
}

fn convert(converter: &Converter, value: Value) -> Result<Any, String> {
    let Value::Object(mut fields) = value else { return Err("not an object".into()) };
    let Some(Value::String(type_url)) = fields.remove("@type") else { return Err("@type: is missing".into()) };
    let name = type_url.rsplit('/').next().unwrap_or_default();
    let value = converter.to_bytes(name, &Value::Object(fields)).map_err(|error| error.to_string())?;
    Ok(Any { type_url, value })
}

fn name_of(value: &Value, index: usize) -> String {
    let name = ["name", "cluster_name", "clusterName"].into_iter().find_map(|field| value.get(field)?.as_str());
    name.map_or_else(|| format!("resources[{index}]"), str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn names(contents: &Contents) -> Vec<Result<&str, String>> {
        let name = |refused: &Refused| format!("{}: {}", refused.name, refused.rejection.reason);
        contents.resources.iter().map(|item| item.as_ref().map(|entry| &*entry.name).map_err(name)).collect()
    }

    #[test]
    fn yaml_json_and_binary_say_the_same() {
        let yaml = "version_info: '7'\nresources:\n- '@type': type.googleapis.com/envoy.config.cluster.v3.Cluster\n  name: a\n  connect_timeout: 1s\n";
        let json = r#"{"versionInfo": "7", "resources": [{"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "a", "connectTimeout": "1s"}]}"#;
        let mut bodies = Vec::new();
        for text in [yaml, json] {
            let contents = read(Kind::Cluster, Path::new("cds.yaml"), text.as_bytes()).unwrap();
            assert_eq!((names(&contents), &*contents.version), (vec![Ok("a")], "7"));
            bodies.push(contents.resources[0].as_ref().unwrap().body.clone().unwrap());
        }
        assert_eq!(bodies[0], bodies[1]);
        let any = Any { type_url: Kind::Cluster.type_url().into(), value: bodies[0].to_vec() };
        let binary =
            DiscoveryResponse { version_info: "7".into(), resources: vec![any], ..DiscoveryResponse::default() };
        let contents = read(Kind::Cluster, Path::new("cds.pb"), &binary.encode_to_vec()).unwrap();
        assert_eq!((names(&contents), &*contents.version), (vec![Ok("a")], "7"));
        assert_eq!(contents.resources[0].as_ref().unwrap().body.as_ref(), Some(&bodies[0]));
    }

    #[test]
    fn a_bad_resource_is_refused_alone_with_its_name_and_field() {
        let yaml = "resources:\n\
            - {'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster, name: good}\n\
            - {'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster, name: bad, conect_timeout: 1s}\n\
            - {'@type': type.googleapis.com/envoy.config.listener.v3.Listener, name: other}\n\
            - {name: typeless}\n- 5\n";
        let contents = read(Kind::Cluster, Path::new("x"), yaml.as_bytes()).unwrap();
        let told = names(&contents);
        assert_eq!(told[0], Ok("good"));
        assert!(told[1].as_ref().is_err_and(|error| error.starts_with("bad: ") && error.contains("conect_timeout")));
        assert!(told[2].as_ref().is_err_and(|error| error.contains("Listener")));
        assert_eq!(told[3], Err("typeless: @type: is missing".into()));
        assert_eq!(told[4], Err("resources[4]: not an object".into()));
    }

    #[test]
    fn a_broken_file_is_an_error_with_name_and_position() {
        for (text, expected) in [
            ("resources:\n  - {a: [}\n", "line 2"),
            ("{\"resources\": [}", "line 1"),
            ("resourses: []\n", "resourses"),
            ("resources: {}\n", "not a list"),
            ("- 1\n", "not an object"),
        ] {
            let error = read(Kind::Cluster, Path::new("/etc/cds.yaml"), text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("/etc/cds.yaml: ") && error.contains(expected), "{text:?}: {error}");
        }
        assert!(matches!(read(Kind::Cluster, Path::new("x"), &[0xff]), Err(FileError::NotText(_))));
        assert!(matches!(read(Kind::Cluster, Path::new("x.pb"), &[0xff]), Err(FileError::Binary { .. })));
    }
}
