//! A [`World`] moved to where things are: listeners on a proxy's own address, servers in the place of endpoints, certificates
//! that hold. Nothing else of it is changed, but for times that no test can wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::snapshot::Kind;
use proxy::tls::names::ServerConfigs;
use serde_json::{Map, Value, json};

use super::world::World;
use crate::ca::{Authority, Key, Leaf, Wanted};
use crate::http_peer::{HttpServer, Journal, tls};

/// Stands for the proxy's address in resources.
pub const SITE: &str = "127.0.0.0";
/// Stands for the proxy's directory.
pub const FILES: &str = "/SITE-FILES";
/// The first listener's port.
const FIRST_PORT: u16 = 20_000;

/// Everything around the proxies, for any number of worlds.
pub struct Stage {
    /// What the servers saw.
    pub journal: Journal,
    /// Of the mesh and of the world outside alike.
    pub authority: Authority,
    servers: Vec<HttpServer>,
    leaves: BTreeMap<Vec<String>, Arc<ServerConfigs>>,
    own: [Leaf; 2],
    worlds: usize,
    port: u16,
}

impl Default for Stage {
    fn default() -> Self {
        let authority = Authority::new();
        let own = [Key::Ecdsa, Key::Rsa].map(|key| {
            let dns = vec!["localhost".into(), "*.example.com".into()];
            authority.issue_as(&Wanted { key, dns, ..Wanted::identity("spiffe://default/gateway") })
        });
        let (servers, leaves) = (Vec::new(), BTreeMap::new());
        Self { journal: Journal::default(), authority, servers, leaves, own, worlds: 0, port: FIRST_PORT }
    }
}

/// Names that get a prefix of their world, so that all worlds can be there at once.
struct Names {
    prefix: String,
    of: BTreeMap<Kind, BTreeSet<String>>,
}

impl Names {
    fn renamed(&self, of: Kind, name: &str) -> Option<String> {
        self.of.get(&of)?.contains(name).then(|| format!("{}{name}", self.prefix))
    }
}

impl Stage {
    /// The world with all that it needs here. Listeners on pipes are left out: they are the control plane's own.
    pub async fn set(&mut self, mut world: World) -> World {
        self.worlds += 1;
        world.resources.remove(&Kind::Runtime);
        if let Some(listeners) = world.resources.get_mut(&Kind::Listener) {
            listeners.retain(|_, listener| listener.pointer("/address/pipe").is_none());
        }
        world.complete();
        self.secrets(&mut world);
        let named = |(kind, all): (&Kind, &BTreeMap<String, Value>)| (*kind, all.keys().cloned().collect());
        let names = Names { prefix: format!("w{}.", self.worlds), of: world.resources.iter().map(named).collect() };
        let (asks, keys) = (std::mem::take(&mut world.asks), std::mem::take(&mut world.keys));
        let mut there = World { name: world.name.clone(), asks, keys, ..World::default() };
        let sans = sans_of(&world);
        for (of, all) in world.resources {
            for (name, mut resource) in all {
                self.renew(&mut resource);
                rename(&mut resource, &names, of);
                match of {
                    Kind::Listener => self.listen(&mut resource),
                    Kind::Cluster => self.cluster(&name, &mut resource, &sans).await,
                    Kind::Endpoints => self.endpoints(&name, &mut resource, &sans).await,
                    Kind::Route | Kind::Secret | Kind::Runtime => {}
                }
                there.put(Some(of), &name, resource);
            }
        }
        there
    }

    fn listen(&mut self, listener: &mut Value) {
        listener["address"] = json!({"socket_address": {"address": SITE, "port_value": self.port}});
        self.port += 1;
    }

    async fn cluster(&mut self, name: &str, cluster: &mut Value, sans: &BTreeMap<String, Vec<String>>) {
        let by_name = matches!(cluster["type"].as_str(), Some("STRICT_DNS" | "LOGICAL_DNS"));
        if by_name {
            cluster["dns_lookup_family"] = "V4_ONLY".into();
        }
        // Which of its endpoints it is matters where that is no matter of chance.
        let hashed = matches!(cluster["lb_policy"].as_str(), Some("RING_HASH" | "MAGLEV"));
        let name = if hashed { format!("{name}#") } else { name.to_owned() };
        if let Some(assignment) = cluster.get_mut("load_assignment") {
            self.endpoints(&name, assignment, sans).await;
        }
    }

