//! The parts of the dump, in Envoy's order, and what each holds.

use std::sync::Arc;

use bytes::Bytes;
use config::snapshot::{Kind, Rejected, Snapshot};
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use prost::{Message, Name};
use rpds::HashTrieMapSync;

use super::super::state::AdminState;
use super::Names;
use super::assignment::assignment_name;
use super::item::Item;
use super::mask::Mask;

/// One entry of `configs`.
pub(super) struct Section {
    /// Its message in `envoy.admin.v3`.
    pub(super) message: &'static str,
    pub(super) fields: Vec<(&'static str, Content)>,
}

/// What a field of a section holds.
pub(super) enum Content {
    Text(String),
    One(Box<Item>),
    Many(Vec<Item>),
}

impl Section {
    /// Whether every path of the mask leads to a field of this section: protobuf refuses a mask as a whole.
    pub(super) fn fits(&self, mask: &Mask) -> bool {
        mask.paths().iter().all(|path| match path.as_slice() {
            [] => false,
            [field] => self.fields.iter().any(|(name, _)| name == field),
            [field, ..] => {
                self.fields.iter().any(|(name, content)| name == field && matches!(content, Content::One(_)))
            }
        })
    }
}

/// All sections; Envoy orders them by the keys of its config tracker. Their versions are those of the last responses
/// (with delta `system_version_info`).
pub(super) fn all(state: &AdminState, names: &Names, include_eds: bool) -> Vec<Section> {
    let snapshot = state.view.snapshot.load_full();
    let status = state.view.status.load_full();
    let version = |kind| &*status.kinds[kind].version;
    let mut sections = vec![bootstrap(state), clusters(&snapshot, version(Kind::Cluster), names)];
    if include_eds {
        sections.push(endpoints(state, names));
    }
    sections.push(listeners(&snapshot, version(Kind::Listener), names));
    sections.push(Section { message: "ScopedRoutesConfigDump", fields: Vec::new() });
    sections.push(routes(&snapshot, names));
    let secrets = secrets(&snapshot, names);
    if secrets.fields.iter().any(|(_, content)| matches!(content, Content::Many(items) if !items.is_empty())) {
        sections.push(secrets);
    }
    sections
}

fn bootstrap(state: &AdminState) -> Section {
    let fields = vec![
        ("bootstrap", Content::One(Box::new(Item::Bootstrap(state.bootstrap.clone())))),
        ("last_updated", Content::One(Box::new(Item::Time(state.bootstrap.loaded)))),
    ];
    Section { message: "BootstrapConfigDump", fields }
}

fn clusters(snapshot: &Snapshot, version: &str, names: &Names) -> Section {
    let (mut fixed, mut active, mut warming) = (Vec::new(), Vec::new(), Vec::new());
    let refused = |name: &Arc<str>| rejected(snapshot, Kind::Cluster, name);
    for (name, entry) in sorted(&snapshot.clusters, names) {
        let source = Arc::clone(&entry.source);
        match source.fixed {
            true => fixed.push(Item::StaticCluster(source)),
            false => active.push(Item::DynamicCluster { source: Some(source), rejected: refused(name) }),
        }
    }
    for (name, entry) in sorted(&snapshot.warming, names) {
        let source = Some(Arc::clone(&entry.source));
        warming.push(Item::DynamicCluster { source, rejected: refused(name) });
    }
    for (name, rejected) in all_rejected(snapshot, Kind::Cluster, names) {
        if !snapshot.clusters.contains_key(&name) && !snapshot.warming.contains_key(&name) {
            warming.push(Item::DynamicCluster { source: None, rejected: Some(rejected) });
        }
    }
    let fields = vec![
        ("version_info", Content::Text(version.to_owned())),
        ("static_clusters", Content::Many(fixed)),
        ("dynamic_active_clusters", Content::Many(active)),
        ("dynamic_warming_clusters", Content::Many(warming)),
    ];
    Section { message: "ClustersConfigDump", fields }
}

fn listeners(snapshot: &Snapshot, version: &str, names: &Names) -> Section {
    let (mut fixed, mut dynamic) = (Vec::new(), Vec::new());
    let warming = |name: &Arc<str>| snapshot.warming_listeners.get(name).map(|entry| Arc::clone(&entry.source));
    for (name, entry) in sorted(&snapshot.listeners, names) {
        let source = Arc::clone(&entry.source);
        if source.fixed {
            fixed.push(Item::StaticListener(source));
            continue;
        }
        let (warming, rejected) = (warming(name), rejected(snapshot, Kind::Listener, name));
        dynamic.push(Item::DynamicListener { name: Arc::clone(name), source: Some(source), warming, rejected });
    }
    for (name, entry) in sorted(&snapshot.warming_listeners, names) {
        let source = Arc::clone(&entry.source);
        if snapshot.listeners.contains_key(name) {
            continue;
        }
        if source.fixed {
            fixed.push(Item::StaticListener(source));
            continue;
        }
        let (name, rejected) = (Arc::clone(name), rejected(snapshot, Kind::Listener, name));
        dynamic.push(Item::DynamicListener { name, source: None, warming: Some(source), rejected });
    }
    for (name, rejected) in all_rejected(snapshot, Kind::Listener, names) {
        if !snapshot.listeners.contains_key(&name) && !snapshot.warming_listeners.contains_key(&name) {
            let (source, warming) = (None, None);
            dynamic.push(Item::DynamicListener { name, source, warming, rejected: Some(rejected) });
        }
    }
    let fields = vec![
        ("version_info", Content::Text(version.to_owned())),
        ("static_listeners", Content::Many(fixed)),
        ("dynamic_listeners", Content::Many(dynamic)),
    ];
    Section { message: "ListenersConfigDump", fields }
}

fn routes(snapshot: &Snapshot, names: &Names) -> Section {
    let (mut fixed, mut dynamic) = (Vec::new(), Vec::new());
    for (_, entry) in sorted(&snapshot.listeners, &Names(None)) {
        for (name, body) in inline_routes(&entry.source.body) {
            if names.match_all(&name) {
                fixed.push(Item::StaticRoute { body, updated: entry.source.updated });
            }
        }
    }
    let mut held: Vec<_> = snapshot.routes.iter().filter(|(route, _)| names.match_all(&route.name)).collect();
    held.sort_unstable_by_key(|(route, _)| route.to_string());
    dynamic.extend(held.into_iter().map(|(_, entry)| Item::DynamicRoute(Arc::clone(&entry.source))));
    let fields =
        vec![("static_route_configs", Content::Many(fixed)), ("dynamic_route_configs", Content::Many(dynamic))];
    Section { message: "RoutesConfigDump", fields }
}

/// Secrets by name, those that something waits for too.
fn secrets(snapshot: &Snapshot, names: &Names) -> Section {
    let (mut fixed, mut active, mut warming) = (Vec::new(), Vec::new(), Vec::new());
    let mut held: Vec<_> = snapshot.secrets.iter().filter(|(secret, _)| names.match_all(&secret.name)).collect();
    held.sort_unstable_by_key(|(secret, _)| secret.to_string());
    for (secret, entry) in held {
        let (name, source) = (Arc::clone(&secret.name), Arc::clone(&entry.source));
        if source.fixed {
            fixed.push(Item::StaticSecret { name, source });
        } else {
            let rejected = rejected(snapshot, Kind::Secret, &secret.to_string().into());
            active.push(Item::DynamicSecret { name, source: Some(source), rejected });
        }
    }
    for secret in &*snapshot.missing_secrets {
        if names.match_all(&secret.name) {
            let rejected = rejected(snapshot, Kind::Secret, &secret.to_string().into());
            warming.push(Item::DynamicSecret { name: Arc::clone(&secret.name), source: None, rejected });
        }
    }
    let fields = vec![
        ("static_secrets", Content::Many(fixed)),
        ("dynamic_active_secrets", Content::Many(active)),
        ("dynamic_warming_secrets", Content::Many(warming)),
    ];
    Section { message: "SecretsConfigDump", fields }
}

fn endpoints(state: &AdminState, names: &Names) -> Section {
    let (mut fixed, mut dynamic) = (Vec::new(), Vec::new());
    for (_, cluster) in sorted(&state.clusters.all(), &Names(None)) {
        if !names.match_all(&assignment_name(cluster)) {
            continue;
        }
        match cluster.entry().source.fixed {
            true => fixed.push(Item::StaticEndpoints(Arc::clone(cluster))),
            false => dynamic.push(Item::DynamicEndpoints(Arc::clone(cluster))),
        }
    }
    let fields =
        vec![("static_endpoint_configs", Content::Many(fixed)), ("dynamic_endpoint_configs", Content::Many(dynamic))];
    Section { message: "EndpointsConfigDump", fields }
}

/// Entries of a map whose names are asked for, by name.
fn sorted<'a, V>(map: &'a HashTrieMapSync<Arc<str>, V>, names: &Names) -> Vec<(&'a Arc<str>, &'a V)> {
    let mut entries: Vec<_> = map.iter().filter(|(name, _)| names.match_all(name)).collect();
    entries.sort_unstable_by(|a, b| a.0.cmp(b.0));
    entries
}

