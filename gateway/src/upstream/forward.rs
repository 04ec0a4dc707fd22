//! From an exchange to the router and back.

use std::sync::Arc;

use http::Response;

use super::pool::Pools;
use super::router::{Job, route};
use crate::http::exchange::Exchange;
use crate::http::{Body, Reply};
use crate::route::hash::Hash;
use crate::route::{Action, Match};

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
    let job = Job {
        flow: &mut exchange.flow,
        shared: &shared,
        pools,
        route: action,
        cluster: &target.cluster,
        metadata_match: matched.metadata_match(),
        hash,
        options: &manager.router,
        certificates: false,
    };
    route(job, body).await
}
