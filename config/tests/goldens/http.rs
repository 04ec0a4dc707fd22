//! HTTP: gateways, zone egresses and zone listeners load whole, routes, filters, clusters' HTTP options and all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::json::parse_text;
use config::model::chain::Handler;
use config::model::hcm::Routes;
use config::model::route::RouteConfiguration;
use config::snapshot::Snapshot;

use super::load::{Golden, Pem};
use super::{complaints, goldens};

/// All goldens but those of bootstraps.
fn all(goldens: &Path) -> Vec<PathBuf> {
    let below = |path: &Path| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let versions = ["2.13", "2.14", "3.0"].map(|version| goldens.join(version));
    let folders = versions.iter().flat_map(|version| below(version));
    let folders = folders.filter(|path| path.is_dir() && !path.ends_with("bootstrap"));
    let files = folders.flat_map(|folder| below(&folder));
    let is_golden = |text: String| parse_text(&text).is_ok_and(|document| document.is_object());
    let mut files: Vec<_> = files.filter(|path| std::fs::read_to_string(path).is_ok_and(is_golden)).collect();
    files.sort();
    files
}

/// `meshaccesslog__mt-with-to` was made with a format that Envoy refuses with the same words.
const REFUSED: &str = "couldn't find valid command at position 0";

#[derive(Debug, Default)]
struct Seen {
    refused: usize,
    goldens: usize,
    managers: usize,
    filters: usize,
    route_configurations: usize,
    routes: usize,
    clusters: usize,
}

impl Seen {
    fn add(&mut self, snapshot: &Snapshot) {
        self.goldens += 1;
        for (_, entry) in snapshot.all_listeners() {
            for chain in entry.listener.chains.iter().chain(&entry.listener.default_chain) {
                let Handler::Http(manager) = &chain.handler else { continue };
                self.managers += 1;
                self.filters += manager.filters.len();
                match &manager.routes {
                    Routes::Inline(config) => self.add_routes(config),
                    Routes::Rds(_) => {}
                }
            }
        }
        for entry in snapshot.routes.values() {
            self.add_routes(entry.config.as_ref().unwrap());
        }
        self.clusters += snapshot.clusters.values().filter(|entry| entry.cluster.http.is_some()).count();
    }

    fn add_routes(&mut self, config: &RouteConfiguration) {
        self.route_configurations += 1;
        self.routes += config.virtual_hosts.iter().map(|host| host.routes.len()).sum::<usize>();
    }
}

#[test]
fn every_http_chain_loads_whole() {
    let Some(goldens) = goldens() else { return };
    let pem = Pem::new();
    let mut seen = Seen::default();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in all(&goldens) {
        let (store, refused) = Golden::read(&path, &pem).load_with_refusals(&path);
        for rejection in refused.iter().filter(|rejection| !rejection.ends_with(REFUSED)) {
            found.entry(format!("refused: {rejection}")).or_default().push(path.display().to_string());
        }
        seen.refused += refused.len();
        let snapshot = store.snapshot();
        for line in complaints(&snapshot) {
            let (_, what) = line.split_once(": ").unwrap();
            let what: String = what.chars().filter(|c| !c.is_ascii_digit()).collect();
            found.entry(what).or_default().push(path.display().to_string());
        }
        seen.add(&snapshot);
    }
    for (what, paths) in &found {
        println!("{}x {what} (as in {})", paths.len(), paths[0]);
    }
    println!("{seen:?}");
    assert!(found.is_empty());
    assert!(seen.goldens >= 229 && seen.managers >= 126 && seen.routes >= 361 && seen.refused == 1, "{seen:?}");
}
