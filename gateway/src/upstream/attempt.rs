//! One try of a request: host, connection, the request's way out, the head of the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};
use hyper::body::Incoming;
use proxy::metrics::ClusterStat;
use proxy::report::http::HttpFlow;
use proxy::upstream::{Host, Outcome, RequestPermit};
use tokio::time::Sleep;

use super::clock::{Clock, Expiry};
use super::outgoing::{Outgoing, Source};
use super::pool::{Conduit, Order, Pools, Sender};
use super::request;
use super::reset::{Reason, Reset};

/// Why a try led to no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The stream ended.
    Reset(Reset),
    /// It took too long.
    Expired(Expiry),
}

/// The head of an answer, and what is still to come of it.
pub(super) type Answered = (Response<Incoming>, Conduit, RequestPermit);

/// One try.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) pools: &'a Arc<Pools>,
    pub(super) order: &'a Order,
    pub(super) source: Option<&'a Arc<Source>>,
    /// The request went out, at least in part (`retry_on: reset-before-request` is for those that did not).
    pub(super) started: bool,
}

/// How often a request that did not leave is given to another connection: those that close at this very moment.
const UNSENT: usize = 5;

impl Attempt<'_> {
    /// Sends the request and waits for the head of its answer.
    pub(super) async fn run(
        &mut self,
        flow: &mut HttpFlow,
        clock: &mut Clock,
        mut timer: Pin<&mut Sleep>,
    ) -> Result<Answered, Failure> {
        clock.attempt();
        let created = Instant::now();
        for _ in 0..UNSENT {
            let acquired = tokio::select! {
                biased;
                acquired = self.pools.acquire(self.order) => acquired,
                expiry = clock.expired(timer.as_mut()) => return Err(Failure::Expired(expiry)),
            };
            if let Some(upstream) = flow.upstream.as_deref_mut() {
                upstream.waited = Some(created.elapsed());
            }
            let mut conduit = acquired.map_err(Failure::Reset)?;
            let permit = self.begin(&mut conduit, flow, clock)?;
            let body = self.source.map_or_else(Outgoing::empty, Source::attempt);
            let Some(request) = request::of(&flow.request, conduit.link().protocol(), body) else {
                conduit.spare();
                return Err(Failure::Reset(Reset::new(Reason::LocalReset)));
            };
            let sent = tokio::select! {
                biased;
                sent = transmit(&mut conduit, request) => sent,
                expiry = clock.expired(timer.as_mut()) => {
                    self.started = true;
                    self.give_up();
                    return Err(Failure::Expired(expiry));
                }
            };
            match sent {
                Ok(response) => return Ok((response, conduit, permit)),
                Err(Unanswered::Unsent) => {}
                Err(Unanswered::Reset(reset)) => {
                    self.started = true;
                    self.order.cluster.stats().inc(ClusterStat::UpstreamRqRxReset);
                    return Err(Failure::Reset(reset));
                }
            }
        }
        Err(Failure::Reset(Reset::new(Reason::ConnectionTermination)))
    }

    /// A connection takes the request.
    fn begin(&self, conduit: &mut Conduit, flow: &mut HttpFlow, clock: &mut Clock) -> Result<RequestPermit, Failure> {
        let Order { cluster, host, key, .. } = self.order;
        let Ok(permit) = cluster.start_request(host, key.priority()) else {
            conduit.spare();
            return Err(Failure::Reset(Reset::new(Reason::Overflow)));
        };
        cluster.report(host, Outcome::Ready);
        clock.connected();
        flow.timing.upstream_request_start = Some(Instant::now());
        if let Some(upstream) = flow.upstream.as_deref_mut() {
            upstream.connection = Some(Arc::clone(&conduit.link().facts));
        }
        Ok(permit)
    }

    fn give_up(&self) {
        self.order.cluster.stats().inc(ClusterStat::UpstreamRqTxReset);
        if let Some(source) = self.source {
            source.stop();
        }
    }
}

/// Why there is no answer.
enum Unanswered {
    /// The connection closed before anything of the request was written.
    Unsent,
    /// The stream ended.
    Reset(Reset),
}

async fn transmit(conduit: &mut Conduit, request: Request<Outgoing>) -> Result<Response<Incoming>, Unanswered> {
    let sent = match conduit.sender() {
        None => return Err(Unanswered::Unsent),
        Some(Sender::Http1(sender)) => {
            sender.ready().await.map_err(|_| Unanswered::Unsent)?;
            sender.try_send_request(request).await
        }
        Some(Sender::Http2(sender)) => {
            sender.ready().await.map_err(|_| Unanswered::Unsent)?;
            sender.try_send_request(request).await
        }
    };
    sent.map_err(|mut error| match error.take_message() {
        Some(_) => Unanswered::Unsent,
        None => Unanswered::Reset(Reset::of(error.error())),
    })
}

/// The host that an attempt goes to, in the flow.
pub(super) fn note_host(flow: &mut HttpFlow, host: &Arc<Host>) {
    let Some(upstream) = flow.upstream.as_deref_mut() else { return };
    if let Some(before) = upstream.host.take() {
        upstream.tried.push(before);
    }
    let detail = host.detail();
    upstream.host = Some(host.address().clone());
    upstream.hostname = detail.hostname.clone();
    upstream.host_metadata = detail.metadata.clone();
    upstream.connection = None;
}
