//! Pushes metrics to the OpenTelemetry backends of a MeshMetric policy, at each one's interval.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use config::model::service::GrpcService;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::lines::Lines;
use super::otlp::Otlp;
use super::policy::{Policy, Push};
use crate::admin::{AdminState, stats};
use crate::export::{Client, SendError, Target, otlp};
use crate::metrics::render;

/// How often the policy is looked at, as kuma-dp does.
const LOOK: Duration = Duration::from_secs(1);
/// Time for one request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Requests that wait for the collector.
const AHEAD: usize = 1;

/// One backend's task; ends with this.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps a task for each backend of the policy, until the future is dropped.
pub(super) async fn run(state: AdminState) {
    let mut running: HashMap<Push, Running> = HashMap::new();
    let mut said = String::new();
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let policy = Policy::of(&state.view.snapshot.load());
        let trouble = match &policy {
            // What was asked for last goes on.
            Err(error) => error.to_string(),
            Ok(policy) => {
                let wanted = policy.as_ref().map_or(&[][..], |policy| &policy.pushes);
                running.retain(|push, _| wanted.contains(push));
                for push in wanted.iter().filter(|push| push.cluster.is_some()) {
                    let start = || Running(tokio::spawn(each(push.clone(), state.clone())));
                    running.entry(push.clone()).or_insert_with(start);
                }
                policy.as_ref().map(not_honoured).unwrap_or_default()
            }
        };
        if trouble != said {
            if !trouble.is_empty() {
                tracing::warn!("{trouble}");
            }
            said = trouble;
        }
    }
}

/// What of the policy has no effect here, in words; empty: nothing.
fn not_honoured(policy: &Policy) -> String {
    let mut said = Vec::new();
    if !policy.applications.is_empty() {
        said.push(format!("MeshMetric: applications are not scraped here: {}", policy.applications.join(", ")));
    }
    for push in policy.pushes.iter().filter(|push| push.cluster.is_none()) {
        said.push(format!("MeshMetric: no listener leads to the OpenTelemetry backend {:?}", push.name));
    }
    said.join("; ")
}

async fn each(push: Push, state: AdminState) {
    let Push { name, cluster: Some(cluster), every } = push else { return };
    // As gRPC's client in Go says it on a Unix socket.
    let service = GrpcService { cluster, authority: "localhost".into(), timeout: Some(TIMEOUT), metadata: [].into() };
    let mut client = Client::new(Target::Grpc { service, path: otlp::METRICS }, &state.clusters);
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let result = push_once(&mut client, &state).await;
        match &result {
            Ok(()) if failing => tracing::info!(backend = name, "MeshMetric: metrics arrive again"),
            Ok(()) => {}
            Err(error) if failing => tracing::debug!(backend = name, %error, "MeshMetric: metrics do not arrive"),
            Err(error) => tracing::warn!(backend = name, %error, "MeshMetric: metrics do not arrive"),
        }
        failing = result.is_err();
    }
}

/// Sends all metrics as of now, a part at a time: they are written no faster than the collector takes them.
async fn push_once(client: &mut Client, state: &AdminState) -> Result<(), SendError> {
    // The policy of now: what is shown and how it is labelled changes without the backend's task.
    let Ok(Some(policy)) = Policy::of(&state.view.snapshot.load()) else { return Ok(()) };
    stats::refresh(state);
    let (requests, mut rest) = mpsc::channel(AHEAD);
    let state = state.clone();
    let writing = tokio::task::spawn_blocking(move || write(&state, &policy, &requests));
    let mut result = Ok(());
    while let Some(request) = rest.recv().await {
        result = client.send(Bytes::into(request)).await;
        if result.is_err() {
            break;
        }
    }
    // Whoever still writes ends with an error.
    drop(rest);
    drop(writing.await);
    result
}

fn write(state: &AdminState, policy: &Policy, requests: &mpsc::Sender<Bytes>) -> io::Result<()> {
    let send = |request| requests.blocking_send(request).map_err(|_| io::ErrorKind::BrokenPipe.into());
    let query = render::Query { used_only: !policy.include_unused, text_readouts: true, ..render::Query::default() };
    let mut lines = Lines::new(policy, Otlp::new(policy, send));
    render::prometheus(&state.registry, &state.tags, &query, &mut lines)?;
    lines.into_series().finish()
}
