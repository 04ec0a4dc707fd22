//! A sink that remembers, and a client that runs beside a test.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::bootstrap::Dynamic;
use config::reject::{FieldPath, Rejection};
use config::snapshot::Kind;
use config::source::Sources;
use config::store::{Applied, Batch};
use config::xds::backoff::Backoff;
use config::xds::client::{Client, Protocol};
use config::xds::status::Connection;
use config::xds::{Sink, Status};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use prost::Message;
use tests::control_plane::{ControlPlane, Options};
use tokio::sync::{Notify, watch};

pub(crate) const LIMIT: Duration = Duration::from_secs(10);
pub(crate) const BOTH: [Protocol; 2] = [Protocol::Delta, Protocol::Sotw];

/// Keeps what it is given, wants the endpoints of its clusters, and refuses names that begin with `bad`.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) resources: BTreeMap<Kind, BTreeMap<Arc<str>, Vec<u8>>>,
    pub(crate) batches: Vec<(Kind, Vec<String>, Vec<String>)>,
    pub(crate) status: Status,
    pub(crate) states: Vec<Connection>,
}

impl Sink for Held {
    fn apply(&mut self, batch: Batch) -> Applied {
        let names = batch.upserts.iter().map(|resource| resource.name.to_string()).collect();
        self.batches.push((batch.kind, names, batch.removed.iter().map(ToString::to_string).collect()));
        let held = self.resources.entry(batch.kind).or_default();
        for name in &batch.removed {
            held.remove(name);
        }
        let mut applied = Applied::default();
        for resource in batch.upserts {
            if resource.body.windows(3).any(|window| window == b"bad") {
                let rejection = Rejection { path: FieldPath("name".into()), reason: "is bad".into() };
                applied.rejected.push((resource.name, resource.version, rejection));
            } else {
                held.insert(resource.name, resource.body.to_vec());
            }
        }
        applied
    }

    fn wanted(&self, kind: Kind) -> Vec<Arc<str>> {
        match kind {
            Kind::Endpoints => {
                self.resources.get(&Kind::Cluster).into_iter().flatten().map(|(n, _)| n.clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    fn status(&mut self, status: &Status) {
        if self.states.last() != Some(&status.connection) {
            self.states.push(status.connection);
        }
        self.status = status.clone();
    }
}

impl Held {
    pub(crate) fn names(&self, kind: Kind) -> BTreeSet<&str> {
        self.resources.get(&kind).into_iter().flatten().map(|(name, _)| &**name).collect()
    }
}

/// A client that runs beside the test on the same thread.
pub(crate) struct Running {
    pub(crate) held: Rc<RefCell<Held>>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) task: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(client: Client) -> Self {
        let held = Rc::new(RefCell::new(Held::default()));
        let (stop, stopped) = watch::channel(false);
        let sink = Rc::clone(&held);
        let task = tokio::task::spawn_local(async move { client.run(&sink, &Notify::new(), stopped).await });
        Self { held, stop, task }
    }

    /// All that a bootstrap names.
    pub(crate) fn start_all(dynamic: &Dynamic) -> Self {
        let held = Rc::new(RefCell::new(Held::default()));
        let (stop, stopped) = watch::channel(false);
        let sink = Rc::clone(&held);
        let mut sources = Sources::new(&node(), dynamic);
        for client in sources.clients_mut() {
            client.backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));
        }
        let task = tokio::task::spawn_local(async move { sources.run(&sink, stopped).await });
        Self { held, stop, task }
    }

    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Held) -> bool) {
        let end = tokio::time::Instant::now() + LIMIT;
        while !condition(&self.held.borrow()) {
            let held = self.held.borrow();
            assert!(tokio::time::Instant::now() < end, "{what}: {:?}, {:#?}", held.batches, held.status);
            drop(held);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(LIMIT, self.task).await.unwrap().unwrap();
        assert_eq!(self.held.borrow().status.connection, Connection::Idle);
    }
}

pub(crate) fn node() -> Node {
    Node { id: ".ingress".into(), cluster: "ingress".into(), ..Node::default() }
}

pub(crate) fn client(control_plane: &ControlPlane, protocol: Protocol) -> Client {
    let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));
    Client { backoff, ..Client::new(control_plane.target(), node(), protocol) }
}

pub(crate) fn cluster(name: &str) -> Cluster {
    Cluster { name: name.into(), ..Cluster::default() }
}

pub(crate) fn endpoints(name: &str) -> ClusterLoadAssignment {
    ClusterLoadAssignment { cluster_name: name.into(), ..ClusterLoadAssignment::default() }
}

pub(crate) fn listener(name: &str) -> Listener {
    Listener { name: name.into(), ..Listener::default() }
}

pub(crate) fn populate(control_plane: &ControlPlane, names: &[&str]) {
    control_plane.batch(|edit| {
        for name in names {
            edit.set(Kind::Cluster, name, cluster(name).encode_to_vec());
            edit.set(Kind::Endpoints, name, endpoints(name).encode_to_vec());
        }
        edit.set(Kind::Listener, "inbound", listener("inbound").encode_to_vec());
    });
}

/// One thread, as the control runtime is.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

pub(crate) async fn start(options: Options) -> ControlPlane {
    ControlPlane::start(options).await.unwrap()
}
