//! Which ClientHello goes where.

use serde_json::{Value, json};
use tests::backend::Backend;
use tests::bootstrap::{bootstrap, chain, cluster, direct_response, listener, merged, tcp_proxy};
use tests::client::{Outcome, exchange, visit};
use tests::compare::compare;
use tests::hello::Hello;

use crate::story::IN;

const TAG: &str = "backend{kuma.io/zone=east,mesh=default}";
const HASH: &str = "ae10a8071b8a8eeb8.backend.8080.demo.ms";
const KRI: &str = "sni.msvc.demo.east.kuma-demo.backend.8080";

/// The name asked for, and where it leads; `None`: the connection is closed.
const ROUTES: &[(&str, Option<&str>)] = &[
    ("exact.test", Some("exact")),
    ("EXACT.Test", Some("exact")),
    ("exact.test.", None),
    ("a.exact.test", None),
    (TAG, Some("tag")),
    ("backend{mesh=default}", None),
    (HASH, Some("hash")),
    (KRI, Some("kri")),
    ("one.wild.test", Some("wild")),
    ("two.one.wild.test", Some("wild")),
    ("deep.more.wild.test", Some("more")),
    ("more.wild.test", Some("wild")),
    ("named.more.wild.test", Some("named")),
    ("wild.test", None),
    ("xwild.test", None),
    ("unknown.test", None),
    ("under_score.test", None),
    ("", None),
];

fn named(names: &[&str], to: &str) -> Value {
    merged(chain(names, tcp_proxy(to, json!({}))), json!({"name": to}))
}

#[tokio::test]
async fn server_names() {
    let clusters = ["exact", "tag", "hash", "kri", "wild", "more", "named"];
    let mut backends = Vec::new();
    for name in clusters {
        backends.push(Backend::echo(name).await);
    }
    let outcomes = compare(
        |site| {
            let chains = [
                named(&["exact.test"], "exact"),
                named(&[TAG], "tag"),
                named(&[HASH, "a333a125865a97632.backend.8080.demo.ms"], "hash"),
                named(&[KRI], "kri"),
                named(&["*.wild.test"], "wild"),
                named(&["*.more.wild.test"], "more"),
                named(&["named.more.wild.test"], "named"),
            ];
            let clusters: Vec<_> =
                clusters.iter().zip(&backends).map(|(n, b)| cluster(n, &[b.address()], json!({}))).collect();
            bootstrap(site, &[listener("in", site.at(IN), &chains)], &clusters)
        },
        async |proxy| {
            let mut outcomes = Vec::new();
            for (name, _) in ROUTES {
                outcomes.push((*name, visit(proxy.at(IN), &Hello::to(name)).await));
            }
            outcomes.push(("(no name)", visit(proxy.at(IN), &Hello::nameless()).await));
            let two = Hello::to("exact.test").and("one.wild.test");
            outcomes.push(("(two names)", visit(proxy.at(IN), &two).await));
            outcomes
        },
    )
    .await;
    for ((name, outcome), (_, to)) in outcomes.iter().zip(ROUTES) {
        let expected = to.map_or(Outcome::Closed, |to| Outcome::Served(to.to_owned()));
        assert_eq!(*outcome, expected, "{name}");
    }
    assert_eq!(outcomes[ROUTES.len()].1, Outcome::Closed);
}

/// Application protocols, plain connections, the default chain and `direct_response`, by Envoy's precedence.
#[tokio::test]
async fn other_matches() {
    let backends = [Backend::echo("alpn").await, Backend::echo("name").await, Backend::echo("plain").await];
    let outcomes = compare(
        |site| {
            let alpn = json!({"filter_chain_match": {"application_protocols": ["kuma"]}});
            let chains = [
                merged(named(&["both.test"], "alpn"), alpn),
                named(&["both.test"], "name"),
                json!({
                    "filter_chain_match": {"transport_protocol": "raw_buffer"},
                    "filters": [tcp_proxy("plain", json!({}))],
                }),
                chain(&["gone.test"], direct_response("no destination\n")),
            ];
            let clusters: Vec<_> = ["alpn", "name", "plain"]
                .iter()
                .zip(&backends)
                .map(|(n, b)| cluster(n, &[b.address()], json!({})))
                .collect();
            let default = json!({"default_filter_chain": {"filters": [direct_response("by default\n")]}});
            bootstrap(site, &[merged(listener("in", site.at(IN), &chains), default)], &clusters)
        },
        async |proxy| {
            let at = proxy.at(IN);
            let mut all = Vec::new();
            for alpn in [&["kuma"][..], &["h2", "kuma"], &["h2"], &[]] {
                all.push(visit(at, &Hello::to("both.test").alpn(alpn)).await);
            }
            all.push(exchange(at, b"plain words, no hello").await);
            all.push(visit(at, &Hello::to("gone.test")).await);
            all.push(visit(at, &Hello::to("unknown.test")).await);
            all
        },
    )
    .await;
    let served = |name: &str| Outcome::Served(name.to_owned());
    let answered = |text: &str| Outcome::Answer(text.as_bytes().to_vec());
    assert_eq!(outcomes[..5], [served("alpn"), served("alpn"), served("name"), served("name"), served("plain")]);
    assert_eq!(outcomes[5..], [answered("no destination\n"), answered("by default\n")]);
}

/// A listener without `tls_inspector` forwards whatever comes, the server's first bytes included.
#[tokio::test]
async fn without_inspection() {
    let backend = Backend::echo("any").await;
    let outcomes = compare(
        |site| {
            let plain = json!({
                "name": "in",
                "address": tests::bootstrap::address(site.at(IN)),
                "filter_chains": [tests::bootstrap::any_chain(tcp_proxy("any", json!({})))],
            });
            bootstrap(site, &[plain], &[cluster("any", &[backend.address()], json!({}))])
        },
        async |proxy| {
            // The server speaks first: nothing may wait for the client here.
            let mut silent = tests::client::connect(proxy.at(IN)).await;
            let banner = tests::wait::within("the banner", tests::client::line(&mut silent)).await.unwrap();
            [Outcome::Served(banner), exchange(proxy.at(IN), b"words").await]
        },
    )
    .await;
    assert_eq!(outcomes, [Outcome::Served("any".into()), Outcome::Served("any".into())]);
}
