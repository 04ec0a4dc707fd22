//! `RouteAction`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{RoutingPriority, TypedExtensionConfig};
use envoy_types::pb::envoy::config::route::v3 as pb;
use envoy_types::pb::envoy::extensions::path::rewrite::uri_template::v3::UriTemplateRewriteConfig;
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use http::StatusCode;
use pb::route_action::{
    ClusterNotFoundResponseCode, ClusterSpecifier as PbCluster, HostRewriteSpecifier, InternalRedirectAction,
    MaxStreamDuration as PbMaxStreamDuration, UpgradeConfig, upgrade_config,
};

use super::matching::header_key;
use super::mutation::{header_value, substitution};
use super::{Part, Scope, cluster, first_set, hash, header_name, redirects, retry, rewrite, run};
use crate::model::extension;
use crate::model::http_filter::proto as http_filter;
use crate::model::metadata::Fields;
use crate::model::metadata::proto::lb_fields;
use crate::model::route::{
    ClusterSpecifier, ConnectConfig, Forward, HostRewrite, InternalRedirect, MaxStreamDuration, PathMatch, PathRewrite,
    Priority, RewriteTemplate, RouteMatch, Upgrade,
};
use crate::reject::{Context, IsSet, Rejection, immaterial};

/// Envoy's default route timeout.
const TIMEOUT: Duration = Duration::from_secs(15);
const URI_TEMPLATE: &str = "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig";
const MAX_TEMPLATE: usize = 256;

/// Converts a `RouteAction` of a route with these matches.
pub(super) fn action(
    cx: &mut Context,
    scope: &mut Scope<'_>,
    (action, matches): (pb::RouteAction, &RouteMatch),
) -> Part<Forward> {
    let pb::RouteAction {
        cluster_not_found_response_code,
        metadata_match,
        prefix_rewrite,
        regex_rewrite,
        path_rewrite_policy,
        path_rewrite,
        append_x_forwarded_host,
        timeout,
        idle_timeout,
        flush_timeout,
        early_data_policy,
        retry_policy,
        retry_policy_typed_config,
        request_mirror_policies,
        priority,
        rate_limits,
        include_vh_rate_limits,
        hash_policy,
        cors,
        max_grpc_timeout,
        grpc_timeout_offset,
        upgrade_configs,
        internal_redirect_policy,
        internal_redirect_action,
        max_internal_redirects,
        hedge_policy,
        max_stream_duration,
        cluster_specifier,
        host_rewrite_specifier,
    } = action;
    immaterial(early_data_policy, "no early data is taken from clients nor sent to upstreams");
    let rate_limits = run!(http_filter::rate_limits(cx, scope.interner, rate_limits)?);
    cx.ignore("cors", &cors, "CORS is configured by the filter's own typed_per_filter_config");
    no_hedging(cx, hedge_policy)?;
    let refused: [(&str, &dyn IsSet); 1] = [("retry_policy_typed_config", &retry_policy_typed_config)];
    if let Some(unsupported) = first_set(cx, &refused) {
        return Ok(Err(unsupported));
    }
    let metadata_match = cx.at("metadata_match", |cx| lb_fields(cx, scope.interner, metadata_match))?;
    let rewrites = Rewrites { prefix_rewrite, regex_rewrite, path_rewrite_policy, path_rewrite };
    let path_rewrite = run!(rewrites.settle(cx, matches)?);
    let cluster = run!(specifier(cx, scope, (cluster_specifier, metadata_match.as_ref()))?);
    let retry = match retry_policy {
        None => scope.retry.clone(),
        Some(policy) => Some(Arc::new(run!(cx.at("retry_policy", |cx| retry::policy(cx, scope.interner, policy))?))),
    };
    let mirrors = match run!(cluster::mirrors(cx, scope.interner, request_mirror_policies)?) {
        mirrors if mirrors.is_empty() => Arc::clone(&scope.mirrors),
        mirrors => mirrors.into(),
    };
    let handled: InternalRedirectAction = cx.variant("internal_redirect_action", internal_redirect_action)?;
    let old = (handled == InternalRedirectAction::HandleInternalRedirect)
        .then(|| pb::InternalRedirectPolicy { max_internal_redirects, ..Default::default() });
    let internal_redirect = run!(internal_redirect(cx, scope, internal_redirect_policy.or(old))?);
    Ok(Ok(Forward {
        cluster,
        rate_limits,
        include_host_rate_limits: include_vh_rate_limits.is_some_and(|flag| flag.value),
        cluster_not_found: match cx.variant("cluster_not_found_response_code", cluster_not_found_response_code)? {
            ClusterNotFoundResponseCode::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            ClusterNotFoundResponseCode::NotFound => StatusCode::NOT_FOUND,
            ClusterNotFoundResponseCode::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
        },
        metadata_match,
        path_rewrite: path_rewrite.map(Box::new),
        host_rewrite: host_rewrite(cx, host_rewrite_specifier)?.map(Box::new),
        append_forwarded_host: append_x_forwarded_host,
        timeout: Some(cx.duration("timeout", timeout)?.unwrap_or(TIMEOUT)).filter(|t| !t.is_zero()),
        idle_timeout: cx.duration("idle_timeout", idle_timeout)?,
        flush_timeout: cx.duration("flush_timeout", flush_timeout)?,
        retry,
        mirrors,
        priority: match cx.variant("priority", priority)? {
            RoutingPriority::Default => Priority::Default,
            RoutingPriority::High => Priority::High,
        },
        hash: hash::policies(cx, hash_policy)?,
        max_grpc_timeout: cx.duration("max_grpc_timeout", max_grpc_timeout)?,
        grpc_timeout_offset: cx.duration("grpc_timeout_offset", grpc_timeout_offset)?,
        upgrades: run!(upgrades(cx, upgrade_configs)?),
        internal_redirect: internal_redirect.map(Box::new),
        max_stream_duration: match max_stream_duration {
            None => None,
            Some(max) => Some(Box::new(cx.at("max_stream_duration", |cx| stream_duration(cx, max))?)),
        },
    }))
}

