//! The real resolver against a name server on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::tests::{addresses, dns, named, settings};
use super::*;
use crate::metrics::Registry;
use crate::stream::Stream;
use crate::upstream::cluster::Pick;
use crate::upstream::clusters::Clusters;
use crate::upstream::connect::connect;
use crate::upstream::testing::*;

/// What is said about a name and type; about all others, NXDOMAIN.
#[derive(Clone)]
enum Said {
    /// Data and times to live, in that order; a name is an alias.
    Records(Vec<(&'static str, u32)>),
    /// No error, no records.
    Nothing,
    Code(ResponseCode),
    Silence,
}

#[derive(Default)]
struct Zone {
    said: Mutex<HashMap<(&'static str, RecordType), Said>>,
    asked: Mutex<Vec<(String, RecordType)>>,
}

impl Zone {
    fn say(&self, name: &'static str, kind: RecordType, said: Said) {
        self.said.lock().unwrap().insert((name, kind), said);
    }

    fn asked(&self, kind: RecordType) -> usize {
        self.asked.lock().unwrap().iter().filter(|(_, k)| *k == kind).count()
    }

    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).unwrap();
        let question = query.queries[0].clone();
        let name = question.name().to_ascii().trim_end_matches('.').to_owned();
        self.asked.lock().unwrap().push((name.clone(), question.query_type()));
        let said = self.said.lock().unwrap();
        let said = said.iter().find(|((n, k), _)| *n == name && *k == question.query_type()).map(|(_, s)| s.clone());
        let mut response = Message::response(query.metadata.id, OpCode::Query);
        response.metadata.recursion_desired = true;
        response.metadata.recursion_available = true;
        let mut owner = question.name().clone();
        response.add_query(question);
        match said {
            None => response.metadata.response_code = ResponseCode::NXDomain,
            Some(Said::Nothing) => {}
            Some(Said::Code(code)) => response.metadata.response_code = code,
            Some(Said::Silence) => return None,
            Some(Said::Records(records)) => {
                for (data, ttl) in records {
                    let data = match data.parse::<IpAddr>() {
                        Ok(IpAddr::V4(ip)) => RData::A(A(ip)),
                        Ok(IpAddr::V6(ip)) => RData::AAAA(AAAA(ip)),
                        Err(_) => RData::CNAME(CNAME(Name::from_ascii(data).unwrap())),
                    };
                    let alias = if let RData::CNAME(alias) = &data { Some(alias.0.clone()) } else { None };
                    response.add_answer(Record::from_rdata(owner.clone(), ttl, data));
                    owner = alias.unwrap_or(owner);
                }
            }
        }
        Some(response.to_vec().unwrap())
    }
}

async fn server() -> (Arc<Zone>, Arc<System>) {
    let zone = Arc::new(Zone::default());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut udp = ConnectionConfig::udp();
    udp.port = socket.local_addr().unwrap().port();
    let serving = Arc::clone(&zone);
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            if let Some(answer) = serving.answer(&buffer[..length]) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
    let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![udp]);
    let mut options = ResolverOpts::default();
    (options.timeout, options.attempts) = (Duration::from_millis(200), 1);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    (zone, Arc::new(System::with_settings(config, options)))
}

fn clusters(system: &Arc<System>) -> Arc<Clusters> {
    let resolver: Arc<dyn Resolve> = Arc::<System>::clone(system);
    Clusters::with_resolver(Registry::new(1), tokio::runtime::Handle::current(), resolver)
}

fn often() -> Dns {
    Dns { refresh_rate: Duration::from_millis(10), ..dns() }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("not seen: {what}"));
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|a| a.parse().unwrap()).collect()
}

