#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::{Notify, watch};

use super::file::{FileSource, Files};
use crate::reject::{FieldPath, Rejection};
use crate::snapshot::Kind;
use crate::store::{Applied, Batch};
use crate::xds::status::KindStatus;
use crate::xds::{Sink, Status};

#[derive(Default)]
struct Held {
    resources: BTreeMap<(Kind, Arc<str>), Arc<str>>,
    /// Endpoint files that its clusters name: one in `directory` for each.
    directory: Option<std::path::PathBuf>,
    statuses: BTreeMap<FileSource, KindStatus>,
    order: Vec<Kind>,
}

impl Sink for Held {
    fn apply(&mut self, batch: Batch) -> Applied {
        self.order.push(batch.kind);
        for name in batch.removed {
            self.resources.remove(&(batch.kind, name));
        }
        let mut applied = Applied::default();
        for resource in batch.upserts {
            if resource.name.starts_with("bad") {
                let rejection = Rejection { path: FieldPath("name".into()), reason: "is bad".into() };
                applied.rejected.push((resource.name, resource.version, rejection));
            } else {
                self.resources.insert((batch.kind, resource.name), resource.version);
            }
        }
        applied
    }

    fn wanted(&self, _: Kind) -> Vec<Arc<str>> {
        Vec::new()
    }

    fn files(&self) -> Vec<FileSource> {
        let Some(directory) = &self.directory else { return Vec::new() };
        let clusters = self.resources.keys().filter(|(kind, _)| *kind == Kind::Cluster);
        let file = |name: &Arc<str>| FileSource {
            kind: Kind::Endpoints,
            path: directory.join(format!("{name}.yaml")),
            watched_directory: None,
            name: Some(Arc::clone(name)),
        };
        clusters.map(|(_, name)| file(name)).collect()
    }

    fn status(&mut self, _: &Status) {}

    fn file_status(&mut self, source: &FileSource, status: &KindStatus) {
        self.statuses.insert(source.clone(), status.clone());
    }
}

fn clusters(version: &str, names: &[&str]) -> String {
    let type_url = Kind::Cluster.type_url();
    let one = |name: &&str| format!("- {{'@type': {type_url}, name: {name}}}\n");
    format!("version_info: {version}\nresources:\n{}", names.iter().map(one).collect::<String>())
}

fn endpoints(names: &[&str]) -> String {
    let type_url = Kind::Endpoints.type_url();
    let one = |name: &&str| format!("- {{'@type': {type_url}, cluster_name: {name}}}\n");
    format!("resources:\n{}", names.iter().map(one).collect::<String>())
}

struct Running {
    held: Rc<RefCell<Held>>,
    _stop: watch::Sender<bool>,
}

impl Running {
    fn start(fixed: Vec<FileSource>, held: Held) -> Self {
        let held = Rc::new(RefCell::new(held));
        let (stop, stopped) = watch::channel(false);
        let sink = Rc::clone(&held);
        tokio::task::spawn_local(async move { Files::new(fixed).run(&sink, &Notify::new(), stopped).await });
        Self { held, _stop: stop }
    }