/// `hedge_policy`, which is checked and not heeded.
pub(super) fn no_hedging(cx: &mut Context, policy: Option<pb::HedgePolicy>) -> Result<(), Rejection> {
    cx.ignore("hedge_policy", &policy, "requests are not hedged");
    let Some(pb::HedgePolicy { initial_requests, additional_request_chance, hedge_on_per_try_timeout }) = policy else {
        return Ok(());
    };
    immaterial((additional_request_chance, hedge_on_per_try_timeout), "reported with the policy");
    match initial_requests.map(|w| w.value) {
        Some(0) => Err(cx.reject("hedge_policy.initial_requests", "value must be greater than or equal to 1")),
        _ => Ok(()),
    }
}

fn internal_redirect(
    cx: &mut Context,
    scope: &mut Scope<'_>,
    policy: Option<pb::InternalRedirectPolicy>,
) -> Part<Option<InternalRedirect>> {
    let Some(policy) = policy else { return Ok(Ok(None)) };
    Ok(cx.at("internal_redirect_policy", |cx| redirects::policy(cx, scope.interner, policy))?.map(Some))
}

fn specifier(
    cx: &mut Context,
    scope: &mut Scope<'_>,
    (specifier, metadata_match): (Option<PbCluster>, Option<&Fields>),
) -> Part<ClusterSpecifier> {
    Ok(Ok(match cx.required("cluster_specifier", specifier)? {
        PbCluster::Cluster(name) => {
            cx.not_empty("cluster", &name)?;
            ClusterSpecifier::Name(scope.interner.string(&name))
        }
        PbCluster::ClusterHeader(name) => ClusterSpecifier::Header(header_key(cx, "cluster_header", &name)?),
        PbCluster::WeightedClusters(clusters) => {
            let weighted =
                cx.at("weighted_clusters", |cx| cluster::weighted(cx, scope.interner, (clusters, metadata_match)))?;
            ClusterSpecifier::Weighted(Arc::new(run!(weighted)))
        }
        PbCluster::ClusterSpecifierPlugin(_) => {
            return Ok(Err(cx.unsupported("cluster_specifier_plugin", "cluster_specifier_plugin")));
        }
        PbCluster::InlineClusterSpecifierPlugin(_) => {
            let field = "inline_cluster_specifier_plugin";
            return Ok(Err(cx.unsupported(field, field)));
        }
    }))
}

