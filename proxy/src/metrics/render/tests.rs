#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::metrics::sni::Totals;
use crate::metrics::{
    CloseStat, ClusterStat, HttpStat, ListenerStat, LocalRateLimitStat, ProxyProtocolStat, Registry, Scope, SslStat,
    StatSet, TcpStat,
};

fn rendered(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn prom(registry: &Registry, query: &Query) -> String {
    rendered(|out| prometheus(registry, &Tags::default(), query, out))
}

/// What keeps the scopes of Envoy's configuration behind the fixture alive.
struct Held {
    registry: Arc<Registry>,
    _clusters: Vec<Arc<Scope<ClusterStat>>>,
    _listeners: Vec<Arc<Scope<ListenerStat>>>,
    _tcp: Vec<Arc<Scope<TcpStat>>>,
    _limit: Arc<Scope<LocalRateLimitStat>>,
    _proxy: Arc<Scope<ProxyProtocolStat>>,
}

/// `render/fixtures/envoy-1.40-prometheus.txt` was taken from Envoy 1.40 with two workers, clusters `ca` (health
/// check, outlier detection) and `cb` (alt_stat_name, track_remaining), and these listeners and prefixes.
fn like_the_fixture() -> Held {
    let registry = Registry::new(2);
    let clusters = vec![registry.cluster("ca"), registry.cluster("cb_alt")];
    for (index, def) in ClusterStat::DEFS.iter().enumerate().filter(|(_, def)| def.when_used) {
        if def.name.starts_with("health_check.") || def.name.starts_with("outlier_detection.") {
            clusters[0].touch(index);
        } else if def.name.contains("default.remaining_") {
            clusters[1].touch(index);
        }
    }
    Held {
        _listeners: vec![registry.listener("127.0.0.1:21000"), registry.listener("my_stat")],
        _tcp: ["pre_a", "pre_b", "pre_c.dotted"].iter().map(|prefix| registry.tcp(prefix)).collect(),
        _limit: registry.local_rate_limit("rlp"),
        _proxy: registry.proxy_protocol(None),
        _clusters: clusters,
        registry,
    }
}

fn normal(line: &str) -> Option<String> {
    if line.starts_with("# TYPE") {
        return Some(line.to_owned());
    }
    let (series, _) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    if name.ends_with("_bucket") && !labels.contains("le=\"250\"") {
        return None;
    }
    let mut labels: Vec<_> = labels.trim_end_matches('}').split(',').collect();
    labels.sort_unstable();
    Some(format!("{name}{{{}}}", labels.join(",")))
}

#[test]
fn prometheus_equals_envoy() {
    let held = like_the_fixture();
    let text = prom(&held.registry, &Query::default());
    let ours: BTreeSet<_> = text
        .lines()
        .filter(|line| !line.contains("zonegate_") && !line.contains("control_plane") && !line.contains("watchdog"))
        .filter_map(normal)
        .collect();
    let envoys: BTreeSet<_> = include_str!("fixtures/envoy-1.40-prometheus.txt").lines().map(str::to_owned).collect();
    let missing: Vec<_> = envoys.difference(&ours).collect();
    let surplus: Vec<_> = ours.difference(&envoys).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing {missing:#?}\nsurplus {surplus:#?}");
}

#[test]
fn one_type_line_per_metric() {
    let registry = Registry::new(1);
    let held: Vec<_> = ["a.x", "b", "c.x", "d"].iter().map(|prefix| registry.tcp(prefix)).collect();
    let text = prom(&registry, &Query::default());
    let types: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    assert_eq!(types.len(), types.iter().collect::<BTreeSet<_>>().len());
    assert_eq!(held.len(), 4);
}

#[test]
fn batches_do_not_repeat_or_lose() {
    let registry = Registry::new(1);
    let held: Vec<_> = (0..1200).map(|n| registry.cluster(&format!("c{n}"))).collect();
    held.iter().for_each(|cluster| cluster.add(ClusterStat::UpstreamCxTotal, 7));
    let text = prom(&registry, &Query { used_only: true, ..Query::default() });
    assert_eq!(text.lines().filter(|line| line.starts_with("# TYPE envoy_cluster_upstream_cx_total ")).count(), 1);
    assert_eq!(text.lines().filter(|line| line.starts_with("envoy_cluster_upstream_cx_total{")).count(), 1200);
    assert!(text.contains("envoy_cluster_upstream_cx_total{envoy_cluster_name=\"c1199\"} 7\n"));
}

#[test]
fn used_only_and_filter() {
    let registry = Registry::new(1);
    let cluster = registry.cluster("x");
    cluster.inc(ClusterStat::UpstreamCxActive);
    cluster.dec(ClusterStat::UpstreamCxActive);
    let clusters = Some(Regex::new("^cluster").unwrap());
    let used = Query { used_only: true, filter: clusters, ..Query::default() };
    assert_eq!(rendered(|out| text(&registry, &used, out)), "cluster.x.upstream_cx_active: 0\n");
    let filter = Query { filter: Some(Regex::new("cx_(connect_fail|total)$").unwrap()), ..Query::default() };
    let listed = rendered(|out| text(&registry, &filter, out));
    assert_eq!(listed, "cluster.x.upstream_cx_connect_fail: 0\ncluster.x.upstream_cx_total: 0\n");
}

#[test]
fn gauges_are_not_below_zero() {
    let registry = Registry::new(1);
    let cluster = registry.cluster("x");
    cluster.dec(ClusterStat::UpstreamCxActive);
    cluster.set(ClusterStat::CircuitBreakersDefaultRemainingCxPools, -1);
    cluster.set(ClusterStat::Version, 0xfedc_ba98_7654_3210_u64.cast_signed());
    let used = Query { used_only: true, kind: Some(KindFilter::Gauges), ..Query::default() };
    let lines = rendered(|out| text(&registry, &used, out));
    assert!(lines.contains("cluster.x.upstream_cx_active: 0\n"), "{lines}");
    assert!(lines.contains("remaining_cx_pools: 18446744073709551615\n"), "{lines}");
    assert!(lines.contains("cluster.x.version: 18364758544493064720\n"), "{lines}");
    assert!(!lines.contains("zonegate"));
    assert!(prom(&registry, &used).contains("envoy_cluster_upstream_cx_active{envoy_cluster_name=\"x\"} 0\n"));
}

#[test]
fn text_and_json_of_everything() {
    let registry = Registry::new(2);
    registry.set_text("cluster_manager.cds.version_text", "v\"1");
    let listener = registry.listener("127.0.0.1:10000");
    listener.inc(ListenerStat::DownstreamCxTotal);
    [1, 3, 3, 900].iter().for_each(|&ms| listener.record(ListenerStat::DownstreamCxLengthMs, ms));
    let filter = Some(Regex::new("^(cluster|listener)").unwrap());
    let used = Query { used_only: true, filter, ..Query::default() };
    let lines = rendered(|out| text(&registry, &used, out));
    assert_eq!(
        lines,
        "cluster_manager.cds.version_text: \"v\"1\"\n\
         listener.127.0.0.1_10000.downstream_cx_total: 1\n\
         listener.127.0.0.1_10000.downstream_cx_length_ms: P0(nan,0.5) P25(nan,1) P50(nan,3) P75(nan,5) P90(nan,800) \
         P95(nan,899.9999999999999) P99(nan,980) P99.5(nan,990) P99.9(nan,998) P100(nan,1000)\n"
    );
    let json: serde_json::Value = serde_json::from_str(&rendered(|out| json(&registry, &used, out))).unwrap();
    let stats = json["stats"].as_array().unwrap();
    assert_eq!(stats[0], serde_json::json!({"name": "cluster_manager.cds.version_text", "value": "v\"1"}));
    assert_eq!(stats[1], serde_json::json!({"name": "listener.127.0.0.1_10000.downstream_cx_total", "value": 1}));
    let histograms = &stats[2]["histograms"];
    assert_eq!(histograms["supported_quantiles"], serde_json::json!([0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100]));
    assert_eq!(
        histograms["computed_quantiles"][0]["values"][2],
        serde_json::json!({"cumulative": 3, "interval": null})
    );
}

#[test]
fn histograms_in_prometheus() {
    let registry = Registry::new(1);
    let cluster = registry.cluster("x");
    cluster.record(ClusterStat::UpstreamCxConnectMs, 5);
    cluster.record(ClusterStat::UpstreamCxConnectMs, 6);
    cluster.record(ClusterStat::UpstreamCxConnectMs, 4_000_000);
    let text = prom(&registry, &Query { used_only: true, ..Query::default() });
    for line in [
        "# TYPE envoy_cluster_upstream_cx_connect_ms histogram",
        "envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name=\"x\",le=\"1\"} 0",
        "envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name=\"x\",le=\"5\"} 1",
        "envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name=\"x\",le=\"3600000\"} 2",
        "envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name=\"x\",le=\"+Inf\"} 3",
        "envoy_cluster_upstream_cx_connect_ms_sum{envoy_cluster_name=\"x\"} 4000011",
        "envoy_cluster_upstream_cx_connect_ms_count{envoy_cluster_name=\"x\"} 3",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} not in {text}");
    }
}

#[test]
fn our_own_and_texts() {
    let registry = Registry::new(1);
    let closes = registry.closes("[::1]:10000");
    closes.inc(CloseStat::HelloTimeout);
    registry.sni().add(b"Back\"end{mesh=m}", crate::metrics::sni::Totals { connections: 2, received: 3, sent: 4 });
    registry.set_text("control_plane.identifier", "cp-1");
    let text = prom(&registry, &Query { used_only: true, text_readouts: true, ..Query::default() });
    for line in [
        "zonegate_listener_close_total{envoy_listener_address=\"[__1]_10000\",reason=\"hello_timeout\"} 1",
        "zonegate_sni_connections_total{sni=\"back\\\"end{mesh=m}\"} 2",
        "zonegate_sni_sent_bytes_total{sni=\"back\\\"end{mesh=m}\"} 4",
        "envoy_control_plane_identifier{text_value=\"cp-1\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} not in {text}");
    }
}

