//! From `http_filters` and `typed_per_filter_config`.

use std::collections::HashMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3::FilterConfig as PerRouteWrapper;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use pb::http_filter::ConfigType;

use super::{
    FilterConfig, HttpFilter, PerRoute, buffer, compressor, cors, fault, grpc_stats, header_mutation, health_check,
    local_rate_limit, matched, rbac, set_metadata,
};
use crate::model::extension;
use crate::model::metadata::proto::Interner;
use crate::reject::{Context, Rejection, Unsupported, immaterial};

pub(crate) use super::rate_limit::rate_limits;

/// A part of a configuration; the inner error: it can't be run here.
pub(super) type Part<T> = Result<Result<T, Unsupported>, Rejection>;

/// The value, unless it can't be run.
macro_rules! run {
    ($part:expr) => {
        match $part {
            Ok(part) => part,
            Err(unsupported) => return Ok(Err(unsupported)),
        }
    };
}
pub(super) use run;

const PACKAGE: &str = "envoy.extensions.filters.http.";
const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
const MATCHED: &str = "envoy.extensions.common.matching.v3.ExtensionWithMatcher";
const MATCHED_PER_ROUTE: &str = "envoy.extensions.common.matching.v3.ExtensionWithMatcherPerRoute";
const WRAPPER: &str = "envoy.config.route.v3.FilterConfig";

/// What `http_filters` says: the filters without the router, and the router's body.
pub(crate) type Filters = (Box<[HttpFilter]>, Vec<u8>);

/// What `typed_per_filter_config` says, by the filters' names.
pub(crate) type PerFilter = Box<[(Arc<str>, PerRoute)]>;

/// One of the list.
enum Listed {
    Filter(HttpFilter),
    Router(Vec<u8>),
    Skipped,
}

/// Converts `http_filters`. The inner error: a filter that can't be run here, without which its chain must not open.
///
/// # Errors
/// One that Envoy refuses, or no router at the end.
pub(crate) fn filters(cx: &mut Context, interner: &mut Interner, filters: Vec<pb::HttpFilter>) -> Part<Filters> {
    if filters.is_empty() {
        // Envoy takes it, and has nothing then that answers.
        return Ok(Err(cx.unsupported("http_filters", "no HTTP filters")));
    }
    let last = filters.len().saturating_sub(1);
    let (mut passing, mut router, mut unsupported) = (Vec::with_capacity(last), None, None);
    for (i, filter) in filters.into_iter().enumerate() {
        match cx.item("http_filters", i, |cx| listed(cx, interner, filter, i == last))? {
            Ok(Listed::Filter(filter)) => passing.push(filter),
            Ok(Listed::Router(body)) => router = Some(body),
            Ok(Listed::Skipped) => {}
            Err(why) => unsupported = unsupported.or(Some(why)),
        }
    }
    match (unsupported, router) {
        (Some(unsupported), _) => Ok(Err(unsupported)),
        (None, Some(router)) => Ok(Ok((passing.into(), router))),
        (None, None) => Err(cx.reject("http_filters", "no terminal filter: the router must be the last")),
    }
}

