//! What real control planes of Kuma sent to a zone ingress, replayed by incremental xDS and by state of the world:
//! all of it is accepted, nothing of it is ignored, and every name leads where the recording says.
//!
//! The recordings are in `fixtures/kuma`, one folder for each version and form, from universal control planes with two
//! zones: `services` (all is there), `gone` (its sidecars were stopped), `empty` (before the first service), `subsets`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use config::snapshot::Kind;
use serde_json::{Map, Value};
use tests::ads;
use tests::backend::Backend;
use tests::ca::{Authority, Key};
use tests::client::{Outcome, visit};
use tests::control_plane::ControlPlane;
use tests::hello::Hello;
use tests::http;
use tests::process::{self, Proxy, Site};
use tests::wait::until;

const PROTOCOLS: [&str; 2] = ["DELTA_GRPC", "GRPC"];
const LISTENER: &str = "envoy.config.listener.v3.Listener";
const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
const ENDPOINTS: &str = "envoy.config.endpoint.v3.ClusterLoadAssignment";

fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/kuma")
}

/// Base64, the form of `inline_bytes`.
fn base64(bytes: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(DIGITS[bits as usize & 63]);
    let mut text = String::new();
    for three in bytes.as_bytes().chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        text.extend((0..=three.len()).map(|i| digit(bits >> (18 - 6 * i))));
        text.extend(std::iter::repeat_n('=', 3 - three.len()));
    }
    text
}

/// A recording, moved to addresses of this test.
struct Recording(Map<String, Value>);

/// Servers in the place of the recorded endpoints, by recorded address and port; each says these as its name.
type Services = BTreeMap<(String, u64), Backend>;

impl Recording {
    /// Reads `folder/state.json`; the admin listener gets a certificate made for this run, as recordings hold no keys.
    fn read(folder: &str, state: &str, site: &Site) -> Self {
        let path = recordings().join(folder).join(state).with_extension("json");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let authority = Authority::new();
        let leaf = authority.issue("spiffe://admin", Key::Ecdsa);
        let text = text
            .replace("ADMIN_CERTIFICATE", &base64(&leaf.certificate))
            .replace("ADMIN_KEY", &base64(&leaf.key))
            .replace("ADMIN_CA", &base64(authority.pem()))
            .replace("WORK_DIR", &site.file("").display().to_string());
        let mut recording = Self(serde_json::from_str(&text).unwrap());
        for listener in recording.of(LISTENER).values_mut() {
            listener["address"]["socketAddress"]["address"] = site.address.to_string().into();
        }
        recording
    }

    fn of(&mut self, kind: &str) -> &mut Map<String, Value> {
        self.0.get_mut(kind).and_then(Value::as_object_mut).unwrap()
    }

    /// Puts servers in the place of the recorded endpoints.
    async fn populate(&mut self, services: &mut Services) {
        for assignment in self.of(ENDPOINTS).values_mut() {
            for endpoint in endpoints(assignment) {
                let at = &mut endpoint["endpoint"]["address"]["socketAddress"];
                let recorded = (at["address"].as_str().unwrap().to_owned(), at["portValue"].as_u64().unwrap());
                let name = format!("{}:{}", recorded.0, recorded.1);
                if !services.contains_key(&recorded) {
                    services.insert(recorded.clone(), Backend::echo(&name).await);
                }
                let backend = services[&recorded].address();
                at["address"] = backend.ip().to_string().into();
                at["portValue"] = backend.port().into();
                endpoint["recordedAs"] = name.into();
            }
        }
    }

