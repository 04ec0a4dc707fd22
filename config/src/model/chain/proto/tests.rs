#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::model::chain::{Cidr, LocalRateLimit, NetworkFilter, SourceType, TransportProtocol};
use crate::model::testing::{self, filter, merge, path, tcp_proxy, with_chains};
use crate::store::parse_listener;

const NETWORK: &str = "envoy.extensions.filters.network";

fn parse(chain: Value) -> Result<Arc<FilterChain>, Rejection> {
    let parsed = parse_listener(&testing::listener(&with_chains(json!([chain]))), None)?;
    Ok(Arc::clone(&parsed.value.chains[0]))
}

fn matching(matches: Value) -> Result<Arc<FilterChain>, Rejection> {
    parse(json!({"filterChainMatch": matches, "filters": [tcp_proxy(json!({}))]}))
}

fn rate_limit(more: Value) -> Value {
    let mut config = json!({"statPrefix": "r", "tokenBucket": {"maxTokens": 5, "fillInterval": "1s"}});
    merge(&mut config, more);
    filter("rl", &format!("{NETWORK}.local_ratelimit.v3.LocalRateLimit"), config)
}

fn direct_response() -> Value {
    filter("dr", &format!("{NETWORK}.direct_response.v3.Config"), json!({"response": {"inlineString": "hi"}}))
}

/// A filter that does not run here.
fn foreign() -> Value {
    filter("authz", &format!("{NETWORK}.ext_authz.v3.ExtAuthz"), json!({"statPrefix": "r"}))
}

#[test]
fn every_criterion_of_a_match() {
    let chain =
        matching(json!({"destinationPort": 443, "prefixRanges": [{"addressPrefix": "10.1.2.3", "prefixLen": 8}],
        "serverNames": ["A.b", "*.C"], "transportProtocol": "raw_buffer", "applicationProtocols": ["h2"],
        "sourceType": "EXTERNAL", "sourcePrefixRanges": [{"addressPrefix": "fd00::1", "prefixLen": 16}],
        "directSourcePrefixRanges": [{"addressPrefix": "1.2.3.4", "prefixLen": 33}], "sourcePorts": [1, 65535]}))
        .unwrap();
    let m = &chain.matches;
    assert_eq!(m.destination_port, Some(443));
    assert_eq!(*m.destination, [Cidr { address: [10, 0, 0, 0].into(), prefix: 8 }]);
    assert_eq!(m.server_names.iter().map(|n| &**n).collect::<Vec<_>>(), ["a.b", "*.c"]);
    assert_eq!((m.transport_protocol, m.source_type), (TransportProtocol::RawBuffer, SourceType::External));
    assert_eq!(*m.source, [Cidr { address: "fd00::".parse().unwrap(), prefix: 16 }]);
    assert_eq!(*m.direct_source, [Cidr { address: [1, 2, 3, 4].into(), prefix: 32 }]);
    assert_eq!((&*m.source_ports, &*m.application_protocols[0]), (&[1, 65535][..], "h2"));
}

#[test]
fn filters_in_order_and_the_handler() {
    let chain = parse(json!({"filters": [rate_limit(json!({"shareKey": "k"})), tcp_proxy(json!({}))]})).unwrap();
    let [NetworkFilter::LocalRateLimit(limit)] = &*chain.filters else { panic!("{:?}", chain.filters) };
    let expected = LocalRateLimit {
        stat_prefix: "r".into(),
        max_tokens: 5,
        tokens_per_fill: 1,
        fill_interval: Duration::from_secs(1),
        share_key: Some("k".into()),
        enabled: true,
    };
    assert_eq!(**limit, expected);
    assert!(matches!(chain.handler, Handler::TcpProxy(_)));
    let chain = parse(json!({"filters": [direct_response()]})).unwrap();
    assert!(matches!(&chain.handler, Handler::DirectResponse(bytes) if bytes == "hi"));
}

#[test]
fn a_chain_without_filters_closes_as_in_envoy() {
    let chain = parse(json!({"filters": []})).unwrap();
    assert!(matches!(&chain.handler, Handler::DirectResponse(bytes) if bytes.is_empty()));
}

