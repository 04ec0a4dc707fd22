//! An admin server over a configuration with something of everything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use config::json::Converter;
use config::model::address::Address;
use config::model::hcm::{RouteRef, RouteSource};
use config::model::tls::{Secret, SecretRef, SecretSource};
use config::reject::{FieldPath, Ignored, Rejection, Unsupported};
use config::snapshot::{
    Changes, ClusterEntry, HeldChains, Kind, ListenerEntry, Rejected, RouteEntry, SecretEntry, Snapshot, Source,
};
use config::xds::Status;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::admin::{Admin, AdminState, Bootstrap, Level, LogLevels, Options, serve_metrics};
use crate::engine::View;
use crate::lifecycle::drain::{Drain, Strategy, Trigger};
use crate::lifecycle::ready::{Block, Readiness};
use crate::lifecycle::signal::Event;
use crate::metrics::Registry;
use crate::metrics::render::Tags;
use crate::system::socket::{self, Socket};
use crate::system::{Parts, System, testing};
use crate::upstream::Clusters;

pub(super) const SECRET: &str = "do-not-show-me";

pub(super) struct World {
    pub(super) readiness: Readiness,
    pub(super) start: Option<Block>,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) registry: Arc<Registry>,
    path: std::path::PathBuf,
    _dir: tempfile::TempDir,
    _trigger: Trigger,
}

/// An answer of the server.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(configuration(2)).await
    }

    pub(super) async fn with(snapshot: Snapshot) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let registry = Registry::new(1);
        let clusters = Clusters::new(Arc::clone(&registry), Handle::current());
        let names = snapshot.clusters.keys().cloned().collect();
        clusters.apply(&snapshot, &Changes { clusters: names, ..Changes::default() });
        let (readiness, start) = Readiness::new();
        let parts = Parts {
            control: Handle::current(),
            clusters: Arc::clone(&clusters),
            registry: Arc::clone(&registry),
            readiness: readiness.clone(),
            drain_time: Duration::from_secs(1),
        };
        let (sender, events) = mpsc::channel(4);
        let mut status = Status { identifier: "kuma-cp".into(), ..Status::default() };
        status.kinds[Kind::Cluster].version = "system-v9".into();
        let options = Options {
            version: "zonegate/0.1.0".into(),
            started: Instant::now(),
            concurrency: 1,
            config_path: "e.yaml".into(),
            log_level: "info".into(),
            drain_time: Duration::from_secs(30),
            drain_strategy: Strategy::Immediate,
        };
        let state = AdminState {
            view: Arc::new(View {
                snapshot: ArcSwap::from_pointee(snapshot),
                status: ArcSwap::from_pointee(status),
                ..View::default()
            }),
            clusters,
            registry: Arc::clone(&registry),
            tags: Arc::new(Tags::default()),
            readiness: readiness.clone(),
            system: System::new(parts).status(),
            events: sender,
            bootstrap: Bootstrap { body: bootstrap(), loaded: SystemTime::now() },
            options: Arc::new(options),
            log: Arc::new(Levels::default()),
        };
        let address = Address::Pipe { path: path.as_path().into(), mode: 0o600 };
        let socket = Socket::bind(&address, socket::Options::default()).unwrap();
        let (trigger, watch) = Drain::new();
        let address = Address::Pipe { path: path.with_extension("metrics").into(), mode: 0o600 };
        let metrics = Socket::bind(&address, socket::Options::default()).unwrap();
        tokio::spawn(serve_metrics(metrics, state.clone(), watch.clone()));
        tokio::spawn(Admin::serve(socket, state, watch));
        Self { readiness, start: Some(start), events, registry, path, _dir: dir, _trigger: trigger }
    }

    /// From the socket of metrics.
    pub(super) async fn metrics(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        exchange(&self.path.with_extension("metrics"), &request).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")).await
    }

    pub(super) async fn post(&self, path: &str) -> Answer {
        self.send(&format!("POST {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")).await
    }

    pub(super) async fn send(&self, request: &str) -> Answer {
        exchange(&self.path, request).await
    }
}

async fn exchange(path: &std::path::Path, request: &str) -> Answer {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let split = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..split + 2].to_vec()).unwrap();
    let body = &answer[split + 4..];
    let body = if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_vec() };
    Answer { status: head[9..12].parse().unwrap(), head, body: String::from_utf8(body).unwrap() }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n").expect("a chunk is cut off");
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return out;
        }
        out.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
}

#[derive(Default)]
struct Levels(Mutex<BTreeMap<String, Level>>);

impl LogLevels for Levels {
    fn set(&self, target: Option<&str>, level: Level) -> Result<(), String> {
        if target == Some("nope") {
            return Err("unknown logger name".into());
        }
        self.0.lock().unwrap().insert(target.unwrap_or("default").to_owned(), level);
        Ok(())
    }

    fn all(&self) -> Vec<(String, Level)> {
        self.0.lock().unwrap().iter().map(|(target, level)| (target.clone(), *level)).collect()
    }
}

fn encode(message: &str, value: &Value) -> Bytes {
    Converter::new().unwrap().to_bytes(message, value).unwrap().into()
}

fn bootstrap() -> Bytes {
    let value = json!({
        "node": {"id": "n1", "cluster": "c1", "metadata": {"dataplane.proxyType": "ingress"}},
        "dynamic_resources": {"ads_config": {"api_type": "DELTA_GRPC", "grpc_services": [{
            "envoy_grpc": {"cluster_name": "ads_cluster"},
            "initial_metadata": [{"key": "authorization", "value": SECRET}],
        }]}},
        "layered_runtime": {"layers": [
            {"name": "kuma", "static_layer": {"re2.max_program_size.warn_level": 1000}},
            {"name": "gateway.listeners", "rtds_layer": {"name": "gateway.listeners"}},
        ]},
    });
    encode("envoy.config.bootstrap.v3.Bootstrap", &value)
}

