#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use config::model::address::Address;
use config::model::chain::Handler;
use config::model::listener::Direction;

use super::*;
use crate::metrics::Registry;

fn chain(name: &str, matches: Match) -> Arc<FilterChain> {
    Arc::new(FilterChain {
        name: name.into(),
        id: xxhash_rust::xxh3::xxh3_128(name.as_bytes()),
        matches,
        tls: None,
        filters: Box::default(),
        handler: Handler::DirectResponse(Bytes::new()),
        transport_socket_connect_timeout: None,
    })
}

fn listener(chains: Vec<Arc<FilterChain>>, default_chain: Option<Arc<FilterChain>>) -> Listener {
    Listener {
        name: "l".into(),
        frame_id: 0,
        addresses: Box::new([Address::Socket(([127, 0, 0, 1], 1).into())]),
        stat_name: "l".into(),
        direction: Direction::Inbound,
        reuse_port: true,
        bind: true,
        backlog: None,
        tls_inspector: None,
        proxy_protocol: None,
        listener_filters_timeout: Duration::from_secs(15),
        continue_on_timeout: false,
        buffer_limit: 1 << 20,
        chains: chains.into(),
        default_chain,
        access_logs: Box::default(),
        connection_limit: None,
        system: false,
    }
}

/// What a connection brings, in short.
#[derive(Default)]
struct Given {
    sni: &'static str,
    plain: bool,
    alpn: &'static [&'static str],
    remote: Option<&'static str>,
    local: Option<&'static str>,
}

fn found(chains: &[(&str, Match)], given: &Given) -> Option<String> {
    let listener = listener(chains.iter().map(|(name, m)| chain(name, m.clone())).collect(), None);
    let registry = Registry::new(1);
    let chains = Chains::new(&listener, |chain| ChainState::new(chain, &registry, None));
    let facts = Facts {
        local: Some(given.local.unwrap_or("10.0.0.1:10001").parse().unwrap()),
        remote: Some(given.remote.unwrap_or("192.168.1.2:5000").parse().unwrap()),
        direct_remote: Some("172.16.0.1:6000".parse().unwrap()),
        server_name: Some(given.sni.as_bytes()),
        tls: !given.plain,
        alpn: given.alpn.iter().map(|a| a.as_bytes()),
    };
    chains.find(&facts).map(|state| state.chain.name.to_string())
}

fn names(names: &[&str]) -> Match {
    Match { server_names: names.iter().map(|n| Arc::from(*n)).collect(), ..Match::default() }
}

