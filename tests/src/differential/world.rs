//! Resources of a control plane, as JSON in proto names.

use std::collections::BTreeMap;
use std::path::Path;

use config::snapshot::Kind;
use serde_json::{Map, Value, json};

use crate::bootstrap::{any_chain, kind, merged};

/// The HTTP connection manager's type.
pub const MANAGER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// Resources by kind and name.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// For people: the file, as a rule.
    pub name: String,
    /// The resources, without `@type`.
    pub resources: BTreeMap<Kind, BTreeMap<String, Value>>,
    /// Of our own files: requests beside those that are made for each route, and what hashes are taken of (`x-name` for a
    /// header, `query:name`, `cookie:name`).
    pub asks: Vec<Value>,
    /// See `asks`.
    pub keys: Vec<String>,
    /// What is named and missing may be made up.
    pub open: bool,
}

impl World {
    /// Reads a file, YAML or JSON, in any of the forms that Kuma's expected outputs have: sections (`Clusters`, …), a list
    /// of resources with `@type`, a recording (`xds` by type URL), or one resource alone.
    ///
    /// # Panics
    /// When there is no such file, or it is neither YAML nor JSON.
    pub fn read(root: &Path, path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut value: serde_yaml_ng::Value =
            serde_yaml_ng::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        value.apply_merge().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let value = serde_json::to_value(value).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
        let mut world = Self { name, ..Self::default() };
        world.take(proto_names(value));
        world
    }

    fn take(&mut self, file: Value) {
        let Value::Object(file) = file else { return };
        let mut found = false;
        if let Some(asks) = file.get("asks").or(file.get("keys")) {
            self.open = asks.is_array();
        }
        let list = |field: &str| file.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        self.asks = list("asks");
        self.keys = list("keys").iter().filter_map(|key| Some(key.as_str()?.to_owned())).collect();
        for (name, manager) in file.get("Managers").and_then(Value::as_object).into_iter().flatten() {
            let mut config = http(json!({"stat_prefix": name}));
            let mut filters = manager["http_filters"].as_array().cloned().unwrap_or_default();
            filters.push(router());
            config["typed_config"] = merged(config["typed_config"].take(), manager.clone());
            config["typed_config"]["http_filters"] = filters.into();
            self.put(Some(Kind::Listener), name, json!({"filter_chains": [any_chain(config)]}));
            found = true;
        }
        for (section, content) in &file {
            if let Some(of) = section_kind(section) {
                found = true;
                for (name, resource) in content["Resources"].as_object().into_iter().flatten() {
                    self.put(Some(of), name, resource.clone());
                }
            }
        }
        for (url, by_name) in file.get("xds").and_then(Value::as_object).into_iter().flatten() {
            found = true;
            for (name, resource) in by_name.as_object().into_iter().flatten() {
                self.put(kind_of_url(url), name, resource.clone());
            }
        }
        for entry in file.get("resources").and_then(Value::as_array).into_iter().flatten() {
            found = true;
            let resource = entry.get("resource").unwrap_or(entry);
            let of = resource["@type"].as_str().and_then(kind_of_url);
            self.put(of, entry["name"].as_str().unwrap_or_default(), resource.clone());
        }
        if !found {
            let resource = Value::Object(file);
            let of = resource["@type"].as_str().and_then(kind_of_url).or_else(|| guess(&resource));
            self.put(of, "", resource);
        }
    }

    /// Adds a resource under the name that it holds, or else `name`.
    pub fn put(&mut self, of: Option<Kind>, name: &str, mut resource: Value) {
        let (Some(of), Some(fields)) = (of, resource.as_object_mut()) else { return };
        fields.remove("@type");
        let field = if of == Kind::Endpoints { "cluster_name" } else { "name" };
        let name = fields.get(field).and_then(Value::as_str).filter(|own| !own.is_empty()).unwrap_or(name).to_owned();
        fields.insert(field.into(), name.clone().into());
        self.resources.entry(of).or_default().insert(name, resource);
    }

    /// All of a kind.
    pub fn all(&self, of: Kind) -> impl Iterator<Item = (&String, &Value)> {
        self.resources.get(&of).into_iter().flatten()
    }

