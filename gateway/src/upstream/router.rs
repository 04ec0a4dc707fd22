//! One request from its route to the head of its answer: tries, limits, and what the client is told where there is none.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::model::hcm::Router as Options;
use config::model::metadata::Fields;
use config::model::route::{Forward, Priority as RoutePriority};
use http::header::SET_COOKIE;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use proxy::metrics::ClusterStat;
use proxy::report::http::{Flag, HttpFlow, Upstream};
use proxy::shared::Shared;
use proxy::upstream::{Cluster, End, Host, Outcome, Pick, PickError, Priority};
use tokio::time::Sleep;

use super::answer::{Answer, Stream, millis};
use super::attempt::{Answered, Attempt, Failure, note_host};
use super::clock::{Clock, Expiry};
use super::codec::Codec;
use super::outgoing::Source;
use super::pool::{Key, Order, Pools};
use super::reset::{Reason, Reset};
use super::{grpc, response, timeouts};
use crate::http::{Body, Reply};
use crate::route::hash::Hash;

/// A request and where it is to go.
#[derive(Debug)]
pub struct Job<'a> {
    /// The request.
    pub flow: &'a mut HttpFlow,
    /// What all connections share.
    pub shared: &'a Arc<Shared>,
    /// Connections.
    pub pools: &'a Arc<Pools>,
    /// The route.
    pub route: &'a Forward,
    /// The cluster, as the route says.
    pub cluster: &'a Arc<str>,
    /// `metadata_match` of route and weighted cluster.
    pub metadata_match: Option<&'a Fields>,
    /// Of the hash policy, with the cookies it made.
    pub hash: Hash,
    /// The router filter's settings.
    pub options: &'a Options,
    /// Certificates are kept, for logs that ask for them.
    pub certificates: bool,
}

/// `x-envoy-overloaded`.
const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");
/// `x-envoy-upstream-service-time`.
const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");

/// Longer than anything waits.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Sends a request to an endpoint of its route's cluster.
///
/// # Errors
/// What the client is told instead.
pub async fn route(job: Job<'_>, body: Body) -> Result<Response<Body>, Reply> {
    let Some(cluster) = job.shared.clusters.get(job.cluster) else {
        job.flow.upstream = None;
        return Err(Reply::new(job.route.cluster_not_found, "cluster_not_found").flag(Flag::NoClusterFound));
    };
    let config = cluster.config();
    let mut upstream = Upstream::to(job.cluster);
    if !Arc::ptr_eq(&config.name, &config.stat_name) {
        upstream.stat_name = Some(Arc::clone(&config.stat_name));
    }
    job.flow.upstream = Some(Box::new(upstream));
    let grpc = grpc::is_request(&job.flow.request.headers);
    let limits = timeouts::of(&mut job.flow.request.headers, job.route, job.options, &config, grpc);
    let source = (!body.is_end_stream()).then(|| Source::new(body, None));
    let clock = Clock::new(limits, source.clone());
    let timer = tokio::time::sleep(FAR);
    let mut timer = std::pin::pin!(timer);
    let router = Router { job, cluster, clock, source, grpc };
    router.run(timer.as_mut()).await
}

struct Router<'a> {
    job: Job<'a>,
    cluster: Arc<Cluster>,
    clock: Clock,
    source: Option<Arc<Source>>,
    grpc: bool,
}

