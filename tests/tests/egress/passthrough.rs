//! TLS that is for another zone: led to that zone's ingress by its server name, and not ended here.

use serde_json::{Value, json};
use tests::bootstrap::{bootstrap, chain, listener, tcp_proxy};
use tests::client::{Outcome, visit};
use tests::compare::each;
use tests::hello::Hello;
use tests::process::{Kind, Proxy, Site};
use tests::story::{IN, log_to, tell};
use tests::wait::until;

use crate::support::{DNS, HASH, KRI, NUMERIC_KRI, TAGS, Zone, zones};

const NAMES: [&str; 5] = [TAGS, HASH, KRI, NUMERIC_KRI, DNS];

/// As Kuma writes it: one listener, a chain for each name.
async fn egress(kind: Kind, names: &[&str], cluster: Value) -> Proxy {
    let site = Site::new();
    let chains: Vec<_> =
        names.iter().map(|name| chain(&[name], tcp_proxy("zones", json!({"access_log": log_to(&site)})))).collect();
    let bootstrap = bootstrap(&site, &[listener("egress", site.at(IN), &chains)], &[cluster]);
    Proxy::start(kind, site, &bootstrap).await
}

#[tokio::test]
async fn every_form_of_a_name_reaches_the_other_zone() {
    let east = Zone::start("east", &NAMES).await;
    let at = east.ingress.at(IN).to_string();
    let story = each(Kind::Egress, async |kind| {
        let egress = egress(kind, &NAMES, zones("zones", &[east.endpoints("east", 0)], json!({}))).await;
        let mut story = tell(&egress, NAMES.len(), async |egress| {
            let mut seen = Vec::new();
            for name in NAMES {
                seen.push((name, visit(egress.at(IN), &Hello::to(name)).await));
            }
            seen
        })
        .await;
        story.log.iter_mut().for_each(|line| *line = line.replace(&at, "EAST"));
        let unknown = visit(egress.at(IN), &Hello::to("backend{kuma.io/zone=west,mesh=default}")).await;
        assert_eq!(unknown, Outcome::Closed, "a name that no chain has leads nowhere");
        story
    })
    .await;
    for (name, outcome) in &story.seen {
        assert_eq!(*outcome, Outcome::Served("east".into()), "{name}");
    }
    assert!(story.log.iter().all(|line| line.contains("host=EAST ")), "{:#?}", story.log);
}

/// Two zones have the service: the near one is asked as long as its ingress lives.
#[tokio::test]
async fn the_next_zone_takes_over_when_an_ingress_dies() {
    let outcomes = each(Kind::Egress, async |kind| {
        let (mut east, west) = (Zone::start("east", &[HASH]).await, Zone::start("west", &[HASH]).await);
        let eject = json!({"outlier_detection": {
            "consecutive_5xx": 1, "interval": "0.1s", "base_ejection_time": "600s", "max_ejection_percent": 100,
        }});
        let localities = [east.endpoints("east", 0), west.endpoints("west", 1)];
        let egress = egress(kind, &[HASH], zones("zones", &localities, eject)).await;
        let ask = async || visit(egress.at(IN), &Hello::to(HASH)).await;
        let mut outcomes = vec![ask().await, ask().await];
        east.ingress.signal(rustix::process::Signal::KILL);
        east.ingress.exit().await;
        // The first to find out is lost: one attempt is all that tcp_proxy has by default. Envoy's workers may need a
        // moment more until they know.
        outcomes.push(ask().await);
        let next = until("the next zone serves", async || {
            let outcome = ask().await;
            (outcome != Outcome::Closed).then_some(outcome)
        });
        outcomes.extend([next.await, ask().await]);
        drop(west);
        outcomes.extend([ask().await, ask().await]);
        (outcomes, east.service.accepted())
    })
    .await;
    let (east, west) = (Outcome::Served("east".into()), Outcome::Served("west".into()));
    assert_eq!(outcomes.0[..5], [east.clone(), east, Outcome::Closed, west.clone(), west]);
    assert_eq!(outcomes.0[5..], [Outcome::Closed, Outcome::Closed]);
    assert_eq!(outcomes.1, 2);
}

/// Two ingresses of one zone, one of them dead: with a second attempt nobody is lost.
#[tokio::test]
async fn a_second_attempt_goes_to_the_other_ingress() {
    let outcomes = each(Kind::Egress, async |kind| {
        let (mut dead, alive) = (Zone::start("dead", &[TAGS]).await, Zone::start("alive", &[TAGS]).await);
        dead.ingress.signal(rustix::process::Signal::KILL);
        dead.ingress.exit().await;
        let site = Site::new();
        let proxy = tcp_proxy("zones", json!({"max_connect_attempts": 2, "access_log": log_to(&site)}));
        let localities = [dead.endpoints("east", 0), alive.endpoints("east", 0)];
        let config = bootstrap(
            &site,
            &[listener("egress", site.at(IN), &[chain(&[TAGS], proxy)])],
            &[zones("zones", &localities, json!({}))],
        );
        let egress = Proxy::start(kind, site, &config).await;
        let mut outcomes = Vec::new();
        for _ in 0..4 {
            outcomes.push(visit(egress.at(IN), &Hello::to(TAGS)).await);
        }
        let lines = egress.access_log(4).await;
        assert!(lines.iter().any(|line| line.ends_with("attempts=2")), "{lines:#?}");
        outcomes
    })
    .await;
    assert_eq!(outcomes, vec![Outcome::Served("alive".into()); 4]);
}