    /// Each server name, and the recorded addresses that it may lead to.
    fn routes(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut routes = BTreeMap::new();
        let chains = self.0[LISTENER].as_object().unwrap().values().flat_map(|l| l["filterChains"].as_array().unwrap());
        for chain in chains {
            let Some(names) = chain["filterChainMatch"]["serverNames"].as_array() else { continue };
            let proxy = &chain["filters"].as_array().unwrap().last().unwrap()["typedConfig"];
            let wanted = proxy["metadataMatch"]["filterMetadata"]["envoy.lb"].as_object().cloned().unwrap_or_default();
            let mut assignment = self.0[ENDPOINTS][proxy["cluster"].as_str().unwrap()].clone();
            let led: BTreeSet<_> = endpoints(&mut assignment)
                .filter(|e| wanted.iter().all(|(k, v)| e["metadata"]["filterMetadata"]["envoy.lb"][k] == *v))
                .map(|e| e["recordedAs"].as_str().unwrap().to_owned())
                .collect();
            for name in names {
                routes.insert(name.as_str().unwrap().to_owned(), led.clone());
            }
        }
        routes
    }

    /// Where the listener for other zones' sidecars is, if there is one.
    fn port(&self) -> Option<u16> {
        let listener = self.0[LISTENER].as_object().unwrap().iter().find(|(name, _)| !name.contains("admin"))?.1;
        listener["address"]["socketAddress"]["portValue"].as_u64().and_then(|port| port.try_into().ok())
    }

    /// Lets the control plane send this, and nothing else of these kinds.
    fn publish(&self, control_plane: &ControlPlane, site: &Site, before: Option<&Self>) {
        let mut clean = self.0.clone();
        for assignment in clean[ENDPOINTS].as_object_mut().unwrap().values_mut() {
            endpoints(assignment).for_each(|e| drop(e.as_object_mut().unwrap().remove("recordedAs")));
        }
        let file = site.file("recording.json");
        std::fs::write(&file, Value::Object(clean).to_string()).unwrap();
        for (kind, message) in [(Kind::Listener, LISTENER), (Kind::Cluster, CLUSTER), (Kind::Endpoints, ENDPOINTS)] {
            let old = before.iter().flat_map(|before| before.0[message].as_object().unwrap().keys());
            for name in old.filter(|name| self.0[message].get(name.as_str()).is_none()) {
                control_plane.remove(kind, name);
            }
        }
        control_plane.load_fixture(&file).unwrap();
    }
}

fn endpoints(assignment: &mut Value) -> impl Iterator<Item = &mut Value> {
    let localities = assignment["endpoints"].as_array_mut().into_iter().flatten();
    localities.flat_map(|locality| locality["lbEndpoints"].as_array_mut().into_iter().flatten())
}

async fn start(control_plane: &ControlPlane, site: Site, protocol: &str) -> Proxy {
    let mut bootstrap = ads::bootstrap(&site, control_plane);
    bootstrap["dynamic_resources"]["ads_config"]["api_type"] = protocol.into();
    Proxy::start(process::Kind::Ours, site, &bootstrap).await
}

/// Waits until every name leads where it should, then asks that nothing was refused or ignored.
async fn check(proxy: &Proxy, control_plane: &ControlPlane, port: u16, routes: &BTreeMap<String, BTreeSet<String>>) {
    for (name, to) in routes {
        let what = format!("{name} to lead to {to:?}");
        until(&what, async || match visit(proxy.at(port), &Hello::to(name)).await {
            Outcome::Served(by) if to.contains(&by) => Some(()),
            Outcome::Closed if to.is_empty() => Some(()),
            _ => None,
        })
        .await;
    }
    assert_eq!(visit(proxy.at(port), &Hello::to("somewhere.else")).await, Outcome::Closed);
    taken_whole(proxy, control_plane).await;
}

async fn taken_whole(proxy: &Proxy, control_plane: &ControlPlane) {
    let (_, told) = proxy.get("/zonegate").await;
    assert!(control_plane.nacks().is_empty(), "{:?}\n{told}", control_plane.nacks());
    for what in ["rejected resources", "chains that refuse", "chains that stay", "fields that are set and not honoured"]
    {
        assert!(told.lines().any(|line| line.starts_with(what) && line.ends_with(": 0")), "{what}\n{told}");
    }
    for kind in [Kind::Cluster, Kind::Listener] {
        assert!(control_plane.acks().iter().any(|ack| ack.kind == Some(kind)), "no ACK of {kind:?}\n{told}");
    }
}

