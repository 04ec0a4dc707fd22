//! `RouteConfiguration` down to the action.

use std::collections::HashSet;

use envoy_types::pb::envoy::config::route::v3 as pb;
use pb::header_matcher::HeaderMatchSpecifier;
use pb::route::Action as PbAction;
use pb::route_match::PathSpecifier;

use super::action::{direct, forward, header_adds};
use super::{Part, first_set, run};
use crate::model::http::{HeaderMatch, PathMatch, Route, VirtualHost};
use crate::model::tls::proto::string_match;
use crate::model::tls::{Pattern, StringMatch};
use crate::reject::{Context, IsSet, immaterial};

/// Envoy's default `max_direct_response_body_size_bytes`.
const MAX_DIRECT_BODY: u32 = 4096;

/// Virtual hosts of an inline route configuration.
pub(super) fn configuration(cx: &mut Context, config: pb::RouteConfiguration) -> Part<Box<[VirtualHost]>> {
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
        metadata,
        route_specifiers,
    } = config;
    immaterial(name, "shown in the raw resource");
    immaterial(validate_clusters, "clusters are looked up at each request");
    immaterial(internal_only_headers, "such headers mean nothing here");
    immaterial((metadata, typed_per_filter_config), "for filters, none of which run");
    immaterial(most_specific_header_mutations_wins, "orders mutations at several levels; only routes have any here");
    immaterial(ignore_port_in_host_matching, "the host is matched with and without its port");
    immaterial(ignore_path_parameters_in_path_matching, "no path of these listeners has parameters");
    cx.ignore("request_mirror_policies", &request_mirror_policies, "nothing is mirrored");
    let refused: [(&str, &dyn IsSet); 8] = [
        ("vhds", &vhds),
        ("response_headers_to_add", &response_headers_to_add),
        ("response_headers_to_remove", &response_headers_to_remove),
        ("request_headers_to_add", &request_headers_to_add),
        ("request_headers_to_remove", &request_headers_to_remove),
        ("cluster_specifier_plugins", &cluster_specifier_plugins),
        ("vhost_header", &vhost_header),
        ("route_specifiers", &route_specifiers),
    ];
    if let Some(unsupported) = first_set(cx, &refused) {
        return Ok(Err(unsupported));
    }
    let max_body = max_direct_response_body_size_bytes.map_or(MAX_DIRECT_BODY, |w| w.value);
    let mut seen = (HashSet::new(), HashSet::new());
    let mut hosts = Vec::with_capacity(virtual_hosts.len());
    for (i, host) in virtual_hosts.into_iter().enumerate() {
        let host = run!(cx.item("virtual_hosts", i, |cx| virtual_host(cx, host, max_body))?);
        if !seen.0.insert(host.name.clone()) {
            return Err(cx.reject("virtual_hosts", format!("virtual host names must be unique: {}", host.name)));
        }
        for domain in &host.domains {
            if !seen.1.insert(domain.clone()) {
                return Err(cx.reject("virtual_hosts", format!("only unique values for domains: {domain}")));
            }
        }
        hosts.push(host);
    }
    Ok(Ok(hosts.into()))
}

fn virtual_host(cx: &mut Context, host: pb::VirtualHost, max_body: u32) -> Part<VirtualHost> {
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
        metadata,
        route_specifiers,
    } = host;
    immaterial((metadata, typed_per_filter_config, cors, rate_limits), "for filters, none of which run");
    immaterial((include_request_attempt_count, include_attempt_count_in_response), "every request is tried once");
    immaterial((include_is_timeout_retry_header, hedge_policy), "every request is tried once");
    immaterial((per_request_buffer_limit_bytes, request_body_buffer_limit), "no request is buffered");
    immaterial(virtual_clusters, "statistics of request classes");
    cx.ignore("retry_policy", &retry_policy, "every request is tried once");
    cx.ignore("retry_policy_typed_config", &retry_policy_typed_config, "every request is tried once");
    cx.ignore("request_mirror_policies", &request_mirror_policies, "nothing is mirrored");
    let refused: [(&str, &dyn IsSet); 7] = [
        ("matcher", &matcher),
        ("require_tls", &require_tls),
        ("request_headers_to_add", &request_headers_to_add),
        ("request_headers_to_remove", &request_headers_to_remove),
        ("response_headers_to_add", &response_headers_to_add),
        ("response_headers_to_remove", &response_headers_to_remove),
        ("route_specifiers", &route_specifiers),
    ];
    if let Some(unsupported) = first_set(cx, &refused) {
        return Ok(Err(unsupported));
    }
    cx.not_empty("name", &name)?;
    if domains.is_empty() {
        return Err(cx.reject("domains", "value must contain at least 1 item(s)"));
    }
    let mut converted = Vec::with_capacity(routes.len());
    for (i, route) in routes.into_iter().enumerate() {
        converted.push(run!(cx.item("routes", i, |cx| self::route(cx, route, max_body))?));
    }
    Ok(Ok(VirtualHost {
        name: name.into(),
        domains: domains.into_iter().map(|d| d.to_ascii_lowercase().into()).collect(),
        routes: converted.into(),
    }))
}

