//! CONNECT that ends here (`connect_config`): its bytes go to the endpoint as they are.

use std::sync::Arc;
use std::time::Instant;

use http::{Method, Response, StatusCode};
use proxy::report::http::{RequestHead, UpstreamConnection};
use proxy::upstream::{Cluster, ConnectOptions, Connected, Pick, PickError, connect};

use super::attempt::note_host;
use super::refusal;
use super::reset::{Reason, Reset};
use super::router::Job;
use super::tunnel::Tunnel;
use crate::http::{Body, Reply};

/// What a route does with a request in this respect.
pub(super) enum Terminates {
    /// Nothing.
    No,
    /// The request is such a CONNECT.
    Yes,
    /// It is a POST that should be taken for one (`allow_post`), which we can't.
    Unsupported,
}

/// Whether a request ends here.
pub(super) fn asks(job: &Job<'_>) -> Terminates {
    let config = job.route.upgrades.iter().find(|upgrade| &*upgrade.kind == "connect" && upgrade.enabled);
    let Some(terminate) = config.and_then(|upgrade| upgrade.terminate) else { return Terminates::No };
    let RequestHead { method, protocol, .. } = &job.flow.request;
    match protocol {
        None if *method == Method::CONNECT => Terminates::Yes,
        None if *method == Method::POST && terminate.allow_post => Terminates::Unsupported,
        _ => Terminates::No,
    }
}

/// Connects to an endpoint of the cluster.
///
/// # Errors
/// What the client is told instead.
pub(super) async fn open(job: Job<'_>, cluster: &Arc<Cluster>) -> Result<Response<Body>, Reply> {
    let Job { flow, options, tunnel, metadata_match, hash, certificates, client, .. } = job;
    flow.attempts = 1;
    let overflow = Reset::new(Reason::Overflow);
    let Ok(mut pending) = cluster.admit() else { return Err(refusal::reset(&overflow, flow, options)) };
    pending.set_options(ConnectOptions { certificates, client });
    let pick = Pick { metadata_match, hash: hash.value, ..Pick::default() };
    let host = match cluster.pick(&pick) {
        Ok(host) => host,
        Err(PickError::NoHealthyUpstream) => return Err(refusal::no_host()),
        Err(PickError::Overflow) => return Err(refusal::reset(&overflow, flow, options)),
    };
    note_host(flow, &host);
    let started = Instant::now();
    let connected = connect(&mut pending, &host).await;
    let tls = pending.take_tls();
    match connected {
        Ok(Connected { stream, lease }) => {
            if let Some(upstream) = flow.upstream.as_deref_mut() {
                upstream.connection = Some(Arc::new(UpstreamConnection {
                    id: 0,
                    remote: host.address().clone(),
                    local: stream.local_addr(),
                    protocol: flow.protocol,
                    server_name: None,
                    tls,
                    started,
                    connected: Instant::now(),
                }));
            }
            flow.details = "via_upstream".into();
            *tunnel = Some(Tunnel::raw(stream, lease));
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::OK;
            Ok(response)
        }
        Err(error) => {
            let said = tls.as_ref().and_then(|tls| tls.failure.as_deref());
            Err(refusal::reset(&Reset::connect(error, said), flow, options))
        }
    }
}