fn cidr(text: &str) -> Cidr {
    let (address, prefix) = text.split_once('/').unwrap();
    Cidr { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

#[test]
fn the_most_specific_server_name_wins_in_any_case() {
    let chains = [("exact", names(&["a.x.io"])), ("wild", names(&["*.x.io", "other"])), ("any", Match::default())];
    for (sni, expected) in
        [("A.x.IO", "exact"), ("b.x.io", "wild"), ("c.b.x.io", "wild"), ("other", "wild"), ("x.io", "any"), ("", "any")]
    {
        assert_eq!(found(&chains, &Given { sni, ..Given::default() }).as_deref(), Some(expected), "{sni}");
    }
    assert_eq!(found(&chains[..2], &Given { sni: "x.io", ..Given::default() }), None);
}

#[test]
fn never_goes_back_to_a_less_specific_name() {
    // The name decides first: that its chain then wants another ALPN does not bring the wildcard back.
    let exact = Match { application_protocols: Box::new(["h2".into()]), ..names(&["a.x.io"]) };
    let chains = [("exact", exact), ("wild", names(&["*.x.io"])), ("any", Match::default())];
    let given = |alpn| Given { sni: "a.x.io", alpn, ..Given::default() };
    assert_eq!(found(&chains, &given(&["http/1.1"])), None);
    assert_eq!(found(&chains, &given(&["http/1.1", "h2"])).as_deref(), Some("exact"));
}

#[test]
fn transport_and_alpn_in_the_clients_order() {
    let tls = Match { transport_protocol: TransportProtocol::Tls, ..Match::default() };
    let raw = Match { transport_protocol: TransportProtocol::RawBuffer, ..Match::default() };
    let of = |alpn: &str| Match { application_protocols: Box::new([alpn.into()]), ..tls.clone() };
    let chains = [("tls", tls.clone()), ("raw", raw), ("kuma", of("kuma")), ("h2", of("h2"))];
    let tls_with = |alpn| found(&chains, &Given { alpn, ..Given::default() });
    assert_eq!(found(&chains, &Given { plain: true, ..Given::default() }).as_deref(), Some("raw"));
    assert_eq!(tls_with(&[]).as_deref(), Some("tls"));
    assert_eq!(tls_with(&["h2", "kuma"]).as_deref(), Some("h2"));
    assert_eq!(tls_with(&["kuma", "h2"]).as_deref(), Some("kuma"));
    assert_eq!(tls_with(&["spdy"]).as_deref(), Some("tls"));
}

#[test]
fn destination_comes_before_the_name() {
    let port = |port, sni: &[&str]| Match { destination_port: Some(port), ..names(sni) };
    let range = |range, sni: &[&str]| Match { destination: Box::new([cidr(range)]), ..names(sni) };
    let chains = [("port", port(10001, &["a"])), ("any", names(&["b"])), ("port2", port(7, &[]))];
    assert_eq!(found(&chains, &Given { sni: "a", ..Given::default() }).as_deref(), Some("port"));
    assert_eq!(found(&chains, &Given { sni: "b", ..Given::default() }), None);
    let elsewhere = Given { sni: "b", local: Some("10.0.0.1:9"), ..Given::default() };
    assert_eq!(found(&chains, &elsewhere).as_deref(), Some("any"));
    let ranges =
        [("wide", range("10.0.0.0/8", &["a"])), ("narrow", range("10.0.0.0/24", &["b"])), ("v6", range("::/0", &[]))];
    assert_eq!(found(&ranges, &Given { sni: "b", ..Given::default() }).as_deref(), Some("narrow"));
    assert_eq!(found(&ranges, &Given { sni: "a", ..Given::default() }), None);
    let v6 = Given { local: Some("[::1]:1"), ..Given::default() };
    assert_eq!(found(&ranges, &v6).as_deref(), Some("v6"));
}

#[test]
fn sources() {
    let source = |range| Match { source: Box::new([cidr(range)]), ..Match::default() };
    let direct = Match { direct_source: Box::new([cidr("172.16.0.0/16")]), ..Match::default() };
    let local = Match { source_type: SourceType::SameIpOrLoopback, ..Match::default() };
    let port = Match { source_ports: Box::new([5000, 5001]), ..source("192.168.0.0/16") };
    let chains = [
        ("wide", source("192.168.0.0/16")),
        ("narrow", source("192.168.1.0/24")),
        ("local", local),
        ("any", Match::default()),
    ];
    let from = |remote| Given { remote: Some(remote), ..Given::default() };
    assert_eq!(found(&chains, &from("192.168.1.9:1")).as_deref(), Some("narrow"));
    assert_eq!(found(&chains, &from("192.168.2.9:1")).as_deref(), Some("wide"));
    assert_eq!(found(&chains, &from("127.0.0.1:1")).as_deref(), Some("local"));
    assert_eq!(found(&chains, &from("8.8.8.8:1")).as_deref(), Some("any"));
    let ports = [("wide", source("192.168.0.0/16")), ("port", port)];
    assert_eq!(found(&ports, &from("192.168.1.9:5001")).as_deref(), Some("port"));
    assert_eq!(found(&ports, &from("192.168.1.9:80")).as_deref(), Some("wide"));
    let ports = [("direct", direct), ("any", Match::default())];
    assert_eq!(found(&ports, &Given::default()).as_deref(), Some("direct"));
}

#[test]
fn the_default_chain_takes_what_is_left_and_is_counted_last() {
    let listener = listener(vec![chain("a", names(&["a"]))], Some(chain("default", Match::default())));
    let registry = Registry::new(1);
    let chains = Chains::new(&listener, |chain| ChainState::new(chain, &registry, None));
    let facts = Facts {
        local: None,
        remote: None,
        direct_remote: None,
        server_name: Some(b"b"),
        tls: true,
        alpn: std::iter::empty(),
    };
    assert_eq!(&*chains.find(&facts).unwrap().chain.name, "default");
    assert_eq!(chains.iter().map(|state| &*state.chain.name).collect::<Vec<_>>(), ["a", "default"]);
}