    /// One of them.
    pub fn get(&self, of: Kind, name: &str) -> Option<&Value> {
        self.resources.get(&of)?.get(name)
    }

    /// Adds what a file of a single kind lacks, so that a request can get through: a listener for routes, routes for
    /// clusters, clusters for names, endpoints for clusters. A file with listeners and clusters is whole as it is, but for
    /// what it refers to.
    pub fn complete(&mut self) {
        let partial =
            self.open || self.all(Kind::Listener).next().is_none() || self.all(Kind::Cluster).next().is_none();
        if self.all(Kind::Listener).next().is_none() {
            self.front();
        }
        for name in self.routes_asked_for() {
            if self.get(Kind::Route, &name).is_none() {
                let route = json!({"name": name, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                    {"match": {"prefix": "/"}, "route": {"cluster": "stands-in"}},
                ]}]});
                self.put(Some(Kind::Route), "", route);
            }
        }
        let mut names = Vec::new();
        for (of, all) in &self.resources {
            if matches!(of, Kind::Listener | Kind::Route) {
                all.values().for_each(|resource| clusters_named(resource, &mut names));
            }
        }
        for name in names {
            // What Kuma names when there is nothing leads nowhere on purpose.
            let missing = self.get(Kind::Cluster, &name).is_none() && (partial || name == "stands-in");
            if missing && !name.contains("unresolved") {
                let cluster = json!({"name": name, "type": "EDS", "connect_timeout": "5s",
                    "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}}});
                self.put(Some(Kind::Cluster), "", cluster);
            }
        }
        self.endpoints(partial);
    }

    /// A listener for each route configuration; where there is none, one with a route to each cluster.
    fn front(&mut self) {
        if self.all(Kind::Route).next().is_none() {
            let clusters = self.all(Kind::Cluster).chain(self.all(Kind::Endpoints)).map(|(name, _)| name);
            let mut routes: Vec<_> = clusters
                .map(|name| {
                    json!({"match": {"prefix": format!("/{}", name.replace([':', ' '], "-"))},
                    "route": {"cluster": name}})
                })
                .collect();
            routes.dedup();
            if routes.is_empty() {
                return;
            }
            let hosts = json!([{"name": "all", "domains": ["*"], "routes": routes}]);
            self.put(Some(Kind::Route), "", json!({"name": "made", "virtual_hosts": hosts}));
        }
        let names: Vec<_> = self.all(Kind::Route).map(|(name, _)| name.clone()).collect();
        for name in names {
            let manager = json!({"rds": {"route_config_name": name, "config_source": {"ads": {}, "resource_api_version": "V3"}},
                "use_remote_address": true, "normalize_path": true, "merge_slashes": true});
            let listener =
                merged(json!({"name": format!("for {name}")}), json!({"filter_chains": [any_chain(http(manager))]}));
            self.put(Some(Kind::Listener), "", listener);
        }
    }

    fn routes_asked_for(&self) -> Vec<String> {
        let managers = self.all(Kind::Listener).flat_map(|(_, listener)| managers(listener));
        managers.filter_map(|manager| Some(manager["rds"]["route_config_name"].as_str()?.to_owned())).collect()
    }

    fn endpoints(&mut self, partial: bool) {
        let asked = self
            .all(Kind::Cluster)
            .filter(|(_, cluster)| cluster["type"] == "EDS" || cluster.get("eds_cluster_config").is_some());
        let asked = asked
            .map(|(name, cluster)| cluster["eds_cluster_config"]["service_name"].as_str().unwrap_or(name).to_owned());
        for name in asked.collect::<Vec<_>>() {
            if self.get(Kind::Endpoints, &name).is_none() {
                let at =
                    json!({"endpoint": {"address": {"socket_address": {"address": "192.0.2.1", "port_value": 80}}}});
                let endpoints =
                    if partial || name == "stands-in" { json!([{"lb_endpoints": [at]}]) } else { json!([]) };
                self.put(Some(Kind::Endpoints), "", json!({"cluster_name": name, "endpoints": endpoints}));
            }
        }
    }
}

