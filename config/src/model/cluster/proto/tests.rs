#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};

use super::*;
use crate::model::cluster::{
    CircuitBreakers, Discovery, DnsFamily, HappyEyeballs, HashFunction, IpFamily, LbPolicy, OutlierDetection, Probe,
    ProxyHeader, ProxyVersion, RetryBudget, RingHash, SubsetFallback, Thresholds,
};
use crate::model::testing::{self, address, filter, merge, path, paths};
use crate::store::{Parsed, parse_cluster};

fn parse(more: Value) -> Result<Parsed<Cluster>, Rejection> {
    let mut cluster = json!({"name": "a:b", "connectTimeout": "1s"});
    merge(&mut cluster, more);
    parse_cluster(&testing::cluster(&cluster))
}

fn good(more: Value) -> Cluster {
    let parsed = parse(more).unwrap();
    assert_eq!(paths(&parsed.ignored), Vec::<String>::new());
    parsed.value
}

fn load(ip: &str) -> Value {
    json!({"clusterName": "x", "endpoints": [{"lbEndpoints": [{"endpoint": {"address": address(ip, 80)}}]}]})
}

#[test]
fn an_empty_cluster_has_envoys_defaults() {
    let cluster = parse_cluster(&testing::cluster(&json!({"name": "a"}))).unwrap().value;
    assert!(matches!(&cluster.discovery, Discovery::Static(a) if a.localities.is_empty()));
    assert_eq!(cluster.connect_timeout, Duration::from_secs(5));
    assert_eq!(cluster.lb, LbPolicy::RoundRobin);
    assert_eq!(cluster.buffer_limit, 1024 * 1024);
    assert_eq!(cluster.transport, Transport::Raw);
    assert!(Arc::ptr_eq(&cluster.name, &cluster.stat_name));
}

#[test]
fn colons_do_not_reach_metrics() {
    assert_eq!(&*good(json!({})).stat_name, "a_b");
    assert_eq!(&*good(json!({"altStatName": "x:y"})).stat_name, "x_y");
}

