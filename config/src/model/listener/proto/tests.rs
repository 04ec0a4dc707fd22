#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::model::listener::{Direction, ProxyProtocol, TlsInspector};
use crate::model::testing::{self, address, filter, merge, path, paths, tcp_proxy, url, with_chains};
use crate::store::{Parsed, parse_listener};

fn inspector(config: Value) -> Value {
    filter("t", "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", config)
}

/// A chain for one server name.
fn sni(name: &str) -> Value {
    json!({"filterChainMatch": {"serverNames": [name], "transportProtocol": "tls"},
        "filters": [tcp_proxy(json!({}))]})
}

fn parse(more: Value) -> Result<Parsed<Listener>, Rejection> {
    let mut listener = with_chains(json!([sni("a")]));
    merge(&mut listener, more);
    parse_listener(&testing::listener(&listener), None)
}

fn update(chains: Value, previous: Option<&Listener>) -> Parsed<Listener> {
    parse_listener(&testing::listener(&with_chains(chains)), previous).unwrap()
}

fn good(more: Value) -> Listener {
    let parsed = parse(more).unwrap();
    assert_eq!(paths(&parsed.ignored), Vec::<String>::new());
    parsed.value
}

#[test]
fn a_listener_has_envoys_defaults() {
    let listener = good(json!({}));
    assert_eq!(listener.listener_filters_timeout, Duration::from_secs(15));
    assert_eq!(&*listener.stat_name, "127.0.0.1_1");
    assert_eq!(listener.buffer_limit, 1024 * 1024);
    assert!(listener.reuse_port && listener.bind && !listener.system && !listener.continue_on_timeout);
    assert_eq!(listener.tls_inspector, None);
}

