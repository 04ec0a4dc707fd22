//! Events of active health checks as JSON lines (`envoy.data.core.v3.HealthCheckEvent`, `event_log_path` and file
//! event sinks).

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use config::model::address::Address;
use config::model::cluster::{HealthCheck, Probe};
use config::model::metadata::{self, Metadata};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Verdict;
use crate::upstream::host::Host;

/// Lines waiting to be written; more are dropped, since a full disk must not stop the probes.
const WAITING: usize = 1024;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The host counts as healthy from now on.
    AddHealthy {
        /// By its first probe.
        first: bool,
    },
    /// The host counts as unhealthy from now on.
    EjectUnhealthy {
        /// Why.
        verdict: Verdict,
    },
    /// A probe passed and nothing changed, with `always_log_health_check_success`.
    Success,
    /// The host says that it is degraded.
    Degraded,
    /// It says so no longer.
    NoLongerDegraded,
    /// A probe failed: the first one, or any with `always_log_health_check_failures`.
    Failure {
        /// Why.
        verdict: Verdict,
        /// It was the first probe.
        first: bool,
    },
}

/// The files that events go to. Written by a thread of its own, started on first use.
#[derive(Debug)]
pub(in crate::upstream) struct Sinks {
    control: Handle,
    sender: OnceLock<mpsc::Sender<(Arc<str>, String)>>,
}

impl Sinks {
    pub(in crate::upstream) fn new(control: Handle) -> Self {
        Self { control, sender: OnceLock::new() }
    }

    /// Writes `event` to the files of `check`.
    pub(super) fn log(&self, check: &HealthCheck, cluster: &str, host: &Host, event: Event) {
        tracing::debug!(cluster, host = %host.address(), ?event, "health check");
        if check.event_logs.is_empty() {
            return;
        }
        let line = line((check, cluster), host, event, OffsetDateTime::now_utc());
        let sender = self.sender.get_or_init(|| {
            let (sender, receiver) = mpsc::channel(WAITING);
            self.control.spawn_blocking(move || write_all(receiver));
            sender
        });
        for path in &check.event_logs {
            if sender.try_send((Arc::clone(path), line.clone())).is_err() {
                tracing::warn!(path = %path, "health check event dropped: the file is too slow");
            }
        }
    }
}

fn write_all(mut receiver: mpsc::Receiver<(Arc<str>, String)>) {
    let mut files: HashMap<Arc<str>, File> = HashMap::new();
    while let Some((path, line)) = receiver.blocking_recv() {
        let written = match files.get_mut(&path) {
            Some(file) => file.write_all(line.as_bytes()),
            None => OpenOptions::new().create(true).append(true).open(&*path).and_then(|mut file| {
                file.write_all(line.as_bytes())?;
                files.insert(Arc::clone(&path), file);
                Ok(())
            }),
        };
        if let Err(error) = written {
            // Opened anew for the next event.
            files.remove(&path);
            tracing::warn!(path = %path, %error, "health check event not written");
        }
    }
}

fn line((check, cluster): (&HealthCheck, &str), host: &Host, event: Event, now: OffsetDateTime) -> String {
    let timestamp = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let detail = host.detail();
    let (name, body) = match event {
        Event::AddHealthy { first } => ("add_healthy_event", json!({ "first_check": first })),
        Event::Success => ("successful_health_check_event", json!({})),
        Event::Degraded => ("degraded_healthy_host", json!({})),
        Event::NoLongerDegraded => ("no_longer_degraded_host", json!({})),
        Event::EjectUnhealthy { verdict } => {
            ("eject_unhealthy_event", json!({ "failure_type": failure(verdict), "http_status_code": status(verdict) }))
        }
        Event::Failure { verdict, first } => {
            let (kind, code) = (failure(verdict), status(verdict));
            let body = json!({ "failure_type": kind, "first_check": first, "http_status_code": code });
            ("health_check_failure_event", body)
        }
    };
    let mut line = json!({
        "health_checker_type": kind(&check.probe),
        "host": address(host.address()),
        "cluster_name": cluster,
        "timestamp": now.format(timestamp).unwrap_or_default(),
        "locality": { "region": detail.locality.region, "zone": detail.locality.zone, "sub_zone": detail.locality.sub_zone },
    });
    line[name] = body;
    if let Some(metadata) = &detail.metadata {
        line["metadata"] = json!({ "filter_metadata": metadata_json(metadata), "typed_filter_metadata": {} });
    }
    format!("{line}\n")
}

