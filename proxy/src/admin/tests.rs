//! Every path, over a Unix socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod metrics;
mod world;

use std::collections::BTreeMap;

use config::json::Converter;
use envoy_types::pb::envoy::admin::v3::{ClustersConfigDump, ConfigDump, ListenersConfigDump, SecretsConfigDump};
use prost::Message;
use serde_json::{Value, json};

use super::paths::PATHS;
use crate::lifecycle::drain::DrainListeners;
use crate::lifecycle::signal::Event;
use world::{SECRET, World, configuration};

#[tokio::test]
async fn every_path_answers_as_envoy_does() {
    let mut world = World::new().await;
    drop(world.start.take());
    for path in PATHS.iter().filter(|path| !path.changes) {
        let answer = world.get(path.path).await;
        assert_eq!(answer.status, 200, "{}", path.path);
        for header in ["cache-control: no-cache, max-age=0\r", "x-content-type-options: nosniff\r", "server: envoy\r"] {
            assert!(answer.head.contains(header), "{header} of {} in {}", path.path, answer.head);
        }
    }
    for path in PATHS.iter().filter(|path| path.changes) {
        let answer = world.get(path.path).await;
        assert_eq!((answer.status, &*answer.body), (405, "Method GET not allowed, POST required."), "{}", path.path);
    }
    let unknown = world.get("/nope").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.starts_with("invalid path. admin commands are:\n  /: Admin home page\n"));
    for (path, kind) in [
        ("/", "text/html; charset=UTF-8"),
        ("/ready", "text/plain; charset=UTF-8"),
        ("/config_dump", "application/json"),
        ("/clusters", "text/plain; charset=UTF-8"),
        ("/clusters?format=json", "application/json"),
        ("/stats?format=json", "application/json"),
        ("/stats/prometheus", "text/plain; charset=UTF-8"),
        ("/server_info", "application/json"),
    ] {
        assert!(world.get(path).await.head.contains(&format!("content-type: {kind}\r")), "{path}");
    }
}

#[tokio::test]
async fn the_dump_is_a_config_dump_without_secrets() {
    let world = World::new().await;
    let answer = world.get("/config_dump?include_eds").await;
    assert!(!answer.body.contains(SECRET));
    assert!(answer.body.starts_with("{\n \"configs\": [\n  {\n   \"@type\""), "Envoy's indentation");
    let document = answer.json();
    let types: Vec<&str> =
        document["configs"].as_array().unwrap().iter().map(|c| c["@type"].as_str().unwrap()).collect();
    let expected = ["Bootstrap", "Clusters", "Endpoints", "Listeners", "ScopedRoutes", "Routes", "Secrets"];
    assert_eq!(types, expected.map(|kind| format!("type.googleapis.com/envoy.admin.v3.{kind}ConfigDump")));
    assert_eq!(document["configs"][0]["bootstrap"]["node"]["metadata"]["dataplane.proxyType"], "ingress");

    let bytes = Converter::new().unwrap().to_bytes("envoy.admin.v3.ConfigDump", &document).unwrap();
    let dump = ConfigDump::decode(bytes.as_slice()).unwrap();
    let clusters = ClustersConfigDump::decode(dump.configs[1].value.as_slice()).unwrap();
    assert_eq!(clusters.version_info, "system-v9", "of the last response, not of a resource");
    assert_eq!((clusters.static_clusters.len(), clusters.dynamic_active_clusters.len()), (1, 2));
    let failed = clusters.dynamic_active_clusters[0].error_state.as_ref().unwrap();
    assert_eq!((&*failed.version_info, &*failed.details), ("v8", "connect_timeout: must be more than zero"));
    assert!(clusters.dynamic_active_clusters[0].cluster.is_some(), "the last good version stays");
    assert!(clusters.dynamic_active_clusters[1].error_state.is_none());
    assert_eq!(clusters.dynamic_warming_clusters.len(), 2, "one waits, one was never good");
    let listeners = ListenersConfigDump::decode(dump.configs[3].value.as_slice()).unwrap();
    let names: Vec<&str> = listeners.dynamic_listeners.iter().map(|l| &*l.name).collect();
    assert_eq!(names, ["inbound:1", "new:1", "bad-listener"]);
    let states = listeners.dynamic_listeners.iter().map(|l| (l.active_state.is_some(), l.warming_state.is_some()));
    assert_eq!(states.collect::<Vec<_>>(), [(true, true), (false, true), (false, false)]);
    let secrets = SecretsConfigDump::decode(dump.configs[6].value.as_slice()).unwrap();
    assert_eq!((secrets.static_secrets.len(), secrets.dynamic_active_secrets.len()), (1, 1));
    let [late] = &*secrets.dynamic_warming_secrets else { panic!("{secrets:?}") };
    assert_eq!((&*late.name, &*late.version_info), ("late", "uninitialized"));

    let endpoints = &document["configs"][2]["dynamic_endpoint_configs"][0]["endpoint_config"];
    assert_eq!(endpoints["cluster_name"], "default:backend-0");
    let host = &endpoints["endpoints"][0]["lb_endpoints"][0];
    assert_eq!(host["endpoint"]["address"]["socket_address"], json!({"address": "127.0.0.1", "port_value": 5000}));
    assert_eq!((&host["health_status"], &host["load_balancing_weight"]), (&json!("HEALTHY"), &json!(1)));
    let routes = &document["configs"][5];
    assert_eq!(routes["static_route_configs"][0]["route_config"]["name"], "inline");
    assert_eq!(routes["dynamic_route_configs"][0]["route_config"]["name"], "r");
}