/// The control plane's own listener is served: plain text gets nothing but `/ready`.
async fn admin_listener(proxy: &Proxy, recording: &Recording) {
    let (_, listener) =
        recording.0[LISTENER].as_object().unwrap().iter().find(|(name, _)| name.contains("admin")).unwrap();
    let port = listener["address"]["socketAddress"]["portValue"].as_u64().unwrap();
    let at = proxy.at(port.try_into().unwrap());
    let answer = until("the admin listener", async || http::request(at, "GET", "/stats").await.ok()).await;
    assert_eq!(answer.0, 404, "{}", answer.1);
}

async fn replay(folder: &str, states: &[&str]) {
    for protocol in PROTOCOLS {
        let site = Site::new();
        let control_plane = ads::control_plane().await;
        let mut services = Services::new();
        let mut recording = Recording::read(folder, states[0], &site);
        recording.populate(&mut services).await;
        recording.publish(&control_plane, &site, None);
        let proxy = start(&control_plane, site, protocol).await;
        let (port, mut routes) = (recording.port().unwrap(), recording.routes());
        assert!(routes.len() >= 2 && routes.values().all(|to| !to.is_empty()), "{routes:?}");
        check(&proxy, &control_plane, port, &routes).await;
        admin_listener(&proxy, &recording).await;
        for state in &states[1..] {
            let mut next = Recording::read(folder, state, &proxy.site);
            next.populate(&mut services).await;
            next.publish(&control_plane, &proxy.site, Some(&recording));
            // What is no longer named is refused.
            routes.values_mut().for_each(BTreeSet::clear);
            routes.extend(next.routes());
            check(&proxy, &control_plane, port, &routes).await;
            recording = next;
        }
    }
}

#[tokio::test]
async fn kuma_2_13_delta() {
    replay("2.13-delta", &["services", "gone", "services"]).await;
}

#[tokio::test]
async fn kuma_2_13_state_of_the_world() {
    replay("2.13-sotw", &["services", "gone", "subsets"]).await;
}

#[tokio::test]
async fn kuma_2_14_zone_ingress() {
    replay("2.14-zoneingress", &["services", "gone", "services"]).await;
}

#[tokio::test]
async fn kuma_2_14_listener_of_a_dataplane() {
    replay("2.14-listener", &["services", "gone", "services"]).await;
}

#[tokio::test]
async fn kuma_3_0() {
    replay("3.0", &["services", "gone", "services"]).await;
}

/// Without a destination 2.x sends a listener that says so, 3.0 none; each is ready.
#[tokio::test]
async fn no_destination_yet() {
    for (folder, text) in [
        ("2.13-delta", Some(r#"{"proxy":".ingress","zone":"zone-2"}"#)),
        ("2.14-zoneingress", Some(r#"{"proxy":".ingress","zone":"zone-2"}"#)),
        ("3.0", None),
    ] {
        for protocol in PROTOCOLS {
            let site = Site::new();
            let control_plane = ads::control_plane().await;
            let recording = Recording::read(folder, "empty", &site);
            recording.publish(&control_plane, &site, None);
            let proxy = start(&control_plane, site, protocol).await;
            admin_listener(&proxy, &recording).await;
            taken_whole(&proxy, &control_plane).await;
            assert_eq!(recording.port().is_some(), text.is_some(), "{folder}");
            if let (Some(port), Some(text)) = (recording.port(), text) {
                let said = visit(proxy.at(port), &Hello::to("any.name")).await;
                assert_eq!(said, Outcome::Answer(text.into()), "{folder}");
            }
        }
    }
}
