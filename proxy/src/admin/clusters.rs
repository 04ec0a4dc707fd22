//! `/clusters`: every cluster with its endpoints, as Envoy's text lines or as `envoy.admin.v3.Clusters`.

use std::io::{self, Write};
use std::sync::Arc;

use config::model::cluster::Thresholds;
use http::{Response, StatusCode};
use regex::Regex;
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde_json::{Value, json};

use super::query::Query;
use super::state::AdminState;
use super::stream::Writers;
use super::{answer, info};
use crate::system::reply::Body;
use crate::upstream::{Cluster, End, Flag, Host};

pub(super) fn clusters(state: &AdminState, query: &Query, writers: &Writers) -> Response<Body> {
    let filter = match query.get("filter").filter(|filter| !filter.is_empty()).map(Regex::new).transpose() {
        Ok(filter) => filter,
        Err(_) => return answer::text(StatusCode::BAD_REQUEST, "Invalid re2 regex"),
    };
    let mut clusters: Vec<Arc<Cluster>> = state.clusters.all().values().cloned().collect();
    clusters.retain(|cluster| filter.as_ref().is_none_or(|filter| filter.is_match(cluster.name())));
    clusters.sort_unstable_by(|a, b| a.name().cmp(b.name()));
    if query.get("format") == Some("json") {
        return answer::json_stream(writers, move |out| answer::pretty(out, &Statuses(&clusters)));
    }
    answer::text_stream(writers, move |out| clusters.iter().try_for_each(|cluster| lines(cluster, out)))
}

fn lines(cluster: &Cluster, out: &mut impl Write) -> io::Result<()> {
    let (name, config) = (cluster.name(), cluster.config());
    writeln!(out, "{name}::observability_name::{}", config.stat_name)?;
    if config.outlier_detection.is_some() {
        for what in ["", "local_origin_"] {
            writeln!(out, "{name}::outlier::{what}success_rate_average::-1")?;
            writeln!(out, "{name}::outlier::{what}success_rate_ejection_threshold::-1")?;
        }
    }
    for (priority, limits) in thresholds(cluster) {
        writeln!(out, "{name}::{priority}_priority::max_connections::{}", limits.max_connections)?;
        writeln!(out, "{name}::{priority}_priority::max_pending_requests::{}", limits.max_pending)?;
        writeln!(out, "{name}::{priority}_priority::max_requests::{}", limits.max_requests)?;
        writeln!(out, "{name}::{priority}_priority::max_retries::{}", limits.max_retries)?;
    }
    writeln!(out, "{name}::added_via_api::{}", !cluster.entry().source.fixed)?;
    let hosts = cluster.hosts();
    hosts.hosts().try_for_each(|host| host_lines(name, host, out))
}

fn host_lines(cluster: &str, host: &Host, out: &mut impl Write) -> io::Result<()> {
    let at = format!("{cluster}::{}", host.address());
    let mut numbers = numbers(host);
    numbers.sort_unstable_by_key(|(name, ..)| *name);
    for (name, value, _) in numbers {
        writeln!(out, "{at}::{name}::{value}")?;
    }
    let detail = host.detail();
    let flags: Vec<String> = host.flags().map(|flag| format!("/{}", flag.as_str())).collect();
    let flags = if flags.is_empty() { "healthy".to_owned() } else { flags.concat() };
    let [answers, connects] = host.success_rates().map(|rate| rate.unwrap_or(-1.0));
    writeln!(out, "{at}::hostname::{}", detail.hostname.as_deref().unwrap_or_default())?;
    writeln!(out, "{at}::health_flags::{flags}")?;
    writeln!(out, "{at}::weight::{}", host.weight())?;
    writeln!(out, "{at}::region::{}", detail.locality.region)?;
    writeln!(out, "{at}::zone::{}", detail.locality.zone)?;
    writeln!(out, "{at}::sub_zone::{}", detail.locality.sub_zone)?;
    writeln!(out, "{at}::canary::{}", host.is_canary())?;
    writeln!(out, "{at}::priority::{}", detail.priority)?;
    writeln!(out, "{at}::success_rate::{answers}")?;
    writeln!(out, "{at}::local_origin_success_rate::{connects}")
}

/// (name, value, is a gauge), counters first. A connection counts as a request, as in Envoy's tcp_proxy.
fn numbers(host: &Host) -> Vec<(&'static str, u64, bool)> {
    let (connects, failures, active) = (host.connects(), host.connect_failures(), u64::from(host.active()));
    vec![
        ("cx_connect_fail", failures, false),
        ("cx_total", connects, false),
        ("rq_error", host.ended(End::Error), false),
        ("rq_success", host.ended(End::Success), false),
        ("rq_timeout", host.ended(End::Timeout), false),
        ("rq_total", host.requests_total(), false),
        ("cx_active", active, true),
        ("rq_active", u64::from(host.requests()), true),
        ("rq_pending_active", 0, true),
    ]
}

