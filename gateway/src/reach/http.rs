//! Chains that speak HTTP: permissions of requests that are the same for every request of a connection, and the
//! clusters that routes lead to.

use std::sync::Arc;

use config::model::hcm::{Manager, Routes};
use config::model::http_filter::{FilterConfig, HttpFilter, PerRoute};
use config::model::matcher::{
    Domains, FieldMatcher, HttpInput, Input, Matcher, MatcherKind, OnMatch, Predicate, Then, Tree, TreeKind,
};
use config::model::rbac::{Action, Policies, Policy, Rule};
use config::model::route::{self, ClusterRef, ClusterSpecifier, RouteConfiguration};
use config::snapshot::Snapshot;

/// What RBAC filters of a connection manager ask.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Of the connection alone, in order: each has to allow.
    pub(super) policies: Vec<Policies>,
    /// What else is asked, which another request may answer otherwise.
    pub(super) by_request: Option<String>,
}

/// The RBAC filters of a manager.
pub(super) fn asked(snapshot: &Snapshot, manager: &Manager) -> Asked {
    let mut asked = Asked::default();
    let config = routes(snapshot, manager).ok();
    for (i, HttpFilter { name, disabled, config: filter }) in manager.filters.iter().enumerate() {
        let depends = |why: &str| Some(format!("http_filters[{i}] ({name}) {why}"));
        let of_routes = || config.as_deref().is_some_and(|config| per_filter(config).any(|(of, _)| **of == **name));
        match filter {
            FilterConfig::Rbac(_) if of_routes() => asked.by_request = depends("asks what the route says"),
            FilterConfig::Rbac(_) if *disabled => {}
            FilterConfig::Rbac(rbac) => match rbac.enforced.as_ref().map(of_connection) {
                None => {}
                Some(Some(policies)) => asked.policies.push(policies),
                Some(None) => asked.by_request = depends("asks what is requested"),
            },
            FilterConfig::Matched(matched) if matches!(matched.filter, FilterConfig::Rbac(_)) => {
                asked.by_request = depends("is asked for some requests only");
            }
            _ => {}
        }
    }
    asked
}

fn per_filter(config: &RouteConfiguration) -> impl Iterator<Item = &(Arc<str>, PerRoute)> {
    let hosts = config.virtual_hosts.iter();
    let of_hosts = hosts.clone().flat_map(|host| &host.per_filter);
    let of_routes = hosts.flat_map(|host| &host.routes).flat_map(|route| {
        let weighted = match &route.action {
            route::Action::Forward(forward) => match &forward.cluster {
                ClusterSpecifier::Weighted(weighted) => &*weighted.clusters,
                ClusterSpecifier::Name(_) | ClusterSpecifier::Header(_) => &[],
            },
            route::Action::Redirect(_) | route::Action::Direct(_) => &[],
        };
        route.per_filter.iter().chain(weighted.iter().flat_map(|cluster| &cluster.per_filter))
    });
    config.per_filter.iter().chain(of_hosts).chain(of_routes)
}

/// The routes of a manager.
///
/// # Errors
/// Why there are none.
pub(super) fn routes(snapshot: &Snapshot, manager: &Manager) -> Result<Arc<RouteConfiguration>, String> {
    match &manager.routes {
        Routes::Inline(config) => Ok(Arc::clone(config)),
        Routes::Rds(route) => {
            // A dump does not say where routes came from: those of the name are it.
            let by_name = || snapshot.routes.iter().find(|(known, _)| known.name == route.name).map(|(_, entry)| entry);
            match snapshot.routes.get(route).or_else(by_name) {
                None => Err(format!("the routes \"{route}\" are not there (404)")),
                Some(entry) => entry.config.clone().map_err(|why| {
                    format!("{} in the routes \"{route}\" can't be run by this version ({})", why.what, why.path)
                }),
            }
        }
    }
}

/// Clusters that routes lead to, each once, and headers that name others.
pub(super) fn destinations(config: &RouteConfiguration) -> (Vec<Arc<str>>, Vec<String>) {
    let mut clusters: Vec<Arc<str>> = Vec::new();
    for name in config.clusters() {
        if !clusters.contains(name) {
            clusters.push(Arc::clone(name));
        }
    }
    let mut headers: Vec<String> = Vec::new();
    let routes = config.virtual_hosts.iter().flat_map(|host| &host.routes);
    for route in routes {
        let route::Action::Forward(forward) = &route.action else { continue };
        let own = match &forward.cluster {
            ClusterSpecifier::Header(header) => Some(header.to_string()),
            ClusterSpecifier::Name(_) | ClusterSpecifier::Weighted(_) => None,
        };
        let by_header = |cluster: &ClusterRef| match cluster {
            ClusterRef::Header(header) => Some(header.to_string()),
            ClusterRef::Name(_) => None,
        };
        let weighted = match &forward.cluster {
            ClusterSpecifier::Weighted(weighted) => &*weighted.clusters,
            ClusterSpecifier::Name(_) | ClusterSpecifier::Header(_) => &[],
        };
        let weighted = weighted.iter().filter_map(|of| by_header(&of.cluster));
        let mirrors = forward.mirrors.iter().filter_map(|of| by_header(&of.cluster));
        for header in own.into_iter().chain(weighted).chain(mirrors) {
            if !headers.contains(&header) {
                headers.push(header);
            }
        }
    }
    (clusters, headers)
}