    /// A server in the place of each endpoint.
    async fn endpoints(&mut self, name: &str, assignment: &mut Value, sans: &BTreeMap<String, Vec<String>>) {
        let groups = assignment["endpoints"].as_array_mut().into_iter().flatten();
        let each = groups.flat_map(|group| group["lb_endpoints"].as_array_mut().into_iter().flatten());
        for (number, endpoint) in each.enumerate() {
            let endpoint = &mut endpoint["endpoint"];
            let label = if name.ends_with('#') { format!("{name}{number}") } else { name.to_owned() };
            let configs = self.shows(sans.get(name).cloned().unwrap_or_default());
            let server = HttpServer::start(&label, &self.journal, Some(configs)).await;
            let recorded = endpoint.pointer("/address/socket_address/address").and_then(Value::as_str).unwrap_or("");
            let is_name = recorded.contains(|c: char| c.is_ascii_lowercase()) && !recorded.contains(':');
            let address = if is_name { "localhost" } else { "127.0.0.1" };
            endpoint["address"] =
                json!({"socket_address": {"address": address, "port_value": server.address().port()}});
            self.servers.push(server);
        }
    }

    fn shows(&mut self, names: Vec<String>) -> Arc<ServerConfigs> {
        let authority = &self.authority;
        let issue = |names: &Vec<String>| {
            let (uris, dns) = names.iter().cloned().partition(|name: &String| name.contains("://"));
            let leaf = authority.issue_as(&Wanted { uris, dns, ..Wanted::identity("spiffe://default/backend") });
            let alpn = ["h2", "http/1.1", "kuma"];
            Arc::new(ServerConfigs::new((*tls::server(authority, &leaf, &alpn)).clone()))
        };
        Arc::clone(self.leaves.entry(names).or_insert_with_key(issue))
    }

    /// A secret for every name that is asked for.
    fn secrets(&self, world: &mut World) {
        let mut asked = Vec::new();
        for resource in world.resources.values().flat_map(BTreeMap::values) {
            secrets_asked_for(resource, "", &mut asked);
        }
        for (name, shown) in asked {
            if world.get(Kind::Secret, &name).is_none() {
                let marker = json!({"inline_string": ""});
                let secret = if shown {
                    json!({"name": name, "tls_certificate": {"certificate_chain": marker, "private_key": marker}})
                } else {
                    json!({"name": name, "validation_context": {"trusted_ca": marker}})
                };
                world.put(Some(Kind::Secret), &name, secret);
            }
        }
        for (name, secret) in world.resources.get_mut(&Kind::Secret).into_iter().flatten() {
            // One listener may show one of each.
            if let Some(certificate) = secret.get_mut("tls_certificate").and_then(Value::as_object_mut) {
                certificate.insert("rsa".into(), name.contains("rsa").into());
            }
        }
    }

    /// Certificates and keys that hold, files that may be written, times that can be waited for.
    fn renew(&self, value: &mut Value) {
        match value {
            // What a recording hides.
            Value::String(text) if text.contains("%*%") || text.contains("%gateway-proxy%") => {
                *text = text.replace("%*%", "-").replace("%gateway-proxy%", "gateway-proxy");
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.renew(value)),
            Value::Object(fields) => {
                if fields.contains_key("certificate_chain") {
                    let rsa = fields.remove("rsa").is_some_and(|rsa| rsa == true);
                    let leaf = &self.own[usize::from(rsa)];
                    fields.insert("certificate_chain".into(), json!({"inline_string": leaf.certificate}));
                    fields.insert("private_key".into(), json!({"inline_string": leaf.key}));
                }
                for place in ["trusted_ca", "trust_bundle"] {
                    if fields.contains_key(place) {
                        fields.insert(place.into(), json!({"inline_string": self.authority.pem()}));
                    }
                }
                wait_less(fields);
                if fields.get("address_prefix").is_some_and(|address| address == "IP_REDACTED") {
                    let one = fields.get("prefix_len").is_some_and(|length| length == 32);
                    fields.insert("address_prefix".into(), if one { "127.0.0.1" } else { "10.0.0.0" }.into());
                }
                if let Some(path) = log_path(fields) {
                    fields.insert("path".into(), path.into());
                }
                fields.values_mut().for_each(|value| self.renew(value));
            }
            _ => {}
        }
    }
}

/// A delay of a minute is one of some milliseconds; a bucket that fills up while a test runs does not.
fn wait_less(fields: &mut Map<String, Value>) {
    if fields.contains_key("fixed_delay") {
        fields.insert("fixed_delay".into(), "0.050s".into());
    }
    // Kuma's own test sets one that Envoy refuses to limit with; a route that is refused takes others with it.
    if let Some(status) = fields.get_mut("status").filter(|status| status["code"] == 444) {
        status["code"] = 429.into();
    }
    if fields.contains_key("fill_interval") {
        fields.insert("fill_interval".into(), "3600s".into());
    }
}

