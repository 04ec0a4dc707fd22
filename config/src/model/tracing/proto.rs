//! From `HttpConnectionManager.Tracing` and `route.v3.Tracing`.

mod provider;
mod tags;
#[cfg(test)]
mod tests;

pub(crate) use self::provider::resource;

use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::envoy::r#type::v3 as types;
use types::fractional_percent::DenominatorType;

use super::{RouteTracing, Sampling, Tracing};
use crate::model::access_log::Template;
use crate::reject::{Context, Rejection};

/// Envoy's `max_path_tag_length`.
const MAX_PATH_LENGTH: usize = 256;

/// Converts a connection manager's tracing.
pub(crate) fn tracing(cx: &mut Context, tracing: hcm::http_connection_manager::Tracing) -> Result<Tracing, Rejection> {
    let hcm::http_connection_manager::Tracing {
        client_sampling,
        random_sampling,
        overall_sampling,
        verbose,
        max_path_tag_length,
        custom_tags,
        provider,
        spawn_upstream_span,
        operation,
        upstream_operation,
        no_context_propagation,
    } = tracing;
    cx.ignore("verbose", &verbose, "spans have no events");
    let provider = match provider {
        None => None,
        Some(provider) => cx.at("provider", |cx| provider::provider(cx, provider))?,
    };
    Ok(Tracing {
        sampling: Sampling {
            client: percent(cx, "client_sampling", client_sampling)?,
            random: percent(cx, "random_sampling", random_sampling)?,
            overall: percent(cx, "overall_sampling", overall_sampling)?,
        },
        max_path_length: max_path_tag_length
            .map_or(MAX_PATH_LENGTH, |length| usize::try_from(length.value).unwrap_or(usize::MAX)),
        custom_tags: tags::custom_tags(cx, custom_tags)?,
        operation: format(cx, "operation", &operation)?,
        upstream_operation: format(cx, "upstream_operation", &upstream_operation)?,
        spawn_upstream_span: spawn_upstream_span.is_some_and(|spawn| spawn.value),
        propagate: !no_context_propagation,
        provider,
    })
}

/// Converts a route's.
pub(crate) fn route(cx: &mut Context, tracing: route::Tracing) -> Result<RouteTracing, Rejection> {
    let route::Tracing {
        client_sampling,
        random_sampling,
        overall_sampling,
        custom_tags,
        operation,
        upstream_operation,
    } = tracing;
    Ok(RouteTracing {
        sampling: Sampling {
            client: fraction(cx, "client_sampling", client_sampling)?,
            random: fraction(cx, "random_sampling", random_sampling)?,
            overall: fraction(cx, "overall_sampling", overall_sampling)?,
        },
        custom_tags: tags::custom_tags(cx, custom_tags)?,
        operation: format(cx, "operation", &operation)?,
        upstream_operation: format(cx, "upstream_operation", &upstream_operation)?,
    })
}

fn percent(cx: &Context, field: &str, percent: Option<types::Percent>) -> Result<f64, Rejection> {
    let Some(types::Percent { value }) = percent else { return Ok(100.0) };
    cx.percent(field, value)
}

fn fraction(cx: &Context, field: &str, percent: Option<types::FractionalPercent>) -> Result<f64, Rejection> {
    let Some(types::FractionalPercent { numerator, denominator }) = percent else { return Ok(100.0) };
    let whole = match cx.variant::<DenominatorType>(field, denominator)? {
        DenominatorType::Hundred => 100.0,
        DenominatorType::TenThousand => 10_000.0,
        DenominatorType::Million => 1_000_000.0,
    };
    Ok((f64::from(numerator) / whole * 100.0).min(100.0))
}

fn format(cx: &Context, field: &str, text: &str) -> Result<Option<Template>, Rejection> {
    if text.is_empty() {
        return Ok(None);
    }
    Template::parse(text).map(Some).map_err(|e| cx.reject(field, e.to_string()))
}
