//! A configuration from a file: an Envoy bootstrap (with the files it names), or the `/config_dump` of a running edge,
//! which is how one that a control plane configures is looked at.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use config::bootstrap::envoy as bootstrap_file;
use config::bootstrap::{Bootstrap, BootstrapError, Source};
use config::json::{Converter, JsonError, parse_text};
use config::model::tls::SecretSource;
use config::snapshot::{Kind, Snapshot};
use config::source::file::FileError;
use config::source::once;
use config::store::{Batch, Resource, Store};
use serde_json::{Value, json};

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is neither JSON nor YAML.
    #[error("{path}: {source}")]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: JsonError,
    },
    /// It is no usable bootstrap.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// A file that it names is not.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What was loaded, and what of it was refused and is therefore not looked at.
#[derive(Debug)]
pub(super) struct Loaded {
    /// In force, as far as it was accepted.
    pub(super) snapshot: Arc<Snapshot>,
    /// `listener "x": path: why`.
    pub(super) refused: Vec<String>,
}

/// Loads a file.
///
/// # Errors
/// It is not readable, or of neither form.
pub(super) fn load(path: &Path) -> Result<Loaded, LoadError> {
    if path.extension().is_none_or(|extension| extension != "pb") {
        let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
        let document = parse_text(&text).map_err(|source| LoadError::Syntax { path: path.to_owned(), source })?;
        if let Some(Value::Array(sections)) = document.get("configs") {
            return dump(sections).map_err(|source| LoadError::Syntax { path: path.to_owned(), source });
        }
    }
    from_bootstrap(&bootstrap_file::load(Some(path), None)?)
}

/// Loads what a bootstrap and the files that it names hold. What a control plane would add is not known here.
fn from_bootstrap(bootstrap: &Bootstrap) -> Result<Loaded, LoadError> {
    let mut loading = Loading::default();
    bootstrap.fixed.iter().for_each(|batch| loading.apply(batch.clone()));
    let dynamic = &bootstrap.dynamic;
    let sources = [&dynamic.clusters, &dynamic.listeners].into_iter().flatten();
    let files = sources.filter_map(|source| if let Source::File(file) = source { Some(file) } else { None });
    for file in dynamic.files.iter().chain(files) {
        let (batch, refused) = once::load(file)?;
        for (name, rejection) in refused {
            loading.refused.push(format!("{:?} \"{name}\": {rejection}", file.kind));
        }
        loading.apply(batch);
    }
    for file in loading.store.files() {
        let (batch, _) = once::load(&file)?;
        let from = SecretSource::File { path: file.path, watched_directory: file.watched_directory };
        loading.apply(Batch { from, ..batch });
    }
    Ok(loading.done())
}

/// Loads the sections of a `/config_dump`.
fn dump(sections: &[Value]) -> Result<Loaded, JsonError> {
    let converter = Converter::new()?;
    let mut loading = Loading::default();
    let mut found: Vec<(Kind, &Value)> = Vec::new();
    // Static resources stand in the bootstrap, too.
    let is_bootstrap = |section: &&Value| type_of(section).is_some_and(|name| name.ends_with(".BootstrapConfigDump"));
    for section in sections.iter().filter(|section| !is_bootstrap(section)) {
        collect(section, &mut found);
    }
    for kind in [Kind::Secret, Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Route] {
        let upserts = found.iter().filter(|(of, _)| *of == kind).filter_map(|(_, value)| {
            let name = name_of(value);
            match encode(converter, kind, value) {
                Ok(body) => Some(Resource { name: name.into(), version: Arc::default(), body }),
                Err(error) => {
                    loading.refused.push(format!("{kind:?} \"{name}\": {error}"));
                    None
                }
            }
        });
        let upserts: Vec<_> = upserts.collect();
        if kind == Kind::Secret {
            // The dump does not say which of them static resources refer to.
            loading.apply(Batch { fixed: true, ..Batch::new(kind, upserts.clone()) });
        }
        loading.apply(Batch::new(kind, upserts));
    }
    Ok(loading.done())
}

/// Resources in force, wherever they stand; what warms, drains or was refused is not.
fn collect<'a>(value: &'a Value, found: &mut Vec<(Kind, &'a Value)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => {
            let kind =
                type_of(value).and_then(|name| Kind::ALL.into_iter().find(|kind| kind.type_url().ends_with(name)));
            if let Some(kind) = kind {
                return found.push((kind, value));
            }
            let in_force = |key: &str| {
                !["warming_state", "draining_state", "error_state"].contains(&key)
                    && !key.starts_with("dynamic_warming")
                    // Those stand in their listeners.
                    && key != "static_route_configs"
            };
            fields.iter().filter(|(key, _)| in_force(key)).for_each(|(_, field)| collect(field, found));
        }
        _ => {}
    }
}

fn type_of(value: &Value) -> Option<&str> {
    value.get("@type")?.as_str()?.rsplit_once('/').map(|(_, name)| name)
}

fn name_of(value: &Value) -> &str {
    let name = ["name", "cluster_name", "clusterName"].into_iter().find_map(|field| value.get(field)?.as_str());
    name.unwrap_or_default()
}

fn encode(converter: Converter, kind: Kind, value: &Value) -> Result<Bytes, JsonError> {
    let mut value = value.clone();
    complete(&mut value);
    if let Some(fields) = value.as_object_mut() {
        fields.remove("@type");
    }
    let name = kind.type_url().rsplit('/').next().unwrap_or_default();
    converter.to_bytes(name, &value).map(Bytes::from)
}

/// Puts right what a dump leaves out: keys are redacted, and weights that were not set are 0. A
/// certificate without its key becomes a reference to one, which says as much about who may pass.
fn complete(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(complete),
        Value::Object(fields) => {
            fields.retain(|key, field| key != "load_balancing_weight" || field.as_u64() != Some(0));
            let is_redacted = |certificate: &Value| certificate.get("private_key").is_some_and(is_redacted);
            if fields.get("tls_certificates").and_then(Value::as_array).is_some_and(|all| all.iter().any(is_redacted)) {
                fields.remove("tls_certificates");
                let reference = json!([{"name": "redacted", "sds_config": {"ads": {}}}]);
                fields.insert("tls_certificate_sds_secret_configs".to_owned(), reference);
            }
            fields.values_mut().for_each(complete);
        }
        _ => {}
    }
}

fn is_redacted(source: &Value) -> bool {
    let text = |field: &str| source.get(field).and_then(Value::as_str);
    text("inline_string") == Some("[redacted]") || text("inline_bytes") == Some("W3JlZGFjdGVkXQ==")
}

#[derive(Default)]
struct Loading {
    store: Store,
    refused: Vec<String>,
}

impl Loading {
    fn apply(&mut self, batch: Batch) {
        let kind = batch.kind;
        for (name, _, rejection) in self.store.apply(batch).rejected {
            // A dump holds no keys, so that identities can't be read; they say nothing about who may pass.
            if kind != Kind::Secret {
                self.refused.push(format!("{kind:?} \"{name}\": {rejection}"));
            }
        }
    }

    fn done(self) -> Loaded {
        Loaded { snapshot: self.store.snapshot(), refused: self.refused }
    }
}