#[test]
fn settings_are_taken_over() {
    let listener = good(json!({"name": "system_x", "statPrefix": "a:b", "enableReusePort": false,
        "trafficDirection": "INBOUND", "additionalAddresses": [{"address": address("::1", 2)}],
        "listenerFiltersTimeout": "0s", "tcpBacklogSize": 7, "deprecatedV1": {"bindToPort": false}}));
    assert!(listener.system && !listener.reuse_port && !listener.bind);
    assert_eq!(&*listener.stat_name, "a_b");
    assert_eq!(listener.direction, Direction::Inbound);
    assert_eq!(listener.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1:1", "[::1]:2"]);
    assert_eq!((listener.listener_filters_timeout, listener.backlog), (Duration::ZERO, Some(7)));
}

#[test]
fn a_pipe_is_one_socket() {
    let listener = good(json!({"address": {"pipe": {"path": "/run/x", "mode": 384}}}));
    assert!(!listener.reuse_port);
    assert_eq!(&*listener.stat_name, "/run/x");
}

#[test]
fn listener_filters() {
    let proxy = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol";
    let listener = good(json!({"listenerFilters": [
        inspector(json!({"maxClientHelloSize": 1024, "enableJa4Fingerprinting": true})),
        filter("p", proxy, json!({"disallowedVersions": ["V2"], "statPrefix": "s"}))]}));
    let expected = TlsInspector { max_hello: 1024, close_on_error: false, ja3: false, ja4: true };
    assert_eq!(listener.tls_inspector, Some(expected));
    let expected = ProxyProtocol { allow_without: false, v1: true, v2: false, stat_prefix: Some("s".into()) };
    assert_eq!(listener.proxy_protocol, Some(expected));
    assert_eq!(good(json!({"listenerFilters": [inspector(json!({}))]})).tls_inspector.unwrap().max_hello, 65_536);
}

#[test]
fn a_listener_filter_that_cannot_be_run_refuses_all_chains() {
    let original_dst = filter("o", "envoy.extensions.filters.listener.original_dst.v3.OriginalDst", json!({}));
    let parsed = parse(json!({"listenerFilters": [original_dst]})).unwrap();
    assert!(matches!(parsed.value.chains[0].handler, Handler::Unsupported(_)));
    let [(_, why)] = &*parsed.unsupported else { panic!("one chain") };
    assert_eq!(why.path.to_string(), "listener_filters[0].typed_config");
}

#[test]
fn unchanged_chains_stay_what_they_are() {
    let first = update(json!([sni("a"), sni("b")]), None).value;
    let second = update(json!([sni("c"), sni("b")]), Some(&first)).value;
    assert!(Arc::ptr_eq(&first.chains[1], &second.chains[1]));
    assert_ne!(first.chains[0].id, second.chains[0].id);
    assert_eq!(first.frame_id, second.frame_id);
    let mut other = with_chains(json!([sni("b")]));
    merge(&mut other, json!({"statPrefix": "x"}));
    let other = parse_listener(&testing::listener(&other), Some(&second)).unwrap().value;
    assert_ne!(other.frame_id, second.frame_id);
    assert!(Arc::ptr_eq(&other.chains[0], &second.chains[1]));
}

#[test]
fn a_chain_that_cannot_be_run_keeps_its_last_good_version() {
    let redis = || {
        let kind = "envoy.extensions.filters.network.redis_proxy.v3.RedisProxy";
        let config = json!({"statPrefix": "r", "settings": {"opTimeout": "1s"}});
        json!([filter("redis", kind, config)])
    };
    let chain = |name: &str, sni: &str, filters: Value| json!({"name": name, "filterChainMatch": {"serverNames": [sni]}, "filters": filters});
    let tcp = || json!([tcp_proxy(json!({}))]);
    let first = update(json!([chain("named", "a", tcp()), chain("", "b", tcp()), chain("", "c", tcp())]), None).value;
    let second =
        update(json!([chain("named", "z", redis()), chain("", "b", redis()), chain("", "d", redis())]), Some(&first));
    let [named, by_match, refusing] = &*second.value.chains else { panic!("three chains") };
    // The named one runs on under its new match, the one of the same match as it is, the last has no good version.
    assert!(matches!(named.handler, Handler::TcpProxy(_)));
    assert_eq!(&*named.matches.server_names[0], "z");
    assert_ne!(named.id, first.chains[0].id);
    assert!(Arc::ptr_eq(by_match, &first.chains[1]));
    assert!(matches!(refusing.handler, Handler::Unsupported(_)));
    assert_eq!((second.held.len(), second.unsupported.len()), (2, 1));
    assert_eq!(second.unsupported[0].1.path.to_string(), "filter_chains[2].filters[0].typed_config");

    // The same again holds on to the same, and a good version takes over.
    let third = update(json!([chain("", "b", redis())]), Some(&second.value));
    assert!(Arc::ptr_eq(&third.value.chains[0], &first.chains[1]));
    let fourth = update(json!([chain("", "d", tcp())]), Some(&second.value));
    assert!(matches!(fourth.value.chains[0].handler, Handler::TcpProxy(_)));
    assert!(fourth.held.is_empty() && fourth.unsupported.is_empty());
}

#[test]
fn the_default_chain_has_no_match() {
    let parsed = parse(json!({"filterChains": [], "defaultFilterChain": sni("a")})).unwrap();
    let default = parsed.value.default_chain.unwrap();
    assert!(default.matches.server_names.is_empty());
    assert!(parsed.value.chains.is_empty());
}

#[test]
fn a_chain_for_a_transport_that_is_not_there_is_left_out() {
    let quic = json!({"filterChainMatch": {"transportProtocol": "quic"}, "filters": [tcp_proxy(json!({}))]});
    let parsed = update(json!([quic, sni("a")]), None);
    assert_eq!(parsed.value.chains.len(), 1);
    assert_eq!(paths(&parsed.ignored), ["filter_chains[0].filter_chain_match.transport_protocol"]);
}

#[test]
fn an_unknown_field_is_reported_where_it_stands() {
    let mut body = testing::listener(&with_chains(json!([sni("a")]))).to_vec();
    body.extend([0xfa, 0xff, 0x03, 1, 7]);
    let parsed = parse_listener(&body.into(), None).unwrap();
    assert_eq!(paths(&parsed.ignored), ["(unknown fields)"]);
}

#[test]
fn kumas_empty_tags_are_no_unknown_field() {
    good(json!({"metadata": {"filterMetadata": {"io.kuma.tags": {}, "envoy.x": {"a": ""}}}}));
}

#[test]
fn references_are_collected() {
    let lua = filter("lua", "envoy.extensions.filters.http.lua.v3.Lua", json!({}));
    let router = filter("router", "envoy.extensions.filters.http.router.v3.Router", json!({}));
    let mut hcm = json!({"statPrefix": "h", "rds": {"routeConfigName": "r", "configSource": {"ads": {}}},
        "httpFilters": [lua, router]});
    hcm["@type"] = url("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager").into();
    let tls = filter(
        "tls",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        json!({"commonTlsContext": {"tlsCertificateSdsSecretConfigs": [{"name": "s", "sdsConfig": {"ads": {}}}]}}),
    );
    let parsed = update(json!([{"filters": [{"name": "hcm", "typedConfig": hcm}], "transportSocket": tls}]), None);
    let tls = parsed.value.chains[0].tls.as_ref().unwrap();
    assert_eq!((&*parsed.names.routes[0], &*tls.secrets().next().unwrap().name), ("r", "s"));
    assert_eq!(parsed.unsupported.len(), 1);
}

/// Each line was tried with Envoy 1.40, which refuses it too.
#[test]
fn refusals_name_the_field() {
    let overlap = json!([sni("a"), sni("b"), sni("A")]);
    let table = [
        (json!({"address": null}), "address"),
        (json!({"filterChains": []}), "filter_chains"),
        (json!({"filterChains": overlap}), "filter_chains[2].filter_chain_match"),
        (json!({"address": address("localhost", 1)}), "address.socket_address.address"),
        (json!({"address": {"pipe": {"path": ""}}}), "address.pipe.path"),
        (json!({"additionalAddresses": [{}]}), "additional_addresses[0].address"),
        (json!({"listenerFilters": [{"name": "x"}]}), "listener_filters[0].typed_config"),
        (
            json!({"listenerFilters": [inspector(json!({"maxClientHelloSize": 255}))]}),
            "listener_filters[0].typed_config.max_client_hello_size",
        ),
        (json!({"maxConnectionsToAcceptPerSocketEvent": 0}), "max_connections_to_accept_per_socket_event"),
        (json!({"accessLog": [{"name": "x"}]}), "access_log[0].typed_config"),
    ];
    for (more, expected) in table {
        assert_eq!(path(parse(more.clone())), expected, "{more}");
    }
    let garbage = parse_listener(&b"\x0a\xff".to_vec().into(), None).unwrap_err();
    assert!(garbage.reason.contains("cannot be decoded"));
}
