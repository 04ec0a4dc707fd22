//! `static_resources`: handed on as they are, to be parsed like those that come later.
//!
//! They are cut out of the bootstrap's encoding and share its memory; of ten thousand none is decoded here but the few
//! that the bootstrap itself refers to (the control plane's cluster, its validation secret).

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use prost::Message as _;

use crate::json::wire::{Payload, next};
use crate::reject::{Context, Rejection};
use crate::snapshot::Kind;
use crate::source::file::FileSource;
use crate::store::{Batch, Resource};

/// `Bootstrap.static_resources`.
const STATIC_RESOURCES: u32 = 2;

/// Static resources by kind, encoded, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Statics {
    listeners: Vec<Bytes>,
    clusters: Vec<Bytes>,
    secrets: Vec<Bytes>,
}

impl Statics {
    /// Takes them out; returns what is left of the bootstrap.
    pub(super) fn cut(cx: &Context, raw: &Bytes) -> Result<(Self, Bytes), Rejection> {
        let broken = |_| cx.reject("", "cannot be decoded");
        let mut statics = Self::default();
        let mut rest = Vec::new();
        let mut bytes: &[u8] = raw;
        while !bytes.is_empty() {
            let before = bytes;
            let field = next(&mut bytes).map_err(broken)?;
            if let Some((STATIC_RESOURCES, Payload::Bytes(mut part))) = field {
                while let Some((number, payload)) = next(&mut part).map_err(broken)? {
                    statics.add(number, payload, raw);
                }
            } else {
                rest.extend_from_slice(&before[..before.len() - bytes.len()]);
            }
        }
        Ok((statics, rest.into()))
    }

    fn add(&mut self, number: u32, payload: Payload<'_>, raw: &Bytes) {
        let Payload::Bytes(body) = payload else { return };
        let list = match number {
            1 => &mut self.listeners,
            2 => &mut self.clusters,
            3 => &mut self.secrets,
            _ => return,
        };
        list.push(raw.slice_ref(body));
    }

    /// The cluster of this name.
    pub(super) fn cluster(&self, name: &str) -> Option<Cluster> {
        let body = self.clusters.iter().find(|b| name_of(b) == Some(name))?;
        Cluster::decode(body.clone()).ok()
    }

    /// The secret of this name.
    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        let body = self.secrets.iter().find(|b| name_of(b) == Some(name))?;
        Secret::decode(body.clone()).ok()
    }

    /// One batch for each kind, in the order to apply them.
    pub(super) fn into_batches(self, cx: &mut Context) -> Result<Vec<Batch>, Rejection> {
        let listeners = self.listeners.into_iter().enumerate().map(named).collect();
        Ok(vec![
            batch(cx, Kind::Secret, "secrets", self.secrets)?,
            batch(cx, Kind::Cluster, "clusters", self.clusters)?,
            batch(cx, Kind::Listener, "listeners", listeners)?,
        ])
    }

    /// Files that clusters name for their endpoints.
    pub(super) fn endpoint_files(&self) -> Vec<FileSource> {
        // Most clusters have no EDS at all; those are told apart without decoding them.
        let eds = self.clusters.iter().filter(|b| has_field(b, EDS_CLUSTER_CONFIG));
        eds.filter_map(|b| endpoints_file(&Cluster::decode(b.clone()).ok()?)).collect()
    }
}

/// `Cluster.eds_cluster_config`.
const EDS_CLUSTER_CONFIG: u32 = 3;

/// A listener needs a name here. Envoy makes up a UUID; its place in the file stays the same over restarts.
fn named((index, body): (usize, Bytes)) -> Bytes {
    if name_of(&body).is_some_and(|n| !n.is_empty()) {
        return body;
    }
    let mut renamed = body.to_vec();
    prost::encoding::string::encode(1, &format!("static-{index}"), &mut renamed);
    renamed.into()
}

fn batch(cx: &mut Context, kind: Kind, field: &'static str, items: Vec<Bytes>) -> Result<Batch, Rejection> {
    let mut names: HashSet<Arc<str>> = HashSet::with_capacity(items.len());
    let upserts = cx.each(field, items, |cx, body| {
        let name: Arc<str> = name_of(&body).unwrap_or_default().into();
        cx.not_empty("name", &name)?;
        if !names.insert(Arc::clone(&name)) {
            return Err(cx.reject("name", format!("a second one is called {name}")));
        }
        Ok(Resource { name, version: Arc::from(""), body })
    })?;
    Ok(Batch { fixed: true, ..Batch::new(kind, upserts.into()) })
}

/// Field 1 of Listener, Cluster and Secret alike; the last one counts.
fn name_of(body: &[u8]) -> Option<&str> {
    let mut bytes = body;
    let mut name = None;
    while let Some((number, payload)) = next(&mut bytes).ok()? {
        if let (1, Payload::Bytes(text)) = (number, payload) {
            name = std::str::from_utf8(text).ok();
        }
    }
    name
}

fn has_field(body: &[u8], wanted: u32) -> bool {
    let mut bytes = body;
    while let Ok(Some((number, _))) = next(&mut bytes) {
        if number == wanted {
            return true;
        }
    }
    false
}

fn endpoints_file(cluster: &Cluster) -> Option<FileSource> {
    let eds = cluster.eds_cluster_config.as_ref()?;
    let name = if eds.service_name.is_empty() { &cluster.name } else { &eds.service_name };
    file_source(Kind::Endpoints, eds.eds_config.as_ref()?, Some(name.as_str().into()))
}

/// The file that a config source names, if it names one.
pub(super) fn file_source(kind: Kind, source: &core::ConfigSource, name: Option<Arc<str>>) -> Option<FileSource> {
    use core::config_source::ConfigSourceSpecifier as Specifier;
    #[allow(deprecated)]
    let (path, watched) = match source.config_source_specifier.as_ref()? {
        Specifier::Path(path) => (path, None),
        Specifier::PathConfigSource(core::PathConfigSource { path, watched_directory, poll_interval: _ }) => {
            (path, watched_directory.as_ref().map(|w| PathBuf::from(&w.path)))
        }
        Specifier::ApiConfigSource(_) | Specifier::Ads(_) | Specifier::Self_(_) => return None,
    };
    Some(FileSource { kind, path: path.into(), watched_directory: watched, name })
}
