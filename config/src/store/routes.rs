//! Route configurations: kept by name and source, the last good version of each; listeners wait for their first.
//!
//! As Envoy does (`RdsRouteConfigSubscription`): that the source removes one is not heeded while a listener refers to it,
//! nor does it end the wait for it; a refusal does.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Resource, Step, Store, check_name, parse};
use crate::model::chain::Handler;
use crate::model::hcm::{RouteRef, RouteSource, Routes};
use crate::model::listener::Listener;
use crate::model::route::RouteConfiguration;
use crate::model::tls::SecretSource;
use crate::reject::{FieldPath, Rejection};
use crate::snapshot::{Kind, RouteEntry, Snapshot, Source};

impl Store {
    /// A listener refers to these route configurations from now on.
    pub(super) fn refer_to_routes(&mut self, routes: &[Arc<RouteRef>]) {
        let held = &self.snapshot.routes;
        self.route_demands.refer(routes, |route| held.contains_key(route));
    }

    /// Takes back [`Store::refer_to_routes`]; those that no listener refers to any more go.
    pub(super) fn release_routes(&mut self, step: &mut Step, routes: &[Arc<RouteRef>]) {
        for route in self.route_demands.release(routes) {
            self.forget_rejection(step, Kind::Route, &route.to_string().into());
            self.drop_route(step, &route);
        }
    }

    /// A listener in force refers to these, which are counted, instead of its old ones.
    pub(super) fn replace_routes(&mut self, step: &mut Step, listener: &Arc<str>, routes: Box<[Arc<RouteRef>]>) {
        let old = match routes.is_empty() {
            true => self.routes_in_force.remove(listener),
            false => self.routes_in_force.insert(Arc::clone(listener), routes),
        };
        self.release_routes(step, &old.unwrap_or_default());
    }

    /// Whether the clusters are there that routes of its own name, in the chains that are new (`validate_clusters`).
    pub(super) fn check_clusters(&self, new: &Listener, old: Option<&Listener>) -> Result<(), Rejection> {
        for (i, chain) in new.chains.iter().chain(&new.default_chain).enumerate() {
            let Handler::Http(manager) = &chain.handler else { continue };
            let Routes::Inline(config) = &manager.routes else { continue };
            let is_new =
                || old.is_none_or(|old| !old.chains.iter().chain(&old.default_chain).any(|c| Arc::ptr_eq(c, chain)));
            if config.validate_clusters != Some(false) && is_new() {
                let place = match i < new.chains.len() {
                    true => format!("filter_chains[{i}].route_config"),
                    false => "default_filter_chain.route_config".to_owned(),
                };
                self.check_known(config, &place)?;
            }
        }
        Ok(())
    }

    fn check_known(&self, config: &RouteConfiguration, place: &str) -> Result<(), Rejection> {
        let Snapshot { clusters, warming, .. } = &*self.snapshot;
        let lost = config.clusters().find(|name| !clusters.contains_key(*name) && !warming.contains_key(*name));
        lost.map_or(Ok(()), |name| {
            let reason = format!("route: unknown cluster '{name}'").into();
            Err(Rejection { path: FieldPath(place.into()), reason })
        })
    }

    pub(super) fn upsert_route(&mut self, step: &mut Step, resource: &Resource) -> Result<(), Rejection> {
        let Some(route) = step.route(&resource.name) else {
            tracing::debug!(name = %resource.name, "ignored: no listener asks this source for routes");
            return Ok(());
        };
        let parsed = parse::route_with(&mut step.shared, &resource.body)?;
        check_name(resource, &parsed.name)?;
        if let Ok(config) = &parsed.config
            && config.validate_clusters == Some(true)
        {
            self.check_known(config, "virtual_hosts")?;
        }
        let known = self.snapshot.routes.get(&route);
        step.report.ignored(&resource.name, &parsed.ignored, known.map_or(&[], |entry| &*entry.ignored));
        let good = known.and_then(|entry| entry.config.clone().ok());
        let (config, held) = match (parsed.config, good) {
            (Ok(config), _) => (Ok(Arc::new(config)), None),
            (Err(why), Some(good)) => {
                step.report.held(&resource.name, &[("".into(), why.clone())]);
                (Ok(good), Some(why))
            }
            (Err(why), None) => {
                step.report.unsupported(&resource.name, &[("".into(), why.clone())], &[]);
                (Err(why), None)
            }
        };
        let source = Arc::new(step.source(resource));
        let entry = RouteEntry { config, source, ignored: parsed.ignored, held };
        self.state().routes.insert_mut(Arc::clone(&route), Arc::new(entry));
        step.applied.changes.routes.push(Arc::clone(&route));
        self.settle_route(step, &route);
        Ok(())
    }