fn listed(cx: &mut Context, interner: &mut Interner, filter: pb::HttpFilter, last: bool) -> Part<Listed> {
    let pb::HttpFilter { name, is_optional, disabled, config_type } = filter;
    cx.not_empty("name", &name)?;
    let any = match config_type {
        Some(ConfigType::ConfigDiscovery(_)) => {
            return Ok(Err(cx.unsupported("config_discovery", "filter configuration by ECDS")));
        }
        Some(ConfigType::TypedConfig(any)) => Some(any),
        None => None,
    };
    let (type_name, body) = match extension::required(cx, &name, any) {
        Ok(found) => found,
        Err(_) if is_optional => return Ok(Ok(skipped(cx))),
        Err(rejection) => return Err(rejection),
    };
    if type_name.as_ref() == ROUTER {
        return match (last, disabled) {
            (false, _) => Err(cx.reject(
                "",
                format!("terminal filter named {name} of type {ROUTER} must be the last filter in a http filter chain"),
            )),
            (true, true) => Err(cx.reject("disabled", format!("terminal filter named {name} cannot be disabled"))),
            (true, false) => Ok(Ok(Listed::Router(body))),
        };
    }
    if !known(&type_name) {
        return match is_optional {
            true => Ok(Ok(skipped(cx))),
            false => Err(extension::unknown(cx, &name, &type_name)),
        };
    }
    let config = config(cx, interner, (&name, &type_name), &body)?;
    if last && config.is_ok() {
        return Err(cx.reject(
            "",
            format!("non-terminal filter named {name} of type {type_name} is the last filter in a http filter chain"),
        ));
    }
    match config {
        Ok(config) => Ok(Ok(Listed::Filter(HttpFilter { name: interner.string(&name), disabled, config }))),
        // It runs nowhere: a route that wants it says so itself, and can't be run then.
        Err(_) if disabled => {
            cx.note("typed_config", "this filter can't be run here; it is disabled");
            Ok(Ok(Listed::Skipped))
        }
        Err(unsupported) => Ok(Err(unsupported)),
    }
}

fn skipped(cx: &mut Context) -> Listed {
    cx.note("typed_config", "an optional filter that is not known is left out, as in Envoy");
    Listed::Skipped
}

/// Envoy knows filters of this type, too.
fn known(type_name: &str) -> bool {
    type_name.starts_with(PACKAGE)
        || matches!(type_name, MATCHED | "xds.type.v3.TypedStruct" | "udpa.type.v1.TypedStruct")
}

/// Converts one filter's configuration. The inner error: it can't be run here.
pub(super) fn config(
    cx: &mut Context,
    interner: &mut Interner,
    (name, type_name): (&str, &str),
    body: &[u8],
) -> Part<FilterConfig> {
    if !known(type_name) {
        return Err(extension::unknown(cx, name, type_name));
    }
    let own = type_name.strip_prefix(PACKAGE).unwrap_or_default();
    cx.at("typed_config", |cx| {
        Ok(match own {
            "local_ratelimit.v3.LocalRateLimit" => local_rate_limit::config(cx, interner, body, false)?
                .map(|config| FilterConfig::LocalRateLimit(Arc::new(config))),
            "fault.v3.HTTPFault" => {
                fault::config(cx, interner, body)?.map(|config| FilterConfig::Fault(Arc::new(config)))
            }
            "compressor.v3.Compressor" => {
                compressor::config(cx, interner, body)?.map(|config| FilterConfig::Compressor(Arc::new(config)))
            }
            "rbac.v3.RBAC" => rbac::config(cx, interner, body)?.map(|config| FilterConfig::Rbac(Arc::new(config))),
            "cors.v3.Cors" => Ok(FilterConfig::Cors),
            "header_mutation.v3.HeaderMutation" => {
                header_mutation::config(cx, body)?.map(|config| FilterConfig::HeaderMutation(Arc::new(config)))
            }
            "health_check.v3.HealthCheck" => {
                health_check::config(cx, interner, body)?.map(|config| FilterConfig::HealthCheck(Arc::new(config)))
            }
            "buffer.v3.Buffer" => Ok(FilterConfig::Buffer(buffer::config(cx, body)?)),
            "grpc_stats.v3.FilterConfig" => {
                Ok(FilterConfig::GrpcStats(Arc::new(grpc_stats::config(cx, interner, body)?)))
            }
            "set_metadata.v3.Config" => set_metadata::config(cx, interner, body)?.map(FilterConfig::SetMetadata),
            _ if type_name == MATCHED => {
                matched::config(cx, interner, body)?.map(|config| FilterConfig::Matched(Arc::new(config)))
            }
            _ => Err(cx.unsupported("", type_name)),
        })
    })
}

