//! From `config.route.v3.RouteConfiguration`.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

mod cluster;
mod forward;
mod hash;
pub(crate) mod matching;
pub(crate) mod mutation;
mod redirect;
mod redirects;
mod retry;
mod rewrite;
mod route;

pub(crate) use matching::{
    fraction as runtime_fraction, header_key, header_match, header_matches, query_match, template as path_template,
};
pub(crate) use mutation::{header_add, header_mutation, substitution};
use mutation::{header_mutations, header_name};

use std::collections::HashSet;
use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3 as pb;
use pb::virtual_host::TlsRequirementType;

use super::{Mirror, RequireTls, RetryPolicy, RouteConfiguration, VirtualCluster, VirtualHost};
use crate::model::http_filter::proto::{self as http_filter, per_filter};
use crate::model::metadata::proto::{Interner, metadata};
use crate::reject::{Context, IsSet, Rejection, Unsupported};

/// A part, or what in it can't be run: a rule that is not understood must not be passed over.
pub(crate) type Part<T> = Result<Result<T, Unsupported>, Rejection>;

/// Unwraps a part, or returns what can't be run.
macro_rules! run {
    ($part:expr) => {
        match $part {
            Ok(part) => part,
            Err(unsupported) => return Ok(Err(unsupported)),
        }
    };
}
use run;

/// Envoy's default `max_direct_response_body_size_bytes`.
const MAX_DIRECT_BODY: u32 = 4096;
/// What the API allows of anything that is repeated.
const MAX_ITEMS: usize = 1000;

/// What routes inherit, and what they share.
struct Scope<'a> {
    interner: &'a mut Interner,
    max_body: u32,
    mirrors: Arc<[Mirror]>,
    retry: Option<Arc<RetryPolicy>>,
    buffer_limit: Option<super::BufferLimit>,
}

/// Converts a route configuration. The inner error: a part of it can't be run here.
pub(crate) fn configuration(
    cx: &mut Context,
    interner: &mut Interner,
    config: pb::RouteConfiguration,
) -> Part<RouteConfiguration> {
    let pb::RouteConfiguration {
        name,
        virtual_hosts,
        vhds,
        internal_only_headers,
        response_headers_to_add,
        response_headers_to_remove,
        request_headers_to_add,
        request_headers_to_remove,
        most_specific_header_mutations_wins,
        validate_clusters,
        max_direct_response_body_size_bytes,
        cluster_specifier_plugins,
        request_mirror_policies,
        ignore_port_in_host_matching,
        vhost_header,
        ignore_path_parameters_in_path_matching,
        typed_per_filter_config,
        metadata: config_metadata,
        route_specifiers,
    } = config;
    let refused: [(&str, &dyn IsSet); 3] = [
        ("vhds", &vhds),
        ("cluster_specifier_plugins", &cluster_specifier_plugins),
        ("route_specifiers", &route_specifiers),
    ];
    if let Some(unsupported) = first_set(cx, &refused) {
        return Ok(Err(unsupported));
    }
    let request_headers = (request_headers_to_add, request_headers_to_remove);
    let response_headers = (response_headers_to_add, response_headers_to_remove);
    let (request_headers, response_headers) = header_mutations(cx, request_headers, response_headers)?;
    let mirrors = run!(cluster::mirrors(cx, interner, request_mirror_policies)?);
    let mut scope = Scope {
        interner,
        max_body: max_direct_response_body_size_bytes.map_or(MAX_DIRECT_BODY, |w| w.value),
        mirrors: mirrors.into(),
        retry: None,
        buffer_limit: None,
    };
    let per_filter = run!(per_filter(cx, scope.interner, typed_per_filter_config)?);
    let virtual_hosts = run!(self::virtual_hosts(cx, &mut scope, virtual_hosts)?);
    Ok(Ok(RouteConfiguration {
        per_filter,
        name: scope.interner.string(&name),
        virtual_hosts,
        request_headers,
        response_headers,
        most_specific_last: most_specific_header_mutations_wins,
        internal_only_headers: cx
            .each("internal_only_headers", internal_only_headers, |cx, name| header_name(cx, "", &name))?,
        validate_clusters: validate_clusters.map(|w| w.value),
        ignore_port: ignore_port_in_host_matching,
        vhost_header: match vhost_header.as_str() {
            "" => None,
            name => Some(header_name(cx, "vhost_header", name)?),
        },
        ignore_path_parameters: ignore_path_parameters_in_path_matching,
        metadata: cx.at("metadata", |cx| metadata(cx, scope.interner, config_metadata))?,
    }))
}

fn virtual_hosts(
    cx: &mut Context,
    scope: &mut Scope<'_>,
    hosts: Vec<pb::VirtualHost>,
) -> Part<Box<[Arc<VirtualHost>]>> {
    let mut domains = HashSet::new();
    let mut converted = Vec::with_capacity(hosts.len());
    for (i, host) in hosts.into_iter().enumerate() {
        let host = run!(cx.item("virtual_hosts", i, |cx| virtual_host(cx, scope, host))?);
        for (d, domain) in host.domains.iter().enumerate() {
            if !domains.insert(domain.clone()) {
                let why = match &**domain {
                    "*" => "Only a single wildcard domain is permitted".into(),
                    _ => {
                        format!("Only unique values for domains are permitted. Duplicate entry of domain {domain}")
                    }
                };
                return Err(cx.item("virtual_hosts", i, |cx| cx.item("domains", d, |cx| cx.reject("", why))));
            }
        }
        converted.push(Arc::new(host));
    }
    Ok(Ok(converted.into()))
}

