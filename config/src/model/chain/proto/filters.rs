//! `filters`: those that pass a connection on, and the last.

use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::RuntimeFeatureFlag;
use envoy_types::pb::envoy::config::listener::v3 as pb;
use envoy_types::pb::envoy::extensions::filters::network;
use envoy_types::pb::envoy::r#type::v3::TokenBucket;
use network::http_connection_manager::v3::{HttpConnectionManager, http_connection_manager::RouteSpecifier};
use pb::filter::ConfigType;
use std::time::Duration;

use super::Setting;
use crate::model::chain::{Handler, LocalRateLimit, NetworkFilter};
use crate::model::metadata::proto::Interner;
use crate::model::{data_source, extension, hcm, http, rbac, tcp_proxy};
use crate::reject::{Context, Rejection, Unsupported, immaterial};

/// What one filter is.
enum Filter {
    Pass(NetworkFilter),
    Last(Handler),
    /// Passes connections on in Envoy, and can't be run here.
    CannotPass(Unsupported),
    Unsupported(Unsupported),
}

/// Filters that end the chain, beside those that run here. Envoy refuses them anywhere else, and any other at the end.
const TERMINAL: [&str; 9] = [
    "dubbo_proxy",
    "echo",
    "generic_proxy",
    "kafka_mesh",
    "redis_proxy",
    "reverse_tunnel",
    "rocketmq_proxy",
    "sip_proxy",
    "thrift_proxy",
];

/// Converts the filters of a chain. Without any, Envoy closes the connection.
pub(super) fn filters(
    cx: &mut Context,
    setting: &mut Setting<'_>,
    filters: Vec<pb::Filter>,
) -> Result<(Box<[NetworkFilter]>, Handler), Rejection> {
    let last = filters.len().saturating_sub(1);
    let mut passing = Vec::new();
    let mut handler = Handler::DirectResponse(Bytes::new());
    let mut unsupported = None;
    for (i, filter) in filters.into_iter().enumerate() {
        match cx.item("filters", i, |cx| self::filter(cx, setting, filter, i == last))? {
            Filter::Pass(filter) => passing.push(filter),
            Filter::Last(last) => handler = last,
            Filter::CannotPass(why) | Filter::Unsupported(why) => unsupported = unsupported.or(Some(why)),
        }
    }
    Ok((passing.into(), unsupported.map_or(handler, Handler::Unsupported)))
}

fn filter(cx: &mut Context, setting: &mut Setting<'_>, filter: pb::Filter, last: bool) -> Result<Filter, Rejection> {
    let pb::Filter { name, config_type } = filter;
    cx.not_empty("name", &name)?;
    let any = match config_type {
        Some(ConfigType::ConfigDiscovery(_)) => {
            return Ok(Filter::Unsupported(cx.unsupported("config_discovery", "filter configuration by ECDS")));
        }
        Some(ConfigType::TypedConfig(any)) => Some(any),
        None => None,
    };
    let (type_name, body) = extension::required(cx, &name, any)?;
    let own = type_name.strip_prefix("envoy.extensions.filters.network.").unwrap_or_default();
    let converted = cx.at("typed_config", |cx| convert(cx, setting, own, &body))?;
    let Some(converted) = converted else {
        extension::check_known(cx, extension::Category::Network, &name, &type_name)?;
        let module = own.split('.').next().unwrap_or_default();
        if !module.is_empty() {
            check_place(cx, &name, &type_name, TERMINAL.contains(&module), last)?;
        }
        return Ok(Filter::Unsupported(cx.unsupported("typed_config", &type_name)));
    };
    let terminal = match &converted {
        Filter::Pass(_) | Filter::CannotPass(_) => false,
        // What is known and cannot be run is an HCM or a tcp_proxy.
        Filter::Last(_) | Filter::Unsupported(_) => true,
    };
    check_place(cx, &name, &type_name, terminal, last)?;
    Ok(converted)
}

fn check_place(cx: &Context, name: &str, type_name: &str, terminal: bool, last: bool) -> Result<(), Rejection> {
    let reason = match (terminal, last) {
        (true, true) | (false, false) => return Ok(()),
        (true, false) => format!(
            "terminal filter named {name} of type {type_name} must be the last filter in a network filter chain"
        ),
        (false, true) => {
            format!("non-terminal filter named {name} of type {type_name} is the last filter in a network filter chain")
        }
    };
    Err(cx.reject("", reason))
}

