//! HTTP filters: a closed set, in the configuration's order on the request, in the reverse of it on the answer.
//!
//! A request that has no route passes them, too; so does an answer of our own, on its way out ([`response`]), whoever
//! gave it.

mod bucket;
mod buffer;
mod compress;
mod cors;
mod descriptor;
mod fault;
mod grpc_stats;
mod header_mutation;
mod health_check;
mod held;
mod local_rate_limit;
mod matched;
mod rbac;
mod route;
mod set_metadata;
mod states;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use config::model::http_filter::{FilterConfig, HttpFilter, PerRoute as PerRouteConfig};
use config::model::route::RuntimeFraction;
use http::Response;
use proxy::report::http::HttpFlow;
use proxy::shared::Shared;

pub use self::route::{PerFilter, RouteView};
pub use self::states::States;
use crate::http::body::Body;
use crate::http::reply::Reply;

/// The filters of one connection manager.
#[derive(Debug, Default)]
pub struct Chain {
    slots: Box<[Slot]>,
    names: Box<[Arc<str>]>,
}

#[derive(Debug)]
struct Slot {
    disabled: bool,
    filter: Filter,
}

/// A filter at work.
#[derive(Debug)]
enum Filter {
    LocalRateLimit(Arc<local_rate_limit::Limit>),
    Fault(fault::Faults),
    Compressor(Arc<compress::Compressor>),
    Rbac(rbac::Guard),
    Cors(cors::Cors),
    HeaderMutation(header_mutation::Mutator),
    HealthCheck(health_check::Checks),
    Buffer(config::model::http_filter::Buffer),
    GrpcStats(Arc<grpc_stats::Calls>),
    SetMetadata(set_metadata::Notes),
    Matched(Box<matched::Matched>),
}

/// What a route has for a filter, at work.
#[derive(Debug)]
enum PerRoute {
    /// The filter does not run.
    Disabled,
    LocalRateLimit(local_rate_limit::PerRoute),
    Fault(Arc<config::model::http_filter::Fault>),
    Compressor(Arc<config::model::http_filter::CompressorPerRoute>),
    Rbac(Arc<config::model::http_filter::HttpRbac>),
    Cors(Arc<config::model::http_filter::CorsPolicy>),
    HeaderMutation(header_mutation::PerRoute),
    Buffer(config::model::http_filter::BufferPerRoute),
    SetMetadata(Arc<[config::model::http_filter::MetadataNote]>),
    Matched(Arc<config::model::http_filter::Skip>),
}

/// What filters see of a request on its way.
#[derive(Debug)]
pub struct Call<'a> {
    /// What is known of it; the head is in `flow.request`.
    pub flow: &'a mut HttpFlow,
    /// What filters keep from the request for the answer.
    pub states: &'a mut States,
    /// What its route says.
    pub route: RouteView<'a>,
    /// What all connections share.
    pub shared: &'a Arc<Shared>,
}

impl Chain {
    /// The filters of a connection manager with this `stat_prefix`; on the control runtime.
    pub fn compile(filters: &[HttpFilter], stat_prefix: &str, shared: &Shared) -> Self {
        let slot = |filter: &HttpFilter| Slot {
            disabled: filter.disabled,
            filter: Filter::compile(&filter.config, stat_prefix, shared),
        };
        Self {
            slots: filters.iter().map(slot).collect(),
            names: filters.iter().map(|filter| Arc::clone(&filter.name)).collect(),
        }
    }