fn thresholds(cluster: &Cluster) -> [(&'static str, Thresholds); 2] {
    let limits = cluster.config().circuit_breakers.as_deref().copied().unwrap_or_default();
    [("default", limits.default), ("high", limits.high)]
}

/// `envoy.admin.v3.Clusters`, one cluster at a time.
struct Statuses<'a>(&'a [Arc<Cluster>]);

impl Serialize for Statuses<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct List<'a>(&'a [Arc<Cluster>]);
        impl Serialize for List<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut list = serializer.serialize_seq(Some(self.0.len()))?;
                self.0.iter().try_for_each(|cluster| list.serialize_element(&status(cluster)))?;
                list.end()
            }
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("cluster_statuses", &List(self.0))?;
        map.end()
    }
}

fn status(cluster: &Cluster) -> Value {
    let hosts = cluster.hosts();
    let thresholds = thresholds(cluster).map(|(priority, limits)| {
        let mut threshold = json!({
            "max_connections": limits.max_connections,
            "max_pending_requests": limits.max_pending,
            "max_requests": limits.max_requests,
            "max_retries": limits.max_retries,
        });
        if priority == "high" {
            threshold["priority"] = "HIGH".into();
        }
        threshold
    });
    let mut status = json!({
        "name": &**cluster.name(),
        "circuit_breakers": {"thresholds": thresholds},
        "observability_name": &*cluster.config().stat_name,
    });
    if !cluster.entry().source.fixed {
        status["added_via_api"] = true.into();
    }
    let hosts: Vec<Value> = hosts.hosts().map(|host| host_status(host)).collect();
    if !hosts.is_empty() {
        status["host_statuses"] = hosts.into();
    }
    status
}

fn host_status(host: &Host) -> Value {
    let detail = host.detail();
    let numbers: Vec<Value> = numbers(host).into_iter().map(number).collect();
    let mut locality = json!({});
    for (name, part) in
        [("region", &detail.locality.region), ("zone", &detail.locality.zone), ("sub_zone", &detail.locality.sub_zone)]
    {
        if !part.is_empty() {
            locality[name] = (**part).into();
        }
    }
    let mut status = json!({
        "address": info::address(host.address()),
        "stats": numbers,
        "health_status": health(host),
        "weight": host.weight(),
        "locality": locality,
    });
    if let Some(hostname) = &detail.hostname {
        status["hostname"] = (**hostname).into();
    }
    if detail.priority != 0 {
        status["priority"] = detail.priority.into();
    }
    for (name, rate) in ["success_rate", "local_origin_success_rate"].into_iter().zip(host.success_rates()) {
        if let Some(rate) = rate {
            status[name] = json!({"value": rate});
        }
    }
    status
}

/// `envoy.admin.v3.SimpleMetric`, default values left out.
fn number((name, value, gauge): (&str, u64, bool)) -> Value {
    let mut metric = json!({"name": name});
    if gauge {
        metric["type"] = "GAUGE".into();
    }
    if value != 0 {
        metric["value"] = value.to_string().into();
    }
    metric
}

/// `envoy.admin.v3.HostHealthStatus`.
fn health(host: &Host) -> Value {
    let mut health = json!({"eds_health_status": eds_health(host)});
    for flag in host.flags() {
        let field = match flag {
            Flag::FailedActiveHc => "failed_active_health_check",
            Flag::FailedOutlierCheck => "failed_outlier_check",
            Flag::DegradedActiveHc => "failed_active_degraded_check",
            Flag::ExcludedViaImmediateHcFail => "excluded_via_immediate_hc_fail",
            Flag::PendingDynamicRemoval => "pending_dynamic_removal",
            Flag::PendingActiveHc => "pending_active_hc",
            Flag::ActiveHcTimeout => "active_hc_timeout",
            Flag::FailedEdsHealth | Flag::DegradedEdsHealth | Flag::EdsStatusDraining => continue,
        };
        health[field] = true.into();
    }
    health
}

/// `core.v3.HealthStatus`, as Envoy shows it.
pub(super) fn eds_health(host: &Host) -> &'static str {
    if host.has(Flag::FailedEdsHealth) {
        "UNHEALTHY"
    } else if host.has(Flag::EdsStatusDraining) {
        "DRAINING"
    } else if host.has(Flag::DegradedEdsHealth) {
        "DEGRADED"
    } else {
        "HEALTHY"
    }
}
