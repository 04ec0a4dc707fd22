//! Secrets from files and from servers of their own, into a real store.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use config::bootstrap::Dynamic;
use config::json::Converter;
use config::model::tls::{GrpcSource, Secret, WatchedFile};
use config::snapshot::{ClusterEntry, Kind};
use config::source::Sources;
use config::source::file::FileSource;
use config::store::{Applied, Batch, Resource, Store};
use config::xds::status::KindStatus;
use config::xds::{Sink, Status};
use serde_json::{Value, json};
use tests::ca::{Authority, Key, Leaf};
use tokio::sync::watch;

use super::sds_server::SdsServer;
use super::support::{LIMIT, node, run};

const SECRET: &str = "envoy.extensions.transport_sockets.tls.v3.Secret";

/// A store as the engine has it.
#[derive(Default)]
struct World {
    store: Store,
    files: BTreeMap<FileSource, KindStatus>,
    servers: BTreeMap<Arc<str>, Status>,
}

impl Sink for World {
    fn apply(&mut self, batch: Batch) -> Applied {
        self.store.apply(batch)
    }

    fn wanted(&self, kind: Kind) -> Vec<Arc<str>> {
        self.store.wanted(kind)
    }

    fn files(&self) -> Vec<FileSource> {
        self.store.files()
    }

    fn secret_servers(&self) -> Vec<(GrpcSource, Vec<Arc<str>>)> {
        self.store.secret_servers()
    }

    fn secret_files(&self) -> Vec<WatchedFile> {
        self.store.secret_files()
    }

    fn reread_secret_files(&mut self) {
        let _: Applied = self.store.reread_files();
    }

    fn cluster(&self, name: &str) -> Option<Arc<ClusterEntry>> {
        self.store.snapshot().clusters.get(name).cloned()
    }

    fn secret_server_status(&mut self, server: &GrpcSource, status: Option<&Status>) {
        match status {
            Some(status) => self.servers.insert(Arc::clone(&server.cluster), status.clone()),
            None => self.servers.remove(&server.cluster),
        };
    }

    fn status(&mut self, _: &Status) {}

    fn file_status(&mut self, source: &FileSource, status: &KindStatus) {
        self.files.insert(source.clone(), status.clone());
    }
}

impl World {
    /// Serial number of the certificate of this name.
    fn serial(&self, name: &str) -> Option<String> {
        let snapshot = self.store.snapshot();
        let entry = snapshot.secrets.iter().find(|(secret, _)| *secret.name == *name)?.1.clone();
        match &entry.secret {
            Secret::Certificate(identity) => Some(identity.facts.serial.to_string()),
            _ => None,
        }
    }

    fn is_serving(&self, listener: &str) -> bool {
        self.store.snapshot().listeners.contains_key(listener)
    }
}

/// Sources beside the test; clusters and listeners come by a file, `resources.yaml` in `directory`.
struct Running {
    world: Rc<RefCell<World>>,
    clusters: std::path::PathBuf,
    listeners: std::path::PathBuf,
    _stop: watch::Sender<bool>,
}

impl Running {
    fn start(directory: &Path) -> Self {
        let (clusters, listeners) = (directory.join("cds.yaml"), directory.join("lds.yaml"));
        let world = Rc::new(RefCell::new(World::default()));
        let (stop, stopped) = watch::channel(false);
        let file = |kind, path: &Path| FileSource { kind, path: path.to_owned(), watched_directory: None, name: None };
        let dynamic = Dynamic {
            clusters: Some(config::bootstrap::Source::File(file(Kind::Cluster, &clusters))),
            listeners: Some(config::bootstrap::Source::File(file(Kind::Listener, &listeners))),
            ..Dynamic::default()
        };
        put(&clusters, &json!({"resources": []}));
        put(&listeners, &json!({"resources": []}));
        let (sources, sink) = (Sources::new(&node(), &dynamic), Rc::clone(&world));
        tokio::task::spawn_local(async move { sources.run(&sink, stopped).await });
        Self { world, clusters, listeners, _stop: stop }
    }