/// The four ways to rewrite a path, of which one may be used.
struct Rewrites {
    prefix_rewrite: String,
    regex_rewrite: Option<RegexMatchAndSubstitute>,
    path_rewrite_policy: Option<TypedExtensionConfig>,
    path_rewrite: String,
}

impl Rewrites {
    fn settle(self, cx: &mut Context, matches: &RouteMatch) -> Part<Option<PathRewrite>> {
        let Self { prefix_rewrite, regex_rewrite, path_rewrite_policy, path_rewrite } = self;
        let set = [
            !prefix_rewrite.is_empty(),
            regex_rewrite.is_some(),
            path_rewrite_policy.is_some(),
            !path_rewrite.is_empty(),
        ];
        if set.into_iter().filter(|set| *set).count() > 1 {
            let why = "Specify only one of prefix_rewrite, regex_rewrite, path_rewrite_policy or path_rewrite";
            return Err(cx.reject("prefix_rewrite", why));
        }
        if let Some(rewrite) = regex_rewrite {
            return Ok(Ok(Some(PathRewrite::Regex(cx.at("regex_rewrite", |cx| rewrite::regex(cx, rewrite))?))));
        }
        if let Some(policy) = path_rewrite_policy {
            return cx.at("path_rewrite_policy", |cx| template(cx, policy, matches));
        }
        if !path_rewrite.is_empty() {
            return Ok(Ok(Some(PathRewrite::Format(substitution(cx, "path_rewrite", &path_rewrite)?))));
        }
        if prefix_rewrite.is_empty() {
            return Ok(Ok(None));
        }
        if matches!(matches.path, PathMatch::Template(_)) {
            return Err(cx.reject("prefix_rewrite", "Cannot use prefix_rewrite with matcher extension"));
        }
        header_value(cx, "prefix_rewrite", prefix_rewrite.as_bytes())?;
        Ok(Ok(Some(PathRewrite::Prefix(prefix_rewrite.into()))))
    }
}

fn template(cx: &mut Context, policy: TypedExtensionConfig, matches: &RouteMatch) -> Part<Option<PathRewrite>> {
    let TypedExtensionConfig { name, typed_config } = policy;
    let (type_name, body) = extension::required(cx, &name, typed_config)?;
    if &*type_name != URI_TEMPLATE {
        return match type_name.starts_with("envoy.extensions.path.rewrite.") {
            true => Ok(Err(cx.unsupported("typed_config", &type_name))),
            false => Err(extension::unknown(cx, &name, &type_name)),
        };
    }
    cx.at("typed_config", |cx| {
        let UriTemplateRewriteConfig { path_template_rewrite } = cx.decode(&body)?;
        if path_template_rewrite.is_empty() || path_template_rewrite.len() > MAX_TEMPLATE {
            let why = format!("value length must be between 1 and {MAX_TEMPLATE} characters");
            return Err(cx.reject("path_template_rewrite", why));
        }
        let PathMatch::Template(matched) = &matches.path else {
            let why = "unable to use envoy.path.rewrite.uri_template.uri_template_rewriter extension without \
                       envoy.path.match.uri_template.uri_template_matcher extension";
            return Err(cx.reject("path_template_rewrite", why));
        };
        let rewrite = RewriteTemplate::parse(&path_template_rewrite, matched);
        Ok(Ok(Some(PathRewrite::Template(rewrite.map_err(|e| cx.reject("path_template_rewrite", e.to_string()))?))))
    })
}

