//! A recording, moved to addresses of a test.

use std::collections::BTreeSet;
use std::path::Path;

use config::snapshot::Kind;
use serde_json::{Map, Value};
use tests::control_plane::ControlPlane;
use tests::process::Site;

use crate::world::{Speaks, World};

const LISTENER: &str = "envoy.config.listener.v3.Listener";
const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
const ENDPOINTS: &str = "envoy.config.endpoint.v3.ClusterLoadAssignment";
const SECRET: &str = "envoy.extensions.transport_sockets.tls.v3.Secret";

/// The resources of a state, in JSON, by type and name.
pub(crate) struct Recording(Map<String, Value>);

/// A filter chain of the egress.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The server name that leads to it.
    pub(crate) name: String,
    /// What becomes of its connections.
    pub(crate) kind: RouteKind,
    /// The recorded addresses that it may lead to.
    pub(crate) to: BTreeSet<String>,
    /// Whether new connections are limited.
    pub(crate) limited: bool,
}

/// What becomes of a chain's connections.
#[derive(Clone, Debug)]
pub(crate) enum RouteKind {
    /// They go on to another zone as they are.
    Passthrough,
    /// TLS ends here, clients are of the same mesh as this identity, which the egress shows.
    Terminated { identity: String },
    /// The same with HTTP.
    Http { identity: String },
}

impl Recording {
    /// Reads `folder/state.json` and puts what it lacks in its place.
    pub(crate) async fn read(folder: &str, state: &str, world: &mut World, site: &Site) -> Self {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/kuma");
        let path = fixtures.join(folder).join(state).with_extension("json");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut recording = Self(serde_json::from_str(&text).unwrap());
        for listener in recording.of(LISTENER).values_mut() {
            listener["address"]["socketAddress"]["address"] = site.address.to_string().into();
        }
        let of_http = recording.clusters_of_http();
        for (name, cluster) in recording.of(CLUSTER) {
            let speaks = (speaks(cluster), of_http.contains(name));
            let Some(assignment) = cluster.get_mut("loadAssignment") else { continue };
            populate(assignment, speaks, world).await;
        }
        for (name, assignment) in recording.of(ENDPOINTS) {
            populate(assignment, (Speaks::Plain, of_http.contains(name)), world).await;
        }
        recording
    }

    fn of(&mut self, kind: &str) -> &mut Map<String, Value> {
        self.0.get_mut(kind).and_then(Value::as_object_mut).unwrap()
    }

    /// The clusters that HTTP chains of the egress lead to.
    fn clusters_of_http(&self) -> BTreeSet<String> {
        let chains = self.egress()["filterChains"].as_array().unwrap().iter();
        chains
            .flat_map(|chain| by_routes(&chain["filters"].as_array().unwrap().last().unwrap()["typedConfig"]))
            .collect()
    }

    fn egress(&self) -> &Value {
        let is_egress = |name: &str| name.contains("egress") || name.starts_with("inbound:");
        self.0[LISTENER].as_object().unwrap().iter().find(|(name, _)| is_egress(name)).unwrap().1
    }

    /// Where the egress listens.
    pub(crate) fn port(&self) -> u16 {
        self.egress()["address"]["socketAddress"]["portValue"].as_u64().unwrap().try_into().unwrap()
    }

    /// Where the ingress listens that is in the same process, and a server name of it.
    pub(crate) fn ingress(&self) -> Option<(u16, String)> {
        let listeners = self.0[LISTENER].as_object().unwrap();
        let ingress = listeners.iter().find(|(name, _)| name.contains("zoneingress"))?.1;
        let name = ingress["filterChains"][0]["filterChainMatch"]["serverNames"][0].as_str()?;
        Some((ingress["address"]["socketAddress"]["portValue"].as_u64()?.try_into().ok()?, name.to_owned()))
    }

    /// Every chain of the egress.
    pub(crate) fn routes(&self) -> Vec<Route> {
        self.egress()["filterChains"].as_array().unwrap().iter().map(|chain| self.route(chain)).collect()
    }