    /// The source has none (any more) of this name.
    pub(super) fn remove_route(&mut self, step: &mut Step, name: &Arc<str>) {
        let Some(route) = step.route(name) else { return };
        if self.route_demands.contains(&route) {
            tracing::debug!(%route, "its source has it no more; it stays while a listener refers to it");
        } else {
            self.drop_route(step, &route);
        }
    }

    fn drop_route(&mut self, step: &mut Step, route: &Arc<RouteRef>) {
        if self.state().routes.remove_mut(route) {
            step.applied.changes.routes.push(Arc::clone(route));
        }
    }

    /// No listener waits for this one any more.
    pub(super) fn settle_route(&mut self, step: &mut Step, route: &Arc<RouteRef>) {
        for (_, listener) in self.route_demands.settle(route) {
            self.activate_complete_listener(step, &listener);
        }
    }

    /// The same bytes under another version.
    pub(super) fn refresh_route(&mut self, step: &Step, resource: &Resource) {
        let Some(route) = step.route(&resource.name) else { return };
        let Some(entry) = self.snapshot.routes.get(&route) else { return };
        let source = Source { body: entry.source.body.clone(), ..step.source(resource) };
        let refreshed = RouteEntry { source: Arc::new(source), ..RouteEntry::clone(entry) };
        self.state().routes.insert_mut(route, Arc::new(refreshed));
    }

    /// Listeners whose time is over are served without routes.
    pub(super) fn expire_routes(&mut self, step: &mut Step, now: std::time::Instant) {
        for route in self.route_demands.expired(now) {
            let after = route.initial_fetch_timeout;
            tracing::warn!(%route, ?after, "the routes have not come; listeners are in force without, and answer 404");
            self.settle_route(step, &route);
        }
    }

    /// Names of all route configurations of one source.
    pub(super) fn route_names(&self, source: &RouteSource) -> HashSet<Arc<str>> {
        let held = self.snapshot.routes.keys().filter(|route| route.source == *source);
        held.map(|route| Arc::clone(&route.name)).collect()
    }

    /// Route configurations that listeners in force or warming refer to, in no order.
    pub fn wanted_routes(&self) -> impl Iterator<Item = &Arc<RouteRef>> {
        self.route_demands.iter()
    }
}

impl Step {
    /// The route configuration of that name; `None`: no listener can ask this source for one.
    pub(super) fn route(&self, name: &Arc<str>) -> Option<Arc<RouteRef>> {
        let source = route_source(&self.from)?;
        let initial_fetch_timeout = std::time::Duration::ZERO;
        Some(Arc::new(RouteRef { name: Arc::clone(name), source, initial_fetch_timeout }))
    }
}

/// Where a batch comes from, as listeners say it.
pub(super) fn route_source(from: &SecretSource) -> Option<RouteSource> {
    match from {
        SecretSource::Ads => Some(RouteSource::Ads),
        SecretSource::File { path, watched_directory } => {
            Some(RouteSource::File { path: path.clone(), watched_directory: watched_directory.clone() })
        }
        SecretSource::Static | SecretSource::Grpc(_) => None,
    }
}

/// The route configurations that a listener refers to, each once.
pub(super) fn of_listener(listener: &Listener) -> Box<[Arc<RouteRef>]> {
    let mut seen = HashSet::new();
    let routes = listener.chains.iter().chain(&listener.default_chain).filter_map(|chain| match &chain.handler {
        Handler::Http(manager) => match &manager.routes {
            Routes::Rds(route) => Some(route),
            Routes::Inline(_) => None,
        },
        Handler::TcpProxy(_) | Handler::DirectResponse(_) | Handler::System(_) | Handler::Unsupported(_) => None,
    });
    routes.filter(|route| seen.insert(*route)).cloned().collect()
}