fn log_path(fields: &Map<String, Value>) -> Option<String> {
    let is_log = fields.get("@type")?.as_str()?.ends_with("FileAccessLog");
    let name = fields.get("path")?.as_str()?.replace('/', "-");
    is_log.then(|| format!("{FILES}/{name}"))
}

/// Names in certificates, by cluster, that are asked for when it is connected to.
fn sans_of(world: &World) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for (name, cluster) in world.all(Kind::Cluster) {
        let mut names = Vec::new();
        sans(cluster, &mut names);
        names.sort();
        names.dedup();
        let service = cluster["eds_cluster_config"]["service_name"].as_str().unwrap_or(name);
        all.insert(service.to_owned(), names);
    }
    all
}

fn sans(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| sans(value, into)),
        Value::Object(fields) => {
            if let (Some(_), Some(matcher)) = (fields.get("san_type"), fields.get("matcher")) {
                let exact = matcher["exact"].as_str().map(str::to_owned);
                let prefix = matcher["prefix"].as_str().map(|start| format!("{}/service", start.trim_end_matches('/')));
                into.extend(exact.or(prefix));
            }
            fields.values().for_each(|value| sans(value, into));
        }
        _ => {}
    }
}

/// Names of secrets, and whether a certificate is meant (or else roots).
fn secrets_asked_for(value: &Value, key: &str, into: &mut Vec<(String, bool)>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| secrets_asked_for(value, key, into)),
        Value::Object(fields) => {
            if let (Some(_), Some(name)) = (fields.get("sds_config"), fields.get("name").and_then(Value::as_str)) {
                into.push((name.to_owned(), key == "tls_certificate_sds_secret_configs"));
            }
            fields.iter().for_each(|(key, value)| secrets_asked_for(value, key, into));
        }
        _ => {}
    }
}

fn rename(value: &mut Value, names: &Names, top: Kind) {
    let field = if top == Kind::Endpoints { "cluster_name" } else { "name" };
    if let Some(renamed) = value[field].as_str().and_then(|name| names.renamed(top, name)) {
        value[field] = renamed.into();
    }
    // Without one Envoy takes the cluster's name.
    if top == Kind::Cluster
        && value.get("eds_cluster_config").is_some()
        && value.pointer("/eds_cluster_config/service_name").is_some()
    {
        let service = value["eds_cluster_config"]["service_name"].as_str().unwrap_or_default();
        value["eds_cluster_config"]["service_name"] =
            names.renamed(Kind::Endpoints, service).unwrap_or_default().into();
    }
    within(value, names);
}

fn within(value: &mut Value, names: &Names) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| within(value, names)),
        Value::Object(fields) => {
            let is_secret = fields.contains_key("sds_config");
            for (key, value) in fields.iter_mut() {
                let of = match key.as_str() {
                    "cluster" | "cluster_name" | "collector_cluster" => Kind::Cluster,
                    "route_config_name" => Kind::Route,
                    "name" if is_secret => Kind::Secret,
                    _ => {
                        if let ("clusters", Value::Array(weighted)) = (key.as_str(), &mut *value) {
                            weighted.iter_mut().for_each(|one| named_cluster(one, names));
                        }
                        within(value, names);
                        continue;
                    }
                };
                match value.as_str() {
                    Some(name) => *value = names.renamed(of, name).unwrap_or_else(|| name.to_owned()).into(),
                    None => within(value, names),
                }
            }
        }
        _ => {}
    }
}

fn named_cluster(weighted: &mut Value, names: &Names) {
    if let Some(renamed) = weighted["name"].as_str().and_then(|name| names.renamed(Kind::Cluster, name)) {
        weighted["name"] = renamed.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn moved() {
        let mut world = World::default();
        let cluster = json!({"name": "c", "type": "STRICT_DNS", "load_assignment": {"cluster_name": "c", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "a.b", "port_value": 1}}}}]}]}});
        world.put(Some(Kind::Cluster), "", cluster);
        let there = Stage::default().set(world).await;
        let cluster = there.get(Kind::Cluster, "w1.c").unwrap();
        let at =
            &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"];
        assert!(at["address"] == "localhost" && at["port_value"] != 1);
        assert_eq!(cluster["load_assignment"]["cluster_name"], "w1.c");
        let (_, listener) = there.all(Kind::Listener).next().unwrap();
        assert_eq!(listener["address"]["socket_address"], json!({"address": SITE, "port_value": FIRST_PORT}));
        let (_, route) = there.all(Kind::Route).next().unwrap();
        assert_eq!(route["virtual_hosts"][0]["routes"][0]["route"]["cluster"], "w1.c");
    }
}
