//! Spans of requests, as Envoy's tracers make them: OpenTelemetry, Zipkin, Datadog.
//!
//! ```text
//! start    decide.rs   is the request traced? x-request-id remembers it
//!          context/    whose child is it? (traceparent, b3, x-datadog-…)
//! inject   context/    those upstream are told
//! finish   tags.rs     what the span says
//!          report/     encoded, queued, sent in batches from the control runtime
//! ```
//! A request that is not sampled costs what its IDs cost to make and to write.

mod context;
mod decide;
mod report;
mod tags;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use config::model::tracing::{CustomTag, Provider, RouteTracing, Sampler, Tracing};
use http::HeaderMap;
use proxy::metrics::{HttpStat, Scope};
use proxy::report::Formatter;
use proxy::report::http::{HttpFlow, TraceIds, TraceReason};
use proxy::shared::Shared;

use self::context::Context;
use self::report::{Kind, Report, Reports};
pub use self::tags::Attempt;
use self::tags::Tag;

/// The tracer of one connection manager.
#[derive(Debug)]
pub struct Tracer {
    config: Arc<Tracing>,
    reports: Option<Reports>,
    /// Spans are of a client, not of a server: the listener is for traffic out (`traffic_direction: OUTBOUND`).
    egress: bool,
    operation: Option<Formatter>,
    upstream_operation: Option<Formatter>,
    tags: Box<[Tag]>,
    stats: Arc<Scope<HttpStat>>,
    node_id: Box<str>,
    zone: Box<str>,
}

/// The span of a request under way. Dropped without [`finish`](Self::finish) it is not reported.
#[derive(Debug)]
pub struct Span {
    tracer: Arc<Tracer>,
    context: Context,
    start: SystemTime,
    name: Name,
    route_tags: Box<[Tag]>,
    upstream_operation: Option<Formatter>,
    /// The span of the attempt whose answer goes to the client: it ends with the request.
    last: Mutex<Option<Child>>,
}

#[derive(Debug)]
enum Name {
    /// By the format, when the request is over.
    Format(Formatter),
    /// As the route's decorator says.
    Decorated(Box<str>),
    /// `ingress` or `egress`.
    Direction,
}

/// The span of one attempt upstream (`spawn_upstream_span`).
#[derive(Debug)]
pub struct Child {
    context: Context,
    start: SystemTime,
    number: u32,
}

/// What a route says of its requests' spans.
#[derive(Clone, Copy, Debug, Default)]
pub struct OfRoute<'a> {
    /// `tracing`.
    pub tracing: Option<&'a RouteTracing>,
    /// `decorator.operation`.
    pub operation: Option<&'a str>,
}

impl Tracer {
    /// To be made when configuration is; on the control runtime or off it.
    pub fn compile(config: &Arc<Tracing>, egress: bool, stats: &Arc<Scope<HttpStat>>, shared: &Shared) -> Arc<Self> {
        let node = shared.node();
        Arc::new(Self {
            reports: config.provider.as_ref().map(|provider| Reports::new(provider, shared)),
            egress,
            operation: config.operation.clone().map(Formatter::new),
            upstream_operation: config.upstream_operation.clone().map(Formatter::new),
            tags: config.custom_tags.iter().map(Tag::new).collect(),
            stats: Arc::clone(stats),
            node_id: node.id,
            zone: node.zone,
            config: Arc::clone(config),
        })
    }

    /// Whether each attempt upstream is to have a span of its own.
    pub fn spawns(&self) -> bool {
        self.config.spawn_upstream_span
    }

    /// Decides about a request whose route is known, and begins its span. Sets `flow.trace`, `flow.trace_reason` and
    /// the trace bits of `x-request-id`.
    pub fn start(self: &Arc<Self>, flow: &mut HttpFlow, route: OfRoute<'_>) -> Option<Span> {
        let sampling = route.tracing.map_or(self.config.sampling, |tracing| tracing.sampling);
        let reason = decide::decide(flow, sampling);
        flow.trace_reason = reason;
        let traced = reason != TraceReason::NotTraceable;
        self.stats.inc(match reason {
            TraceReason::NotTraceable => HttpStat::TracingNotTraceable,
            TraceReason::Sampling => HttpStat::TracingRandomSampling,
            TraceReason::ServiceForced => HttpStat::TracingServiceForced,
            TraceReason::ClientForced => HttpStat::TracingClientEnabled,
        });
        let provider = self.config.provider.as_ref()?;
        let found = Context::extract(provider, &flow.request.headers).ok()?;
        let context = self.begin(provider, found, traced && !flow.health_check);
        flow.trace = Some(context.ids());
        let (own, upstream) = route.tracing.map_or((None, None), |tracing| {
            let formatter = |template: &Option<_>| template.clone().map(Formatter::new);
            (formatter(&tracing.operation), formatter(&tracing.upstream_operation))
        });
        let name = match (own.or_else(|| self.operation.clone()), route.operation) {
            (Some(format), _) => Name::Format(format),
            (None, Some(operation)) => Name::Decorated(operation.into()),
            (None, None) => Name::Direction,
        };
        let route_tags: &[CustomTag] = route.tracing.map_or(&[], |tracing| &tracing.custom_tags);
        Some(Span {
            tracer: Arc::clone(self),
            context,
            start: flow.start_time,
            name,
            route_tags: route_tags.iter().map(Tag::new).collect(),
            upstream_operation: upstream.or_else(|| self.upstream_operation.clone()),
            last: Mutex::default(),
        })
    }

