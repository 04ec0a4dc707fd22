//! What `kuma-dp`'s metrics hijacker serves on `kuma-mh-….sock`, where the listeners that MeshMetric or `Mesh.metrics`
//! make lead: Prometheus text (Kuma `app/kuma-dp/pkg/dataplane/metrics/server.go`); and the push to the policy's
//! OpenTelemetry backends.
//!
//! ```text
//! /meshmetric: registry -> Prometheus text -> Lines: profile, include, exclude -> Text: labels of the policy
//! any other path: registry -> Prometheus text           push, at each interval -> Otlp -> the backend's cluster
//! ```
//! There are no applications beside a gateway or a zone proxy to merge with.

mod lines;
mod otlp;
mod policy;
mod profile;
mod push;
#[cfg(test)]
pub(super) mod tests;

use std::io::{BufWriter, Write};
use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use super::query::Query;
use super::state::AdminState;
use super::stream::Writers;
use super::{answer, stats};
use crate::lifecycle::drain::Watch;
use crate::metrics::render;
use crate::system::reply::Body;
use crate::system::serve::{self, Handler, Limits};
use crate::system::socket::Socket;

use lines::{Lines, Text};
use policy::Policy;

/// Where the listeners of a MeshMetric policy lead (`PrometheusDataplaneStatsPath`).
const OF_POLICY: &str = "/meshmetric";
/// What Prometheus' own handler says.
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Serves and pushes until the future is dropped; `watch` ends the connections.
pub async fn serve_metrics(socket: Socket, state: AdminState, watch: Watch) {
    let metrics = Metrics { state: Arc::new(state.clone()), writers: Writers::default() };
    let serve = async {
        loop {
            let incoming = socket.accept().await;
            let (metrics, watch) = (metrics.clone(), watch.clone());
            tokio::spawn(async move { serve::serve(incoming.io, metrics, Limits::default(), &watch).await });
        }
    };
    tokio::join!(serve, push::run(state));
}

#[derive(Clone)]
struct Metrics {
    state: Arc<AdminState>,
    writers: Writers,
}

impl Handler for Metrics {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let policy = match Policy::of(&self.state.view.snapshot.load()) {
            Ok(policy) => policy,
            Err(error) => return answer::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        };
        let all = policy.as_ref().is_some_and(|policy| policy.include_unused);
        let query = Query::parse(&asked(request.uri().query().unwrap_or_default(), all));
        match policy {
            Some(policy) if request.uri().path().starts_with(OF_POLICY) => self.shown(policy, &query),
            Some(_) | None => stats::prometheus(&self.state, &query, &self.writers),
        }
    }
}

impl Metrics {
    /// What the policy shows.
    fn shown(&self, policy: Policy, query: &Query) -> Response<Body> {
        let query = match stats::parse(query) {
            Ok(query) => query,
            Err(error) => return answer::text(StatusCode::BAD_REQUEST, error),
        };
        stats::refresh(&self.state);
        let state = Arc::clone(&self.state);
        let mut response = answer::text_stream(&self.writers, move |out| {
            let mut lines = Lines::new(&policy, Text::new(&policy, BufWriter::new(out)));
            render::prometheus(&state.registry, &state.tags, &query, &mut lines)?;
            lines.into_series().into_inner().flush()
        });
        response.headers_mut().insert(header::CONTENT_TYPE, PROMETHEUS);
        response
    }
}

/// What the request asks for, and what kuma-dp adds when it asks Envoy.
fn asked(query: &str, all: bool) -> String {
    let own = if all { "text_readouts" } else { "text_readouts&usedonly" };
    if query.is_empty() { own.to_owned() } else { format!("{query}&{own}") }
}
