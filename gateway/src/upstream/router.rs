//! One request from its route to the head of its answer: tries, and between them whether there is another one.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use config::model::hcm::Router as Options;
use config::model::metadata::Fields;
use config::model::route::{Forward, HostRewrite, Priority as RoutePriority};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::Body as _;
use proxy::metrics::ClusterStat;
use proxy::report::http::{Flag, HttpFlow, ResponseHead, Upstream};
use proxy::shared::Shared;
use proxy::upstream::{Cluster, End, Host, Outcome, Pick, PickError, Priority};
use tokio::time::Sleep;

use super::attempt::{Answered, Attempt, Failure, note_host};
use super::clock::{Clock, Expiry};
use super::codec::Codec;
use super::outgoing::Source;
use super::pool::{Key, Order, Pools, Special};
use super::reset::{Reason, Reset};
use super::retrying::{Retrying, Verdict};
use super::terminate::Terminates;
use super::tunnel::Tunnel;
use super::{grpc, mirror, refusal, terminate, timeouts};
use crate::http::{Body, Reply};
use crate::route::hash::Hash;
use crate::route::retry::Retries;
use crate::route::{Match, rewrite};
use crate::trace::{self, Child, Span};

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
    /// What it does to heads; `None`: nothing (any more).
    pub matched: Option<&'a Match>,
    /// The cluster, as the route says.
    pub cluster: &'a Arc<str>,
    /// `metadata_match` of route and weighted cluster.
    pub metadata_match: Option<&'a Fields>,
    /// Of the hash policy, with the cookies it made.
    pub hash: Hash,
    /// The router filter's settings.
    pub options: &'a Options,
    /// What is told about tries.
    pub told: Told,
    /// Bytes of the request's body that are kept for another try.
    pub keep: u64,
    /// Certificates are kept, for logs that ask for them.
    pub certificates: bool,
    /// The client's connection, for endpoints that are told by the PROXY protocol.
    pub client: Option<(SocketAddr, SocketAddr)>,
    /// The request's span.
    pub span: Option<&'a Span>,
    /// One for the request, for mirrors by chance.
    pub random: u64,
    /// Gets the endpoint's side where the request was an upgrade and is granted: the answer is 101 then, or 200 to CONNECT.
    pub tunnel: &'a mut Option<Tunnel>,
}

/// What a virtual host tells about tries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// `include_request_attempt_count`.
    pub upstream: bool,
    /// `include_attempt_count_in_response`.
    pub client: bool,
    /// `include_is_timeout_retry_header`.
    pub timeouts: bool,
}

/// The endpoint asks to be left alone.
const FAIL_NOW: http::HeaderName = http::HeaderName::from_static("x-envoy-immediate-health-check-fail");

/// `x-envoy-attempt-count`.
pub(super) const ATTEMPTS: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
/// `x-envoy-is-timeout-retry`.
const TIMEOUT_RETRY: HeaderName = HeaderName::from_static("x-envoy-is-timeout-retry");

/// Longer than anything waits.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Sends a request to an endpoint of its route's cluster.
///
/// # Errors
/// What the client is told instead.
pub async fn route(job: Job<'_>, body: Body) -> Result<Response<Body>, Reply> {
    let Some(cluster) = job.shared.clusters.get(job.cluster) else {
        return Err(Reply::new(job.route.cluster_not_found, "cluster_not_found").flag(Flag::NoClusterFound));
    };
    let config = cluster.config();
    note_cluster(job.flow, job.cluster, &config);
    match terminate::asks(&job) {
        Terminates::No => {}
        Terminates::Yes => return terminate::open(job, &cluster).await,
        Terminates::Unsupported => {
            return Err(Reply::new(StatusCode::SERVICE_UNAVAILABLE, "zonegate_unsupported"));
        }
    }
    let head = &mut job.flow.request;
    let grpc = grpc::is_request(&head.headers);
    let (limits, announced) = timeouts::of(&mut head.headers, job.route, job.options, &config, grpc);
    if let Some(matched) = job.matched {
        matched.finalize_request(job.flow, !job.options.suppress_envoy_headers);
    }
    let retries = Retries::of(job.route.retry.as_ref(), &mut job.flow.request);
    let retrying = retries.map(|retries| Retrying::new(retries, priority(job.route)));
    let source =
        (!body.is_end_stream()).then(|| Source::new(body, retrying.is_some().then_some((job.keep, cluster.stats()))));
    mirror::send(&job, job.random, source.as_ref());
    let clock = Clock::new(limits, source.clone());
    let timer = tokio::time::sleep(FAR);
    let mut timer = std::pin::pin!(timer);
    Router { job, cluster, clock, source, grpc, retrying, announced }.run(timer.as_mut()).await
}

fn note_cluster(flow: &mut HttpFlow, name: &Arc<str>, config: &config::model::cluster::Cluster) {
    let mut upstream = Upstream::to(name);
    if !Arc::ptr_eq(&config.name, &config.stat_name) {
        upstream.stat_name = Some(Arc::clone(&config.stat_name));
    }
    upstream.cluster_metadata.clone_from(&config.metadata);
    flow.upstream = Some(Box::new(upstream));
}

