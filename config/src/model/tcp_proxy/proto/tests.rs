#![allow(clippy::unwrap_used, clippy::panic)]

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::model::metadata::Value as Meta;
use crate::model::testing::{encode, merge, path, paths};

fn body(more: Value) -> Bytes {
    let mut config = json!({"statPrefix": "p", "cluster": "c"});
    merge(&mut config, more);
    encode("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", &config)
}

fn parse(more: Value) -> Result<(TcpProxy, Vec<String>), Rejection> {
    let mut cx = Context::default();
    let proxy = tcp_proxy(&mut cx, &mut Shared::default(), &body(more))?.unwrap();
    Ok((proxy, paths(&cx.into_ignored())))
}

fn good(more: Value) -> TcpProxy {
    let (proxy, ignored) = parse(more).unwrap();
    assert_eq!(ignored, Vec::<String>::new());
    proxy
}

#[test]
fn defaults_cost_nothing() {
    let proxy = good(json!({}));
    assert_eq!(proxy.idle_timeout, Some(Duration::from_secs(3600)));
    assert!(proxy.more.is_none());
    assert!(matches!(&proxy.route, Route::Cluster(d) if &*d.cluster == "c" && d.metadata_match.is_none()));
    assert_eq!(good(json!({"idleTimeout": "0s"})).idle_timeout, None);
}

#[test]
fn rare_settings() {
    let more = good(json!({"maxConnectAttempts": 3, "backoffOptions": {"baseInterval": "0.1s"},
        "hashPolicy": [{"sourceIp": {}}], "maxDownstreamConnectionDuration": "9s",
        "accessLogOptions": {"flushAccessLogOnConnected": true, "accessLogFlushInterval": "1s"}}))
    .more
    .unwrap();
    assert_eq!((more.max_connect_attempts, more.hash_source_ip), (3, true));
    assert_eq!(more.backoff, Some((Duration::from_millis(100), Duration::from_secs(1))));
    assert_eq!(more.max_duration, Some(Duration::from_secs(9)));
    assert_eq!(more.access_log_flush_interval, Some(Duration::from_secs(1)));
    assert!(more.flush_access_log_on_connected);
    // The deprecated twins.
    let twins = good(json!({"flushAccessLogOnConnected": true, "accessLogFlushInterval": "1s"})).more.unwrap();
    assert!(twins.flush_access_log_on_connected);
    assert_eq!(twins.access_log_flush_interval, Some(Duration::from_secs(1)));
}

#[test]
fn weighted_clusters_add_to_the_metadata_match() {
    let lb = |fields: Value| json!({"filterMetadata": {"envoy.lb": fields, "other": {"x": 1}}});
    let proxy = good(json!({"cluster": null, "metadataMatch": lb(json!({"a": "1", "b": "2"})),
        "weightedClusters": {"clusters": [{"name": "x", "weight": 1},
            {"name": "y", "weight": 2, "metadataMatch": lb(json!({"b": "3", "c": true}))}]}}));
    let Route::Weighted { clusters, total } = proxy.route else { panic!("not weighted") };
    assert_eq!(total, 3);
    let criteria = |i: usize| -> Vec<(String, Meta)> {
        let fields = clusters[i].1.metadata_match.clone().unwrap();
        fields.iter().map(|(k, v)| (k.to_string(), v.clone())).collect()
    };
    let text = |s: &str| Meta::String(s.into());
    assert_eq!(criteria(0), [("a".into(), text("1")), ("b".into(), text("2"))]);
    assert_eq!(criteria(1), [("a".into(), text("1")), ("b".into(), text("3")), ("c".into(), Meta::Bool(true))]);
}

#[test]
fn tunneling_cannot_be_run() {
    let mut cx = Context::default();
    let body = body(json!({"tunnelingConfig": {"hostname": "h"}}));
    let unsupported = tcp_proxy(&mut cx, &mut Shared::default(), &body).unwrap().unwrap_err();
    assert_eq!(unsupported.path.to_string(), "tunneling_config");
}

#[test]
fn what_is_not_honoured_is_named() {
    let (_, ignored) = parse(json!({"upstreamConnectMode": "ON_DOWNSTREAM_DATA", "maxEarlyDataBytes": 1,
        "hashPolicy": [{"filterState": {"key": "k"}}]}))
    .unwrap();
    assert_eq!(ignored, ["upstream_connect_mode", "hash_policy[0].filter_state"]);
}

/// Each line was tried with Envoy 1.40, which refuses it too.
#[test]
fn refusals_name_the_field() {
    let weighted = |clusters: Value| json!({"cluster": null, "weightedClusters": {"clusters": clusters}});
    let table = [
        (json!({"statPrefix": ""}), "stat_prefix"),
        (json!({"cluster": null}), "cluster_specifier"),
        (json!({"maxConnectAttempts": 0}), "max_connect_attempts"),
        (json!({"backoffOptions": {}}), "backoff_options.base_interval"),
        (json!({"hashPolicy": [{"sourceIp": {}}, {"sourceIp": {}}]}), "hash_policy"),
        (json!({"hashPolicy": [{}]}), "hash_policy[0].policy_specifier"),
        (json!({"idleTimeout": "-1s"}), "idle_timeout"),
        (json!({"maxDownstreamConnectionDuration": "0s"}), "max_downstream_connection_duration"),
        (json!({"accessLogOptions": {}, "flushAccessLogOnConnected": true}), "access_log_options"),
        (weighted(json!([])), "weighted_clusters.clusters"),
        (weighted(json!([{"name": "x", "weight": 0}])), "weighted_clusters.clusters[0].weight"),
        (weighted(json!([{"weight": 1}])), "weighted_clusters.clusters[0].name"),
    ];
    for (more, expected) in table {
        assert_eq!(path(parse(more.clone())), expected, "{more}");
    }
}
