//! DNS clusters with a resolver that says what the test wants.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::sync::Mutex;

use config::model::address::Target;
use config::model::cluster::{Cluster as Config, Discovery};
use config::model::endpoint::{Assignment, Endpoint};

use super::*;
use crate::metrics::Registry;
use crate::upstream::cluster::Pick;
use crate::upstream::clusters::Clusters;
use crate::upstream::host::Host;
use crate::upstream::testing::*;

type Said = Result<(&'static [&'static str], u64), &'static str>;

/// Answers by name; counts questions.
#[derive(Debug, Default)]
struct Fake {
    said: Mutex<HashMap<String, Said>>,
    asked: Mutex<Vec<(String, DnsFamily)>>,
    slow: Mutex<Duration>,
}

impl Fake {
    fn say(&self, name: &str, said: Said) {
        self.said.lock().unwrap().insert(name.into(), said);
    }

    fn slow(&self, by: Duration) {
        *self.slow.lock().unwrap() = by;
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Resolve for Fake {
    fn resolve<'a>(&'a self, name: &'a str, family: DnsFamily) -> Query<'a> {
        self.asked.lock().unwrap().push((name.into(), family));
        let said = self.said.lock().unwrap().get(name).copied().unwrap_or(Err("unknown"));
        let slow = *self.slow.lock().unwrap();
        Box::pin(async move {
            sleep(slow).await;
            let (addresses, ttl) = said.map_err(|e| ResolveError(e.into()))?;
            let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
            Ok(Answer { addresses, ttl: Duration::from_secs(ttl) })
        })
    }
}

pub(super) fn dns() -> Dns {
    Dns {
        logical: false,
        family: DnsFamily::V4Only,
        refresh_rate: Duration::from_secs(5),
        respect_ttl: false,
        min_refresh: Duration::ZERO,
        jitter: Duration::ZERO,
        failure_refresh: None,
    }
}

pub(super) fn named(host: &str, port: u16) -> Endpoint {
    Endpoint { target: Target::Name { host: host.into(), port }, ..endpoint("127.0.0.1:1") }
}

pub(super) fn settings(dns: Dns) -> Config {
    Config {
        discovery: Discovery::Dns { assignment: Arc::new(Assignment::default()), dns: Box::new(dns) },
        ..config("a")
    }
}

fn start() -> (Arc<Fake>, Arc<Clusters>) {
    let fake = Arc::new(Fake::default());
    let resolver: Arc<dyn Resolve> = Arc::<Fake>::clone(&fake);
    let control = tokio::runtime::Handle::current();
    (fake, Clusters::with_resolver(Registry::new(1), control, resolver))
}

pub(super) fn addresses(cluster: &Cluster) -> Vec<String> {
    cluster.hosts().hosts().map(|h| h.address().to_string()).collect()
}

async fn seconds(n: u64) {
    sleep(Duration::from_secs(n) + Duration::from_millis(10)).await;
}

#[tokio::test(start_paused = true)]
async fn every_address_of_every_name() {
    let (fake, clusters) = start();
    fake.say("one", Ok((&["10.0.0.2", "10.0.0.1", "10.0.0.2"], 0)));
    fake.say("two", Ok((&["10.0.0.3"], 0)));
    let cluster =
        apply(&clusters, settings(dns()), plain(vec![named("one", 80), named("two", 81), named("10.0.0.9", 82)]));
    assert_eq!(addresses(&cluster), ["10.0.0.9:82"], "a literal needs no resolution");
    seconds(0).await;
    assert_eq!(addresses(&cluster), ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:81", "10.0.0.9:82"]);
    assert_eq!(cluster.hosts().hosts().next().unwrap().detail().hostname.as_deref(), Some("one"));
    assert_eq!(fake.asked.lock().unwrap()[0], ("one".into(), DnsFamily::V4Only));
}

#[tokio::test(start_paused = true)]
async fn hosts_stay_over_answers_and_failures() {
    let (fake, clusters) = start();
    fake.say("one", Ok((&["10.0.0.1", "10.0.0.2"], 0)));
    let cluster = apply(&clusters, settings(dns()), plain(vec![named("one", 80)]));
    seconds(0).await;
    let kept = Arc::clone(cluster.hosts().hosts().nth(1).unwrap());
    let set = cluster.hosts();
    fake.say("one", Ok((&["10.0.0.2", "10.0.0.1"], 0)));
    seconds(5).await;
    assert!(Arc::ptr_eq(&set, &cluster.hosts()), "another order is no news");
    fake.say("one", Ok((&["10.0.0.3", "10.0.0.2"], 0)));
    seconds(5).await;
    assert_eq!(addresses(&cluster), ["10.0.0.2:80", "10.0.0.3:80"]);
    assert!(Arc::ptr_eq(&kept, cluster.hosts().hosts().next().unwrap()));
    fake.say("one", Err("SERVFAIL"));
    seconds(30).await;
    assert_eq!(cluster.hosts().hosts().count(), 2, "the last answer stays in use");
    assert!(cluster.stats().get(ClusterStat::UpdateFailure) >= 5);
    fake.say("one", Ok((&[], 0)));
    seconds(6).await;
    assert!(cluster.pick(&Pick::default()).is_err(), "the name is gone, and everybody says so");
    assert_eq!(cluster.stats().get(ClusterStat::UpdateNoRebuild), 1);
}

#[tokio::test(start_paused = true)]
async fn how_often() {
    let (fake, clusters) = start();
    fake.say("one", Ok((&["10.0.0.1"], 60)));
    apply(&clusters, settings(dns()), plain(vec![named("one", 80)]));
    seconds(20).await;
    assert_eq!(fake.asked(), 5, "at once, then every 5 s");
    let by_ttl = Dns { respect_ttl: true, ..dns() };
    apply(&clusters, settings(by_ttl), plain(vec![named("one", 80)]));
    seconds(121).await;
    assert_eq!(fake.asked(), 5 + 3, "new settings ask anew, then at the TTL");
    fake.say("one", Ok((&["10.0.0.1"], 0)));
    seconds(60).await;
    let so_far = fake.asked();
    seconds(10).await;
    assert_eq!(fake.asked(), so_far + 2, "no TTL: at the rate");
}

#[test]
fn pauses() {
    let answer = |ttl| Answer { addresses: vec![[10, 0, 0, 1].into()], ttl: Duration::from_secs(ttl) };
    let by_ttl = Dns { respect_ttl: true, min_refresh: Duration::from_secs(3), ..dns() };
    assert_eq!(refresh_after(&by_ttl, &answer(60)), Duration::from_secs(60));
    assert_eq!(refresh_after(&by_ttl, &answer(1)), Duration::from_secs(3), "dns_min_refresh_rate");
    assert_eq!(refresh_after(&by_ttl, &answer(0)), Duration::from_secs(5));
    assert_eq!(refresh_after(&by_ttl, &Answer::default()), Duration::from_secs(5), "no records, no TTL");
    let late = Dns { jitter: Duration::from_secs(2), ..dns() };
    for _ in 0..100 {
        let pause = refresh_after(&late, &answer(9));
        assert!((Duration::from_secs(5)..Duration::from_secs(7)).contains(&pause), "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_back_off() {
    let base = Dns { failure_refresh: Some((Duration::from_secs(2), Duration::from_secs(8))), ..dns() };
    for (failures, most) in [(1, 2), (2, 4), (3, 8), (4, 8), (90, 8)] {
        let pause = retry_after(&base, failures).as_secs_f64();
        assert!((f64::from(most) / 2.0..=f64::from(most)).contains(&pause), "{failures}: {pause}");
    }
    assert_eq!(retry_after(&dns(), 9), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn logical_has_one_host_and_keeps_it() {
    let (fake, clusters) = start();
    fake.say("one", Ok((&["10.0.0.7", "10.0.0.1"], 0)));
    let logical = Dns { logical: true, ..dns() };
    let cluster = apply(&clusters, settings(logical), assignment(vec![locality("", 3, None, vec![named("one", 80)])]));
    seconds(0).await;
    assert_eq!(addresses(&cluster), ["10.0.0.7:80"]);
    let host = Arc::clone(cluster.hosts().hosts().next().unwrap());
    let more = |host: &Host| host.detail().additional_addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(more(&host), ["10.0.0.1:80"], "for happy eyeballs");
    assert_eq!(host.detail().priority, 0);
    fake.say("one", Ok((&["10.0.0.7", "::1", "10.0.0.7"], 0)));
    seconds(5).await;
    assert!(Arc::ptr_eq(&host, cluster.hosts().hosts().next().unwrap()));
    assert_eq!(more(&host), ["[::1]:80"]);
    fake.say("one", Ok((&[], 0)));
    seconds(5).await;
    assert_eq!(addresses(&cluster), ["10.0.0.7:80"]);
    fake.say("one", Ok((&["10.0.0.1"], 0)));
    seconds(5).await;
    assert_eq!(addresses(&cluster), ["10.0.0.1:80"]);
}

#[tokio::test(start_paused = true)]
async fn names_no_longer_configured_are_not_asked_for() {
    let (fake, clusters) = start();
    fake.say("one", Ok((&["10.0.0.1"], 0)));
    fake.say("two", Ok((&["10.0.0.2"], 0)));
    let cluster = apply(&clusters, settings(dns()), plain(vec![named("one", 80), named("two", 80)]));
    seconds(0).await;
    apply(&clusters, settings(dns()), plain(vec![named("two", 80)]));
    assert_eq!(addresses(&cluster), ["10.0.0.2:80"], "the other answer is still known");
    fake.asked.lock().unwrap().clear();
    seconds(10).await;
    assert!(fake.asked.lock().unwrap().iter().all(|(name, _)| name == "two"));
    drop(clusters);
    fake.asked.lock().unwrap().clear();
    seconds(60).await;
    assert_eq!(fake.asked(), 0, "nothing goes on without its cluster");
}

/// A new name: those who serve are not sent home before the first word about their successors.
#[tokio::test(start_paused = true)]
async fn hosts_serve_until_their_successors_are_known() {
    let (fake, clusters) = start();
    let cluster = apply(&clusters, settings(dns()), plain(vec![named("one", 80)]));
    assert!(addresses(&cluster).is_empty());
    fake.say("one", Ok((&["10.0.0.1"], 0)));
    seconds(6).await;
    apply(&clusters, settings(dns()), plain(vec![named("two", 80)]));
    assert_eq!(addresses(&cluster), ["10.0.0.1:80"]);
    fake.say("two", Ok((&["10.0.0.2"], 0)));
    seconds(0).await;
    assert_eq!(addresses(&cluster), ["10.0.0.2:80"]);
    apply(&clusters, settings(dns()), plain(vec![named("nobody", 80)]));
    assert_eq!(addresses(&cluster), ["10.0.0.2:80"]);
    seconds(0).await;
    assert!(addresses(&cluster).is_empty(), "the first word was that there is none");
    assert_eq!(cluster.stats().get(ClusterStat::UpdateFailure), 1);
    apply(&clusters, settings(dns()), plain(vec![named("one", 80), named("10.0.0.9", 1)]));
    assert_eq!(addresses(&cluster), ["10.0.0.9:1"]);
    seconds(0).await;
    apply(&clusters, settings(dns()), plain(vec![named("nobody", 80), named("10.0.0.9", 1)]));
    assert_eq!(addresses(&cluster), ["10.0.0.9:1"], "somebody else serves");
}

#[tokio::test(start_paused = true)]
async fn the_first_connections_wait_for_the_first_word() {
    let (fake, clusters) = start();
    let begun = tokio::time::Instant::now();
    fake.slow(Duration::from_secs(1));
    fake.say("one", Ok((&["10.0.0.1"], 0)));
    let config = Config { connect_timeout: Duration::from_secs(3), ..settings(dns()) };
    let cluster = apply(&clusters, config.clone(), plain(vec![named("one", 80)]));
    cluster.warmed().await;
    assert_eq!(addresses(&cluster), ["10.0.0.1:80"]);
    assert_eq!(begun.elapsed().as_secs(), 1);
    cluster.warmed().await;
    assert_eq!(begun.elapsed().as_secs(), 1, "known");

    fake.slow(Duration::from_secs(20));
    let mute = Config { name: "b".into(), stat_name: "b".into(), ..config };
    let cluster = apply(&clusters, mute, plain(vec![named("two", 80)]));
    cluster.warmed().await;
    assert_eq!(begun.elapsed().as_secs(), 4, "no longer than a connection may take");
    seconds(20).await;
    cluster.warmed().await;
    assert_eq!(begun.elapsed().as_secs(), 24, "a failure is a word too");
}

/// `/etc/hosts` is asked before any name server.
#[tokio::test]
async fn the_system_knows_localhost() {
    let answer = System::default().resolve("localhost", DnsFamily::V4Only).await.unwrap();
    assert_eq!(answer.addresses, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
}