    fn route(&self, chain: &Value) -> Route {
        let name = chain["filterChainMatch"]["serverNames"][0].as_str().unwrap().to_owned();
        let filters = chain["filters"].as_array().unwrap();
        let limited = filters.iter().any(|filter| filter["name"].as_str().unwrap().contains("local_ratelimit"));
        let last = &filters.last().unwrap()["typedConfig"];
        let clusters: Vec<String> = match last["cluster"].as_str() {
            Some(cluster) => vec![cluster.to_owned()],
            None => by_routes(last),
        };
        let to = clusters.iter().flat_map(|cluster| {
            let inline = &self.0[CLUSTER][cluster]["loadAssignment"];
            let assignment = if inline.is_null() { &self.0[ENDPOINTS][cluster] } else { inline };
            endpoints(&mut assignment.clone()).map(|e| e["recordedAs"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        });
        let to = to.collect();
        let common = &chain["transportSocket"]["typedConfig"]["commonTlsContext"];
        let kind = match common["tlsCertificateSdsSecretConfigs"][0]["name"].as_str() {
            None => RouteKind::Passthrough,
            Some(secret) if last["cluster"].is_null() => RouteKind::Http { identity: self.identity(secret) },
            Some(secret) => RouteKind::Terminated { identity: self.identity(secret) },
        };
        Route { name, kind, to, limited }
    }

    fn identity(&self, secret: &str) -> String {
        let marker = self.0[SECRET][secret]["tlsCertificate"]["certificateChain"]["inlineBytes"].as_str().unwrap();
        marker.split(' ').nth(1).unwrap().to_owned()
    }

    /// Lets the control plane send all but secrets in the place of what it sent before.
    pub(crate) fn publish(&self, control_plane: &ControlPlane, world: &mut World, site: &Site) {
        let mut all = self.0.clone();
        all.remove(SECRET);
        send(all, control_plane, world, site);
    }

    /// Lets it send the secrets.
    pub(crate) fn publish_secrets(&self, control_plane: &ControlPlane, world: &mut World, site: &Site) {
        let secrets = self.0.iter().filter(|(kind, _)| *kind == SECRET);
        send(secrets.map(|(kind, all)| (kind.clone(), all.clone())).collect(), control_plane, world, site);
    }
}

fn send(resources: Map<String, Value>, control_plane: &ControlPlane, world: &mut World, site: &Site) {
    let mut resources = Value::Object(resources);
    world.fill(&mut resources, site);
    for (kind, at) in [(CLUSTER, "/loadAssignment"), (ENDPOINTS, "")] {
        let of_kind = resources.get_mut(kind).and_then(Value::as_object_mut);
        for resource in of_kind.into_iter().flat_map(Map::values_mut) {
            let assignment = resource.pointer_mut(at).into_iter();
            assignment.flat_map(endpoints).for_each(|e| drop(e.as_object_mut().unwrap().remove("recordedAs")));
        }
    }
    let file = site.file("recording.json");
    std::fs::write(&file, resources.to_string()).unwrap();
    control_plane.load_fixture(&file).unwrap();
}

/// The clusters of a connection manager's routes.
fn by_routes(manager: &Value) -> Vec<String> {
    let hosts = manager["routeConfig"]["virtualHosts"].as_array().into_iter().flatten();
    let routes = hosts.flat_map(|host| host["routes"].as_array().unwrap());
    routes.filter_map(|route| route["route"]["cluster"].as_str().map(str::to_owned)).collect()
}

/// How the servers of a cluster are spoken to.
fn speaks(cluster: &Value) -> Speaks {
    let context = &cluster["transportSocketMatches"][0]["transportSocket"]["typedConfig"]["commonTlsContext"];
    match (context.is_null(), context["tlsCertificates"].is_null()) {
        (true, _) => Speaks::Plain,
        (false, true) => Speaks::Tls,
        (false, false) => Speaks::Mutual,
    }
}

/// Puts servers in the place of the recorded endpoints; names that are to be looked up stay.
async fn populate(assignment: &mut Value, speaks: (Speaks, bool), world: &mut World) {
    for endpoint in endpoints(assignment) {
        let at = &mut endpoint["endpoint"]["address"]["socketAddress"];
        // The control plane's own clusters lead to sockets.
        let (Some(address), Some(port)) = (at["address"].as_str(), at["portValue"].as_u64()) else { continue };
        let address = address.to_owned();
        let server = world.server(&address, port, speaks).await;
        if address != "localhost" {
            at["address"] = server.ip().to_string().into();
        }
        at["portValue"] = server.port().into();
        endpoint["recordedAs"] = format!("{address}:{port}").into();
    }
}

fn endpoints(assignment: &mut Value) -> impl Iterator<Item = &mut Value> {
    // No index, which would put a null where nothing is.
    let localities = assignment.get_mut("endpoints").and_then(Value::as_array_mut).into_iter().flatten();
    localities.flat_map(|locality| locality.get_mut("lbEndpoints").and_then(Value::as_array_mut).into_iter().flatten())
}

/// Whether a request asked for secrets.
pub(crate) fn asked_for_secrets(control_plane: &ControlPlane) -> bool {
    control_plane.requests().iter().any(|request| request.kind == Some(Kind::Secret))
}