#[test]
fn tags_of_kumas_bootstrap() {
    let specifier = |name: &str, regex: &str| TagSpecifier { name: name.to_owned(), regex: regex.to_owned() };
    let (tags, errors) = Tags::new(&[
        specifier("name", r"^grpc\.((.+)\.)"),
        specifier("status", "^grpc.*streams_closed(_([0-9]+))"),
        specifier("kafka_type", r"^kafka\..*\.(.*?(?=_duration|$))"),
        specifier("worker", r"(worker_([0-9]+)\.)"),
        specifier("listener", r"((.+?)\.)rbac\."),
        specifier("broken", "("),
    ]);
    let errors: Vec<_> = errors.iter().map(|error| (error.name.as_str(), error.is_look_around())).collect();
    assert_eq!(errors, [("kafka_type", true), ("broken", false)]);
    let split = |name: &str| {
        let tagged = tags.split(name);
        (tagged.name, tagged.tags.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>())
    };
    let rows: &[(&str, &str, &[&str])] = &[
        (
            "listener.127.0.0.1_80.worker_0.downstream_cx_total",
            "listener.downstream_cx_total",
            &["worker=0", "envoy_worker_id=0", "envoy_listener_address=127.0.0.1_80"],
        ),
        ("inbound_80.rbac.allowed", "rbac.allowed", &["listener=inbound_80", "envoy_rbac_prefix=inbound_80"]),
        ("in_1.2.rbac.allowed", "rbac.allowed", &["listener=in_1.2"]),
        ("grpc.ads.streams_closed_14", "grpc.streams_closed", &["name=ads", "status=14"]),
        (
            "http.p.downstream_rq_2xx",
            "http.downstream_rq_xx",
            &["envoy_http_conn_manager_prefix=p", "envoy_response_code_class=2"],
        ),
        (
            "http.p.rds.a.b.update_success",
            "http.rds.update_success",
            &["envoy_http_conn_manager_prefix=p", "envoy_rds_route_config=a.b"],
        ),
        (
            "proxy_proto.pre.versions.v2.found",
            "proxy_proto.found",
            &["envoy_proxy_protocol_prefix=pre", "envoy_proxy_protocol_version=2"],
        ),
        ("ext-1.rbac.sh.shadow_denied", "rbac.sh.shadow_denied", &["listener=ext-1", "envoy_rbac_prefix=ext-1"]),
        (
            "zonegate.rbac_policy.a.b.policy.kri_x.y.denied",
            "zonegate.rbac_policy.denied",
            &["envoy_rbac_prefix=a.b", "policy=kri_x.y"],
        ),
        ("listener.admin.downstream_cx_total", "listener.admin.downstream_cx_total", &[]),
        ("server.live", "server.live", &[]),
    ];
    for (name, left, expected) in rows {
        assert_eq!(split(name), ((*left).to_owned(), expected.iter().map(|tag| (*tag).to_owned()).collect()), "{name}");
    }
    assert_eq!(HttpStat::PREFIX, "http.");
}