fn rejected(snapshot: &Snapshot, kind: Kind, name: &Arc<str>) -> Option<Arc<Rejected>> {
    snapshot.rejected.get(&(kind, Arc::clone(name))).cloned()
}

fn all_rejected(snapshot: &Snapshot, kind: Kind, names: &Names) -> Vec<(Arc<str>, Arc<Rejected>)> {
    let entries = snapshot.rejected.iter().filter(|((k, name), _)| *k == kind && names.match_all(name));
    let mut entries: Vec<_> = entries.map(|((_, name), rejected)| (Arc::clone(name), Arc::clone(rejected))).collect();
    entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    entries
}

/// Name and encoded form of each route configuration that stands in a listener.
fn inline_routes(listener: &[u8]) -> Vec<(String, Bytes)> {
    let Ok(listener) = Listener::decode(listener) else { return Vec::new() };
    let chains = listener.filter_chains.into_iter().chain(listener.default_filter_chain);
    let filters = chains.flat_map(|chain| chain.filters);
    filters
        .filter_map(|filter| match filter.config_type? {
            ConfigType::TypedConfig(any) if any.type_url == HttpConnectionManager::type_url() => {
                let manager = HttpConnectionManager::decode(any.value.as_slice()).ok()?;
                match manager.route_specifier? {
                    RouteSpecifier::RouteConfig(routes) => Some((routes.name.clone(), routes.encode_to_vec().into())),
                    RouteSpecifier::Rds(_) | RouteSpecifier::ScopedRoutes(_) => None,
                }
            }
            ConfigType::TypedConfig(_) | ConfigType::ConfigDiscovery(_) => None,
        })
        .collect()
}