fn source(kind: Kind, value: &Value, fixed: bool) -> Arc<Source> {
    let message = kind.type_url().trim_start_matches("type.googleapis.com/");
    let version = if fixed { "" } else { "v7" };
    Arc::new(Source { body: encode(message, value), version: version.into(), updated: SystemTime::now(), fixed })
}

fn cluster(name: &str, fixed: bool) -> Arc<ClusterEntry> {
    let entry = testing::cluster(name, &[Address::Socket("127.0.0.1:5000".parse().unwrap())]);
    let raw = json!({"name": name, "type": "EDS", "connect_timeout": "1s"});
    Arc::new(ClusterEntry {
        cluster: Arc::clone(&entry.cluster),
        assignment: Arc::clone(&entry.assignment),
        source: source(Kind::Cluster, &raw, fixed),
        ignored: [Ignored { path: path("lb_policy"), note: "never mind" }].into(),
    })
}

fn secret_ref(name: &str, source: SecretSource) -> Arc<SecretRef> {
    Arc::new(SecretRef { name: name.into(), source, initial_fetch_timeout: Duration::from_secs(15) })
}

fn path(path: &str) -> FieldPath {
    FieldPath(path.into())
}

fn rejected(kind: Kind, name: &str) -> Arc<Rejected> {
    Arc::new(Rejected {
        rejection: Rejection { path: path("connect_timeout"), reason: "must be more than zero".into() },
        version: "v8".into(),
        at: SystemTime::now(),
        body: source(kind, &json!({"name": name}), false).body.clone(),
    })
}

fn listener(name: &str) -> Arc<ListenerEntry> {
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "route_config": {"name": "inline", "virtual_hosts": [{"name": "v", "domains": ["*"]}]},
    });
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [{
            "certificate_chain": {"inline_string": "public"},
            "private_key": {"inline_string": SECRET},
        }]},
    });
    let raw = json!({"name": name, "filter_chains": [{
        "filters": [{"name": "hcm", "typed_config": manager}],
        "transport_socket": {"name": "tls", "typed_config": tls},
    }]});
    let unsupported = Unsupported { what: "a.strange.Filter".into(), path: path("filter_chains[1].filters[0]") };
    Arc::new(ListenerEntry {
        listener: Arc::new(testing::listener(name, Vec::new())),
        source: source(Kind::Listener, &raw, false),
        ignored: Box::default(),
        unsupported: [("odd".into(), unsupported)].into(),
    })
}

/// `dynamic` clusters by the control plane, and one or two of everything else.
pub(super) fn configuration(dynamic: usize) -> Snapshot {
    let mut snapshot = Snapshot { generation: 3, ..Snapshot::default() };
    for at in 0..dynamic {
        let name: Arc<str> = format!("default:backend-{at}").into();
        snapshot.clusters.insert_mut(Arc::clone(&name), cluster(&name, false));
    }
    snapshot.clusters.insert_mut("ads_cluster".into(), cluster("ads_cluster", true));
    snapshot.warming.insert_mut("cold".into(), cluster("cold", false));
    for (kind, name) in
        [(Kind::Cluster, "default:backend-0"), (Kind::Cluster, "never-good"), (Kind::Listener, "bad-listener")]
    {
        snapshot.rejected.insert_mut((kind, name.into()), rejected(kind, name));
    }
    snapshot.listeners.insert_mut("inbound:1".into(), listener("inbound:1"));
    let held = Unsupported { what: "a.newer.Filter".into(), path: path("filter_chains[0].filters[0]") };
    snapshot.held.insert_mut("inbound:1".into(), Arc::new(HeldChains([("main".into(), held)].into())));
    let note = Ignored { path: path("policy.drop_overloads"), note: "never mind" };
    snapshot.endpoint_notes.insert_mut("default:backend-1".into(), [note].into());
    let secret = json!({"name": "id", "tls_certificate": {"private_key": {"inline_string": SECRET}}});
    for (name, from, source) in [
        ("id", SecretSource::Ads, source(Kind::Secret, &secret, false)),
        ("cp", SecretSource::Static, source(Kind::Secret, &json!({"name": "cp"}), true)),
    ] {
        let entry = SecretEntry { secret: Secret::Generic, source, ignored: Box::default(), received: 0 };
        snapshot.secrets.insert_mut(secret_ref(name, from), Arc::new(entry));
    }
    snapshot.missing_secrets = [secret_ref("late", SecretSource::Ads)].into();
    snapshot.warming_listeners.insert_mut("inbound:1".into(), listener("inbound:1"));
    snapshot.warming_listeners.insert_mut("new:1".into(), listener("new:1"));
    let (timeout, name) = (std::time::Duration::ZERO, "r".into());
    let route = Arc::new(RouteRef { name, source: RouteSource::Ads, initial_fetch_timeout: timeout });
    let entry = RouteEntry {
        config: Ok(Arc::default()),
        source: source(Kind::Route, &json!({"name": "r"}), false),
        ignored: Box::default(),
        held: None,
    };
    snapshot.routes.insert_mut(route, Arc::new(entry));
    let layer = json!({"name": "gateway.listeners", "layer": {"max": 5}});
    snapshot.other.insert_mut((Kind::Runtime, "gateway.listeners".into()), source(Kind::Runtime, &layer, false));
    snapshot
}
