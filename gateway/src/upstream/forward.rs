//! From an exchange to the router and back.

use std::sync::Arc;

use config::model::route::BufferLimit;
use http::Response;

use super::pool::Pools;
use super::router::{Job, Told, route};
use crate::http::exchange::Exchange;
use crate::http::{Body, Reply};
use crate::route::hash::Hash;
use crate::route::{Action, Match};

/// Envoy's default of `per_connection_buffer_limit_bytes`.
const BUFFER: u64 = 1 << 20;

/// Sends a request to the cluster of its route. The answer's body is streamed.
///
/// # Errors
/// What the client is told instead.
pub async fn forward(
    exchange: &mut Exchange,
    matched: &Match,
    pools: &Arc<Pools>,
    body: Body,
) -> Result<Response<Body>, Reply> {
    let (Action::Forward(action), Some(target)) = (matched.action(), &matched.target) else {
        return Err(Reply::new(http::StatusCode::NOT_FOUND, "route_not_found"));
    };
    let manager = Arc::clone(&exchange.chain.manager);
    let shared = Arc::clone(&exchange.shared);
    let hash = Hash::of(&action.hash, &exchange.flow);
    let host = &matched.host.config;
    let told = Told {
        upstream: host.attempt_count_in_request,
        client: host.attempt_count_in_response,
        timeouts: host.timeout_retry_in_request,
    };
    let keep = matched.route.as_ref().map_or(BUFFER, |route| keep(route.config.buffer_limit));
    // What came in a header of the PROXY protocol goes on in one, whatever the manager says.
    let connection = &exchange.flow.connection;
    let tells = manager.add_proxy_protocol_connection_state || connection.direct_remote.is_some();
    let client = connection.addresses().filter(|_| tells);
    let job = Job {
        flow: &mut exchange.flow,
        shared: &shared,
        pools,
        route: action,
        matched: Some(matched),
        cluster: &target.cluster,
        metadata_match: matched.metadata_match(),
        hash,
        options: &manager.router,
        told,
        keep,
        certificates: exchange.chain.logs.want_certificates(),
        client,
        span: exchange.span.as_ref(),
        random: exchange.random,
        tunnel: &mut exchange.tunnel,
    };
    route(job, body).await
}

/// How much of a request's body is kept for another try.
fn keep(limit: Option<BufferLimit>) -> u64 {
    match limit {
        None => BUFFER,
        Some(BufferLimit::Exactly(bytes)) => bytes,
        Some(BufferLimit::AtMost(bytes)) => BUFFER.min(u64::from(bytes)),
    }
}