    async fn until(&self, what: &str, condition: impl Fn(&World) -> bool) {
        let end = tokio::time::Instant::now() + LIMIT;
        while !condition(&self.world.borrow()) {
            assert!(tokio::time::Instant::now() < end, "{what}: {}", self.state());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    fn state(&self) -> String {
        let world = self.world.borrow();
        let snapshot = world.store.snapshot();
        let missing = &snapshot.missing_secrets;
        let rejected: Vec<_> = snapshot.rejected.values().map(|r| r.rejection.to_string()).collect();
        let (files, servers) = (&world.files, &world.servers);
        format!("{missing:?} {rejected:?} {files:?} {servers:#?}")
    }
}

fn put(path: &Path, value: &Value) {
    let next = path.with_extension("next");
    fs::write(&next, value.to_string()).unwrap();
    fs::rename(next, path).unwrap();
}

fn secret(name: &str, leaf: &Leaf) -> Value {
    json!({"name": name, "tls_certificate": tests::tls::pair(&leaf.certificate, &leaf.key)})
}

fn encoded(value: &Value) -> Vec<u8> {
    Converter::new().unwrap().to_bytes(SECRET, value).unwrap()
}

fn sds_file(path: &Path, secret: &Value) {
    let mut typed = secret.clone();
    typed["@type"] = format!("type.googleapis.com/{SECRET}").into();
    put(path, &json!({"resources": [typed]}));
}

fn listener(name: &str, secret: &str, source: &Value) -> Value {
    let context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificate_sds_secret_configs": [{"name": secret, "sds_config": source}]},
    });
    let proxy = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "p", "cluster": "c",
    });
    json!({
        "@type": Kind::Listener.type_url(), "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
        "filter_chains": [{"filters": [{"name": "p", "typed_config": proxy}],
            "transport_socket": {"name": "tls", "typed_config": context}}],
    })
}

