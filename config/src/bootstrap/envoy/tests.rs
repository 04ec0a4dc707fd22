#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::time::Duration;

use super::super::overload::MonitoredResource;
use super::super::{Source, TagValue};
use super::*;
use crate::snapshot::Kind;
use crate::xds::client::Protocol;
use crate::xds::target::Peer;
use crate::xds::token::Secret;

fn ok(yaml: &str) -> Bootstrap {
    parse("test", yaml).unwrap_or_else(|e| panic!("{e}"))
}

fn refused(yaml: &str) -> String {
    parse("test", yaml).unwrap_err().to_string()
}

const ADS: &str = "
node: {id: n, cluster: c}
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    grpc_services:
    - envoy_grpc: {cluster_name: xds}
      initial_metadata: [{key: Authorization, value: inline-token}]
  lds_config: {ads: {}, resource_api_version: V3}
  cds_config: {ads: {}, resource_api_version: V3}
static_resources:
  clusters:
  - name: xds
    type: STRICT_DNS
    connect_timeout: 1s
    load_assignment:
      cluster_name: xds
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: cp.example, port_value: 5678}}}}]}]
";

#[test]
fn ads_over_a_static_cluster() {
    let bootstrap = ok(ADS);
    let ads = bootstrap.dynamic.ads.as_ref().unwrap();
    assert_eq!(ads.protocol, Protocol::Delta);
    assert_eq!(ads.target.peers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["cp.example:5678"]);
    assert_eq!((&*ads.target.authority, ads.target.connect_timeout), ("xds", Duration::from_secs(1)));
    assert!(ads.target.tls.is_none());
    assert_eq!(ads.cluster.as_deref(), Some("xds"));
    assert_eq!(&*ads.metadata[0].key, "authorization");
    assert!(matches!(bootstrap.dynamic.listeners, Some(Source::Ads)));
    assert_eq!(
        bootstrap.fixed.iter().map(|b| b.kind).collect::<Vec<_>>(),
        [Kind::Secret, Kind::Cluster, Kind::Listener]
    );
    assert_eq!(&*bootstrap.fixed[1].upserts[0].name, "xds");
    assert!(bootstrap.ignored.is_empty(), "{:?}", bootstrap.ignored);
    assert_eq!(bootstrap.node.id, "n");
    assert!(bootstrap.admin.is_none());
}

#[test]
fn a_token_file_takes_the_place_of_the_inline_token() {
    let mut bootstrap = ok(ADS);
    let value = |b: &Bootstrap| b.dynamic.ads.as_ref().unwrap().metadata[0].value.clone();
    assert!(matches!(value(&bootstrap), Secret::Inline(t) if &*t == "inline-token"));
    bootstrap.read_token_from(Path::new("/var/token"));
    assert!(matches!(value(&bootstrap), Secret::File(p) if p == Path::new("/var/token")));
}

#[test]
fn refusals_name_the_place() {
    for (from, to, expected) in [
        (
            "cluster_name: xds}",
            "cluster_name: other}",
            "dynamic_resources.ads_config.grpc_services[0].envoy_grpc.cluster_name: there is no static cluster other",
        ),
        ("type: STRICT_DNS", "type: EDS", "in static cluster xds: the control plane's cluster must be STATIC"),
        ("type: STRICT_DNS", "type: STATIC", "malformed IP address: cp.example"),
        ("api_type: DELTA_GRPC", "api_type: REST", "dynamic_resources.ads_config.api_type: only GRPC"),
        (
            "api_type: DELTA_GRPC",
            "api_tipe: DELTA_GRPC",
            "dynamic_resources.ads_config: envoy.config.core.v3.ApiConfigSource has no field \"api_tipe\"",
        ),
        (
            "  - name: xds",
            "  - name: xds2\n  - name: xds2\n  - name: xds",
            "static_resources.clusters[1].name: a second one is called xds2",
        ),
        (
            "  - name: xds",
            "  - name: ''\n  - name: xds",
            "static_resources.clusters[0].name: value length must be at least 1",
        ),
        ("transport_api_version: V3", "transport_api_version: V2", "version 2 of the API is no longer spoken"),
    ] {
        assert!(ADS.contains(from));
        let text = refused(&ADS.replace(from, to));
        assert!(text.contains(expected), "{to}\n  said     {text}\n  expected {expected}");
    }
    let text = refused("dynamic_resources: {lds_config: {ads: {}}}");
    assert!(text.contains("dynamic_resources.lds_config: comes from ADS, but there is no ads_config"), "{text}");
    let text = parse("x.yaml", "nod: {}").unwrap_err().to_string();
    assert_eq!(text, "x.yaml: at the top: envoy.config.bootstrap.v3.Bootstrap has no field \"nod\"");
}