fn host_rewrite(cx: &mut Context, specifier: Option<HostRewriteSpecifier>) -> Result<Option<HostRewrite>, Rejection> {
    Ok(match specifier {
        None => None,
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => {
            let value = header_value(cx, "host_rewrite_literal", host.as_bytes())?;
            (!host.is_empty()).then_some(HostRewrite::Literal(value))
        }
        Some(HostRewriteSpecifier::AutoHostRewrite(auto)) => auto.value.then_some(HostRewrite::Auto),
        Some(HostRewriteSpecifier::HostRewriteHeader(name)) if name.is_empty() => None,
        Some(HostRewriteSpecifier::HostRewriteHeader(name)) => {
            Some(HostRewrite::Header(header_name(cx, "host_rewrite_header", &name)?))
        }
        Some(HostRewriteSpecifier::HostRewritePathRegex(regex)) => {
            Some(HostRewrite::PathRegex(cx.at("host_rewrite_path_regex", |cx| rewrite::regex(cx, regex))?))
        }
        Some(HostRewriteSpecifier::HostRewrite(format)) if format.is_empty() => None,
        Some(HostRewriteSpecifier::HostRewrite(format)) => {
            Some(HostRewrite::Format(substitution(cx, "host_rewrite", &format)?))
        }
    })
}

fn upgrades(cx: &mut Context, configs: Vec<UpgradeConfig>) -> Part<Box<[Upgrade]>> {
    let mut seen = HashSet::new();
    let mut converted = Vec::with_capacity(configs.len());
    for (i, config) in configs.into_iter().enumerate() {
        let upgrade = run!(cx.item("upgrade_configs", i, |cx| upgrade(cx, config))?);
        if !seen.insert(upgrade.kind.clone()) {
            return Err(cx.reject("upgrade_configs", format!("Duplicate upgrade {}", upgrade.kind)));
        }
        converted.push(upgrade);
    }
    Ok(Ok(converted.into()))
}

fn upgrade(cx: &mut Context, config: UpgradeConfig) -> Part<Upgrade> {
    let UpgradeConfig { upgrade_type, enabled, connect_config } = config;
    cx.not_empty("upgrade_type", &upgrade_type)?;
    let kind = upgrade_type.to_ascii_lowercase();
    let terminate = match connect_config {
        None => None,
        Some(_) if !matches!(kind.as_str(), "connect" | "connect-udp") => {
            let why = format!("Non-CONNECT upgrade type {upgrade_type} has ConnectConfig");
            return Err(cx.reject("connect_config", why));
        }
        Some(upgrade_config::ConnectConfig { proxy_protocol_config: Some(_), allow_post: _ }) => {
            let what = "connect_config.proxy_protocol_config";
            return Ok(Err(cx.unsupported(what, what)));
        }
        Some(upgrade_config::ConnectConfig { proxy_protocol_config: None, allow_post }) => {
            Some(ConnectConfig { allow_post })
        }
    };
    Ok(Ok(Upgrade { kind: kind.into(), enabled: enabled.is_none_or(|w| w.value), terminate }))
}

fn stream_duration(cx: &mut Context, max: PbMaxStreamDuration) -> Result<MaxStreamDuration, Rejection> {
    let PbMaxStreamDuration { max_stream_duration, grpc_timeout_header_max, grpc_timeout_header_offset } = max;
    Ok(MaxStreamDuration {
        max: cx.duration("max_stream_duration", max_stream_duration)?,
        grpc_header_max: cx.duration("grpc_timeout_header_max", grpc_timeout_header_max)?,
        grpc_header_offset: cx.duration("grpc_timeout_header_offset", grpc_timeout_header_offset)?,
    })
}
