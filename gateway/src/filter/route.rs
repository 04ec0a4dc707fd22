//! What routes say to filters.

use std::sync::Arc;

use super::{Chain, PerRoute};
use crate::route::{Action, Match};
use config::model::http_filter::{PerRoute as Config, RateLimit};
use config::model::metadata::Metadata;

/// What one level (a weighted cluster, a route, its virtual host, its configuration) has for filters, by their names.
#[derive(Debug, Default)]
pub struct PerFilter(Box<[(Arc<str>, PerRoute)]>);

impl PerFilter {
    /// To be made with the table: buckets of rate limits live as long as it does.
    pub fn compile(configs: &[(Arc<str>, Config)]) -> Self {
        Self(configs.iter().map(|(name, config)| (Arc::clone(name), Chain::per_route(config))).collect())
    }

    fn get(&self, name: &str) -> Option<&PerRoute> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, config)| config)
    }
}

/// What a request's route says; the default is that of a request without one.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouteView<'a> {
    /// Names of the chain's filters, by position.
    pub names: &'a [Arc<str>],
    /// The most specific first: weighted cluster, route, virtual host, configuration.
    pub levels: [Option<&'a PerFilter>; 4],
    /// Where the request goes, if it is forwarded.
    pub cluster: Option<&'a str>,
    /// The route's metadata.
    pub metadata: Option<&'a Metadata>,
    /// `rate_limits` of the route.
    pub rate_limits: &'a [RateLimit],
    /// `rate_limits` of the virtual host.
    pub host_rate_limits: &'a [RateLimit],
    /// `include_vh_rate_limits`.
    pub include_host_rate_limits: bool,
}

impl<'a> RouteView<'a> {
    /// What the route that was found, if one was, says to the filters of this chain.
    pub fn of(matched: Option<&'a Match>, chain: &'a Chain) -> Self {
        let names = chain.names();
        let Some(matched) = matched else { return Self { names, ..Self::default() } };
        let forward = match matched.action() {
            Action::Forward(forward) => Some(&**forward),
            Action::Redirect(_) | Action::Direct(_) | Action::RequireTls => None,
        };
        Self {
            names,
            levels: matched.per_filter(),
            cluster: forward.and(matched.target.as_ref()).map(|target| &*target.cluster),
            metadata: matched.route.as_ref().and_then(|route| route.config.metadata.as_deref()),
            rate_limits: forward.map_or(&[], |forward| &forward.rate_limits),
            host_rate_limits: &matched.host.config.rate_limits,
            include_host_rate_limits: forward.is_some_and(|forward| forward.include_host_rate_limits),
        }
    }

    /// What the levels have for the filter at this position, the most specific first.
    pub(super) fn all(&self, at: usize) -> impl Iterator<Item = &'a PerRoute> {
        let name = self.names.get(at).map_or("", |name| &**name);
        self.levels.into_iter().flatten().filter_map(move |level| level.get(name))
    }

    /// The most specific one that is of the filter's kind.
    pub(super) fn specific<T>(&self, at: usize, of: impl FnMut(&'a PerRoute) -> Option<T>) -> Option<T> {
        self.all(at).find_map(of)
    }

    /// Whether the filter at this position runs: the most specific level says so, if any says something.
    pub(super) fn runs(&self, at: usize, disabled: bool) -> bool {
        match self.all(at).next() {
            None => !disabled,
            Some(config) => !matches!(config, PerRoute::Disabled),
        }
    }
}