#[test]
fn what_cannot_be_run_refuses_its_chain_alone() {
    let at = |chain: Value| match &parse(chain).unwrap().handler {
        Handler::Unsupported(why) => why.path.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(at(json!({"filters": [foreign(), tcp_proxy(json!({}))]})), "filter_chains[0].filters[0].typed_config");

    let hcm = filter(
        "h",
        &format!("{NETWORK}.http_connection_manager.v3.HttpConnectionManager"),
        json!({"statPrefix": "h", "routeConfig": {}, "httpFilters": [
            filter("lua", "envoy.extensions.filters.http.lua.v3.Lua", json!({})),
            filter("router", "envoy.extensions.filters.http.router.v3.Router", json!({}))]}),
    );
    assert_eq!(at(json!({"filters": [hcm]})), "filter_chains[0].filters[0].typed_config.http_filters[0].typed_config");

    let tls = json!({"commonTlsContext": {"customHandshaker": {"name": "x"}}});
    let tls = filter("t", "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", tls);
    assert_eq!(
        at(json!({"filters": [tcp_proxy(json!({}))], "transportSocket": tls})),
        "filter_chains[0].transport_socket.typed_config.common_tls_context.custom_handshaker"
    );
    let discovered = json!({"name": "x", "configDiscovery": {"configSource": {"ads": {}}, "typeUrls": ["y"]}});
    assert_eq!(at(json!({"filters": [discovered]})), "filter_chains[0].filters[0].config_discovery");

    let two = with_chains(json!([
        {"filters": [foreign(), tcp_proxy(json!({}))]},
        {"filterChainMatch": {"destinationPort": 1}, "filters": [tcp_proxy(json!({}))]}]));
    let listener = parse_listener(&testing::listener(&two), None).unwrap().value;
    assert!(matches!(listener.chains[1].handler, Handler::TcpProxy(_)));
}

#[test]
fn a_raw_transport_socket_is_none() {
    let raw = filter("r", "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", json!({}));
    let chain = parse(json!({"filters": [tcp_proxy(json!({}))], "transportSocket": raw})).unwrap();
    assert!(matches!(chain.handler, Handler::TcpProxy(_)));
}

#[test]
fn overlaps_are_found_whatever_criteria_they_share() {
    let pair = |a: Value, b: Value| {
        let chain = |m: Value| json!({"filterChainMatch": m, "filters": [tcp_proxy(json!({}))]});
        parse_listener(&testing::listener(&with_chains(json!([chain(a), chain(b)]))), None).is_ok()
    };
    assert!(!pair(json!({}), json!({})));
    assert!(!pair(json!({"serverNames": ["a", "b"]}), json!({"serverNames": ["c", "B"]})));
    assert!(!pair(json!({"sourcePorts": [1, 2]}), json!({"sourcePorts": [2]})));
    let range = |a: &str| json!({"prefixRanges": [{"addressPrefix": a, "prefixLen": 8}]});
    assert!(!pair(range("10.0.0.0"), range("10.9.9.9")));
    assert!(pair(json!({"serverNames": ["a"]}), json!({"serverNames": ["a"], "transportProtocol": "tls"})));
    assert!(pair(json!({"serverNames": ["a"]}), json!({})));
    assert!(pair(json!({"applicationProtocols": ["x"]}), json!({"applicationProtocols": ["y"]})));
}

/// Each line was tried with Envoy 1.40, which refuses it too.
#[test]
fn refusals_name_the_field() {
    let chain = |filters: Value| json!({"filters": filters});
    let matches = |m: Value| json!({"filterChainMatch": m, "filters": [tcp_proxy(json!({}))]});
    let bucket = |b: Value| chain(json!([rate_limit(json!({"tokenBucket": b})), tcp_proxy(json!({}))]));
    let bad_type = json!({"name": "x", "typedConfig":
        {"@type": testing::url("envoy.config.core.v3.Pipe"), "path": "/p"}});
    let table = [
        (chain(json!([tcp_proxy(json!({})), tcp_proxy(json!({}))])), "filters[0]"),
        (chain(json!([direct_response(), tcp_proxy(json!({}))])), "filters[0]"),
        (chain(json!([rate_limit(json!({}))])), "filters[0]"),
        (chain(json!([foreign()])), "filters[0]"),
        (chain(json!([{"name": "envoy.filters.network.tcp_proxy"}])), "filters[0].typed_config"),
        (chain(json!([bad_type])), "filters[0].typed_config"),
        (bucket(json!({"maxTokens": 1})), "filters[0].typed_config.token_bucket.fill_interval"),
        (
            bucket(json!({"fillInterval": "1s", "tokensPerFill": 0})),
            "filters[0].typed_config.token_bucket.tokens_per_fill",
        ),
        (bucket(Value::Null), "filters[0].typed_config.token_bucket"),
        (matches(json!({"serverNames": ["ok", "*"]})), "filter_chain_match.server_names[1]"),
        (matches(json!({"serverNames": ["a.*.b"]})), "filter_chain_match.server_names[0]"),
        (matches(json!({"destinationPort": 0})), "filter_chain_match.destination_port"),
        (matches(json!({"destinationPort": 65536})), "filter_chain_match.destination_port"),
        (matches(json!({"sourcePorts": [0]})), "filter_chain_match.source_ports"),
        (
            matches(json!({"prefixRanges": [{"addressPrefix": "x"}]})),
            "filter_chain_match.prefix_ranges[0].address_prefix",
        ),
        (matches(json!({"suffixLen": 1})), "filter_chain_match.address_suffix"),
    ];
    for (chain, expected) in table {
        assert_eq!(path(parse(chain.clone())), format!("filter_chains[0].{expected}"), "{chain}");
    }
}