#[test]
fn eds_names_its_assignment() {
    let eds = |config: Value| good(json!({"type": "EDS", "edsClusterConfig": config})).discovery;
    let ads = json!({"ads": {}, "resourceApiVersion": "V3", "initialFetchTimeout": "0s"});
    match eds(json!({"edsConfig": ads, "serviceName": "s"})) {
        Discovery::Eds { service_name, initial_fetch_timeout } => {
            assert_eq!((&*service_name, initial_fetch_timeout), ("s", Duration::ZERO));
        }
        other => panic!("{other:?}"),
    }
    match eds(json!({"edsConfig": {"ads": {}}})) {
        Discovery::Eds { service_name, initial_fetch_timeout } => {
            assert_eq!((&*service_name, initial_fetch_timeout), ("a:b", Duration::from_secs(15)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn dns_clusters_resolve_names() {
    let dns = json!({"type": "STRICT_DNS", "dnsLookupFamily": "V4_ONLY", "loadAssignment": load("a.b"),
        "dnsRefreshRate": "2s", "respectDnsTtl": true, "dnsFailureRefreshRate": {"baseInterval": "1s"}});
    let Discovery::Dns { dns, .. } = good(dns).discovery else { panic!("not DNS") };
    assert_eq!((dns.family, dns.respect_ttl, dns.logical), (DnsFamily::V4Only, true, false));
    assert_eq!(dns.failure_refresh, Some((Duration::from_secs(1), Duration::from_secs(10))));

    let typed = json!({"clusterType": filter("envoy.cluster.dns", "envoy.extensions.clusters.dns.v3.DnsCluster",
        json!({"allAddressesInSingleEndpoint": true, "dnsLookupFamily": "V6_ONLY", "dnsJitter": "0.5s",
            "dnsMinRefreshRate": "3s"})), "loadAssignment": load("a.b")});
    let Discovery::Dns { dns, .. } = good(typed).discovery else { panic!("not DNS") };
    assert_eq!((dns.family, dns.logical), (DnsFamily::V6Only, true));
    assert_eq!((dns.jitter, dns.min_refresh), (Duration::from_millis(500), Duration::from_secs(3)));
}

#[test]
fn balancers_are_chosen_either_way() {
    let ring = json!({"lbPolicy": "RING_HASH",
        "ringHashLbConfig": {"hashFunction": "MURMUR_HASH_2", "minimumRingSize": 8, "maximumRingSize": 16}});
    let expected = RingHash { minimum_size: 8, maximum_size: 16, function: HashFunction::MurmurHash2 };
    assert_eq!(good(ring).lb, LbPolicy::RingHash(expected));
    assert_eq!(good(json!({"lbPolicy": "MAGLEV"})).lb, LbPolicy::Maglev { table_size: 65_537 });

    let policy = |name: &str, config| {
        let type_name = format!("envoy.extensions.load_balancing_policies.{name}");
        json!({"typedExtensionConfig": filter(name, &type_name, config)})
    };
    let unknown = policy("pick_first.v3.PickFirst", json!({}));
    let known = policy(
        "least_request.v3.LeastRequest",
        json!({"choiceCount": 3,
        "localityLbConfig": {"localityWeightedLbConfig": {}}}),
    );
    let cluster = good(json!({"loadBalancingPolicy": {"policies": [unknown, known]}}));
    assert_eq!(cluster.lb, LbPolicy::LeastRequest { choices: 3, bias: 1.0 });
    assert!(cluster.lb_common.unwrap().locality_weighted);
}

#[test]
fn common_settings_of_balancers() {
    let common = good(json!({"commonLbConfig": {"healthyPanicThreshold": {"value": 0},
        "zoneAwareLbConfig": {"failTrafficOnPanic": true}}}));
    let common = common.lb_common.unwrap();
    assert_eq!((common.healthy_panic_threshold, common.fail_traffic_on_panic), (0.0, true));
    assert_eq!(common.zone_aware, None);
    assert!(good(json!({"commonLbConfig": {"healthyPanicThreshold": {"value": 50}}})).lb_common.is_none());
}

#[test]
fn subsets_with_their_fallbacks() {
    let cluster = good(json!({"lbSubsetConfig": {"fallbackPolicy": "ANY_ENDPOINT",
        "subsetSelectors": [{"keys": ["version", "region"], "fallbackPolicy": "NO_FALLBACK"}, {"keys": []}]}}));
    let subsets = cluster.subsets.unwrap();
    assert_eq!(subsets.fallback, SubsetFallback::AnyEndpoint);
    let [selector] = &*subsets.selectors else { panic!("{:?}", subsets.selectors) };
    assert_eq!(selector.keys.iter().map(|k| &**k).collect::<Vec<_>>(), ["region", "version"]);
    assert_eq!(selector.fallback, Some(SubsetFallback::NoFallback));
    assert!(good(json!({"lbSubsetConfig": {"fallbackPolicy": "ANY_ENDPOINT"}})).subsets.is_none());
}

#[test]
fn thresholds_by_priority() {
    let breakers = good(json!({"circuitBreakers": {"thresholds": [
        {"priority": "HIGH", "maxConnections": 1, "retryBudget": {"budgetPercent": {"value": 25}}},
        {"maxConnections": 2, "trackRemaining": true}, {"maxConnections": 3}],
        "perHostThresholds": [{"maxConnections": 4}]}}));
    let expected = CircuitBreakers {
        default: Thresholds {
            max_connections: 2,
            track_remaining: true,
            per_host_max_connections: Some(4),
            ..Thresholds::default()
        },
        high: Thresholds {
            max_connections: 1,
            retry_budget: Some(RetryBudget { percent: 25.0, min_concurrency: 3 }),
            ..Thresholds::default()
        },
    };
    assert_eq!(breakers.circuit_breakers.as_deref(), Some(&expected));
    assert!(good(json!({"circuitBreakers": {"thresholds": [{}]}})).circuit_breakers.is_none());
}

#[test]
fn outlier_detection_fills_in_defaults() {
    let outlier = |more| *good(json!({"outlierDetection": more})).outlier_detection.unwrap();
    let default: OutlierDetection = outlier(json!({}));
    assert_eq!((default.interval, default.max_ejection_percent), (Duration::from_secs(10), 10));
    assert_eq!((default.enforcing_consecutive_5xx, default.enforcing_consecutive_gateway_failure), (100, 0));
    // Without a maximum of its own a long base is its own maximum.
    assert_eq!(outlier(json!({"baseEjectionTime": "400s"})).max_ejection_time, Duration::from_secs(400));
}

#[test]
fn health_checks_send_and_expect_bytes() {
    let check = json!({"timeout": "1s", "interval": "2s", "unhealthyThreshold": 1, "healthyThreshold": 1,
        "tcpHealthCheck": {"send": {"text": "6162"}, "receive": [{"text": "FF"}, {"binary": "AQ=="}]}});
    let cluster = good(json!({"healthChecks": [check]}));
    let expected = Probe::Tcp {
        send: Some(Box::from(*b"ab")),
        receive: Box::from([Box::from([0xff_u8]) as Box<[u8]>, Box::from([1_u8])]),
    };
    assert_eq!(cluster.health_checks[0].probe, expected);
    assert_eq!(cluster.health_checks[0].no_traffic_interval, Duration::from_secs(60));
}

#[test]
fn a_socket_that_cannot_be_run_is_never_raw() {
    let tls = |config| filter("t", "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", config);
    let raw = filter("t", "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", json!({}));
    assert_eq!(good(json!({"transportSocket": raw.clone()})).transport, Transport::Raw);

    let sds = json!({"commonTlsContext": {
        "tlsCertificateSdsSecretConfigs": [{"name": "cert", "sdsConfig": {"ads": {}}}],
        "combinedValidationContext": {"defaultValidationContext": {},
            "validationContextSdsSecretConfig": {"name": "ca", "sdsConfig": {"ads": {}}}}}});
    let parsed = parse(json!({"transportSocket": tls(sds.clone())})).unwrap();
    let Transport::Tls(context) = &parsed.value.transport else { panic!("no TLS") };
    assert_eq!(context.secrets().map(|s| &*s.name).collect::<Vec<_>>(), ["cert", "ca"]);

    let handshaker = tls(json!({"commonTlsContext": {"customHandshaker": {"name": "x"}}}));
    let parsed = parse(json!({"transportSocket": handshaker})).unwrap();
    assert!(matches!(parsed.value.transport, Transport::Unsupported(_)));
    assert_eq!(parsed.unsupported.len(), 1);

    let matches = json!([{"name": "m", "match": {"kuma.io/protocol": "tcp", "n": 1}, "transportSocket": tls(sds)},
        {"name": "rest", "transportSocket": raw}]);
    let parsed = parse(json!({"transportSocketMatches": matches})).unwrap();
    assert_eq!((parsed.value.transport, parsed.ignored.len()), (Transport::Raw, 0));
    let [first, rest] = &*parsed.value.transport_matches else { panic!("not two") };
    assert_eq!((&*first.name, first.metadata.len()), ("m", 2));
    assert!(matches!(first.transport, Transport::Tls(_)) && rest.metadata.is_empty());
    assert_eq!(rest.transport, Transport::Raw);

    let original_dst = parse(json!({"type": "ORIGINAL_DST", "lbPolicy": "CLUSTER_PROVIDED"})).unwrap();
    assert!(matches!(original_dst.value.transport, Transport::Unsupported(_)));
}

#[test]
fn a_proxy_protocol_header_before_all_else() {
    let raw = filter("t", "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", json!({}));
    let tls = filter("t", "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", json!({}));
    let quic = filter("t", "envoy.extensions.transport_sockets.quic.v3.QuicUpstreamTransport", json!({}));
    let outer = |config: Value| {
        filter("t", "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport", config)
    };
    let of = |config: Value, inner: &Value| {
        parse(json!({"transportSocket": outer(json!({"config": config, "transportSocket": inner}))}))
    };
    let header = |version, tlvs: Vec<(u8, Box<[u8]>)>| Arc::new(ProxyHeader { version, tlvs: tlvs.into() });

    let parsed = of(json!({}), &raw).unwrap();
    let expected = Transport::ProxyProtocol { header: header(ProxyVersion::V1, Vec::new()), tls: None };
    assert_eq!((parsed.value.transport, parsed.ignored.len()), (expected, 0));

    let all = json!({"version": "V2", "passThroughTlvs": {}, "addedTlvs": [{"type": 234, "value": "YWI="}]});
    let parsed = of(all, &tls).unwrap();
    assert_eq!(paths(&parsed.ignored), ["transport_socket.typed_config.config.pass_through_tlvs"]);
    assert!(parsed.value.trusts_anyone());
    let Transport::ProxyProtocol { header: found, tls: Some(_) } = parsed.value.transport else { panic!("no TLS") };
    assert_eq!(found, header(ProxyVersion::V2, vec![(234, b"ab".as_slice().into())]));

    let matches = json!([{"name": "m", "transportSocket": outer(json!({"transportSocket": raw}))}]);
    let matched = good(json!({"transportSocketMatches": matches}));
    assert!(matches!(matched.transport_matches[0].transport, Transport::ProxyProtocol { tls: None, .. }));

    // Never sent without what was asked for.
    let format = json!({"addedTlvs": [{"type": 1, "formatString": {"textFormatSource": {"inlineString": "x"}}}]});
    let long = json!({"addedTlvs": [{"type": 1, "value": "A".repeat(4 * 22_000)}]});
    let again = outer(json!({"transportSocket": raw}));
    for (config, inner) in [(json!({}), &quic), (json!({}), &again), (format, &raw), (long, &raw)] {
        let parsed = of(config, inner).unwrap();
        assert!(matches!(parsed.value.transport, Transport::Unsupported(_)), "{:?}", parsed.value.transport);
    }

    assert!(parse(json!({"transportSocket": outer(json!({}))})).is_err());
    assert!(of(json!({"addedTlvs": [{"type": 256, "value": "YQ=="}]}), &raw).is_err());
    assert!(of(json!({"addedTlvs": [{"type": 1}]}), &raw).is_err());
    assert!(of(json!({"passThroughTlvs": {"tlvType": [256]}}), &raw).is_err());
}

#[test]
fn what_is_not_honoured_is_named() {
    let parsed = parse(json!({"preconnectPolicy": {}, "upstreamBindConfig":
        {"sourceAddress": {"address": "127.0.0.2", "portValue": 0}, "freebind": true}}))
    .unwrap();
    let mut found = paths(&parsed.ignored);
    found.sort();
    assert_eq!(found, ["preconnect_policy", "upstream_bind_config.freebind"]);
    let source = parsed.value.socket.unwrap().source.unwrap();
    assert_eq!(source.to_string(), "127.0.0.2:0");
}

/// Each line was tried with Envoy 1.40, which refuses it too.
#[test]
fn refusals_name_the_field() {
    let check = |more: Value| {
        let mut check = json!({"timeout": "1s", "interval": "2s", "unhealthyThreshold": 1, "healthyThreshold": 1});
        merge(&mut check, more);
        json!({"healthChecks": [check]})
    };
    let selector = |more: Value| json!({"lbSubsetConfig": {"subsetSelectors": [more]}});
    let table = [
        (json!({"name": ""}), "name"),
        (json!({"connectTimeout": "0s"}), "connect_timeout"),
        (json!({"type": "EDS"}), "eds_cluster_config"),
        (json!({"type": "EDS", "edsClusterConfig": {}}), "eds_cluster_config.eds_config"),
        (json!({"leastRequestLbConfig": {"choiceCount": 1}}), "least_request_lb_config.choice_count"),
        (json!({"loadAssignment": {"endpoints": []}}), "load_assignment.cluster_name"),
        (
            json!({"loadAssignment": load("a.b")}),
            "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address",
        ),
        (json!({"type": "LOGICAL_DNS"}), "load_assignment"),
        (json!({"dnsRefreshRate": "0.0001s"}), "dns_refresh_rate"),
        (
            json!({"type": "STRICT_DNS", "dnsFailureRefreshRate": {"baseInterval": "2s", "maxInterval": "1s"}}),
            "dns_failure_refresh_rate",
        ),
        (json!({"lbPolicy": "CLUSTER_PROVIDED"}), "lb_policy"),
        (json!({"type": "ORIGINAL_DST"}), "lb_policy"),
        (json!({"lbPolicy": "LOAD_BALANCING_POLICY_CONFIG"}), "load_balancing_policy"),
        (json!({"lbPolicy": "MAGLEV", "maglevLbConfig": {"tableSize": 4}}), "maglev_lb_config.table_size"),
        (
            json!({"lbPolicy": "RING_HASH", "ringHashLbConfig": {"minimumRingSize": 9, "maximumRingSize": 8}}),
            "ring_hash_lb_config.minimum_ring_size",
        ),
        (
            json!({"lbPolicy": "LEAST_REQUEST", "leastRequestLbConfig": {"choiceCount": 1}}),
            "least_request_lb_config.choice_count",
        ),
        (
            json!({"commonLbConfig": {"healthyPanicThreshold": {"value": 101}}}),
            "common_lb_config.healthy_panic_threshold.value",
        ),
        (json!({"outlierDetection": {"maxEjectionPercent": 101}}), "outlier_detection.max_ejection_percent"),
        (
            json!({"outlierDetection": {"baseEjectionTime": "9s", "maxEjectionTime": "8s"}}),
            "outlier_detection.max_ejection_time",
        ),
        (check(json!({})), "health_checks[0].health_checker"),
        (check(json!({"timeout": null, "tcpHealthCheck": {}})), "health_checks[0].timeout"),
        (check(json!({"tcpHealthCheck": {"send": {"text": "xyz"}}})), "health_checks[0].tcp_health_check.send.text"),
        (
            selector(json!({"keys": ["a"], "fallbackPolicy": "KEYS_SUBSET"})),
            "lb_subset_config.subset_selectors[0].fallback_keys_subset",
        ),
        (json!({"transportSocket": {"name": "t"}}), "transport_socket.typed_config"),
    ];
    for (more, expected) in table {
        assert_eq!(path(parse(more.clone())), expected, "{more}");
    }
}

#[test]
fn the_order_of_addresses_can_be_chosen() {
    let options = |config| json!({"upstreamConnectionOptions": {"happyEyeballsConfig": config}});
    let found = |config| good(options(config)).socket.map(|s| s.happy_eyeballs).unwrap_or_default();
    let six = json!({"firstAddressFamilyVersion": "V6", "firstAddressFamilyCount": 3});
    assert_eq!(found(six), HappyEyeballs { first: Some(IpFamily::V6), count: 3 });
    assert_eq!(found(json!({})), HappyEyeballs { first: None, count: 1 });
    assert_eq!(
        path(parse(options(json!({"firstAddressFamilyCount": 0})))),
        "upstream_connection_options.happy_eyeballs_config.first_address_family_count"
    );
}