    /// The span's own context: a child of what was found, or the first of a trace.
    fn begin(&self, provider: &Provider, found: Option<Context>, traced: bool) -> Context {
        match (provider, found) {
            (Provider::OpenTelemetry(otel), found) => {
                let parent = found.as_ref().map(|parent| parent.sampled);
                let mut context = found.map_or_else(|| Context::root(true, false), |parent| parent.child(true));
                context.sampled = match &otel.sampler {
                    Some(sampler) => samples(sampler, parent, context.trace),
                    None => parent.unwrap_or(traced),
                };
                context
            }
            (Provider::Zipkin(zipkin), Some(found)) => {
                let sampled = found.decided.unwrap_or(traced);
                let joins = zipkin.shared_span && !self.egress && !found.is_bare();
                let mut context = match (found.is_bare(), joins) {
                    (true, _) => Context { form: found.form, ..Context::root(zipkin.long_ids, zipkin.timestamp_ids) },
                    (false, true) => found,
                    (false, false) => found.child(true),
                };
                context.sampled = sampled;
                context
            }
            (Provider::Zipkin(zipkin), None) => {
                Context { sampled: traced, ..Context::root(zipkin.long_ids, zipkin.timestamp_ids) }
            }
            (Provider::Datadog(_), Some(found)) => {
                let sampled = found.decided.unwrap_or(traced);
                Context { sampled, ..found.child(true) }
            }
            (Provider::Datadog(_), None) => Context { sampled: traced, ..Context::datadog_root() },
        }
    }

    fn direction(&self) -> &'static str {
        if self.egress { "egress" } else { "ingress" }
    }
}

fn samples(sampler: &Sampler, parent: Option<bool>, trace: u128) -> bool {
    match sampler {
        Sampler::AlwaysOn => true,
        Sampler::Ratio(ratio) => decide::by_trace_id(*ratio, trace),
        Sampler::ParentBased(inner) => parent.unwrap_or_else(|| samples(inner, None, trace)),
    }
}

impl Span {
    /// What is known of it.
    pub fn ids(&self) -> TraceIds {
        self.context.ids()
    }

    /// The route's decorator covers the name (`x-envoy-decorator-operation`), unless a format does.
    pub fn rename(&mut self, operation: &str) {
        if !matches!(self.name, Name::Format(_)) {
            self.name = Name::Decorated(operation.into());
        }
    }

    /// Tells those upstream of the span, where attempts have none of their own.
    pub fn inject(&self, headers: &mut HeaderMap) {
        if let Some(provider) = self.provider() {
            self.context.inject(provider, headers);
        }
    }

    /// The span of an attempt upstream, where they have their own; `number` counts from 0.
    pub fn child(&self, number: u32) -> Option<Child> {
        let spawns = self.tracer.spawns();
        spawns.then(|| Child { context: self.context.child(false), start: SystemTime::now(), number })
    }

    /// Tells those upstream of an attempt's span.
    pub fn inject_child(&self, child: &Child, headers: &mut HeaderMap) {
        if let Some(provider) = self.provider() {
            child.context.inject(provider, headers);
        }
    }

    /// An attempt is over.
    pub fn finish_child(&self, child: &Child, flow: &HttpFlow, attempt: &Attempt<'_>) {
        let Some(reports) = self.reports(&child.context) else { return };
        let name = match &self.upstream_operation {
            Some(format) => Cow::Owned(format.text(flow)),
            None => Cow::Owned(format!("router {} egress", attempt.cluster)),
        };
        let mut tags = tags::of_attempt(attempt, child.number);
        self.custom(&mut tags, flow);
        reports.report(Report { context: &child.context, name, kind: Kind::Client, start: child.start, tags, flow });
    }

    /// The answer to this attempt goes to the client: its span ends with the request's.
    pub fn hold(&self, child: Child) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
    }

    /// The request is over.
    pub fn finish(&self, flow: &HttpFlow) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(child), Some(attempt)) = (last, Attempt::last(flow)) {
            self.finish_child(&child, flow, &attempt);
        }
        let Some(reports) = self.reports(&self.context) else { return };
        let name = match &self.name {
            Name::Format(format) => Cow::Owned(format.text(flow)),
            Name::Decorated(operation) => Cow::Borrowed(&**operation),
            Name::Direction => Cow::Borrowed(self.tracer.direction()),
        };
        let mut tags = tags::of_request(flow, &self.tracer);
        self.custom(&mut tags, flow);
        let kind = if self.tracer.egress { Kind::Client } else { Kind::Server };
        reports.report(Report { context: &self.context, name, kind, start: self.start, tags, flow });
    }

    fn provider(&self) -> Option<&Provider> {
        self.tracer.config.provider.as_ref().filter(|_| self.tracer.config.propagate)
    }

    fn reports(&self, context: &Context) -> Option<&Reports> {
        self.tracer.reports.as_ref().filter(|_| context.sampled)
    }

    /// Tags of the manager and of the route, whose come last and so stay.
    fn custom(&self, tags: &mut Vec<(Cow<'_, str>, String)>, flow: &HttpFlow) {
        for tag in self.tracer.tags.iter().chain(&self.route_tags) {
            if let Some(value) = tag.value(flow) {
                tags.retain(|(name, _)| **name != *tag.name);
                tags.push((Cow::Owned(tag.name.to_string()), value));
            }
        }
    }
}