#[tokio::test]
async fn parts_of_the_dump_by_resource_mask_and_name() {
    let world = World::new().await;
    let names = |answer: &Value| -> Vec<String> {
        let configs = answer["configs"].as_array().unwrap();
        configs.iter().map(|c| c["cluster"]["name"].as_str().unwrap_or("?").to_owned()).collect()
    };
    let active = world.get("/config_dump?resource=dynamic_active_clusters").await.json();
    assert_eq!(names(&active), ["default:backend-0", "default:backend-1"]);
    assert_eq!(active["configs"][1]["@type"], "type.googleapis.com/envoy.admin.v3.ClustersConfigDump.DynamicCluster");
    let one = world.get("/config_dump?resource=dynamic_active_clusters&name_regex=.*-1").await.json();
    assert_eq!(names(&one), ["default:backend-1"]);
    let none = world.get("/config_dump?resource=dynamic_active_clusters&name_regex=backend").await.json();
    assert_eq!(none, json!({"configs": []}), "Envoy matches the whole name");
    let masked = world.get("/config_dump?resource=static_clusters&mask=cluster.name").await.json();
    let cluster = json!({"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "ads_cluster"});
    assert_eq!(masked["configs"][0]["cluster"], cluster);
    assert!(masked["configs"][0].get("last_updated").is_none());
    let node = world.get("/config_dump?mask=bootstrap.node.id").await.json();
    let expected =
        json!({"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": {"node": {"id": "n1"}}});
    assert_eq!(node, json!({"configs": [expected]}));
    for (query, status, text) in [
        ("resource=zzz", 404, "zzz not found in config dump"),
        ("resource=static_endpoint_configs", 404, "static_endpoint_configs not found in config dump"),
        ("resource=bootstrap", 400, "bootstrap is not a repeated field. Use ?mask=bootstrap to get only this field"),
        ("mask=zzz", 400, "FieldMask zzz could not be successfully applied to any configs."),
        ("mask=dynamic_listeners.name", 400, "FieldMask dynamic_listeners.name could not be"),
        ("name_regex=(", 400, "Error while parsing name_regex from ("),
    ] {
        let answer = world.get(&format!("/config_dump?{query}")).await;
        assert_eq!(answer.status, status, "{query}");
        assert!(answer.body.starts_with(text), "{query}: {}", answer.body);
    }
    assert_eq!(world.get("/config_dump?resource=static_endpoint_configs&include_eds").await.status, 200);
}

#[tokio::test]
async fn ten_thousand_clusters_are_written_whole() {
    let world = World::with(configuration(10_000)).await;
    let document = world.get("/config_dump?include_eds=true").await.json();
    assert_eq!(document["configs"][1]["dynamic_active_clusters"].as_array().unwrap().len(), 10_000);
    assert_eq!(document["configs"][2]["dynamic_endpoint_configs"].as_array().unwrap().len(), 10_000);
    let text = world.get("/clusters").await.body;
    assert_eq!(text.lines().filter(|line| line.ends_with("::added_via_api::true")).count(), 10_000);
}

#[tokio::test]
async fn clusters_in_envoys_lines_and_json() {
    let world = World::new().await;
    let text = world.get("/clusters").await.body;
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("default:backend-0::")).collect();
    let at = "127.0.0.1:5000";
    let mut expected: Vec<String> = vec!["observability_name::default:backend-0".into()];
    for priority in ["default", "high"] {
        for (what, limit) in [("connections", 1024), ("pending_requests", 1024), ("requests", 1024), ("retries", 3)] {
            expected.push(format!("{priority}_priority::max_{what}::{limit}"));
        }
    }
    expected.push("added_via_api::true".into());
    let numbers = ["cx_active", "cx_connect_fail", "cx_total", "rq_active", "rq_error", "rq_pending_active"];
    for name in numbers.into_iter().chain(["rq_success", "rq_timeout", "rq_total"]) {
        expected.push(format!("{at}::{name}::0"));
    }
    for (name, value) in [
        ("hostname", ""),
        ("health_flags", "healthy"),
        ("weight", "1"),
        ("region", ""),
        ("zone", ""),
        ("sub_zone", ""),
        ("canary", "false"),
        ("priority", "0"),
        ("success_rate", "-1"),
        ("local_origin_success_rate", "-1"),
    ] {
        expected.push(format!("{at}::{name}::{value}"));
    }
    let expected: Vec<String> = expected.into_iter().map(|line| format!("default:backend-0::{line}")).collect();
    assert_eq!(lines, expected);
    assert!(text.contains("ads_cluster::added_via_api::false\n"));
    assert!(!world.get("/clusters?filter=ads").await.body.contains("backend"));

    let document = world.get("/clusters?format=json").await.json();
    Converter::new().unwrap().to_bytes("envoy.admin.v3.Clusters", &document).unwrap();
    let by_name: BTreeMap<&str, &Value> = document["cluster_statuses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|status| (status["name"].as_str().unwrap(), status))
        .collect();
    assert_eq!(by_name["default:backend-0"]["added_via_api"], true);
    assert!(by_name["ads_cluster"].get("added_via_api").is_none());
    assert_eq!(by_name["ads_cluster"]["host_statuses"][0]["health_status"]["eds_health_status"], "HEALTHY");
}

#[tokio::test]
async fn ready_shows_the_state_and_what_is_wrong() {
    let mut world = World::new().await;
    let waiting = world.get("/ready").await;
    assert_eq!(waiting.status, 503);
    assert!(waiting.body.starts_with("PRE_INITIALIZING\nwaiting for start\n"), "{}", waiting.body);
    assert_eq!(world.get("/init_dump").await.json()["unready_targets_dumps"][0]["target_names"], json!(["start"]));
    drop(world.start.take());
    world.readiness.set_detail("xds", Some("control plane stream silent"));
    let live = world.get("/ready").await;
    assert_eq!(live.status, 200);
    let refuses = "chain odd of listener inbound:1 refuses: a.strange.Filter at filter_chains[1].filters[0]";
    assert_eq!(live.body, format!("LIVE\nxds: control plane stream silent\n{refuses}\n"));
    assert_eq!(world.get("/init_dump").await.json(), json!({}));
    assert_eq!(world.post("/healthcheck/fail").await.body, "OK\n");
    let draining = world.get("/ready").await;
    assert!(draining.status == 503 && draining.body.starts_with("DRAINING\n"));
    assert!(world.get("/stats?filter=^server.live$").await.body.contains("server.live: 0\n"));
    world.post("/healthcheck/ok").await;
    assert_eq!(world.get("/ready").await.status, 200);
    assert!(world.get("/stats").await.body.contains("server.live: 1\n"));
}

#[tokio::test]
async fn commands_reach_the_engine() {
    let mut world = World::new().await;
    for (path, event) in [
        ("/drain_listeners", Event::DrainListeners(DrainListeners::default())),
        ("/drain_listeners?inboundonly&graceful&skip_exit", Event::DrainListeners(DrainListeners::FOR_GOOD)),
        ("/reopen_logs", Event::ReopenLogs),
        ("/quitquitquit", Event::Quit),
    ] {
        assert_eq!(world.post(path).await.body, "OK\n", "{path}");
        assert_eq!(world.events.recv().await, Some(event), "{path}");
    }
    let form = "POST /drain_listeners HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
                content-type: application/x-www-form-urlencoded\r\ncontent-length: 11\r\n\r\ninboundonly";
    assert_eq!(world.send(form).await.status, 200);
    let Some(Event::DrainListeners(which)) = world.events.recv().await else { panic!("no drain") };
    assert!(which.inbound_only && !which.graceful);

    let stats = world.registry.http("x");
    stats.inc(crate::metrics::HttpStat::DownstreamRqTotal);
    assert!(world.get("/stats?filter=http.x.downstream_rq_total").await.body.ends_with("_rq_total: 1\n"));
    assert_eq!(world.post("/reset_counters").await.body, "OK\n");
    assert!(world.get("/stats?filter=http.x.downstream_rq_total").await.body.ends_with("_rq_total: 0\n"));
    world.events.close();
    assert_eq!(world.post("/quitquitquit").await.status, 503);
}

#[tokio::test]
async fn log_levels_change_by_name_by_list_and_for_all() {
    let world = World::new().await;
    for (query, active) in [
        ("?level=debug", "  default: debug\n"),
        ("?proxy::admin=trace", "  proxy::admin: trace\n"),
        ("?paths=config:error,proxy::admin:off", "  config: error\n  default: debug\n  proxy::admin: off\n"),
        ("?level=", "  default: debug\n"),
        ("", "  default: debug\n"),
    ] {
        let answer = world.post(&format!("/logging{query}")).await;
        assert_eq!(answer.status, 200, "{query}");
        assert!(
            answer.body.starts_with("active loggers:\n") && answer.body.contains(active),
            "{query}: {}",
            answer.body
        );
    }
    for (query, error) in [
        ("level=zzz", "error: unknown logger level\n\nusage: /logging?<name>=<level> (change single level)\n"),
        ("nope=info", "error: unknown logger name\n"),
        ("paths=a", "error: empty logger name or empty logger level\n"),
        ("a=info&b=info", "error: invalid number of parameters\n"),
    ] {
        let answer = world.post(&format!("/logging?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.body.starts_with(error), "{query}: {}", answer.body);
    }
}

#[tokio::test]
async fn statistics_in_every_format() {
    let world = World::new().await;
    let _held = world.registry.cluster("default:backend-0");
    assert!(world.get("/stats?usedonly&filter=cluster.default_backend-0").await.body.lines().count() < 20);
    let prometheus = world.get("/stats?format=prometheus").await.body;
    assert!(prometheus.contains("envoy_cluster_upstream_cx_total{"));
    assert_eq!(world.get("/stats/prometheus").await.body.lines().count(), prometheus.lines().count());
    assert!(world.get("/stats?format=json").await.json()["stats"].is_array());
    let gauges = world.get("/stats?type=Gauges").await.body;
    assert!(gauges.contains("server.live: ") && !gauges.contains("upstream_cx_total"));
    for (query, text) in [
        ("filter=(", "Invalid re2 regex"),
        ("format=zzz", "usage: /stats?format="),
        ("type=zzz", "invalid &type= param"),
        ("histogram_buckets=zzz", "usage: /stats?histogram_buckets="),
    ] {
        let answer = world.get(&format!("/stats?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.body.starts_with(text), "{query}: {}", answer.body);
    }
}

#[tokio::test]
async fn who_we_are_and_where_we_listen() {
    let world = World::new().await;
    let info = world.get("/server_info").await.json();
    Converter::new().unwrap().to_bytes("envoy.admin.v3.ServerInfo", &info).unwrap();
    assert_eq!((&info["node"]["id"], &info["state"]), (&json!("n1"), &json!("PRE_INITIALIZING")));
    assert_eq!(info["command_line_options"]["drain_strategy"], "Immediate");
    assert_eq!(info["command_line_options"]["drain_time"], "30s");
    assert_eq!(world.get("/listeners").await.body, "inbound:1::127.0.0.1:0\n");
    let listeners = world.get("/listeners?format=json").await.json();
    Converter::new().unwrap().to_bytes("envoy.admin.v3.Listeners", &listeners).unwrap();
    let memory = world.get("/memory").await.json();
    Converter::new().unwrap().to_bytes("envoy.admin.v3.Memory", &memory).unwrap();
    assert_ne!(memory["total_physical_bytes"], "0");
    let runtime = world.get("/runtime").await.json();
    assert_eq!(runtime["layers"], json!(["kuma", "gateway.listeners"]));
    assert_eq!(runtime["entries"]["max"], json!({"layer_values": ["", "5"], "final_value": "5"}));
    let certificates = world.get("/certs").await.json();
    Converter::new().unwrap().to_bytes("envoy.admin.v3.Certificates", &certificates).unwrap();
}

#[tokio::test]
async fn our_own_page_tells_what_is_not_done() {
    let world = World::new().await;
    let text = world.get("/zonegate").await.body;
    for line in [
        "configuration 3: 1 listeners, 2 waiting for secrets; 3 clusters, 1 waiting for endpoints or secrets\n",
        "secrets: 2, waited for: 1\n",
        "  id: generic from the control plane, version \"v7\"\n",
        "  late: has not come from the control plane\n",
        "  cluster default:backend-0: connect_timeout: must be more than zero (version \"v8\")\n",
        "  listener inbound:1: filter_chains[1].filters[0]: chain odd refuses its connections: a.strange.Filter\n",
        "  listener inbound:1: filter_chains[0].filters[0]: chain main stays at its last good version: a.newer.Filter\n",
        "  cluster ads_cluster: lb_policy: never mind\n",
        "  endpoints default:backend-1: policy.drop_overloads: never mind\n",
        "control plane: not connected, \"kuma-cp\"\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let document = world.get("/zonegate?format=json").await.json();
    assert_eq!(document["rejected"].as_array().unwrap().len(), 3);
    assert_eq!(document["ignored"].as_array().unwrap().len(), 5);
    assert_eq!(document["unsupported"][0]["resource"], "inbound:1");
    assert_eq!(document["xds"]["identifier"], "kuma-cp");
    assert_eq!(
        document["secrets"][0],
        json!({"name": "cp", "source": "the bootstrap", "type": "generic", "version": "",
        "not_after": null})
    );
}
