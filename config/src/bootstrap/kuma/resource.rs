//! The resource that the proxy registers itself with: `--dataplane`, `--dataplane-file`, `--dataplane-var`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use mustache::MapBuilder;
use serde_json::Value;

use super::ProxyType;

/// A Dataplane, ZoneIngress or ZoneEgress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyResource {
    /// What it makes of the proxy.
    pub proxy_type: ProxyType,
    /// Its mesh; empty for zone proxies of 2.x.
    pub mesh: String,
    /// Its name.
    pub name: String,
    /// All of it, as JSON text.
    pub json: String,
}

/// Where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceSource {
    /// `--dataplane`.
    Inline(String),
    /// `--dataplane-file`.
    File(PathBuf),
    /// `--dataplane-file -`.
    Stdin,
}

/// Why there is no resource.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// The file.
    #[error("error while reading provided file {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Standard input.
    #[error("cannot read the resource from standard input: {0}")]
    Stdin(std::io::Error),
    /// Mustache.
    #[error("the resource is no valid template: {0}")]
    Template(String),
    /// YAML.
    #[error("the resource is neither YAML nor JSON: {0}")]
    Syntax(String),
    /// A field that every resource has.
    #[error("the resource has no {0}; is a --dataplane-var missing?")]
    Missing(&'static str),
    /// Another type than the proxy's.
    #[error("invalid proxy resource type \"{found}\", expected {expected}")]
    Type {
        /// What it says.
        found: String,
        /// What `--proxy-type` asks for, else what the program can be.
        expected: String,
    },
    /// A name that Kuma would refuse.
    #[error("{field} \"{value}\" is not valid: it consists of lower case letters, digits, '-', '_' and '.'{hint}")]
    Identifier {
        /// `name` or `mesh`.
        field: &'static str,
        /// What it says.
        value: String,
        /// What may be wrong.
        hint: &'static str,
    },
}

impl ProxyResource {
    /// Reads, fills in the variables and checks. `None` where the source is empty, which to Kuma is no resource.
    ///
    /// # Errors
    /// See [`ResourceError`].
    pub fn load(
        source: &ResourceSource,
        variables: &BTreeMap<String, String>,
        proxy_types: &[ProxyType],
    ) -> Result<Option<Self>, ResourceError> {
        let template = match source {
            ResourceSource::Inline(text) => text.clone(),
            ResourceSource::File(path) => {
                std::fs::read_to_string(path).map_err(|source| ResourceError::Read { path: path.clone(), source })?
            }
            ResourceSource::Stdin => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).map_err(ResourceError::Stdin)?;
                text
            }
        };
        if template.is_empty() {
            return Ok(None);
        }
        Self::parse(&render(&template, variables)?, proxy_types).map(Some)
    }

    /// Reads YAML or JSON in the form of Kuma's REST API. Its type must be that of one of `proxy_types`.
    ///
    /// # Errors
    /// See [`ResourceError`].
    pub fn parse(text: &str, proxy_types: &[ProxyType]) -> Result<Self, ResourceError> {
        let value: Value = serde_yaml_ng::from_str(text).map_err(|e| ResourceError::Syntax(e.to_string()))?;
        let field = |name| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let found = field("type");
        let proxy_type = proxy_types.iter().copied().find(|proxy_type| proxy_type.resource_type() == found);
        let proxy_type = match proxy_type {
            Some(proxy_type) => proxy_type,
            None if found.is_empty() => return Err(ResourceError::Missing("type")),
            None => {
                let expected: Vec<_> = proxy_types.iter().map(|proxy_type| proxy_type.resource_type()).collect();
                return Err(ResourceError::Type { found: found.to_owned(), expected: expected.join(" or ") });
            }
        };
        let name = identifier("name", field("name"))?;
        let mesh = if proxy_type.has_mesh() { identifier("mesh", field("mesh"))? } else { String::new() };
        Ok(Self { proxy_type, mesh, name, json: value.to_string() })
    }
}

/// Fills in `{{ name }}`; `{{ a.b }}` looks into what `--dataplane-var a.b=…` made. What is not given is empty.
///
/// # Errors
/// Not a Mustache template.
pub(super) fn render(template: &str, variables: &BTreeMap<String, String>) -> Result<String, ResourceError> {
    let bad = |e: mustache::Error| ResourceError::Template(e.to_string());
    let template = mustache::compile_str(template).map_err(bad)?;
    let pairs: Vec<_> = variables.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    template.render_data_to_string(&context(&pairs).build()).map_err(bad)
}

/// Dotted keys become nested maps.
fn context(pairs: &[(&str, &str)]) -> MapBuilder {
    let mut map = MapBuilder::new();
    let mut nested: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for (key, value) in pairs {
        match key.split_once('.') {
            Some((first, rest)) => nested.entry(first).or_default().push((rest, value)),
            None => map = map.insert_str(*key, *value),
        }
    }
    for (key, inner) in nested {
        map = map.insert_map(key, |_| context(&inner));
    }
    map
}

fn identifier(field: &'static str, value: &str) -> Result<String, ResourceError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    if value.is_empty() {
        return Err(ResourceError::Missing(field));
    }
    if !value.chars().all(allowed) {
        let hint = if value.contains("{{") { "; the template's variable was not filled in" } else { "" };
        return Err(ResourceError::Identifier { field, value: value.to_owned(), hint });
    }
    Ok(value.to_owned())
}
