//! What `kuma-dp`'s metrics hijacker serves on `kuma-mh-….sock`: Prometheus text for the listener that MeshMetric or
//! `Mesh.metrics` makes.
//!
//! There are no applications beside a zone proxy to merge with, so every path has the same answer
//! (Kuma `app/kuma-dp/pkg/dataplane/metrics/server.go`).

use std::sync::Arc;

use config::model::chain::Handler as Kind;
use config::model::http::{Action, PathMatch};
use config::snapshot::Snapshot;
use http::{Request, Response};
use hyper::body::Incoming;
use serde_json::Value;

use super::query::Query;
use super::state::AdminState;
use super::stats;
use super::stream::Writers;
use crate::lifecycle::drain::Watch;
use crate::system::reply::Body;
use crate::system::serve::{self, Handler, Limits};
use crate::system::socket::Socket;

/// The route of the dynamic configuration that holds the MeshMetric policy.
const POLICY: &str = "/meshmetric";

/// Serves until the future is dropped; `watch` ends the connections.
pub async fn serve_metrics(socket: Socket, state: AdminState, watch: Watch) {
    let metrics = Metrics { state: Arc::new(state), writers: Writers::default() };
    loop {
        let incoming = socket.accept().await;
        let (metrics, watch) = (metrics.clone(), watch.clone());
        tokio::spawn(async move { serve::serve(incoming.io, metrics, Limits::default(), &watch).await });
    }
}

#[derive(Clone)]
struct Metrics {
    state: Arc<AdminState>,
    writers: Writers,
}

impl Handler for Metrics {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let all = includes_unused(&self.state.view.snapshot.load());
        let query = Query::parse(&asked(request.uri().query().unwrap_or_default(), all));
        stats::prometheus(&self.state, &query, &self.writers)
    }
}

/// What the request asks for, and what kuma-dp adds when it asks Envoy.
fn asked(query: &str, all: bool) -> String {
    let own = if all { "text_readouts" } else { "text_readouts&usedonly" };
    if query.is_empty() { own.to_owned() } else { format!("{query}&{own}") }
}

/// `sidecar.includeUnused` of the policy; not set, it is false.
fn includes_unused(snapshot: &Snapshot) -> bool {
    let listeners = snapshot.listeners.values().map(|entry| &entry.listener).filter(|listener| listener.system);
    let mut managers = listeners.flat_map(|listener| &listener.chains).filter_map(|chain| match &chain.handler {
        Kind::System(manager) => Some(manager),
        Kind::TcpProxy(_) | Kind::DirectResponse(_) | Kind::Http(_) | Kind::Unsupported(_) => None,
    });
    managers.any(|manager| {
        let routes = manager.virtual_hosts.iter().flat_map(|host| &host.routes);
        routes.filter(|route| matches!(&route.path, PathMatch::Exact(path) if &**path == POLICY)).any(|route| {
            let Action::Direct { body, .. } = &route.action else { return false };
            let policy: Value = serde_json::from_slice(body).unwrap_or_default();
            policy["observability"]["metrics"]["sidecar"]["includeUnused"] == true
        })
    })
}

#[cfg(test)]
mod tests {
    use config::snapshot::{ListenerEntry, Snapshot};

    use super::*;
    use crate::system::testing;

    fn policy(path: &str, text: &'static str) -> bool {
        let mut route = testing::direct_route("/", 200, text);
        route.path = PathMatch::Exact(path.into());
        let chain = testing::plain_chain(1, testing::manager(vec![route]));
        let entry = ListenerEntry {
            listener: Arc::new(testing::listener("_kuma:dynamicconfig", vec![chain])),
            source: testing::source(),
            ignored: Box::default(),
            unsupported: Box::default(),
        };
        let mut snapshot = Snapshot::default();
        snapshot.listeners.insert_mut("_kuma:dynamicconfig".into(), Arc::new(entry));
        includes_unused(&snapshot)
    }

    #[test]
    fn unused_metrics_are_left_out_unless_the_policy_wants_them() {
        let on = r#"{"observability":{"metrics":{"sidecar":{"includeUnused":true}}}}"#;
        assert!(policy("/meshmetric", on));
        assert!(!policy("/otel", on));
        assert!(!policy("/meshmetric", r#"{"observability":{"metrics":{"sidecar":{"includeUnused":false}}}}"#));
        assert!(!policy("/meshmetric", "not JSON"));
        assert!(!includes_unused(&Snapshot::default()));
    }
    #[test]
    fn what_the_request_asks_for_stays() {
        assert_eq!(asked("", false), "text_readouts&usedonly");
        assert_eq!(asked("filter=http", true), "filter=http&text_readouts");
    }
}