    /// Names by position; one may stand several times.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// What a route has for a filter.
    fn per_route(config: &PerRouteConfig) -> PerRoute {
        match config {
            PerRouteConfig::Disabled => PerRoute::Disabled,
            PerRouteConfig::LocalRateLimit(config) => {
                PerRoute::LocalRateLimit(local_rate_limit::Limit::compile(config))
            }
            PerRouteConfig::Fault(config) => PerRoute::Fault(Arc::clone(config)),
            PerRouteConfig::Compressor(config) => PerRoute::Compressor(Arc::clone(config)),
            PerRouteConfig::Rbac(config) => PerRoute::Rbac(Arc::clone(config)),
            PerRouteConfig::Cors(config) => PerRoute::Cors(Arc::clone(config)),
            PerRouteConfig::HeaderMutation(config) => {
                PerRoute::HeaderMutation(header_mutation::Mutations::compile(config))
            }
            PerRouteConfig::Buffer(config) => PerRoute::Buffer(*config),
            PerRouteConfig::SetMetadata(config) => PerRoute::SetMetadata(Arc::clone(config)),
            PerRouteConfig::Matched(config) => PerRoute::Matched(Arc::clone(config)),
        }
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

impl Filter {
    fn compile(config: &FilterConfig, prefix: &str, shared: &Shared) -> Self {
        match config {
            FilterConfig::LocalRateLimit(config) => {
                Self::LocalRateLimit(local_rate_limit::Limit::counted(config, shared))
            }
            FilterConfig::Fault(config) => Self::Fault(fault::Faults::compile(config, prefix, shared)),
            FilterConfig::Compressor(config) => {
                Self::Compressor(Arc::new(compress::Compressor::compile(config, prefix, shared)))
            }
            FilterConfig::Rbac(config) => Self::Rbac(rbac::Guard::compile(config, prefix, shared)),
            FilterConfig::Cors => Self::Cors(cors::Cors::compile(prefix, shared)),
            FilterConfig::HeaderMutation(config) => Self::HeaderMutation(header_mutation::Mutator::compile(config)),
            FilterConfig::HealthCheck(config) => {
                Self::HealthCheck(health_check::Checks::compile(config, prefix, shared))
            }
            FilterConfig::Buffer(config) => Self::Buffer(*config),
            FilterConfig::GrpcStats(config) => Self::GrpcStats(Arc::new(grpc_stats::Calls::compile(config))),
            FilterConfig::SetMetadata(config) => Self::SetMetadata(set_metadata::Notes::compile(config)),
            FilterConfig::Matched(config) => {
                let filter = Self::compile(&config.filter, prefix, shared);
                Self::Matched(Box::new(matched::Matched::compile(config, filter)))
            }
        }
    }
}

/// Passes a request through the filters. An answer ends it: the filters after are not asked.
pub async fn request(chain: &Chain, call: &mut Call<'_>, body: &mut Body) -> Option<Reply> {
    for (at, slot) in chain.slots.iter().enumerate() {
        if !call.route.runs(at, slot.disabled) {
            continue;
        }
        let filter = match &slot.filter {
            Filter::Matched(matched) if matched.skips(at, call, None) => continue,
            Filter::Matched(matched) => &matched.filter,
            filter => filter,
        };
        if let Some(reply) = one_request(filter, at, call, body).await {
            return Some(reply);
        }
    }
    None
}

async fn one_request(filter: &Filter, at: usize, call: &mut Call<'_>, body: &mut Body) -> Option<Reply> {
    match filter {
        Filter::LocalRateLimit(limit) => limit.request(at, call),
        Filter::Fault(faults) => Box::pin(faults.request(at, call)).await,
        Filter::Compressor(compressor) => {
            compressor.request(at, call, body);
            None
        }
        Filter::Rbac(guard) => guard.request(at, call),
        Filter::Cors(cors) => cors.request(at, call),
        Filter::HeaderMutation(mutator) => {
            mutator.request(at, call, body);
            None
        }
        Filter::HealthCheck(checks) => checks.request(at, call, body),
        Filter::Buffer(buffer) => Box::pin(buffer::request(*buffer, at, call, body)).await,
        Filter::GrpcStats(calls) => {
            calls.request(at, call, body);
            None
        }
        Filter::SetMetadata(notes) => {
            notes.request(at, call);
            None
        }
        // One within another is not unwrapped twice.
        Filter::Matched(_) => None,
    }
}

/// Passes an answer through the filters, last to first.
pub fn response(chain: &Chain, call: &mut Call<'_>, response: &mut Response<Body>) {
    for (at, slot) in chain.slots.iter().enumerate().rev() {
        if !call.route.runs(at, slot.disabled) {
            continue;
        }
        let filter = match &slot.filter {
            Filter::Matched(matched) if matched.skips(at, call, Some(response)) => continue,
            Filter::Matched(matched) => &matched.filter,
            filter => filter,
        };
        match filter {
            Filter::LocalRateLimit(_) => local_rate_limit::response(at, call, response),
            Filter::Fault(_) => fault::response(at, call, response),
            Filter::Compressor(compressor) => compressor.response(at, call, response),
            Filter::Cors(_) => cors::response(at, call, response),
            Filter::HeaderMutation(mutator) => mutator.response(at, call, response),
            Filter::HealthCheck(checks) => checks.response(at, call, response),
            Filter::GrpcStats(calls) => calls.response(at, call, response),
            Filter::Rbac(_) | Filter::Buffer(_) | Filter::SetMetadata(_) | Filter::Matched(_) => {}
        }
    }
}

/// Whether a fraction of requests holds this one: the runtime's, else the configured one.
fn enabled(fraction: &RuntimeFraction, shared: &Shared) -> bool {
    let RuntimeFraction { key, numerator, denominator } = fraction;
    let known = if key.is_empty() { None } else { shared.runtime.load().fraction(key) };
    let (numerator, denominator) = known.unwrap_or((*numerator, *denominator));
    fastrand::u32(..denominator) < numerator
}
