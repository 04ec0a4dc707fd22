//! The clusters that a route configuration names.

use std::sync::Arc;

use super::{Action, ClusterRef, ClusterSpecifier, Forward, RouteConfiguration};

impl RouteConfiguration {
    /// Clusters that routes and mirrors name, in order, as often as they do; those that headers name are not known.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<str>> {
        let routes = self.virtual_hosts.iter().flat_map(|host| &host.routes);
        let forwards = routes.filter_map(|route| match &route.action {
            Action::Forward(forward) => Some(&**forward),
            Action::Redirect(_) | Action::Direct(_) => None,
        });
        forwards
            .flat_map(|forward| forward.clusters().chain(forward.mirrors.iter().filter_map(|m| by_name(&m.cluster))))
    }
}

impl Forward {
    /// Clusters that requests are forwarded to; those that headers name are not known.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<str>> {
        let (one, several) = match &self.cluster {
            ClusterSpecifier::Name(name) => (Some(name), &[][..]),
            ClusterSpecifier::Header(_) => (None, &[][..]),
            ClusterSpecifier::Weighted(weighted) => (None, &*weighted.clusters),
        };
        one.into_iter().chain(several.iter().filter_map(|of| by_name(&of.cluster)))
    }
}

fn by_name(cluster: &ClusterRef) -> Option<&Arc<str>> {
    match cluster {
        ClusterRef::Name(name) => Some(name),
        ClusterRef::Header(_) => None,
    }
}