/// The same about connections alone; `None`: they ask for what is requested. (A client's address is a request's, too:
/// `x-forwarded-for` may say another.)
fn of_connection(policies: &Policies<HttpInput>) -> Option<Policies> {
    match policies {
        Policies::Rules { effect, policies } => {
            let rules = |policy: &Policy| policy.permissions.iter().chain(&policy.principals).all(asks_connection);
            let all = policies.iter().all(rules);
            all.then(|| Policies::Rules { effect: *effect, policies: policies.clone() })
        }
        Policies::Tree(tree) => matcher(tree).map(Policies::Tree),
    }
}

fn asks_connection(rule: &Rule) -> bool {
    match rule {
        Rule::Header(_) | Rule::UrlPath(_) | Rule::UriTemplate(_) | Rule::HttpMetadata(_) | Rule::Metadata(_) => false,
        Rule::RemoteIp(_) => false,
        Rule::And(rules) | Rule::Or(rules) => rules.iter().all(asks_connection),
        Rule::Not(rule) => asks_connection(rule),
        Rule::Any
        | Rule::Never
        | Rule::DestinationIp(_)
        | Rule::DestinationPort(_)
        | Rule::DestinationPorts(..)
        | Rule::ServerName(_)
        | Rule::Authenticated(_)
        | Rule::Verified
        | Rule::DirectRemoteIp(_) => true,
    }
}

fn input(input: &HttpInput) -> Option<Input> {
    match input {
        HttpInput::Connection(Input::SourceIp | Input::SourcePort) => None,
        HttpInput::Connection(input) => Some(*input),
        HttpInput::RequestHeader(_)
        | HttpInput::ResponseHeader(_)
        | HttpInput::Query(_)
        | HttpInput::Status
        | HttpInput::StatusClass
        | HttpInput::LocalReply => None,
    }
}

fn matcher(from: &Matcher<Action, HttpInput>) -> Option<Matcher<Action>> {
    let kind = match &from.kind {
        MatcherKind::None => MatcherKind::None,
        MatcherKind::List(list) => MatcherKind::List(all(list, |field| {
            Some(FieldMatcher { predicate: predicate(&field.predicate)?, on_match: outcome(&field.on_match)? })
        })?),
        MatcherKind::Tree(tree) => MatcherKind::Tree(self::tree(tree)?),
    };
    let on_no_match = match &from.on_no_match {
        None => None,
        Some(otherwise) => Some(outcome(otherwise)?),
    };
    Some(Matcher { kind, on_no_match })
}

fn outcome(from: &OnMatch<Action, HttpInput>) -> Option<OnMatch<Action>> {
    let then = match &from.then {
        Then::Action(action) => Then::Action(action.clone()),
        Then::Matcher(inner) => Then::Matcher(Box::new(matcher(inner)?)),
    };
    Some(OnMatch { then, keep_matching: from.keep_matching })
}

fn predicate(from: &Predicate<HttpInput>) -> Option<Predicate> {
    Some(match from {
        Predicate::Single(asked, text) => Predicate::Single(input(asked)?, text.clone()),
        Predicate::Or(any) => Predicate::Or(all(any, predicate)?),
        Predicate::And(every) => Predicate::And(all(every, predicate)?),
        Predicate::Not(inner) => Predicate::Not(Box::new(predicate(inner)?)),
    })
}

fn tree(from: &Tree<Action, HttpInput>) -> Option<Tree<Action>> {
    let entry = |(key, to): &(Box<str>, OnMatch<Action, HttpInput>)| Some((key.clone(), outcome(to)?));
    let kind = match &from.kind {
        TreeKind::Exact(map) => TreeKind::Exact(all(map, entry)?),
        TreeKind::Prefix(map) => TreeKind::Prefix(all(map, entry)?),
        TreeKind::Ip { ranges, outcomes } => TreeKind::Ip { ranges: ranges.clone(), outcomes: all(outcomes, outcome)? },
        TreeKind::Domains(Domains { exact, wildcards, any, outcomes }) => TreeKind::Domains(Domains {
            exact: exact.clone(),
            wildcards: wildcards.clone(),
            any: *any,
            outcomes: all(outcomes, outcome)?,
        }),
    };
    Some(Tree { input: input(&from.input)?, kind })
}

fn all<T, U>(from: &[T], convert: impl FnMut(&T) -> Option<U>) -> Option<Box<[U]>> {
    from.iter().map(convert).collect()
}