fn virtual_host(cx: &mut Context, scope: &mut Scope<'_>, host: pb::VirtualHost) -> Part<VirtualHost> {
    let pb::VirtualHost {
        name,
        domains,
        routes,
        matcher,
        require_tls,
        virtual_clusters,
        rate_limits,
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        cors,
        typed_per_filter_config,
        include_request_attempt_count,
        include_attempt_count_in_response,
        retry_policy,
        retry_policy_typed_config,
        hedge_policy,
        include_is_timeout_retry_header,
        per_request_buffer_limit_bytes,
        request_body_buffer_limit,
        request_mirror_policies,
        metadata: host_metadata,
        route_specifiers,
    } = host;
    let refused: [(&str, &dyn IsSet); 3] = [
        ("matcher", &matcher),
        ("retry_policy_typed_config", &retry_policy_typed_config),
        ("route_specifiers", &route_specifiers),
    ];
    if let Some(unsupported) = first_set(cx, &refused) {
        return Ok(Err(unsupported));
    }
    cx.ignore("cors", &cors, "CORS is configured by the filter's own typed_per_filter_config");
    forward::no_hedging(cx, hedge_policy)?;
    let per_filter = run!(per_filter(cx, scope.interner, typed_per_filter_config)?);
    let rate_limits = run!(http_filter::rate_limits(cx, scope.interner, rate_limits)?).into();
    cx.not_empty("name", &name)?;
    let domains = self::domains(cx, domains)?;
    let request_headers = (request_headers_to_add, request_headers_to_remove);
    let response_headers = (response_headers_to_add, response_headers_to_remove);
    let (request_headers, response_headers) = header_mutations(cx, request_headers, response_headers)?;
    let mirrors = match run!(cluster::mirrors(cx, scope.interner, request_mirror_policies)?) {
        mirrors if mirrors.is_empty() => Arc::clone(&scope.mirrors),
        mirrors => mirrors.into(),
    };
    let retry = match retry_policy {
        None => None,
        Some(policy) => Some(Arc::new(run!(cx.at("retry_policy", |cx| retry::policy(cx, scope.interner, policy))?))),
    };
    let buffer_limit = route::buffer_limit(per_request_buffer_limit_bytes, request_body_buffer_limit);
    let mut inner = Scope { interner: &mut *scope.interner, max_body: scope.max_body, mirrors, retry, buffer_limit };
    let mut converted = Vec::with_capacity(routes.len());
    for (i, route) in routes.into_iter().enumerate() {
        converted.push(Arc::new(run!(cx.item("routes", i, |cx| route::route(cx, &mut inner, route))?)));
    }
    Ok(Ok(VirtualHost {
        per_filter,
        rate_limits,
        name: scope.interner.string(&name),
        domains,
        routes: converted.into(),
        require_tls: match cx.variant("require_tls", require_tls)? {
            TlsRequirementType::None => RequireTls::None,
            TlsRequirementType::ExternalOnly => RequireTls::ExternalOnly,
            TlsRequirementType::All => RequireTls::All,
        },
        virtual_clusters: run!(self::virtual_clusters(cx, scope, virtual_clusters)?),
        request_headers,
        response_headers,
        attempt_count_in_request: include_request_attempt_count,
        attempt_count_in_response: include_attempt_count_in_response,
        timeout_retry_in_request: include_is_timeout_retry_header,
        metadata: cx.at("metadata", |cx| metadata(cx, scope.interner, host_metadata))?,
    }))
}

fn domains(cx: &mut Context, domains: Vec<String>) -> Result<Box<[Box<str>]>, Rejection> {
    if domains.is_empty() {
        return Err(cx.reject("domains", "value must contain at least 1 item(s)"));
    }
    cx.each("domains", domains, |cx, domain| {
        // What the API demands of a header's value.
        match domain.bytes().any(|b| matches!(b, b'\0' | b'\n' | b'\r')) {
            true => Err(cx.reject("", "value does not match regex pattern \"^[^\\x00\\n\\r]*$\"")),
            false => Ok(domain.to_ascii_lowercase().into()),
        }
    })
}

fn virtual_clusters(
    cx: &mut Context,
    scope: &mut Scope<'_>,
    clusters: Vec<pb::VirtualCluster>,
) -> Part<Box<[VirtualCluster]>> {
    let mut converted = Vec::with_capacity(clusters.len());
    for (i, pb::VirtualCluster { headers, name }) in clusters.into_iter().enumerate() {
        let headers = cx.item("virtual_clusters", i, |cx| {
            cx.not_empty("name", &name)?;
            if headers.is_empty() {
                return Err(cx.reject("headers", "virtual clusters must define 'headers'"));
            }
            header_matches(cx, "headers", headers)
        });
        converted.push(VirtualCluster { name: scope.interner.string(&name), headers: run!(headers?) });
    }
    Ok(Ok(converted.into()))
}

/// The first of the fields that is set.
fn first_set(cx: &Context, fields: &[(&str, &dyn IsSet)]) -> Option<Unsupported> {
    fields.iter().find(|(_, value)| value.is_set()).map(|(field, _)| cx.unsupported(field, field))
}