/// Converts `typed_per_filter_config`, by the filters' names. The inner error: what stands there can't be run here.
///
/// # Errors
/// One that Envoy refuses.
pub(crate) fn per_filter(cx: &mut Context, interner: &mut Interner, configs: HashMap<String, Any>) -> Part<PerFilter> {
    let mut configs: Vec<_> = configs.into_iter().collect();
    configs.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut converted = Vec::with_capacity(configs.len());
    for (name, any) in configs {
        let config = run!(cx.key("typed_per_filter_config", &name, |cx| per_route(cx, interner, any))?);
        converted.extend(config.map(|config| (interner.string(&name), config)));
    }
    Ok(Ok(converted.into()))
}

/// Converts what a route has for a filter; `None`: optional, and not known. The inner error: it can't be run here.
///
/// # Errors
/// One that Envoy refuses.
fn per_route(cx: &mut Context, interner: &mut Interner, any: Any) -> Part<Option<PerRoute>> {
    let (type_name, body) = extension::required(cx, "", Some(any))?;
    if type_name.as_ref() != WRAPPER {
        return Ok(unwrapped(cx, interner, &type_name, &body)?.map(Some));
    }
    let PerRouteWrapper { config, is_optional, disabled } = cx.decode(&body)?;
    if disabled {
        immaterial((config, is_optional), "Envoy does not read them where the filter is disabled");
        return Ok(Ok(Some(PerRoute::Disabled)));
    }
    cx.at("config", |cx| {
        let (type_name, body) = match extension::required(cx, "", config) {
            Ok(found) => found,
            Err(_) if is_optional => return Ok(Ok(None)),
            Err(rejection) => return Err(rejection),
        };
        if is_optional && !known(&type_name) && type_name.as_ref() != MATCHED_PER_ROUTE {
            cx.note("", "an optional filter that is not known is left out, as in Envoy");
            return Ok(Ok(None));
        }
        Ok(unwrapped(cx, interner, &type_name, &body)?.map(Some))
    })
}

fn unwrapped(cx: &mut Context, interner: &mut Interner, type_name: &str, body: &[u8]) -> Part<PerRoute> {
    let own = type_name.strip_prefix(PACKAGE).unwrap_or_default();
    Ok(match own {
        "local_ratelimit.v3.LocalRateLimit" => {
            local_rate_limit::config(cx, interner, body, true)?.map(|config| PerRoute::LocalRateLimit(Arc::new(config)))
        }
        "fault.v3.HTTPFault" => fault::config(cx, interner, body)?.map(|config| PerRoute::Fault(Arc::new(config))),
        "compressor.v3.CompressorPerRoute" => {
            compressor::per_route(cx, body)?.map(|config| PerRoute::Compressor(Arc::new(config)))
        }
        "rbac.v3.RBACPerRoute" => rbac::per_route(cx, interner, body)?.map(|config| PerRoute::Rbac(Arc::new(config))),
        "cors.v3.CorsPolicy" => cors::per_route(cx, interner, body)?.map(|config| PerRoute::Cors(Arc::new(config))),
        "header_mutation.v3.HeaderMutationPerRoute" => {
            header_mutation::per_route(cx, body)?.map(|config| PerRoute::HeaderMutation(Arc::new(config)))
        }
        "buffer.v3.BufferPerRoute" => Ok(PerRoute::Buffer(buffer::per_route(cx, body)?)),
        "set_metadata.v3.Config" => set_metadata::config(cx, interner, body)?.map(PerRoute::SetMetadata),
        _ if type_name == MATCHED_PER_ROUTE => {
            matched::per_route(cx, body)?.map(|config| PerRoute::Matched(Arc::new(config)))
        }
        "health_check.v3.HealthCheck"
        | "grpc_stats.v3.FilterConfig"
        | "cors.v3.Cors"
        | "buffer.v3.Buffer"
        | "compressor.v3.Compressor"
        | "rbac.v3.RBAC"
        | "header_mutation.v3.HeaderMutation" => {
            return Err(cx.reject("", format!("{type_name} is not what a route can have for a filter")));
        }
        _ if known(type_name) => Err(cx.unsupported("", type_name)),
        _ => return Err(extension::unknown(cx, "", type_name)),
    })
}