#[tokio::test]
async fn families() {
    use DnsFamily::*;
    let (zone, system) = server().await;
    zone.say("both.test", RecordType::A, Said::Records(vec![("10.0.0.2", 30), ("10.0.0.1", 20)]));
    zone.say("both.test", RecordType::AAAA, Said::Records(vec![("fd00::1", 10)]));
    zone.say("four.test", RecordType::A, Said::Records(vec![("10.0.0.4", 5)]));
    zone.say("four.test", RecordType::AAAA, Said::Nothing);
    zone.say("six.test", RecordType::A, Said::Code(ResponseCode::ServFail));
    zone.say("six.test", RecordType::AAAA, Said::Records(vec![("fd00::6", 7)]));
    let cases: [(_, _, &[&str], _); 11] = [
        ("both.test", V4Only, &["10.0.0.2", "10.0.0.1"], 20),
        ("both.test", V6Only, &["fd00::1"], 10),
        ("both.test", V4Preferred, &["10.0.0.2", "10.0.0.1"], 20),
        ("both.test", Auto, &["fd00::1"], 10),
        ("both.test", All, &["10.0.0.2", "10.0.0.1", "fd00::1"], 10),
        ("four.test", Auto, &["10.0.0.4"], 5),
        ("four.test", V6Only, &[], 0),
        ("four.test", All, &["10.0.0.4"], 5),
        ("six.test", V4Preferred, &["fd00::6"], 7),
        ("six.test", All, &["fd00::6"], 7),
        ("none.test", All, &[], 0),
    ];
    for (name, family, expected, ttl) in cases {
        let answer = system.resolve(name, family).await.unwrap();
        assert_eq!(answer, Answer { addresses: ips(expected), ttl: Duration::from_secs(ttl) }, "{name} {family:?}");
    }
    assert!(system.resolve("six.test", V4Only).await.is_err());
    zone.say("half.test", RecordType::A, Said::Code(ResponseCode::ServFail));
    zone.say("half.test", RecordType::AAAA, Said::Nothing);
    for family in [Auto, V4Preferred, All] {
        let unknown = system.resolve("half.test", family).await;
        assert!(unknown.is_err(), "that there are none is not known: {family:?} {unknown:?}");
    }
}

#[tokio::test]
async fn an_alias_may_live_shorter_than_its_address() {
    let (zone, system) = server().await;
    zone.say("alias.test", RecordType::A, Said::Records(vec![("real.test", 3), ("10.0.0.1", 300)]));
    let answer = system.resolve("alias.test", DnsFamily::V4Only).await.unwrap();
    assert_eq!(answer, Answer { addresses: ips(&["10.0.0.1"]), ttl: Duration::from_secs(3) });
}

#[tokio::test]
async fn failures_are_told_from_empty_answers() {
    let (zone, system) = server().await;
    for said in [
        Said::Code(ResponseCode::ServFail),
        Said::Code(ResponseCode::Refused),
        Said::Code(ResponseCode::NotImp),
        Said::Silence,
    ] {
        zone.say("a.test", RecordType::A, said);
        assert!(system.resolve("a.test", DnsFamily::V4Only).await.is_err());
    }
    for said in [Said::Nothing, Said::Code(ResponseCode::NXDomain)] {
        zone.say("a.test", RecordType::A, said);
        assert_eq!(system.resolve("a.test", DnsFamily::V4Only).await, Ok(Answer::default()));
    }
}

