//! The compiled form of a route configuration, and what a request finds in it.

use std::sync::Arc;

use config::model::http_filter::PerRoute;
use config::model::route::{
    self as model, Action as Does, DirectResponse, Forward, Redirect, RequireTls, RouteConfiguration,
};
use http::HeaderValue;
use proxy::report::http::{HttpFlow, Scheme};

use super::hosts::Hosts;
use super::mutation::HeaderMutations;
use super::paths::Paths;
use super::{Env, Target, matches};
use crate::filter::PerFilter;

/// A route configuration, ready to be asked.
#[derive(Debug)]
pub struct Table {
    common: Arc<Common>,
    hosts: Hosts,
    virtual_hosts: Box<[Arc<VirtualHost>]>,
}

/// What all routes of a configuration have in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) config: Arc<RouteConfiguration>,
    pub(super) levels: Levels,
}

/// Header mutations of one level, and what it has for filters.
#[derive(Debug)]
pub(super) struct Levels {
    pub(super) request: Option<Box<HeaderMutations>>,
    pub(super) response: Option<Box<HeaderMutations>>,
    filters: PerFilter,
}

impl Levels {
    fn compile(
        request: &model::HeaderMutations,
        response: &model::HeaderMutations,
        filters: &[(Arc<str>, PerRoute)],
    ) -> Self {
        Self {
            request: HeaderMutations::compile(request),
            response: HeaderMutations::compile(response),
            filters: PerFilter::compile(filters),
        }
    }
}

/// A virtual host and the index of its routes.
#[derive(Debug)]
pub struct VirtualHost {
    /// What it was made of.
    pub config: Arc<model::VirtualHost>,
    pub(super) levels: Levels,
    paths: Paths,
    routes: Box<[Arc<Route>]>,
}

/// A route.
#[derive(Debug)]
pub struct Route {
    /// What it was made of.
    pub config: Arc<model::Route>,
    pub(super) levels: Levels,
    /// Of its weighted clusters, by position.
    weighted: Box<[Levels]>,
}

impl Route {
    fn compile(config: &Arc<model::Route>) -> Arc<Self> {
        let clusters: &[model::WeightedCluster] = match &config.action {
            Does::Forward(forward) => match &forward.cluster {
                model::ClusterSpecifier::Weighted(weighted) => &weighted.clusters,
                model::ClusterSpecifier::Name(_) | model::ClusterSpecifier::Header(_) => &[],
            },
            Does::Redirect(_) | Does::Direct(_) => &[],
        };
        let of = |one: &model::WeightedCluster| {
            Levels::compile(&one.request_headers, &one.response_headers, &one.per_filter)
        };
        Arc::new(Self {
            levels: Levels::compile(&config.request_headers, &config.response_headers, &config.per_filter),
            weighted: clusters.iter().map(of).collect(),
            config: Arc::clone(config),
        })
    }
}

/// What a request found. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Match {
    pub(super) common: Arc<Common>,
    /// The virtual host.
    pub host: Arc<VirtualHost>,
    /// The route; `None`: the virtual host wants TLS, and the client is sent there.
    pub route: Option<Arc<Route>>,
    /// Where a request goes that is forwarded.
    pub target: Option<Target>,
}

