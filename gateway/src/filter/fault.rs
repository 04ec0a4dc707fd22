//! `envoy.filters.http.fault`.

mod throttle;

use std::sync::Arc;
use std::time::Duration;

use config::model::http_filter::{Abort, Delay, Fault, Limit};
use config::model::route::RuntimeFraction;
use http::{HeaderName, Response, StatusCode};
use hyper::body::Body as _;
use proxy::metrics::{FaultClusterStat, FaultStat, Scope};
use proxy::report::http::Flag;
use proxy::shared::Shared;

use self::throttle::Throttled;
use super::held::Held;
use super::states::State;
use super::{Call, PerRoute};
use crate::http::body::Body;
use crate::http::reply::Reply;

const DELAY: &str = "x-envoy-fault-delay-request";
const DELAY_PERCENTAGE: &str = "x-envoy-fault-delay-request-percentage";
const ABORT: &str = "x-envoy-fault-abort-request";
const ABORT_GRPC: &str = "x-envoy-fault-abort-grpc-request";
const ABORT_PERCENTAGE: &str = "x-envoy-fault-abort-request-percentage";
const THROUGHPUT: &str = "x-envoy-fault-throughput-response";
const THROUGHPUT_PERCENTAGE: &str = "x-envoy-fault-throughput-response-percentage";
static DOWNSTREAM_NODE: HeaderName = HeaderName::from_static("x-envoy-downstream-service-node");
static DOWNSTREAM_CLUSTER: HeaderName = HeaderName::from_static("x-envoy-downstream-service-cluster");

/// The filter.
#[derive(Debug)]
pub(super) struct Faults {
    config: Arc<Fault>,
    prefix: Arc<str>,
    stats: Arc<Scope<FaultStat>>,
    clusters: Held<FaultClusterStat>,
}

/// A request with a fault, as long as it lives.
#[derive(Debug)]
pub(super) struct Active {
    _counted: Counted,
    /// KiB a second.
    limit: Option<u64>,
}

#[derive(Debug)]
struct Counted(Arc<Scope<FaultStat>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec(FaultStat::ActiveFaults);
    }
}

/// One request's faults.
struct Injecting<'a> {
    faults: &'a Faults,
    config: &'a Fault,
    /// Position of the filter.
    at: usize,
    /// `x-envoy-downstream-service-cluster`
    cluster: Option<String>,
    counted: Option<Counted>,
    limit: Option<u64>,
}

impl Faults {
    pub(super) fn compile(config: &Arc<Fault>, prefix: &str, shared: &Shared) -> Self {
        Self {
            config: Arc::clone(config),
            prefix: prefix.into(),
            stats: shared.registry.fault(prefix),
            clusters: Held::default(),
        }
    }

    pub(super) async fn request(&self, at: usize, call: &mut Call<'_>) -> Option<Reply> {
        let own = call.route.specific(at, |config| match config {
            PerRoute::Fault(fault) => Some(&**fault),
            _ => None,
        });
        let config = own.unwrap_or(&self.config);
        if !applies(config, call) {
            return None;
        }
        let cluster = call.flow.request.headers.get(&DOWNSTREAM_CLUSTER);
        let cluster = cluster.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut injecting = Injecting { faults: self, config, at, cluster, counted: None, limit: None };
        injecting.throttle(call);
        if let Some(delay) = injecting.delay(call) {
            tokio::time::sleep(delay).await;
        }
        let reply = injecting.abort(call);
        if let Some(counted) = injecting.counted {
            call.states.put(at, State::Fault(Active { _counted: counted, limit: injecting.limit }));
        }
        reply
    }
}

fn applies(config: &Fault, call: &Call<'_>) -> bool {
    let head = &call.flow.request;
    let cluster = &*config.upstream_cluster;
    let node = || head.headers.get(&DOWNSTREAM_NODE).map(|node| node.as_bytes());
    (cluster.is_empty() || call.route.cluster == Some(cluster))
        && (config.downstream_nodes.is_empty()
            || node().is_some_and(|node| config.downstream_nodes.iter().any(|known| known.as_bytes() == node)))
        && config.headers.iter().all(|header| head.holds(header))
}