fn metadata_json(metadata: &Metadata) -> Value {
    metadata.0.iter().map(|(name, fields)| (name.to_string(), fields_json(fields))).collect()
}

fn fields_json(fields: &[(Arc<str>, metadata::Value)]) -> Value {
    fields.iter().map(|(key, value)| (key.to_string(), value_json(value))).collect()
}

fn value_json(value: &metadata::Value) -> Value {
    match value {
        metadata::Value::Null => Value::Null,
        metadata::Value::Bool(b) => json!(b),
        // As protobuf writes them: whole numbers without a point.
        metadata::Value::Number(n) if n.fract() == 0.0 && n.abs() < 1e15 => json!(*n as i64),
        metadata::Value::Number(n) => json!(n),
        metadata::Value::String(s) => json!(**s),
        metadata::Value::List(list) => list.iter().map(value_json).collect(),
        metadata::Value::Struct(fields) => fields_json(fields),
    }
}

fn address(address: &Address) -> Value {
    match address {
        Address::Socket(socket) => json!({ "socket_address": {
            "protocol": "TCP",
            "address": socket.ip().to_string(),
            "resolver_name": "",
            "ipv4_compat": false,
            "network_namespace_filepath": "",
            "port_value": socket.port(),
        }}),
        Address::Pipe { path, mode } => json!({ "pipe": { "path": path.to_string_lossy(), "mode": mode } }),
    }
}

const fn failure(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Timeout => "NETWORK_TIMEOUT",
        Verdict::Failed { .. } => "ACTIVE",
        Verdict::Passive => "PASSIVE",
        Verdict::Passed | Verdict::Degraded | Verdict::Network => "NETWORK",
    }
}

const fn status(verdict: Verdict) -> u16 {
    match verdict {
        Verdict::Failed { status, .. } => status,
        _ => 0,
    }
}

const fn kind(probe: &Probe) -> &'static str {
    match probe {
        Probe::Tcp { .. } | Probe::Unsupported(_) => "TCP",
        Probe::Http(_) => "HTTP",
        Probe::Grpc(_) => "GRPC",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::Arc;

    use time::macros::datetime;

    use config::model::endpoint::Locality;

    use super::*;
    use crate::upstream::host::Detail;
    use crate::upstream::testing::{check, labels};

    #[test]
    fn envoys_fields() {
        let locality = Arc::new(Locality { zone: "z".into(), ..Locality::default() });
        let detail = Detail { locality, metadata: labels(&[("a", "b")]), ..Detail::default() };
        let host = Host::new(Address::Socket("127.0.0.1:81".parse().unwrap()), 1, Arc::new(detail));
        let event = Event::Failure { verdict: Verdict::Network, first: true };
        let text = line((&check(None, &[]), "c"), &host, event, datetime!(2026-01-02 3:04:05.678 UTC));
        let value: Value = serde_json::from_str(&text).unwrap();
        // A line of Envoy 1.40, but for times, port and metadata.
        let envoy = r#"{"health_checker_type":"TCP","host":{"socket_address":{"protocol":"TCP","address":"127.0.0.1",
            "port_value":81,"resolver_name":"","ipv4_compat":false,"network_namespace_filepath":""}},"cluster_name":"c",
            "timestamp":"2026-01-02T03:04:05.678Z","health_check_failure_event":{"failure_type":"NETWORK",
            "first_check":true,"http_status_code":0},"locality":{"region":"","zone":"z","sub_zone":""},
            "metadata":{"filter_metadata":{"envoy.lb":{"a":"b"}},"typed_filter_metadata":{}}}"#;
        assert_eq!(value, serde_json::from_str::<Value>(envoy).unwrap());
        assert!(text.ends_with("}\n") && !text.trim_end().contains('\n'));
    }
}
