//! Endpoints that don't answer as they should: what clients, statistics and access logs make of it.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tests::backend::{Backend, Refusing, Unanswering};
use tests::bootstrap::{bootstrap, chain, cluster, listener, tcp_proxy};
use tests::client::{Outcome, connect, line, linger, read_to_end, visit};
use tests::compare::compare;
use tests::hello::Hello;
use tests::process::{Proxy, Site};
use tests::wait::within;
use tokio::io::AsyncWriteExt;

use crate::story::{IN, Story, log_to, tell};

const NAME: &str = "one.test";

/// One chain to one cluster, every connection logged; `filter` and `more` are merged into tcp_proxy and cluster.
fn to_one(site: &Site, endpoints: &[SocketAddr], (filter, more): (Value, Value)) -> Value {
    let filter = tests::bootstrap::merged(json!({"access_log": log_to(site)}), filter);
    let chains = [chain(&[NAME], tcp_proxy("one", filter))];
    bootstrap(site, &[listener("in", site.at(IN), &chains)], &[cluster("one", endpoints, more)])
}

/// One connection that the proxy has to end by itself.
async fn one_visit(proxy: &mut Proxy) -> Story<Outcome> {
    let story = tell(proxy, 1, async |p| linger(p.at(IN), &Hello::to(NAME).bytes()).await).await;
    // Envoy counts the end of connections that never were one (docs/differences.md).
    story.without("envoy_cluster_upstream_cx_destroy_")
}

fn of_cluster(stat: &str) -> String {
    format!("envoy_cluster_{stat}{{envoy_cluster_name=\"one\"}}")
}

#[tokio::test]
async fn served() {
    let backend = Backend::echo("one").await;
    let story = compare(
        |site| to_one(site, &[backend.address()], (json!({}), json!({}))),
        async |proxy| tell(proxy, 1, async |p| visit(p.at(IN), &Hello::to(NAME)).await).await,
    )
    .await;
    assert_eq!(story.seen, Outcome::Served("one".into()));
    assert_eq!(story.change(&of_cluster("upstream_cx_total")), 1.0, "{story:#?}");
    assert_eq!((story.logged(0, "flags"), story.logged(0, "sni")), ("-", NAME));
    assert_eq!(story.logged(0, "host"), backend.address().to_string());
}

#[tokio::test]
async fn refused() {
    let refusing = Refusing::new();
    let story = compare(|site| to_one(site, &[refusing.address()], (json!({}), json!({}))), one_visit).await;
    assert_eq!(story.seen, Outcome::Closed);
    assert_eq!(story.change(&of_cluster("upstream_cx_connect_fail")), 1.0, "{story:#?}");
    assert_eq!(story.logged(0, "flags"), "UF,URX");
}

/// One endpoint refuses and the next one serves.
#[tokio::test]
async fn another_endpoint_is_tried() {
    let (refusing, backend) = (Refusing::new(), Backend::echo("one").await);
    let endpoints = [refusing.address(), backend.address()];
    let seen = compare(
        |site| to_one(site, &endpoints, (json!({"max_connect_attempts": 3}), json!({}))),
        async |proxy| {
            let mut seen = Vec::new();
            for _ in 0..4 {
                seen.push(visit(proxy.at(IN), &Hello::to(NAME)).await);
            }
            seen
        },
    )
    .await;
    assert!(seen.iter().all(|s| *s == Outcome::Served("one".into())), "{seen:?}");
}

#[tokio::test]
async fn every_attempt_refused() {
    let refusing = Refusing::new();
    let story =
        compare(|site| to_one(site, &[refusing.address()], (json!({"max_connect_attempts": 3}), json!({}))), one_visit)
            .await;
    assert_eq!(story.seen, Outcome::Closed);
    assert_eq!(story.change(&of_cluster("upstream_cx_connect_fail")), 3.0, "{story:#?}");
}

