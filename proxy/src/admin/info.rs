//! `/server_info`, `/listeners`, `/memory`.

use std::fmt::Write as _;

use config::json::Converter;
use config::model::address::Address;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::answer;
use super::query::Query;
use super::state::AdminState;
use crate::lifecycle::drain::Strategy;
use crate::system::reply::Body;

const BOOTSTRAP: &str = "envoy.config.bootstrap.v3.Bootstrap";

/// `envoy.admin.v3.ServerInfo`, default values included as Envoy prints them.
pub(super) fn server_info(state: &AdminState) -> Response<Body> {
    let options = &state.options;
    let uptime = format!("{}s", options.started.elapsed().as_secs());
    answer::json(&json!({
        "version": options.version,
        "state": state.readiness.state().as_str(),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "hot_restart_version": "disabled",
        "command_line_options": command_line(state),
        "node": bootstrap(state).map(|mut bootstrap| bootstrap["node"].take()).unwrap_or_default(),
    }))
}

/// `envoy.admin.v3.CommandLineOptions`: what has a meaning here as it is, the rest as Envoy has it by default.
fn command_line(state: &AdminState) -> Value {
    let options = &state.options;
    let strategy = match options.drain_strategy {
        Strategy::Gradual => "Gradual",
        Strategy::Immediate => "Immediate",
    };
    json!({
        "base_id": "0",
        "concurrency": options.concurrency,
        "config_path": options.config_path,
        "config_yaml": "",
        "allow_unknown_static_fields": false,
        "admin_address_path": "",
        "local_address_ip_version": "v4",
        "log_level": options.log_level,
        "component_log_level": "",
        "log_format": "",
        "log_path": "",
        "service_cluster": "",
        "service_node": "",
        "service_zone": "",
        "drain_time": format!("{}s", options.drain_time.as_secs()),
        "mode": "Serve",
        "disable_hot_restart": true,
        "restart_epoch": 0,
        "cpuset_threads": false,
        "reject_unknown_dynamic_fields": false,
        "ignore_unknown_dynamic_fields": false,
        "drain_strategy": strategy,
    })
}

/// The bootstrap as JSON, secrets blanked.
pub(super) fn bootstrap(state: &AdminState) -> Option<Value> {
    Converter::new().and_then(|converter| converter.to_json(BOOTSTRAP, &state.bootstrap.body)).ok()
}

/// `name::address`, or `envoy.admin.v3.Listeners`.
pub(super) fn listeners(state: &AdminState, query: &Query) -> Response<Body> {
    let snapshot = state.view.snapshot.load();
    let mut listeners: Vec<_> = snapshot.listeners.values().map(|entry| &entry.listener).collect();
    listeners.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    if query.get("format") == Some("json") {
        let statuses: Vec<Value> = listeners
            .iter()
            .map(|listener| {
                let mut addresses = listener.addresses.iter().map(address);
                let mut status = json!({"name": &*listener.name, "local_address": addresses.next()});
                let more: Vec<Value> = addresses.collect();
                if !more.is_empty() {
                    status["additional_local_addresses"] = more.into();
                }
                status
            })
            .collect();
        return answer::json(&json!({"listener_statuses": statuses}));
    }
    let mut text = String::new();
    for listener in listeners {
        for address in &listener.addresses {
            let _ = writeln!(text, "{}::{address}", listener.name);
        }
    }
    answer::text(StatusCode::OK, text)
}

/// `envoy.config.core.v3.Address`.
pub(super) fn address(address: &Address) -> Value {
    match address {
        Address::Socket(at) => json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}}),
        Address::Pipe { path, .. } => json!({"pipe": {"path": path.display().to_string()}}),
    }
}

/// `envoy.admin.v3.Memory`, from the system's books: there is no heap of our own to ask.
pub(super) fn memory() -> Response<Body> {
    let [resident, private] = resident_and_private();
    answer::json(&json!({
        "allocated": private.to_string(),
        "heap_size": private.to_string(),
        "pageheap_unmapped": "0",
        "pageheap_free": "0",
        "total_thread_cache": "0",
        "total_physical_bytes": resident.to_string(),
    }))
}

/// Bytes in memory, and those of them that are no file's. Zero where the system does not tell.
fn resident_and_private() -> [u64; 2] {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.trim().split(' ').next()?.parse::<u64>().ok()
    };
    ["VmRSS:", "RssAnon:"].map(|field| kib(field).unwrap_or(0) * 1024)
}