const fn priority(route: &Forward) -> Priority {
    match route.priority {
        RoutePriority::Default => Priority::Default,
        RoutePriority::High => Priority::High,
    }
}

/// One request.
pub(super) struct Router<'a> {
    pub(super) job: Job<'a>,
    cluster: Arc<Cluster>,
    pub(super) clock: Clock,
    pub(super) source: Option<Arc<Source>>,
    pub(super) grpc: bool,
    retrying: Option<Retrying>,
    announced: timeouts::Announced,
}

/// What comes after a try that gave no answer to pass on.
enum Next {
    /// The client is told this.
    Reply(Reply),
    /// Another try, so much later.
    Retry(Duration, Late),
}

/// Whether the try before was too late.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Late {
    Yes,
    No,
}

impl Router<'_> {
    async fn run(mut self, mut timer: Pin<&mut Sleep>) -> Result<Response<Body>, Reply> {
        loop {
            self.count_attempt();
            let host = self.pick()?;
            let child = self.begin_span();
            let failure = match self.attempt(&host, timer.as_mut()).await {
                Ok(answered) => match self.judge(&answered, &host) {
                    None => {
                        self.hold_span(child);
                        return self.settle(answered);
                    }
                    Some(delay) => {
                        self.end_span(child, Some(answered.0.status().as_u16()), true);
                        Next::Retry(delay, Late::No)
                    }
                },
                Err((failure, started)) => {
                    self.end_span(child, None, matches!(failure, Failure::Expired(_)));
                    match failure {
                        Failure::Reset(reset) => self.reset(&host, &reset, started),
                        Failure::Expired(expiry) => self.expired(&host, expiry),
                    }
                }
            };
            match failure {
                Next::Reply(reply) => {
                    let timing = &mut self.job.flow.timing;
                    let sent = timing.upstream_request_start.zip(self.clock.complete());
                    timing.upstream_request_end = sent.map(|(start, complete)| complete.max(start));
                    return Err(self.with_attempts(reply));
                }
                Next::Retry(delay, late) => self.back_off(delay, late, timer.as_mut()).await?,
            }
        }
    }

    fn count_attempt(&mut self) {
        let (flow, told) = (&mut *self.job.flow, self.job.told);
        flow.attempts += 1;
        if told.upstream {
            flow.request.headers.insert(ATTEMPTS, HeaderValue::from(flow.attempts));
        }
    }

    /// The span of this try, where each has its own.
    fn begin_span(&mut self) -> Option<Child> {
        let span = self.job.span?;
        let child = span.child(self.job.flow.attempts.saturating_sub(1))?;
        span.inject_child(&child, &mut self.job.flow.request.headers);
        Some(child)
    }

    fn hold_span(&self, child: Option<Child>) {
        if let (Some(span), Some(child)) = (self.job.span, child) {
            span.hold(child);
        }
    }

    fn end_span(&self, child: Option<Child>, status: Option<u16>, canceled: bool) {
        let (Some(span), Some(child)) = (self.job.span, child) else { return };
        if let Some(attempt) = trace::Attempt::of(self.job.flow, status, canceled) {
            span.finish_child(&child, self.job.flow, &attempt);
        }
    }

    fn pick(&mut self) -> Result<Arc<Host>, Reply> {
        let pick = Pick { metadata_match: self.job.metadata_match, hash: self.job.hash.value, ..Pick::default() };
        let pick = self.retrying.as_ref().map_or(pick, |retrying| retrying.pick(pick));
        self.cluster.pick(&pick).map_err(|error| match error {
            PickError::NoHealthyUpstream => refusal::no_host(),
            PickError::Overflow => refusal::reset(&Reset::new(Reason::Overflow), self.job.flow, self.job.options),
        })
    }

    async fn attempt(&mut self, host: &Arc<Host>, timer: Pin<&mut Sleep>) -> Result<Answered, (Failure, bool)> {
        note_host(self.job.flow, host);
        self.rewrite_host(host);
        if let Some(retrying) = &mut self.retrying {
            retrying.tried(host);
        }
        let wire = Codec::wire(&self.cluster.config(), self.job.flow.protocol);
        let special = host.is_told_clients().then_some(Special { proxied: self.job.client, ..Special::default() });
        let order = Order {
            cluster: Arc::clone(&self.cluster),
            host: Arc::clone(host),
            key: Key::new(host, wire, priority(self.job.route), special.map(Arc::new)),
            certificates: self.job.certificates,
        };
        let mut attempt =
            Attempt { pools: self.job.pools, order: &order, source: self.source.as_ref(), started: false };
        let sent = attempt.run(self.job.flow, &mut self.clock, timer).await;
        sent.map_err(|failure| (failure, attempt.started))
    }

    /// `auto_host_rewrite`.
    fn rewrite_host(&mut self, host: &Host) {
        if !matches!(self.job.route.host_rewrite.as_deref(), Some(HostRewrite::Auto)) {
            return;
        }
        let name = host.detail().hostname.as_deref().and_then(|name| HeaderValue::try_from(name).ok());
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            let keep = !self.job.options.suppress_envoy_headers;
            rewrite::set_host(&mut self.job.flow.request, name, self.job.route.append_forwarded_host, keep);
        }
    }

    /// The head of an answer is there: whether the request is tried again nevertheless.
    fn judge(&mut self, (answer, _, permit): &Answered, host: &Arc<Host>) -> Option<Duration> {
        let status = answer.status();
        let grpc_status = self.grpc.then(|| grpc::status(answer.headers())).flatten();
        self.cluster.report(permit.host(), Outcome::Status(grpc_status.map_or(status.as_u16(), grpc::as_http)));
        if answer.headers().contains_key(FAIL_NOW) {
            self.cluster.fail_health_check(permit.host());
        }
        let repeats = self.repeats();
        let retrying = self.retrying.as_mut().filter(|_| repeats)?;
        let head = ResponseHead { status, headers: answer.headers().clone() };
        match retrying.answered(&head, &self.cluster) {
            Verdict::No => None,
            Verdict::Refused(flag) => {
                self.job.flow.flags.set(flag);
                None
            }
            Verdict::After(delay) => {
                host.count_end(End::Error);
                Some(delay)
            }
        }
    }

    /// The request can be sent once more.
    fn repeats(&self) -> bool {
        self.source.as_ref().is_none_or(|source| source.can_repeat())
    }

    /// The stream ended before there was an answer.
    fn reset(&mut self, host: &Arc<Host>, reset: &Reset, started: bool) -> Next {
        if self.source.as_ref().is_some_and(|source| source.failed().is_some()) {
            return Next::Reply(refusal::client_gone());
        }
        if reset.reason != Reason::Overflow {
            self.cluster.report(host, Outcome::Failed);
        }
        host.count_end(End::Error);
        let verdict = self.verdict(reset.reason, started);
        self.next(verdict, Late::No, |router| refusal::reset(reset, router.job.flow, router.job.options))
    }

    /// It took too long.
    fn expired(&mut self, host: &Arc<Host>, expiry: Expiry) -> Next {
        self.cluster.stats().inc(match expiry {
            Expiry::Global => ClusterStat::UpstreamRqTimeout,
            Expiry::PerTry => ClusterStat::UpstreamRqPerTryTimeout,
            Expiry::PerTryIdle => ClusterStat::UpstreamRqPerTryIdleTimeout,
            Expiry::MaxDuration => ClusterStat::UpstreamRqMaxDurationReached,
        });
        if expiry != Expiry::MaxDuration {
            host.count_end(End::Timeout);
            self.cluster.report(host, Outcome::NoAnswer(504));
        }
        host.count_end(End::Error);
        let verdict = match expiry {
            Expiry::Global => Verdict::No,
            Expiry::PerTry | Expiry::PerTryIdle | Expiry::MaxDuration => self.verdict(Reason::LocalReset, true),
        };
        let late = if expiry == Expiry::MaxDuration { Late::No } else { Late::Yes };
        let complete = self.clock.complete().is_some();
        self.next(verdict, late, |_| refusal::expired(expiry, complete))
    }

    fn verdict(&mut self, reason: Reason, started: bool) -> Verdict {
        let repeats = self.repeats();
        match self.retrying.as_mut().filter(|_| repeats) {
            Some(retrying) => retrying.reset(reason, started, &self.cluster),
            None => Verdict::No,
        }
    }

    fn next(&mut self, verdict: Verdict, late: Late, reply: impl FnOnce(&mut Self) -> Reply) -> Next {
        match verdict {
            Verdict::After(delay) => Next::Retry(delay, late),
            Verdict::No => Next::Reply(reply(self)),
            Verdict::Refused(flag) => Next::Reply(reply(self).flag(flag)),
        }
    }

    pub(super) fn with_attempts(&self, reply: Reply) -> Reply {
        match self.job.told.client {
            true => reply.header(ATTEMPTS, HeaderValue::from(self.job.flow.attempts)),
            false => reply,
        }
    }

    /// Waits for the next try, and gets everything ready for it.
    async fn back_off(&mut self, delay: Duration, late: Late, timer: Pin<&mut Sleep>) -> Result<(), Reply> {
        self.clock.attempt();
        tokio::select! {
            biased;
            () = tokio::time::sleep(delay) => {}
            expiry = self.clock.expired(timer) => return Err(refusal::expired(expiry, true)),
        }
        // The cluster may be gone or another one meanwhile.
        self.cluster = self.job.shared.clusters.get(self.job.cluster).ok_or_else(refusal::no_host)?;
        let elapsed = self.clock.complete().map(|complete| complete.elapsed()).unwrap_or_default();
        let headers = &mut self.job.flow.request.headers;
        if self.job.told.timeouts {
            let value = if late == Late::Yes { "true" } else { "false" };
            headers.insert(TIMEOUT_RETRY, HeaderValue::from_static(value));
        }
        timeouts::tell(headers, self.clock.limits(), elapsed, self.announced);
        Ok(())
    }
}