#[tokio::test]
async fn stale_answers_stay_until_there_is_a_better_one() {
    let (zone, system) = server().await;
    let clusters = clusters(&system);
    let cluster = apply(&clusters, settings(often()), plain(vec![named("a.test", 80)]));
    let failures = || cluster.stats().get(ClusterStat::UpdateFailure);
    zone.say("a.test", RecordType::A, Said::Records(vec![("10.0.0.1", 1), ("10.0.0.2", 1)]));
    until("both addresses", || addresses(&cluster) == ["10.0.0.1:80", "10.0.0.2:80"]).await;
    let kept = Arc::clone(cluster.hosts().hosts().nth(1).unwrap());
    for said in [Said::Code(ResponseCode::ServFail), Said::Silence] {
        let before = failures();
        zone.say("a.test", RecordType::A, said);
        until("failures", || failures() > before + 1).await;
        assert_eq!(addresses(&cluster), ["10.0.0.1:80", "10.0.0.2:80"]);
    }
    zone.say("a.test", RecordType::A, Said::Records(vec![("10.0.0.3", 1), ("10.0.0.2", 1)]));
    until("the new address", || addresses(&cluster) == ["10.0.0.2:80", "10.0.0.3:80"]).await;
    assert!(Arc::ptr_eq(&kept, cluster.hosts().hosts().next().unwrap()), "who stays keeps its history");
    zone.say("a.test", RecordType::A, Said::Nothing);
    until("that it is gone", || addresses(&cluster).is_empty()).await;
    let (asked, tried) = (zone.asked(RecordType::A), cluster.stats().get(ClusterStat::UpdateAttempt));
    assert!(asked >= usize::try_from(tried).unwrap() - 1, "asked {asked} for {tried} attempts");
}

#[tokio::test]
async fn the_time_to_live_says_when_to_ask_again() {
    let (zone, system) = server().await;
    let clusters = clusters(&system);
    zone.say("a.test", RecordType::A, Said::Records(vec![("10.0.0.1", 1)]));
    zone.say("b.test", RecordType::A, Said::Records(vec![("10.0.0.2", 3600)]));
    let rarely = Dns { refresh_rate: Duration::from_secs(3600), respect_ttl: true, ..dns() };
    apply(&clusters, settings(rarely), plain(vec![named("a.test", 80), named("b.test", 80)]));
    until("the second query", || zone.asked(RecordType::A) >= 3).await;
    let asked = zone.asked.lock().unwrap().clone();
    assert_eq!(asked.iter().filter(|(name, _)| name == "b.test").count(), 1);
}

/// A logical endpoint whose first address nobody answers at is reached at another; when the name moves, what is open
/// stays open, and what comes next goes to the new address.
#[tokio::test]
async fn names_move_and_connections_stay() {
    let (zone, system) = server().await;
    let old = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = old.local_addr().unwrap().port();
    let new = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), port)).await.unwrap();
    let clusters = clusters(&system);
    zone.say("a.test", RecordType::AAAA, Said::Records(vec![("::1", 1)]));
    zone.say("a.test", RecordType::A, Said::Records(vec![("127.0.0.3", 1), ("127.0.0.1", 1)]));
    let logical = Dns { logical: true, family: DnsFamily::All, ..often() };
    let cluster = apply(&clusters, settings(logical), plain(vec![named("a.test", port)]));
    until("the first address", || addresses(&cluster) == [format!("127.0.0.3:{port}")]).await;

    let open = async || {
        let (mut pending, host) = (cluster.admit().unwrap(), cluster.pick(&Pick::default()).unwrap());
        let connected = connect(&mut pending, &host).await.unwrap();
        let Stream::Tcp(stream) = connected.stream else { panic!("TCP was asked for") };
        (stream, connected.lease)
    };
    let (mut first, lease) = open().await;
    let (mut peer, _) = old.accept().await.unwrap();
    assert_eq!(first.peer_addr().unwrap(), SocketAddr::from((Ipv4Addr::LOCALHOST, port)));

    zone.say("a.test", RecordType::AAAA, Said::Nothing);
    zone.say("a.test", RecordType::A, Said::Records(vec![("127.0.0.2", 1)]));
    until("the new address", || addresses(&cluster) == [format!("127.0.0.2:{port}")]).await;
    let (second, _lease) = open().await;
    assert_eq!(new.accept().await.unwrap().1, second.local_addr().unwrap());

    assert!(lease.removal().is_none());
    peer.write_all(b"still here").await.unwrap();
    let mut read = [0; 10];
    first.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"still here");
    assert_eq!(cluster.stats().get(ClusterStat::UpstreamCxDestroy), 0);
}