fn route(cx: &mut Context, route: pb::Route, max_body: u32) -> Part<Route> {
    let pb::Route {
        name,
        r#match,
        metadata,
        decorator,
        typed_per_filter_config,
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        tracing,
        per_request_buffer_limit_bytes,
        stat_prefix,
        request_body_buffer_limit,
        route_specifiers,
        action,
    } = route;
    immaterial((name, stat_prefix), "names in logs and statistics of routes, which these listeners have none of");
    immaterial((metadata, typed_per_filter_config, decorator, tracing), "for filters and spans, none of which run");
    immaterial((per_request_buffer_limit_bytes, request_body_buffer_limit), "no request is buffered");
    let refused: [(&str, &dyn IsSet); 3] = [
        ("request_headers_to_remove", &request_headers_to_remove),
        ("response_headers_to_remove", &response_headers_to_remove),
        ("route_specifiers", &route_specifiers),
    ];
    if let Some(unsupported) = first_set(cx, &refused) {
        return Ok(Err(unsupported));
    }
    let r#match = cx.required("match", r#match)?;
    let (path, headers) = run!(cx.at("match", |cx| matches(cx, r#match))?);
    let action = match cx.required("action", action)? {
        PbAction::Route(action) => run!(cx.at("route", |cx| forward(cx, action))?),
        PbAction::DirectResponse(action) => cx.at("direct_response", |cx| direct(cx, action, max_body))?,
        PbAction::Redirect(_) => return Ok(Err(cx.unsupported("redirect", "redirect"))),
        PbAction::FilterAction(_) => return Ok(Err(cx.unsupported("filter_action", "filter_action"))),
        PbAction::NonForwardingAction(_) => {
            return Ok(Err(cx.unsupported("non_forwarding_action", "non_forwarding_action")));
        }
    };
    Ok(Ok(Route {
        path,
        headers,
        action,
        response_headers: run!(header_adds(cx, "response_headers_to_add", response_headers_to_add)?),
        request_headers: run!(header_adds(cx, "request_headers_to_add", request_headers_to_add)?),
    }))
}

fn matches(cx: &mut Context, matches: pb::RouteMatch) -> Part<(PathMatch, Box<[HeaderMatch]>)> {
    let pb::RouteMatch {
        case_sensitive,
        runtime_fraction,
        headers,
        query_parameters,
        cookies,
        grpc,
        tls_context,
        dynamic_metadata,
        filter_state,
        path_specifier,
    } = matches;
    let refused: [(&str, &dyn IsSet); 8] = [
        ("case_sensitive", &case_sensitive.filter(|f| !f.value)),
        ("runtime_fraction", &runtime_fraction),
        ("query_parameters", &query_parameters),
        ("cookies", &cookies),
        ("grpc", &grpc),
        ("tls_context", &tls_context),
        ("dynamic_metadata", &dynamic_metadata),
        ("filter_state", &filter_state),
    ];
    if let Some(unsupported) = first_set(cx, &refused) {
        return Ok(Err(unsupported));
    }
    let path = match cx.required("path_specifier", path_specifier)? {
        PathSpecifier::Prefix(prefix) => PathMatch::Prefix(prefix.into()),
        PathSpecifier::Path(path) => PathMatch::Exact(path.into()),
        PathSpecifier::SafeRegex(_)
        | PathSpecifier::ConnectMatcher(_)
        | PathSpecifier::PathSeparatedPrefix(_)
        | PathSpecifier::PathMatchPolicy(_) => {
            return Ok(Err(cx.unsupported("path_specifier", "path_specifier other than prefix or path")));
        }
    };
    let mut converted = Vec::with_capacity(headers.len());
    for (i, header) in headers.into_iter().enumerate() {
        converted.push(run!(cx.item("headers", i, |cx| header_match(cx, header))?));
    }
    Ok(Ok((path, converted.into())))
}

fn header_match(cx: &mut Context, header: pb::HeaderMatcher) -> Part<HeaderMatch> {
    let pb::HeaderMatcher { name, invert_match, treat_missing_header_as_empty, header_match_specifier } = header;
    cx.not_empty("name", &name)?;
    if treat_missing_header_as_empty {
        return Ok(Err(cx.unsupported("treat_missing_header_as_empty", "treat_missing_header_as_empty")));
    }
    let plain = |pattern| Some(StringMatch { pattern, ignore_case: false });
    let mut invert = invert_match;
    let value = match header_match_specifier {
        None => None,
        Some(HeaderMatchSpecifier::PresentMatch(present)) => {
            invert ^= !present;
            None
        }
        Some(HeaderMatchSpecifier::ExactMatch(text)) => plain(Pattern::Exact(text.into())),
        Some(HeaderMatchSpecifier::PrefixMatch(text)) => plain(Pattern::Prefix(text.into())),
        Some(HeaderMatchSpecifier::SuffixMatch(text)) => plain(Pattern::Suffix(text.into())),
        Some(HeaderMatchSpecifier::ContainsMatch(text)) => plain(Pattern::Contains(text.into())),
        Some(HeaderMatchSpecifier::SafeRegexMatch(regex)) => {
            let regex = cx.at("safe_regex_match", |cx| crate::model::tls::proto::regex(cx, regex))?;
            plain(Pattern::Regex(Box::new(regex)))
        }
        Some(HeaderMatchSpecifier::StringMatch(matcher)) => {
            Some(cx.at("string_match", |cx| string_match(cx, matcher))?)
        }
        Some(HeaderMatchSpecifier::RangeMatch(_)) => {
            return Ok(Err(cx.unsupported("range_match", "range_match")));
        }
    };
    Ok(Ok(HeaderMatch { name: name.to_ascii_lowercase().into(), value, invert }))
}