impl Injecting<'_> {
    /// One more request has a fault, unless there are enough of them.
    fn begin(&mut self, call: &Call<'_>) -> bool {
        if self.counted.is_some() {
            return true;
        }
        let known = call.shared.runtime.load().get(&self.config.keys.max_active);
        let most = known.or(self.config.max_active.map(u64::from));
        let stats = &self.faults.stats;
        if most.is_some_and(|most| stats.get(FaultStat::ActiveFaults) >= most) {
            stats.inc(FaultStat::FaultsOverflow);
            return false;
        }
        stats.inc(FaultStat::ActiveFaults);
        self.counted = Some(Counted(Arc::clone(stats)));
        true
    }

    fn throttle(&mut self, call: &Call<'_>) {
        let Some((limit, percentage)) = &self.config.rate_limit else { return };
        let by_header = matches!(limit, Limit::Header).then_some(THROUGHPUT_PERCENTAGE);
        if !happens(call, percentage, by_header, None) {
            return;
        }
        let rate = match limit {
            Limit::Fixed(rate) => Some(*rate),
            Limit::Header => number(call, THROUGHPUT).filter(|rate| *rate > 0),
        };
        if rate.is_some() && self.begin(call) {
            self.limit = rate;
            self.faults.stats.inc(FaultStat::ResponseRlInjected);
        }
    }

    fn delay(&mut self, call: &mut Call<'_>) -> Option<Duration> {
        let (delay, percentage) = self.config.delay.as_ref()?;
        let by_header = matches!(delay, Delay::Header).then_some(DELAY_PERCENTAGE);
        let key = self.key("delay.fixed_delay_percent");
        if !happens(call, percentage, by_header, key.as_deref()) {
            return None;
        }
        let millis = match delay {
            Delay::Fixed(delay) => u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            Delay::Header => number(call, DELAY)?,
        };
        let millis = self.by_runtime(call, &self.config.keys.delay_duration, "delay.fixed_duration_ms", millis);
        if millis == 0 || !self.begin(call) {
            return None;
        }
        call.flow.flags.set(Flag::DelayInjected);
        self.note(call);
        self.faults.stats.inc(FaultStat::DelaysInjected);
        self.count(call, FaultClusterStat::DelaysInjected);
        Some(Duration::from_millis(millis))
    }

    fn abort(&mut self, call: &mut Call<'_>) -> Option<Reply> {
        let (abort, percentage) = self.config.abort.as_ref()?;
        let by_header = matches!(abort, Abort::Header).then_some(ABORT_PERCENTAGE);
        let key = self.key("abort.abort_percent");
        if !happens(call, percentage, by_header, key.as_deref()) {
            return None;
        }
        let (status, grpc) = self.status(call, *abort)?;
        if !self.begin(call) {
            return None;
        }
        self.faults.stats.inc(FaultStat::AbortsInjected);
        self.count(call, FaultClusterStat::AbortsInjected);
        self.note(call);
        let reply = Reply::new(status, "fault_filter_abort").flag(Flag::FaultInjected);
        let reply = match &*self.config.abort_body {
            "" => reply.body("fault filter abort"),
            body => reply.body(body.to_owned()),
        };
        Some(match grpc {
            Some(grpc) => reply.grpc(grpc),
            None => reply,
        })
    }

    /// Status, and that of gRPC where it is one.
    fn status(&self, call: &Call<'_>, abort: Abort) -> Option<(StatusCode, Option<u8>)> {
        let http = match abort {
            Abort::Http(status) => Some(u64::from(status.as_u16())),
            Abort::Grpc(_) => None,
            Abort::Header => number(call, ABORT).filter(|status| (200..600).contains(status)),
        };
        if let Some(status) = http {
            let status = self.by_runtime(call, &self.config.keys.abort_http_status, "abort.http_status", status);
            let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
            return Some((status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), None));
        }
        let grpc = match abort {
            Abort::Http(_) => return None,
            Abort::Grpc(status) => u64::from(status),
            Abort::Header => number(call, ABORT_GRPC)?,
        };
        let grpc = self.by_runtime(call, &self.config.keys.abort_grpc_status, "abort.grpc_status", grpc);
        Some((StatusCode::OK, Some(u8::try_from(grpc).unwrap_or(u8::MAX))))
    }

    /// The runtime's key for the client's cluster.
    fn key(&self, what: &str) -> Option<String> {
        self.cluster.as_ref().map(|cluster| format!("fault.http.{cluster}.{what}"))
    }

    /// A number, unless the runtime knows another: the client's cluster's before the general one.
    fn by_runtime(&self, call: &Call<'_>, general: &str, what: &str, configured: u64) -> u64 {
        let runtime = call.shared.runtime.load();
        let of_cluster = self.key(what).and_then(|key| runtime.get(&key));
        of_cluster.or_else(|| runtime.get(general)).unwrap_or(configured)
    }

    /// `filter_metadata`, under the name of the filter; it is there even where none is configured.
    fn note(&self, call: &mut Call<'_>) {
        let Some(name) = call.route.names.get(self.at) else { return };
        call.flow.metadata.open(name);
        for (key, value) in self.config.metadata.iter().flatten() {
            call.flow.metadata.set(name, key, value.clone());
        }
    }

    fn count(&self, call: &Call<'_>, stat: FaultClusterStat) {
        let Some(cluster) = self.counted_cluster() else { return };
        let make = || call.shared.registry.fault_cluster(&self.faults.prefix, cluster);
        self.faults.clusters.scope(cluster, make).inc(stat);
    }

    fn counted_cluster(&self) -> Option<&str> {
        self.cluster.as_deref().filter(|cluster| !cluster.is_empty() && !self.config.no_cluster_stats)
    }
}

/// Whether it happens to this request; a header may make it rarer.
fn happens(call: &Call<'_>, percentage: &RuntimeFraction, header: Option<&str>, key: Option<&str>) -> bool {
    let mut numerator = percentage.numerator;
    if let Some(rarer) = header.and_then(|header| number(call, header)).and_then(|n| u32::try_from(n).ok()) {
        numerator = numerator.min(rarer);
    }
    let known = call.shared.runtime.load().fraction(key.unwrap_or(&percentage.key));
    let (numerator, denominator) = known.unwrap_or((numerator, percentage.denominator));
    fastrand::u32(..denominator) < numerator
}

/// A header's first value as a number.
fn number(call: &Call<'_>, header: &str) -> Option<u64> {
    call.flow.request.headers.get(header)?.to_str().ok()?.trim_ascii().parse().ok()
}

/// Slows the answer down, where that is its fault.
pub(super) fn response(at: usize, call: &mut Call<'_>, response: &mut Response<Body>) {
    let Some(State::Fault(Active { limit: Some(limit), .. })) = call.states.get(at) else { return };
    if !response.body().is_end_stream() {
        let body = std::mem::take(response.body_mut());
        *response.body_mut() = Body::boxed(Throttled::new(body, *limit));
    }
}
