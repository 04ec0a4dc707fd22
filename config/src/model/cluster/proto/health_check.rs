//! `health_checks`.

mod http;

use std::sync::Arc;
use std::time::Duration;

use core::health_check::{HealthChecker, Payload, TcpHealthCheck, payload};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::health_check::event_sinks::file::v3::HealthCheckEventFileSink;

use crate::model::cluster::{HealthCheck, Probe};
use crate::model::extension;
use crate::reject::{Context, Rejection};

/// Envoy's default `no_traffic_interval`.
const NO_TRAFFIC: Duration = Duration::from_secs(60);
const NOT_RUN: &str = "only TCP, HTTP and gRPC health checks run: the hosts count as healthy";

/// One health check.
pub(super) fn health_check(cx: &mut Context, check: core::HealthCheck) -> Result<HealthCheck, Rejection> {
    let core::HealthCheck {
        timeout,
        interval,
        initial_jitter,
        interval_jitter,
        interval_jitter_percent,
        unhealthy_threshold,
        healthy_threshold,
        alt_port,
        reuse_connection,
        no_traffic_interval,
        no_traffic_healthy_interval,
        unhealthy_interval,
        unhealthy_edge_interval,
        healthy_edge_interval,
        event_log_path,
        event_logger,
        event_service,
        always_log_health_check_failures,
        always_log_health_check_success,
        tls_options,
        transport_socket_match_criteria,
        health_checker,
    } = check;
    cx.ignore("alt_port", &alt_port, "probes go to the endpoint's own port");
    cx.ignore("event_service", &event_service, "no events are sent to a service");
    cx.ignore("tls_options", &tls_options, "probes offer the protocols that the cluster's transport socket says");
    let criteria = &transport_socket_match_criteria;
    cx.ignore("transport_socket_match_criteria", criteria, "probes are encrypted as traffic to the endpoint is");
    let over = |field, value| cx.longer_than(field, value, Duration::ZERO);
    Ok(HealthCheck {
        timeout: cx.required("timeout", over("timeout", timeout)?)?,
        interval: cx.required("interval", over("interval", interval)?)?,
        initial_jitter: cx.duration("initial_jitter", initial_jitter)?.unwrap_or_default(),
        interval_jitter: cx.duration("interval_jitter", interval_jitter)?.unwrap_or_default(),
        interval_jitter_percent,
        unhealthy_interval: over("unhealthy_interval", unhealthy_interval)?,
        unhealthy_edge_interval: over("unhealthy_edge_interval", unhealthy_edge_interval)?,
        healthy_edge_interval: over("healthy_edge_interval", healthy_edge_interval)?,
        no_traffic_interval: over("no_traffic_interval", no_traffic_interval)?.unwrap_or(NO_TRAFFIC),
        no_traffic_healthy_interval: over("no_traffic_healthy_interval", no_traffic_healthy_interval)?,
        unhealthy_threshold: cx.required("unhealthy_threshold", unhealthy_threshold)?.value,
        healthy_threshold: cx.required("healthy_threshold", healthy_threshold)?.value,
        reuse_connection: reuse_connection.is_none_or(|f| f.value),
        always_log_failures: always_log_health_check_failures,
        always_log_successes: always_log_health_check_success,
        event_logs: event_logs(cx, event_log_path, event_logger)?,
        probe: probe(cx, health_checker)?,
    })
}

fn event_logs(
    cx: &mut Context,
    path: String,
    loggers: Vec<core::TypedExtensionConfig>,
) -> Result<Box<[Arc<str>]>, Rejection> {
    let mut paths: Vec<Arc<str>> = Vec::new();
    if !path.is_empty() {
        paths.push(path.into());
    }
    for (i, core::TypedExtensionConfig { name, typed_config }) in loggers.into_iter().enumerate() {
        cx.item("event_logger", i, |cx| {
            let (type_name, body) = extension::required(cx, &name, typed_config)?;
            if &*type_name != "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink" {
                cx.note("typed_config", "events are written to files only");
                return Ok(());
            }
            let HealthCheckEventFileSink { event_log_path } = cx.at("typed_config", |cx| cx.decode(&body))?;
            if !event_log_path.is_empty() {
                paths.push(event_log_path.into());
            }
            Ok::<_, Rejection>(())
        })?;
    }
    Ok(paths.into())
}

fn probe(cx: &mut Context, checker: Option<HealthChecker>) -> Result<Probe, Rejection> {
    match cx.required("health_checker", checker)? {
        HealthChecker::TcpHealthCheck(check) => cx.at("tcp_health_check", |cx| tcp(cx, check)),
        HealthChecker::HttpHealthCheck(check) => {
            cx.at("http_health_check", |cx| http::probe(cx, check)).map(|probe| Probe::Http(Box::new(probe)))
        }
        HealthChecker::GrpcHealthCheck(check) => {
            cx.at("grpc_health_check", |cx| http::grpc(cx, check)).map(|probe| Probe::Grpc(Box::new(probe)))
        }
        HealthChecker::CustomHealthCheck(check) => {
            cx.at("custom_health_check", |cx| cx.not_empty("name", &check.name))?;
            cx.note("custom_health_check", NOT_RUN);
            Ok(Probe::Unsupported(cx.unsupported("custom_health_check", "custom_health_check")))
        }
    }
}

fn tcp(cx: &mut Context, check: TcpHealthCheck) -> Result<Probe, Rejection> {
    let TcpHealthCheck { send, receive, proxy_protocol_config } = check;
    cx.ignore("proxy_protocol_config", &proxy_protocol_config, "probes start without a PROXY protocol header");
    let send = match send {
        None => None,
        Some(payload) => Some(cx.at("send", |cx| bytes(cx, payload))?),
    };
    let receive = cx.each("receive", receive, |cx, payload| bytes(cx, payload))?;
    Ok(Probe::Tcp { send, receive })
}

/// A payload: bytes, or hexadecimal text.
fn bytes(cx: &Context, Payload { payload }: Payload) -> Result<Box<[u8]>, Rejection> {
    match cx.required("payload", payload)? {
        payload::Payload::Binary(bytes) => Ok(bytes.into()),
        payload::Payload::Text(text) => {
            let decoded = (!text.is_empty()).then(|| unhex(text.as_bytes())).flatten();
            decoded.ok_or_else(|| cx.reject("text", format!("invalid hex string '{text}'")))
        }
    }
}

fn unhex(text: &[u8]) -> Option<Box<[u8]>> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

#[cfg(test)]
mod tests;