#[test]
fn what_is_not_honoured_is_listed() {
    let bootstrap = ok("
stats_sinks: [{name: s}]
flags_path: /x
layered_runtime: {layers: [{name: a, static_layer: {re2.max_program_size.error_level: 1, other: 2}}, {name: d, disk_layer: {}}]}
overload_manager: {resource_monitors: [{name: h, typed_config: {'@type': x/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig, max_heap_size_bytes: 7}}], actions: [{name: envoy.overload_actions.reset_high_memory_stream, triggers: [{name: h, threshold: {value: 1}}]}]}
");
    let paths: Vec<_> = bootstrap.ignored.iter().map(|i| i.path.to_string()).collect();
    assert_eq!(
        paths,
        [
            "flags_path",
            "stats_sinks",
            "layered_runtime.layers[0].static_layer",
            "layered_runtime.layers[1].disk_layer",
            "overload_manager.actions[0].name"
        ]
    );
    assert_eq!(bootstrap.overload.monitors[0].resource, MonitoredResource::Heap(7));
}

#[test]
fn overload_actions() {
    let manager = |actions: &str| {
        format!(
            "overload_manager: {{refresh_interval: 0.25s, resource_monitors: [{{name: i, typed_config: {{'@type': \
             x/envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig, filename: /f}}}}], \
             actions: [{actions}]}}"
        )
    };
    let overload = ok(&manager(
        "{name: envoy.overload_actions.reduce_timeouts, triggers: [{name: i, scaled: {scaling_threshold: 0.5, \
         saturation_threshold: 1}}], typed_config: {'@type': x/envoy.config.overload.v3.ScaleTimersOverloadActionConfig, \
         timer_scale_factors: [{timer: HTTP_DOWNSTREAM_CONNECTION_IDLE, min_timeout: 2s}]}}",
    ))
    .overload;
    assert_eq!(overload.refresh_interval, Some(Duration::from_millis(250)));
    assert_eq!(overload.monitors[0].resource, MonitoredResource::Injected("/f".into()));
    assert_eq!(overload.actions[0].triggers[0].scale(0.75), 0.5);
    for (actions, expected) in [
        ("{name: envoy.overload_actions.x, triggers: [{name: i, threshold: {value: 1}}]}", "unknown overload action"),
        ("{name: envoy.overload_actions.shrink_heap, triggers: [{name: x, threshold: {value: 1}}]}", "unknown trigger"),
        ("{name: envoy.overload_actions.shrink_heap, triggers: [{name: i, threshold: {value: 2}}]}", "[0, 1]"),
        ("{name: envoy.overload_actions.shrink_heap}", "at least 1"),
    ] {
        let text = refused(&manager(actions));
        assert!(text.contains(expected), "{actions}\n  said {text}");
    }
}

#[test]
fn files_as_sources() {
    let bootstrap = ok("
dynamic_resources:
  lds_config: {path_config_source: {path: /etc/lds.yaml, watched_directory: {path: /etc}}}
  cds_config: {path: /etc/cds.yaml}
static_resources:
  clusters:
  - {name: a, type: EDS, eds_cluster_config: {eds_config: {path_config_source: {path: /etc/eds.yaml}}}}
  - {name: b, type: EDS, eds_cluster_config: {service_name: b2, eds_config: {path: /etc/eds2.yaml}}}
  - {name: c, type: EDS, eds_cluster_config: {eds_config: {ads: {}}}}
");
    let Some(Source::File(lds)) = &bootstrap.dynamic.listeners else { panic!() };
    assert_eq!(
        (lds.path.as_path(), lds.watched_directory.as_deref()),
        (Path::new("/etc/lds.yaml"), Some(Path::new("/etc")))
    );
    assert!(matches!(&bootstrap.dynamic.clusters, Some(Source::File(f)) if f.path == Path::new("/etc/cds.yaml")));
    let names: Vec<_> = bootstrap.dynamic.files.iter().map(|f| (f.kind, f.name.as_deref().unwrap())).collect();
    assert_eq!(names, [(Kind::Endpoints, "a"), (Kind::Endpoints, "b2")]);
}

#[test]
fn runtime_layers_and_limits() {
    let bootstrap = ok("
layered_runtime:
  layers:
  - {name: s, static_layer: {overload.global_downstream_max_connections: 50000, envoy.resource_limits.listener.in.connection_limit: 2}}
  - {name: g, rtds_layer: {name: gateway.listeners, rtds_config: {ads: {}}}}
");
    assert_eq!(bootstrap.overload.max_connections, Some(50000));
    assert_eq!(&*bootstrap.dynamic.layers[0], "gateway.listeners");
    let numbers = bootstrap.runtime.resolve(&crate::snapshot::Snapshot::default());
    assert_eq!(numbers.listener_limit("in"), Some(2));
    assert!(bootstrap.ignored.is_empty(), "{:?}", bootstrap.ignored);
    let yaml = "overload_manager: {resource_monitors: [{name: c, typed_config: {'@type': x/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig, max_active_downstream_connections: 9}}]}";
    assert_eq!(ok(yaml).overload.max_connections, Some(9));
    assert!(refused(&yaml.replace(": 9", ": 0")).contains("value must be greater than 0"));
}

#[test]
fn a_file_and_a_text_are_merged() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let yaml = file("b.yaml", ADS.as_bytes());
    let text =
        "{node: {id: other}, static_resources: {clusters: [{name: second}]}, admin: {address: {pipe: {path: /s}}}}";
    let merged = load(Some(&yaml), Some(text)).unwrap();
    assert_eq!((&*merged.node.id, &*merged.node.cluster), ("other", "c"));
    assert_eq!(merged.fixed[1].upserts.len(), 2);
    assert_eq!(merged.admin.unwrap().address.to_string(), "/s");
    let binary = file("b.pb", &merged.raw);
    assert_eq!(load(Some(&binary), None).unwrap().node.id, "other");
    let error = load(Some(&file("c.pb", &[255, 255])), None).unwrap_err().to_string();
    assert!(error.contains("c.pb: not an Envoy bootstrap"), "{error}");
    assert!(load(Some(&file("d.pb_text", b"")), None).unwrap_err().to_string().contains("write it as YAML or JSON"));
    let error = load(Some(Path::new("/nowhere.yaml")), None).unwrap_err().to_string();
    assert!(error.contains("cannot read /nowhere.yaml"), "{error}");
}

#[test]
fn listeners_without_a_name_get_one() {
    let bootstrap = ok("static_resources: {listeners: [{stat_prefix: a}, {name: l}, {stat_prefix: b}]}");
    let names: Vec<_> = bootstrap.fixed[2].upserts.iter().map(|r| &*r.name).collect();
    assert_eq!(names, ["static-0", "l", "static-2"]);
}

#[test]
fn google_grpc_targets() {
    let with = |uri: &str| {
        ok(&format!(
            "dynamic_resources: {{ads_config: {{api_type: GRPC, grpc_services: [{{google_grpc: {{target_uri: '{uri}', stat_prefix: a, channel_args: {{args: {{grpc.keepalive_time_ms: {{int_value: 5000}}}}}}, call_credentials: [{{access_token: t}}]}}}}]}}}}"
        ))
    };
    for (uri, peer, authority) in [
        ("localhost:5678", "localhost:5678", "localhost:5678"),
        ("dns:///cp:1", "cp:1", "cp:1"),
        ("10.0.0.1:5", "10.0.0.1:5", "10.0.0.1:5"),
        ("[::1]:5", "[::1]:5", "[::1]:5"),
        ("unix:/run/cp.sock", "/run/cp.sock", "localhost"),
    ] {
        let ads = with(uri).dynamic.ads.unwrap();
        assert_eq!((ads.target.peers[0].to_string().as_str(), &*ads.target.authority), (peer, authority));
        assert_eq!(ads.target.keepalive.unwrap().interval, Duration::from_secs(5));
        assert_eq!(&*ads.metadata[0].prefix, "Bearer ");
    }
}

/// Every bootstrap that Kuma generates is understood without a rest.
#[test]
fn kumas_goldens() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/goldens");
    if !root.exists() {
        assert!(std::env::var_os("CI").is_none(), "{} is absent", root.display());
        eprintln!("SKIPPED: {} is absent", root.display());
        return;
    }
    let mut count = 0;
    for version in ["2.13", "2.14", "3.0"] {
        for entry in std::fs::read_dir(root.join(version).join("bootstrap")).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let bootstrap = load(Some(&path), None).unwrap_or_else(|e| panic!("{e}"));
            let place = path.display();
            let ads = bootstrap.dynamic.ads.as_ref().unwrap();
            assert_eq!(ads.protocol == Protocol::Delta, text.contains("apiType: DELTA_GRPC"), "{place}");
            assert_eq!(ads.target.tls.is_some(), text.contains("cp_validation_ctx") || text.contains("sslCredentials"));
            assert!(matches!(ads.target.peers[..], [Peer::Name(..) | Peer::Address(_)]), "{place}: {ads:?}");
            assert!(matches!(bootstrap.dynamic.listeners, Some(Source::Ads)), "{place}");
            assert_eq!(bootstrap.dynamic.layers.len(), usize::from(text.contains("rtdsLayer")), "{place}");
            let filename = text.contains("filename: /path/to/file");
            let from_file =
                ads.metadata.iter().any(|m| matches!(&m.value, Secret::File(p) if p == Path::new("/path/to/file")));
            assert_eq!(from_file, filename, "{place}");
            let ignored: Vec<_> = bootstrap.ignored.iter().map(|i| i.path.to_string()).collect();
            assert!(ignored.is_empty(), "{place}: {ignored:?}");
            let actions = usize::from(text.contains("shrink_heap")) * 2;
            assert_eq!(bootstrap.overload.actions.len(), actions, "{place}");
            let tags: Vec<_> = bootstrap.stats.tags.iter().filter(|t| matches!(t.value, TagValue::Regex(_))).collect();
            assert!(tags.len() >= 4, "{place}");
            count += 1;
        }
    }
    assert!(count >= 46, "only {count} bootstraps");
}