/// What is done with a request.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// It is sent to [`Match::target`].
    Forward(&'a Arc<Forward>),
    /// The client is sent to [`Match::location`].
    Redirect(&'a Arc<Redirect>),
    /// It is answered at once.
    Direct(&'a Arc<DirectResponse>),
    /// The client is sent to the same place with `https`.
    RequireTls,
}

impl Table {
    /// Compiles a route configuration; on the control runtime.
    pub fn compile(config: &Arc<RouteConfiguration>) -> Self {
        let compile = |host: &Arc<model::VirtualHost>| {
            Arc::new(VirtualHost {
                levels: Levels::compile(&host.request_headers, &host.response_headers, &host.per_filter),
                paths: Paths::new(host.routes.iter().map(|route| &**route)),
                routes: host.routes.iter().map(Route::compile).collect(),
                config: Arc::clone(host),
            })
        };
        Self {
            hosts: Hosts::new(config.virtual_hosts.iter().map(|host| &**host)),
            virtual_hosts: config.virtual_hosts.iter().map(compile).collect(),
            common: Arc::new(Common {
                levels: Levels::compile(&config.request_headers, &config.response_headers, &config.per_filter),
                config: Arc::clone(config),
            }),
        }
    }

    /// What it was made of.
    pub fn config(&self) -> &Arc<RouteConfiguration> {
        &self.common.config
    }

    /// The route of a request; `None`: there is none (404, `route_not_found`).
    pub fn find(&self, flow: &HttpFlow, env: &Env<'_>) -> Option<Match> {
        self.find_counting(flow, env, &mut 0)
    }

    /// As [`Table::find`]; `steps` counts what was compared.
    pub(super) fn find_counting(&self, flow: &HttpFlow, env: &Env<'_>, steps: &mut u32) -> Option<Match> {
        let head = &flow.request;
        let name = match &self.common.config.vhost_header {
            None => &head.authority,
            Some(header) => head.headers.get(header)?,
        };
        let at = self.hosts.find(name.as_bytes(), self.common.config.ignore_port, steps)?;
        let host = self.virtual_hosts.get(at as usize)?;
        if host.wants_tls(flow) {
            return Some(self.found(host, None, None));
        }
        let path = matches::matched_path(head, self.common.config.ignore_path_parameters);
        for at in host.paths.candidates(path.map(str::as_bytes), steps) {
            *steps += 1;
            let Some(route) = host.routes.get(at as usize) else { continue };
            if !matches::holds(&route.config.matches, path, flow, env) {
                continue;
            }
            let target = match &route.config.action {
                Does::Forward(forward) => Some(Target::choose(forward, flow, env)?),
                Does::Redirect(_) | Does::Direct(_) => None,
            };
            return Some(self.found(host, Some(Arc::clone(route)), target));
        }
        None
    }

    fn found(&self, host: &Arc<VirtualHost>, route: Option<Arc<Route>>, target: Option<Target>) -> Match {
        Match { common: Arc::clone(&self.common), host: Arc::clone(host), route, target }
    }
}

impl VirtualHost {
    /// `require_tls`: what counts is how the client says it came, `x-forwarded-proto`.
    fn wants_tls(&self, flow: &HttpFlow) -> bool {
        let plain = || match flow.request.headers.get("x-forwarded-proto").map(HeaderValue::as_bytes) {
            Some(scheme) => scheme != b"https",
            None => flow.request.scheme != Scheme::Https,
        };
        match self.config.require_tls {
            RequireTls::None => false,
            RequireTls::ExternalOnly => !flow.internal && plain(),
            RequireTls::All => plain(),
        }
    }
}

impl Match {
    /// The route configuration it stands in.
    pub fn config(&self) -> &Arc<RouteConfiguration> {
        &self.common.config
    }

    /// What there is for filters, the most specific level first.
    pub fn per_filter(&self) -> [Option<&PerFilter>; 4] {
        let route = self.route.as_deref();
        let at = self.target.as_ref().and_then(|target| target.weighted);
        let weighted = route.and_then(|route| route.weighted.get(at? as usize));
        [
            weighted.map(|one| &one.filters),
            route.map(|one| &one.levels.filters),
            Some(&self.host.levels.filters),
            Some(&self.common.levels.filters),
        ]
    }

    /// What is done.
    pub fn action(&self) -> Action<'_> {
        match self.route.as_deref().map(|route| &route.config.action) {
            None => Action::RequireTls,
            Some(Does::Forward(forward)) => Action::Forward(forward),
            Some(Does::Redirect(redirect)) => Action::Redirect(redirect),
            Some(Does::Direct(direct)) => Action::Direct(direct),
        }
    }

    /// Name of the route; empty where it has none.
    pub fn route_name(&self) -> Arc<str> {
        self.route.as_ref().map_or_else(Arc::default, |route| Arc::clone(&route.config.name))
    }

    /// The chosen one of weighted clusters.
    pub fn weighted(&self) -> Option<&model::WeightedCluster> {
        let Action::Forward(forward) = self.action() else { return None };
        let model::ClusterSpecifier::Weighted(weighted) = &forward.cluster else { return None };
        weighted.clusters.get(self.target.as_ref()?.weighted? as usize)
    }

    pub(super) fn weighted_levels(&self) -> Option<&Levels> {
        self.route.as_ref()?.weighted.get(self.target.as_ref()?.weighted? as usize)
    }

    /// `metadata_match` in force: the weighted cluster's, which covers the route's.
    pub fn metadata_match(&self) -> Option<&config::model::metadata::Fields> {
        let Action::Forward(forward) = self.action() else { return None };
        self.weighted().map_or(forward.metadata_match.as_ref(), |cluster| cluster.metadata_match.as_ref())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod goldens;
#[cfg(test)]
mod tests;