impl Router<'_> {
    async fn run(mut self, timer: Pin<&mut Sleep>) -> Result<Response<Body>, Reply> {
        self.job.flow.attempts += 1;
        let host = self.pick()?;
        note_host(self.job.flow, &host);
        let order = self.order(&host);
        let mut attempt =
            Attempt { pools: self.job.pools, order: &order, source: self.source.as_ref(), started: false };
        match attempt.run(self.job.flow, &mut self.clock, timer).await {
            Ok(answered) => Ok(self.answered(answered)),
            Err(Failure::Reset(reset)) => Err(self.reset(&host, &reset)),
            Err(Failure::Expired(expiry)) => Err(self.expired(&host, expiry)),
        }
    }

    fn pick(&mut self) -> Result<Arc<Host>, Reply> {
        let pick = Pick { metadata_match: self.job.metadata_match, hash: self.job.hash.value, ..Pick::default() };
        self.cluster.pick(&pick).map_err(|error| match error {
            PickError::NoHealthyUpstream => Reply::new(StatusCode::SERVICE_UNAVAILABLE, "no_healthy_upstream")
                .body("no healthy upstream")
                .flag(Flag::NoHealthyUpstream),
            PickError::Overflow => self.failed(&Reset::new(Reason::Overflow)),
        })
    }

    fn order(&self, host: &Arc<Host>) -> Order {
        let priority = match self.job.route.priority {
            RoutePriority::Default => Priority::Default,
            RoutePriority::High => Priority::High,
        };
        let wire = Codec::wire(&self.cluster.config(), self.job.flow.protocol);
        Order {
            cluster: Arc::clone(&self.cluster),
            host: Arc::clone(host),
            key: Key::new(host, wire, priority, None),
            certificates: self.job.certificates,
        }
    }

    /// The head of the answer is there.
    fn answered(mut self, (answer, conduit, permit): Answered) -> Response<Body> {
        self.job.flow.timing.upstream_response_start = Some(Instant::now());
        let (mut head, body) = answer.into_parts();
        response::strip(&mut head.headers);
        let status = head.status.as_u16();
        let grpc_status = self.grpc.then(|| grpc::status(&head.headers)).flatten();
        let host = Arc::clone(permit.host());
        self.cluster.report(&host, Outcome::Status(grpc_status.map_or(status, grpc::as_http)));
        if let Some(complete) = self.clock.complete() {
            self.job.flow.timing.upstream_request_end = Some(complete);
            if !self.job.options.suppress_envoy_headers {
                head.headers.insert(SERVICE_TIME, HeaderValue::from(millis(complete)));
            }
        }
        let ended = body.is_end_stream();
        let deferred = self.count(&host, status, grpc_status, ended);
        for cookie in std::mem::take(&mut self.job.hash.cookies) {
            head.headers.append(SET_COOKIE, cookie);
        }
        self.job.flow.details = "via_upstream".into();
        let stream = Stream { conduit, permit, source: self.source.take(), clock: self.clock, deferred };
        Response::from_parts(head, pass_on(body, stream))
    }

    /// Counts how the request ended, in the host's books; true: only the trailers will tell.
    fn count(&self, host: &Host, status: u16, grpc_status: Option<u16>, ended: bool) -> bool {
        let end = match (self.grpc, grpc_status) {
            _ if status >= 500 => End::Error,
            (false, _) => End::Success,
            (true, _) if !ended => return true,
            (true, Some(status)) if grpc::as_http(status) < 500 => End::Success,
            (true, _) => End::Error,
        };
        host.count_end(end);
        false
    }

    /// There will be no answer.
    fn reset(&mut self, host: &Arc<Host>, reset: &Reset) -> Reply {
        if reset.reason != Reason::Overflow {
            self.cluster.report(host, Outcome::Failed);
        }
        host.count_end(End::Error);
        self.failed(reset)
    }

    /// What the client is told of a reset.
    fn failed(&mut self, reset: &Reset) -> Reply {
        if let Some(upstream) = self.job.flow.upstream.as_deref_mut() {
            upstream.failure = reset.connect;
        }
        let reply = response::reset(reset, self.job.flow.attempts > 1);
        if reset.reason == Reason::Overflow && !self.job.options.suppress_envoy_headers {
            return reply.header(OVERLOADED, HeaderValue::from_static("true"));
        }
        reply
    }

    /// It took too long.
    fn expired(&mut self, host: &Arc<Host>, expiry: Expiry) -> Reply {
        let stats = self.cluster.stats();
        let timeout = Reply::new(StatusCode::GATEWAY_TIMEOUT, "response_timeout")
            .body("upstream request timeout")
            .flag(Flag::UpstreamRequestTimeout);
        let reply = match expiry {
            Expiry::Global => {
                stats.inc(ClusterStat::UpstreamRqTimeout);
                timeout
            }
            Expiry::PerTry => {
                stats.inc(ClusterStat::UpstreamRqPerTryTimeout);
                Reply { details: "upstream_per_try_timeout".into(), ..timeout }
            }
            Expiry::PerTryIdle => {
                stats.inc(ClusterStat::UpstreamRqPerTryIdleTimeout);
                Reply { details: "upstream_per_try_idle_timeout".into(), ..timeout }.flag(Flag::StreamIdleTimeout)
            }
            Expiry::MaxDuration => {
                stats.inc(ClusterStat::UpstreamRqMaxDurationReached);
                // Whoever is still sending is told that it is the one who is late.
                let complete = self.clock.complete().is_some();
                let status = if complete { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::REQUEST_TIMEOUT };
                return Reply::new(status, "upstream_max_stream_duration_reached")
                    .body("upstream max stream duration reached")
                    .flag(Flag::UpstreamMaxStreamDurationReached);
            }
        };
        host.count_end(End::Timeout);
        host.count_end(End::Error);
        self.cluster.report(host, Outcome::NoAnswer(StatusCode::GATEWAY_TIMEOUT.as_u16()));
        reply
    }
}

/// The body as it goes on: nothing more is held where it is complete already.
fn pass_on(body: Incoming, stream: Stream) -> Body {
    if body.is_end_stream() {
        stream.complete(None);
        return Body::Empty;
    }
    Body::boxed(Answer::new(body, stream))
}