    fn names(&self, kind: Kind) -> Vec<String> {
        let held = self.held.borrow();
        held.resources.keys().filter(|(other, _)| *other == kind).map(|(_, name)| name.to_string()).collect()
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if condition(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let held = self.held.borrow();
        panic!("{what}: {:?} {:?}", held.resources, held.statuses);
    }

    fn status(&self, source: &FileSource) -> KindStatus {
        self.held.borrow().statuses.get(source).cloned().unwrap_or_default()
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

fn cds(path: &Path) -> FileSource {
    FileSource { kind: Kind::Cluster, path: path.to_owned(), watched_directory: None, name: None }
}

fn move_into_place(path: &Path, content: &str) {
    let next = path.with_extension("next");
    fs::write(&next, content).unwrap();
    fs::rename(next, path).unwrap();
}

#[test]
fn a_file_is_read_again_when_it_is_replaced_or_written_to() {
    run(async {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("cds.yaml");
        fs::write(&path, clusters("'1'", &["a", "b"])).unwrap();
        let source = cds(&path);
        let running = Running::start(vec![source.clone()], Held::default());
        running.until("first", |r| r.names(Kind::Cluster) == ["a", "b"]).await;
        move_into_place(&path, &clusters("'2'", &["b", "c"]));
        running.until("replaced", |r| r.names(Kind::Cluster) == ["b", "c"]).await;
        assert_eq!(&*running.status(&source).version, "2");
        fs::write(&path, clusters("'3'", &["d"])).unwrap();
        running.until("written", |r| r.names(Kind::Cluster) == ["d"]).await;
        let status = running.status(&source);
        assert!(status.update_success >= 3 && status.error.is_none());
        assert_eq!(status.resources, 1);

        let attempts = status.update_attempt;
        move_into_place(&path, &clusters("'3'", &["d"]));
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(running.status(&source).update_attempt, attempts, "the same content is no update");
    });
}

#[test]
fn a_broken_or_missing_file_keeps_what_was_read_before() {
    run(async {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("cds.yaml");
        let source = cds(&path);
        let running = Running::start(vec![source.clone()], Held::default());
        running.until("missing", |r| r.status(&source).update_failure == 1).await;
        assert!(running.status(&source).error.unwrap().text.starts_with(path.to_str().unwrap()));
        move_into_place(&path, &clusters("'1'", &["a", "bad"]));
        running.until("there", |r| r.names(Kind::Cluster) == ["a"]).await;
        let status = running.status(&source);
        assert_eq!((status.update_rejected, status.resources_rejected), (1, 1));
        assert!(status.error.unwrap().text.ends_with("bad: name: is bad"));

        move_into_place(&path, "resources:\n- {broken");
        running.until("broken", |r| r.status(&source).update_failure == 2).await;
        let error = running.status(&source).error.unwrap().text;
        assert!(error.contains("line"), "{error}");
        assert_eq!(running.names(Kind::Cluster), ["a"]);

        fs::remove_file(&path).unwrap();
        running.until("gone", |r| r.status(&source).update_failure == 3).await;
        assert_eq!(running.names(Kind::Cluster), ["a"]);

        move_into_place(&path, &clusters("'2'", &["b"]));
        running.until("good again", |r| r.names(Kind::Cluster) == ["b"]).await;
        assert!(running.status(&source).error.is_none());
    });
}

#[test]
fn a_directory_that_comes_late_is_found() {
    run(async {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("late").join("cds.yaml");
        let running = Running::start(vec![cds(&path)], Held::default());
        running.until("missing", |r| r.status(&cds(&path)).update_failure == 1).await;
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, clusters("'1'", &["a"])).unwrap();
        running.until("there", |r| r.names(Kind::Cluster) == ["a"]).await;
        move_into_place(&path, &clusters("'2'", &["b"]));
        running.until("watched from then on", |r| r.names(Kind::Cluster) == ["b"]).await;
    });
}

#[test]
fn files_behind_links_follow_the_swap_of_their_directory() {
    run(async {
        for watched in [true, false] {
            let directory = TempDir::new().unwrap();
            let root = directory.path();
            for (version, name) in [("v1", "a"), ("v2", "b")] {
                fs::create_dir(root.join(version)).unwrap();
                fs::write(root.join(version).join("cds.yaml"), clusters(version, &[name])).unwrap();
            }
            std::os::unix::fs::symlink("v1", root.join("..data")).unwrap();
            std::os::unix::fs::symlink("..data/cds.yaml", root.join("cds.yaml")).unwrap();
            let watched_directory = watched.then(|| root.to_owned());
            let source = FileSource { watched_directory, ..cds(&root.join("cds.yaml")) };
            let running = Running::start(vec![source], Held::default());
            running.until("v1", |r| r.names(Kind::Cluster) == ["a"]).await;
            std::os::unix::fs::symlink("v2", root.join("..next")).unwrap();
            fs::rename(root.join("..next"), root.join("..data")).unwrap();
            running.until("v2", |r| r.names(Kind::Cluster) == ["b"]).await;
        }
    });
}

#[test]
fn clusters_bring_their_endpoint_files_before_listeners_are_read() {
    run(async {
        let directory = TempDir::new().unwrap();
        let (path, lds) = (directory.path().join("cds.yaml"), directory.path().join("lds.yaml"));
        fs::write(&path, clusters("'1'", &["a", "b"])).unwrap();
        let type_url = Kind::Listener.type_url();
        fs::write(&lds, format!("resources:\n- {{'@type': {type_url}, name: inbound}}\n")).unwrap();
        for name in ["a", "b"] {
            // Endpoints of others in the same file are not ours.
            fs::write(directory.path().join(format!("{name}.yaml")), endpoints(&["other", name])).unwrap();
        }
        let lds = FileSource { kind: Kind::Listener, ..cds(&lds) };
        let held = Held { directory: Some(directory.path().to_owned()), ..Held::default() };
        let running = Running::start(vec![lds, cds(&path)], held);
        running.until("all", |r| r.names(Kind::Listener) == ["inbound"]).await;
        assert_eq!(running.names(Kind::Endpoints), ["a", "b"]);
        assert_eq!(running.held.borrow().order, [Kind::Cluster, Kind::Endpoints, Kind::Endpoints, Kind::Listener]);

        move_into_place(&path, &clusters("'2'", &["b"]));
        running.until("a's endpoints go with it", |r| r.names(Kind::Endpoints) == ["b"]).await;
        fs::write(directory.path().join("b.yaml"), "resources: []\n").unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(running.names(Kind::Endpoints), ["b"], "an empty file does not take a cluster's endpoints away");
    });
}