fn agent(path: &Path) -> Value {
    let address = json!({"pipe": {"path": path}});
    json!({"@type": Kind::Cluster.type_url(), "name": "agent", "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "agent",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}})
}

fn asked_of_agent(api_type: &str) -> Value {
    json!({"resource_api_version": "V3", "api_config_source": {"api_type": api_type, "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "agent"}}]}})
}

fn serial(leaf: &Leaf) -> String {
    config::model::tls::Facts::of(&leaf.chain[0]).unwrap().serial.to_string()
}

#[test]
fn a_secret_in_a_file_is_rotated_and_a_bad_one_refused() {
    run(async {
        let (authority, directory) = (Authority::new(), tempfile::TempDir::new().unwrap());
        let running = Running::start(directory.path());
        let path = directory.path().join("sds.json");
        let leaves: Vec<_> = (0..3).map(|_| authority.issue("spiffe://m/a", Key::Ecdsa)).collect();
        let source = json!({"path_config_source": {"path": path}});
        put(&running.listeners, &json!({"resources": [listener("l", "id", &source)]}));
        running.until("it is asked for", |world| world.store.snapshot().missing_secrets.len() == 1).await;
        assert!(!running.world.borrow().is_serving("l"));
        sds_file(&path, &secret("id", &leaves[0]));
        running.until("there", |world| world.is_serving("l") && world.serial("id") == Some(serial(&leaves[0]))).await;
        let mut bad = secret("id", &leaves[1]);
        bad["tls_certificate"] = tests::tls::pair(&leaves[1].certificate, &leaves[2].key);
        sds_file(&path, &bad);
        running.until("refused", |world| world.store.snapshot().rejected.size() == 1).await;
        assert_eq!(running.world.borrow().serial("id"), Some(serial(&leaves[0])));
        sds_file(&path, &secret("id", &leaves[2]));
        running.until("rotated", |world| world.serial("id") == Some(serial(&leaves[2]))).await;
        running.until("made good", |world| world.store.snapshot().rejected.size() == 0).await;
        put(&running.listeners, &json!({"resources": []}));
        running.until("dropped", |world| world.store.snapshot().secrets.size() == 0).await;
    });
}

#[test]
fn certificate_files_that_a_secret_names_are_read_again() {
    run(async {
        for watched in [true, false] {
            let (authority, directory) = (Authority::new(), tempfile::TempDir::new().unwrap());
            let running = Running::start(directory.path());
            // As Kubernetes mounts a Secret: files behind a link to a directory that is swapped.
            let mount = directory.path().join("mount");
            fs::create_dir(&mount).unwrap();
            let swap = |version: &str, leaf: &Leaf| {
                fs::create_dir(mount.join(version)).unwrap();
                fs::write(mount.join(version).join("tls.crt"), &leaf.certificate).unwrap();
                fs::write(mount.join(version).join("tls.key"), &leaf.key).unwrap();
                std::os::unix::fs::symlink(version, mount.join("..next")).unwrap();
                fs::rename(mount.join("..next"), mount.join("..data")).unwrap();
            };
            let leaves: Vec<_> = (0..2).map(|_| authority.issue("spiffe://m/a", Key::Rsa)).collect();
            swap("v1", &leaves[0]);
            for file in ["tls.crt", "tls.key"] {
                std::os::unix::fs::symlink(format!("..data/{file}"), mount.join(file)).unwrap();
            }
            let mut value = json!({"name": "id", "tls_certificate": {
                "certificate_chain": {"filename": mount.join("tls.crt")},
                "private_key": {"filename": mount.join("tls.key")},
            }});
            if watched {
                value["tls_certificate"]["watched_directory"] = json!({"path": mount});
            }
            let path = directory.path().join("sds.yaml");
            sds_file(&path, &value);
            let source = json!({"path_config_source": {"path": path}});
            put(&running.listeners, &json!({"resources": [listener("l", "id", &source)]}));
            running.until("there", |world| world.serial("id") == Some(serial(&leaves[0]))).await;
            swap("v2", &leaves[1]);
            running.until("rotated", |world| world.serial("id") == Some(serial(&leaves[1]))).await;
        }
    });
}

#[test]
fn a_server_of_its_own_is_asked_by_name_and_may_go_and_come_back() {
    run(async {
        for (api_type, delta) in [("GRPC", false), ("DELTA_GRPC", true)] {
            let (authority, directory) = (Authority::new(), tempfile::TempDir::new().unwrap());
            let socket = directory.path().join("agent.sock");
            let mut server = SdsServer::start(&socket);
            let running = Running::start(directory.path());
            let leaves: Vec<_> = (0..3).map(|_| authority.issue("spiffe://m/a", Key::Ecdsa)).collect();
            let source = asked_of_agent(api_type);
            let name = "spiffe://m/a";
            // The listener comes before the cluster that its secrets come from.
            put(&running.listeners, &json!({"resources": [listener("l", name, &source)]}));
            running.until("warming", |world| world.store.snapshot().warming_listeners.contains_key("l")).await;
            server.set(name, encoded(&secret(name, &leaves[0])));
            put(&running.clusters, &json!({"resources": [agent(&socket)]}));
            running.until("there", |world| world.is_serving("l")).await;
            let first = server.asked()[0].clone();
            assert_eq!((first.names, first.node, first.delta), (vec![name.to_owned()], ".ingress".to_owned(), delta));

            server.set(name, encoded(&secret(name, &leaves[1])));
            running.until("rotated", |world| world.serial(name) == Some(serial(&leaves[1]))).await;
            let mut bad = secret(name, &leaves[1]);
            bad["tls_certificate"] = tests::tls::pair(&leaves[1].certificate, &leaves[2].key);
            server.set(name, encoded(&bad));
            running.until("refused", |world| world.store.snapshot().rejected.size() == 1).await;
            running.until("NACK", |_| server.asked().iter().any(|asked| asked.error.is_some())).await;
            assert_eq!(running.world.borrow().serial(name), Some(serial(&leaves[1])));

            server.stop().await;
            running.until("it is away", |world| !world.servers["agent"].connection.is_up()).await;
            assert_eq!(running.world.borrow().serial(name), Some(serial(&leaves[1])));
            server.set(name, encoded(&secret(name, &leaves[2])));
            server.listen();
            running.until("back", |world| world.serial(name) == Some(serial(&leaves[2]))).await;

            // One more name joins the stream that is there; with the last, the stream ends.
            server.set("id", encoded(&secret("id", &leaves[0])));
            let both = [listener("l", name, &source), listener("m", "id", &source)];
            put(&running.listeners, &json!({"resources": both}));
            running.until("both", |world| world.is_serving("m")).await;
            put(&running.listeners, &json!({"resources": []}));
            running.until("the end", |world| world.servers.is_empty()).await;
            assert_eq!(running.world.borrow().store.snapshot().secrets.size(), 0);
        }
    });
}

#[test]
fn the_harness_stores_what_the_store_reads() {
    let leaf = Authority::new().issue("spiffe://m/a", Key::Ecdsa);
    let mut store = Store::default();
    let resource = Resource { name: "id".into(), version: "1".into(), body: encoded(&secret("id", &leaf)).into() };
    assert!(store.apply(Batch::new(Kind::Secret, vec![resource])).rejected.is_empty());
}