/// A network filter that serves HTTP; `more` is merged into its configuration.
pub fn http(more: Value) -> Value {
    let manager = json!({
        "@type": kind(MANAGER),
        "stat_prefix": "http",
        "http_filters": [router()],
    });
    json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": merged(manager, more)})
}

/// The last HTTP filter.
pub fn router() -> Value {
    let config = json!({"@type": kind("envoy.extensions.filters.http.router.v3.Router")});
    json!({"name": "envoy.filters.http.router", "typed_config": config})
}

/// The configurations of HTTP connection managers in a listener.
pub fn managers(listener: &Value) -> impl Iterator<Item = &Value> {
    let chains = listener["filter_chains"].as_array().into_iter().flatten().chain(listener.get("default_filter_chain"));
    chains.filter_map(manager)
}

/// The configuration of a chain's HTTP connection manager.
pub fn manager(chain: &Value) -> Option<&Value> {
    let last = &chain["filters"].as_array()?.last()?["typed_config"];
    last["@type"].as_str()?.ends_with("HttpConnectionManager").then_some(last)
}

/// Every string under a key that names a cluster.
fn clusters_named(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| clusters_named(value, into)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("cluster" | "cluster_name" | "collector_cluster", Value::String(name)) => into.push(name.clone()),
                    ("clusters", Value::Array(all)) => {
                        into.extend(all.iter().filter_map(|one| Some(one["name"].as_str()?.to_owned())));
                        clusters_named(value, into);
                    }
                    _ => clusters_named(value, into),
                }
            }
        }
        _ => {}
    }
}

fn section_kind(section: &str) -> Option<Kind> {
    Some(match section {
        "Clusters" => Kind::Cluster,
        "Endpoints" => Kind::Endpoints,
        "Listeners" => Kind::Listener,
        "Routes" => Kind::Route,
        "Secrets" => Kind::Secret,
        "Runtimes" => Kind::Runtime,
        _ => return None,
    })
}

fn kind_of_url(url: &str) -> Option<Kind> {
    let short = url.rsplit('/').next()?;
    Kind::ALL.into_iter().find(|kind| kind.type_url().ends_with(&format!("/{short}")))
}

fn guess(resource: &Value) -> Option<Kind> {
    let has = |field: &str| resource.get(field).is_some();
    Some(match () {
        () if has("filter_chains") => Kind::Listener,
        () if has("virtual_hosts") => Kind::Route,
        () if has("cluster_name") => Kind::Endpoints,
        () if has("tls_certificate") || has("validation_context") => Kind::Secret,
        () if has("load_assignment") || has("eds_cluster_config") || has("connect_timeout") => Kind::Cluster,
        () => return None,
    })
}

/// JSON names to proto names. Keys that hold more than letters and digits are no field names.
fn proto_names(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(proto_names).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (proto_name(&key), proto_names(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        other => other,
    }
}

fn proto_name(key: &str) -> String {
    let is_field = key.starts_with(|c: char| c.is_ascii_lowercase()) && key.chars().all(|c| c.is_ascii_alphanumeric());
    if !is_field {
        return key.to_owned();
    }
    let mut name = String::new();
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    // Numbers that are words of their own.
    name.replace("consecutive5xx", "consecutive_5xx").replace("id128bit", "id_128bit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_in_the_proto() {
        let names = ["virtualHosts", "consecutive5xx", "kuma.io/zone", "http2ProtocolOptions", "Resources", "@type"];
        let expected =
            ["virtual_hosts", "consecutive_5xx", "kuma.io/zone", "http2_protocol_options", "Resources", "@type"];
        assert_eq!(names.map(proto_name), expected);
    }

    #[test]
    fn a_route_alone_gets_all_that_it_needs() {
        let mut world = World::default();
        let routes = json!([{"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [{"name": "a"}]}}}]);
        world.put(
            Some(Kind::Route),
            "r",
            json!({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]}),
        );
        world.complete();
        assert_eq!(world.all(Kind::Endpoints).map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(world.routes_asked_for(), ["r"]);
    }
}