#[tokio::test]
async fn no_answer() {
    let unanswering = Unanswering::new();
    let story = compare(
        |site| to_one(site, &[unanswering.address()], (json!({}), json!({"connect_timeout": "0.4s"}))),
        one_visit,
    )
    .await;
    assert_eq!(story.seen, Outcome::Closed);
    assert_eq!(story.change(&of_cluster("upstream_cx_connect_timeout")), 1.0, "{story:#?}");
}

#[tokio::test]
async fn no_endpoint() {
    let story = compare(|site| to_one(site, &[], (json!({}), json!({}))), one_visit).await;
    assert_eq!(story.seen, Outcome::Closed);
    assert_eq!(story.logged(0, "flags"), "UH");
    assert_eq!(story.change(&of_cluster("upstream_cx_none_healthy")), 1.0, "{story:#?}");
}

#[tokio::test]
async fn no_such_cluster() {
    let story = compare(|site| to_one(site, &[], (json!({"cluster": "nowhere"}), json!({}))), one_visit).await;
    assert_eq!(story.seen, Outcome::Closed);
    assert_eq!(story.logged(0, "flags"), "NC");
}

/// `max_connections: 1` with one connection open.
#[tokio::test]
async fn too_many_connections() {
    let backend = Backend::echo("one").await;
    let breaker = json!({"circuit_breakers": {"thresholds": [{"max_connections": 1, "max_pending_requests": 1}]}});
    let story = compare(
        |site| to_one(site, &[backend.address()], (json!({}), breaker.clone())),
        async |proxy| {
            tell(proxy, 2, async |p| {
                let mut first = connect(p.at(IN)).await;
                first.write_all(&Hello::to(NAME).bytes()).await.unwrap();
                within("the banner", line(&mut first)).await.unwrap();
                let second = linger(p.at(IN), &Hello::to(NAME).bytes()).await;
                first.shutdown().await.unwrap();
                read_to_end(&mut first).await;
                second
            })
            .await
        },
    )
    .await;
    assert_eq!(story.seen, Outcome::Closed);
    assert_eq!(story.change(&of_cluster("upstream_cx_overflow")), 1.0, "{story:#?}");
    assert_eq!(story.logged(1, "flags"), "UO", "{story:#?}");
}

/// The endpoint takes the hello and resets.
#[tokio::test]
async fn reset() {
    let backend = Backend::resets().await;
    let seen = compare(
        |site| to_one(site, &[backend.address()], (json!({}), json!({}))),
        async |proxy| {
            let outcome = linger(proxy.at(IN), &Hello::to(NAME).bytes()).await;
            let stats = proxy.quiet_stats().await;
            (outcome, stats.sum("envoy_cluster_upstream_cx_destroy_remote"))
        },
    )
    .await;
    assert_eq!(seen, (Outcome::Closed, 1.0));
}

/// Weighted clusters share as configured.
#[tokio::test]
async fn weighted_clusters() {
    let (one, two, none) = (Backend::echo("one").await, Backend::echo("two").await, Backend::echo("none").await);
    let weights = json!({"clusters": [{"name": "one", "weight": 30}, {"name": "two", "weight": 70}]});
    let served = compare(
        |site| {
            let mut filter = tcp_proxy("one", json!({"weighted_clusters": weights}));
            filter["typed_config"].as_object_mut().unwrap().remove("cluster");
            let clusters = [("one", &one), ("two", &two), ("none", &none)]
                .map(|(name, backend)| cluster(name, &[backend.address()], json!({})));
            bootstrap(site, &[listener("in", site.at(IN), &[chain(&[NAME], filter)])], &clusters)
        },
        async |proxy| {
            let mut counts = [0, 0];
            for _ in 0..200 {
                match visit(proxy.at(IN), &Hello::to(NAME)).await {
                    Outcome::Served(name) if name == "one" => counts[0] += 1,
                    Outcome::Served(name) if name == "two" => counts[1] += 1,
                    other => panic!("{other:?}"),
                }
            }
            // 200 draws at 30 %: five standard deviations around 60.
            (28..=92).contains(&counts[0])
        },
    )
    .await;
    assert!(served);
    assert_eq!(none.accepted(), 0);
}