/// Converts a filter that is known here; `None`: it is not.
fn convert(
    cx: &mut Context,
    setting: &mut Setting<'_>,
    type_name: &str,
    body: &[u8],
) -> Result<Option<Filter>, Rejection> {
    Ok(Some(match type_name {
        "tcp_proxy.v3.TcpProxy" => match tcp_proxy::proto::tcp_proxy(cx, setting.shared, body)? {
            Ok(proxy) => Filter::Last(Handler::TcpProxy(Arc::new(proxy))),
            Err(unsupported) => Filter::Unsupported(unsupported),
        },
        "direct_response.v3.Config" => {
            let network::direct_response::v3::Config { response } = cx.decode(body)?;
            Filter::Last(Handler::DirectResponse(match response {
                None => Bytes::new(),
                Some(source) => cx.at("response", |cx| data_source::read(cx, source))?,
            }))
        }
        "local_ratelimit.v3.LocalRateLimit" => {
            let config = cx.decode(body)?;
            let limit = local_rate_limit(cx, &mut setting.shared.interner, config)?;
            Filter::Pass(NetworkFilter::LocalRateLimit(Arc::new(limit)))
        }
        "rbac.v3.RBAC" => match rbac::proto::rbac(cx, &mut setting.shared.interner, body)? {
            // The system runtime asks no permissions, and a chain that has some must not open without.
            Ok(_) if setting.system => {
                Filter::CannotPass(cx.unsupported("", "RBAC on a listener of the control plane's own"))
            }
            Ok(rbac) => Filter::Pass(NetworkFilter::Rbac(Arc::new(rbac))),
            Err(unsupported) => Filter::CannotPass(unsupported),
        },
        "http_connection_manager.v3.HttpConnectionManager" => {
            return http(cx, setting, body).map(Some);
        }
        _ => return Ok(None),
    }))
}

fn http(cx: &mut Context, setting: &mut Setting<'_>, body: &[u8]) -> Result<Filter, Rejection> {
    let manager: HttpConnectionManager = cx.decode(body)?;
    if let Some(RouteSpecifier::Rds(rds)) = &manager.route_specifier {
        setting.names.routes.push(rds.route_config_name.as_str().into());
    }
    let converted = match setting.system {
        true => http::proto::manager(cx, manager)?.map(|manager| Handler::System(Arc::new(manager))),
        false => hcm::proto::manager(cx, setting.shared, manager)?.map(|manager| Handler::Http(Arc::new(manager))),
    };
    Ok(converted.map_or_else(Filter::Unsupported, Filter::Last))
}

fn local_rate_limit(
    cx: &mut Context,
    interner: &mut Interner,
    config: network::local_ratelimit::v3::LocalRateLimit,
) -> Result<LocalRateLimit, Rejection> {
    let network::local_ratelimit::v3::LocalRateLimit { stat_prefix, token_bucket, runtime_enabled, share_key } = config;
    cx.not_empty("stat_prefix", &stat_prefix)?;
    let bucket = cx.required("token_bucket", token_bucket)?;
    let enabled = match runtime_enabled {
        None => true,
        Some(RuntimeFeatureFlag { default_value, runtime_key }) => {
            immaterial(runtime_key, "no runtime layer is applied, so that the default holds");
            cx.at("runtime_enabled", |cx| cx.required("default_value", default_value))?.value
        }
    };
    cx.at("token_bucket", |cx| {
        let TokenBucket { max_tokens, tokens_per_fill, fill_interval } = bucket;
        let tokens_per_fill = tokens_per_fill.map_or(1, |w| w.value);
        if tokens_per_fill == 0 {
            return Err(cx.reject("tokens_per_fill", "value must be greater than 0"));
        }
        let interval = cx.longer_than("fill_interval", fill_interval, Duration::ZERO)?;
        Ok(LocalRateLimit {
            stat_prefix: interner.string(&stat_prefix),
            max_tokens,
            tokens_per_fill,
            fill_interval: cx.required("fill_interval", interval)?,
            share_key: (!share_key.is_empty()).then(|| interner.string(&share_key)),
            enabled,
        })
    })
}