#[test]
fn fixed_tags_stand_on_every_series() {
    let registry = Registry::new(1);
    let cluster = registry.cluster("c");
    cluster.inc(ClusterStat::UpstreamCxTotal);
    cluster.record(ClusterStat::UpstreamCxLengthMs, 3);
    registry.sni().add(b"a.example", Totals { connections: 1, received: 0, sent: 0 });
    let tags = Tags::new(&[]).0.with_fixed([("my-env".to_owned(), "prod".to_owned())]);
    let query = Query { used_only: true, ..Query::default() };
    let text = rendered(|out| prometheus(&registry, &tags, &query, out));
    let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert!(series.len() > 3 && series.iter().all(|line| line.contains("my_env=\"prod\"")), "{text}");
    assert!(text.contains("envoy_cluster_upstream_cx_total{my_env=\"prod\",envoy_cluster_name=\"c\"} 1"), "{text}");
}

/// Lines as Envoy 1.40 was seen to write them for a listener and a cluster with TLS.
#[test]
fn tls_statistics_have_envoys_names_and_labels() {
    let registry = Registry::new(1);
    let (listener, server) = registry.listener_ssl("127.0.0.1:19443");
    let (cluster, client) = registry.cluster_ssl("up");
    for scope in [&listener, &cluster] {
        for stat in [
            SslStat::Handshake,
            SslStat::VersionTls12,
            SslStat::VersionTls13,
            SslStat::CipherAes128Gcm,
            SslStat::CipherEcdsaAes128Gcm,
            SslStat::CurveX25519,
            SslStat::SigalgEcdsaP256,
        ] {
            scope.add(stat, 5);
        }
    }
    let text = prom(&registry, &Query::default());
    for line in [
        "envoy_cluster_ssl_ciphers{cipher_suite=\"ECDHE-ECDSA-AES128-GCM-SHA256\",envoy_cluster_name=\"up\"} 5",
        "envoy_cluster_ssl_curves{envoy_ssl_curve=\"X25519\",envoy_cluster_name=\"up\"} 5",
        "envoy_cluster_ssl_handshake{envoy_cluster_name=\"up\"} 5",
        "envoy_cluster_ssl_session_reused{envoy_cluster_name=\"up\"} 0",
        "envoy_listener_ssl_ciphers{envoy_ssl_cipher=\"TLS_AES_128_GCM_SHA256\",envoy_listener_address=\"127.0.0.1_19443\"} 5",
        "envoy_listener_ssl_sigalgs{envoy_ssl_sigalg=\"ecdsa_secp256r1_sha256\",envoy_listener_address=\"127.0.0.1_19443\"} 5",
        "envoy_listener_ssl_versions{envoy_ssl_version=\"TLSv1.2\",envoy_listener_address=\"127.0.0.1_19443\"} 5",
        "envoy_listener_server_ssl_socket_factory_ssl_context_update_by_sds{envoy_listener_address=\"127.0.0.1_19443\"} 0",
        "envoy_cluster_client_ssl_socket_factory_upstream_context_secrets_not_ready{envoy_cluster_name=\"up\"} 0",
    ] {
        let wanted = normal(line).unwrap();
        assert!(text.lines().filter_map(normal).any(|line| line == wanted), "{line}\n{text}");
    }
    let types: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    assert_eq!(types.len(), types.iter().collect::<BTreeSet<_>>().len());
    let listed = rendered(|out| super::text::text(&registry, &Query::default(), out));
    assert!(listed.contains("listener.127.0.0.1_19443.ssl.versions.TLSv1.3: 5\n"), "{listed}");
    drop((server, client));
}
