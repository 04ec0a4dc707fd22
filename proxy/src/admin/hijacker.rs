//! The stand-in for `kuma-dp`'s metrics hijacker: Prometheus text on the Unix socket that MeshMetric's listener leads to
//! (Kuma `app/kuma-dp/pkg/dataplane/metrics/server.go`). A zone proxy has no application whose metrics to merge.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use super::answer;
use super::query::Query;
use super::state::AdminState;
use super::stats;
use super::stream::Writers;
use crate::lifecycle::drain::Watch;
use crate::system::reply::Body;
use crate::system::serve::{self, Handler, Limits};
use crate::system::socket::Socket;

#[derive(Clone)]
struct Hijacker {
    state: Arc<AdminState>,
    writers: Writers,
}

/// Serves until the future is dropped; `watch` ends the connections.
pub async fn serve_metrics(socket: Socket, state: AdminState, watch: Watch) {
    let hijacker = Hijacker { state: Arc::new(state), writers: Writers::default() };
    loop {
        let incoming = socket.accept().await;
        let (hijacker, watch) = (hijacker.clone(), watch.clone());
        tokio::spawn(async move { serve::serve(incoming.io, hijacker, Limits::default(), &watch).await });
    }
}

impl Handler for Hijacker {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let uri = request.uri();
        match uri.path() {
            "/meshmetric" | "/metrics" | "/" => {
                // As the hijacker asks Envoy by default: what was never written is left out.
                let asked = uri.query().filter(|query| !query.is_empty());
                let query = asked.map_or("usedonly".to_owned(), |query| format!("{query}&usedonly"));
                stats::prometheus(&self.state, &Query::parse(&query), &self.writers)
            }
            _ => answer::text(StatusCode::NOT_FOUND, ""),
        }
    }
}
