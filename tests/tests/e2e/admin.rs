//! The admin interface beside Envoy's: the same paths, formats and names.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::backend::Backend;
use tests::bootstrap::{bootstrap, chain, cluster, listener, tcp_proxy};
use tests::client::{Outcome, visit};
use tests::compare::compare;
use tests::envoy;
use tests::hello::Hello;
use tests::process::{Kind, Proxy, Site};

use crate::story::{IN, compared};

const NAME: &str = "one.test";

fn simple(site: &Site, backend: &Backend) -> Value {
    let chains = [chain(&[NAME], tcp_proxy("one", json!({})))];
    bootstrap(site, &[listener("in", site.at(IN), &chains)], &[cluster("one", &[backend.address()], json!({}))])
}

#[tokio::test]
async fn plain_answers() {
    let backend = Backend::echo("one").await;
    let answers = compare(
        |site| simple(site, &backend),
        async |proxy| {
            let mut all = Vec::new();
            let gets = [
                "/ready",
                "/listeners",
                "/stats?filter=^cluster.one.upstream_cx_total$",
                "/stats?filter=^tcp\\.one\\.downstream_cx_total$&format=prometheus",
            ];
            visit(proxy.at(IN), &Hello::to(NAME)).await;
            proxy.quiet_stats().await;
            for path in gets {
                let (status, body) = proxy.get(path).await;
                all.push((path, status, body.replace(&proxy.site.address.to_string(), "SITE")));
            }
            // Beside the histograms, which Envoy leaves out when the filter lets none through.
            let (status, body) = proxy.get("/stats?filter=^listener.127.*no_filter_chain_match&format=json").await;
            let body: Value = serde_json::from_str(&body).unwrap();
            all.push(("json", status, body["stats"][0]["value"].to_string()));
            for path in ["/nothing-here", "/healthcheck/ok"] {
                all.push((path, proxy.get(path).await.0, String::new()));
            }
            all
        },
    )
    .await;
    assert_eq!(answers[0], ("/ready", 200, "LIVE\n".into()));
    assert_eq!(answers[1], ("/listeners", 200, "in::SITE:10000\n".into()));
    assert_eq!(answers[2].2, "cluster.one.upstream_cx_total: 1\n");
}

/// Every family about listeners, clusters and tcp_proxy that Envoy shows, we show with the same labels.
#[tokio::test]
async fn names_of_statistics() {
    let backend = Backend::echo("one").await;
    let mut names: Vec<BTreeSet<String>> = Vec::new();
    for kind in [Kind::Ours, Kind::Envoy] {
        if kind == Kind::Envoy && envoy::binary().is_none() {
            return;
        }
        let site = Site::new();
        let bootstrap = simple(&site, &backend);
        let proxy = Proxy::start(kind, site, &bootstrap).await;
        assert_eq!(visit(proxy.at(IN), &Hello::to(NAME)).await, Outcome::Served("one".into()));
        let lines = proxy.quiet_stats().await.only(compared).lines();
        names.push(lines.iter().filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect());
    }
    let missing: Vec<_> = names[1].difference(&names[0]).collect();
    assert!(missing.is_empty(), "Envoy shows these, and we don't: {missing:#?}");
}

/// `/config_dump` is an `envoy.admin.v3.ConfigDump` with the resources as they were configured.
#[tokio::test]
async fn config_dump() {
    let backend = Backend::echo("one").await;
    let dumped = compare(
        |site| simple(site, &backend),
        async |proxy| {
            let (status, text) = proxy.get("/config_dump?include_eds").await;
            assert_eq!(status, 200, "{text}");
            let text = text.replace(&proxy.site.address.to_string(), "SITE");
            let dump: Value = serde_json::from_str(&text).unwrap();
            let section = |name: &str| {
                let found = dump["configs"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|c| c["@type"].as_str().is_some_and(|t| t.ends_with(&format!(".{name}"))));
                found.unwrap_or_else(|| panic!("no {name} in {text}")).clone()
            };
            let mut listener = section("ListenersConfigDump")["static_listeners"][0]["listener"].take();
            let mut cluster = section("ClustersConfigDump")["static_clusters"][0]["cluster"].take();
            assert!(section("BootstrapConfigDump")["bootstrap"]["static_resources"].is_object());
            [listener.take(), cluster.take()]
        },
    )
    .await;
    assert_eq!(dumped[0]["name"], "in");
    assert_eq!(dumped[1]["name"], "one");
}

/// `/clusters`, in the form that `kumactl inspect … --type=clusters` prints, and as JSON.
#[tokio::test]
async fn clusters() {
    let backend = Backend::echo("one").await;
    let answers = compare(
        |site| simple(site, &backend),
        async |proxy| {
            visit(proxy.at(IN), &Hello::to(NAME)).await;
            proxy.quiet_stats().await;
            let (status, text) = proxy.get("/clusters").await;
            assert_eq!(status, 200);
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            let (status, text) = proxy.get("/clusters?format=json").await;
            assert_eq!(status, 200);
            let json: Value = serde_json::from_str(&text).unwrap();
            let host = &json["cluster_statuses"][0]["host_statuses"][0];
            (lines, host["address"].clone(), host["health_status"].clone())
        },
    )
    .await;
    let total = format!("one::{}::cx_total::1", backend.address());
    assert!(answers.0.contains(&total), "{answers:#?}");
}
