//! `envoy.filters.http.grpc_stats`: gRPC calls are counted by service and method.

use std::collections::BTreeSet;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::grpc_method_list::Service;
use envoy_types::pb::envoy::extensions::filters::http::grpc_stats::v3 as pb;
use pb::filter_config::PerMethodStatSpecifier;

use crate::model::metadata::proto::Interner;
use crate::reject::{Context, Rejection};

/// `FilterConfig`.
#[derive(Clone, Debug)]
pub struct GrpcStats {
    /// Which methods have names of their own in the statistics.
    pub methods: GrpcMethods,
    /// `enable_upstream_stats`: `upstream_rq_time`.
    pub upstream: bool,
    /// `replace_dots_in_grpc_service_name`.
    pub replace_dots: bool,
}

/// `per_method_stat_specifier`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrpcMethods {
    /// `stats_for_all_methods`.
    All,
    /// None: what any method did is counted together.
    None,
    /// `individual_method_stats_allowlist`: service and method; others are counted together.
    Some(BTreeSet<(Arc<str>, Arc<str>)>),
}

pub(super) fn config(cx: &mut Context, interner: &mut Interner, body: &[u8]) -> Result<GrpcStats, Rejection> {
    let pb::FilterConfig {
        emit_filter_state,
        enable_upstream_stats,
        replace_dots_in_grpc_service_name,
        per_method_stat_specifier,
    } = cx.decode(body)?;
    cx.ignore("emit_filter_state", &emit_filter_state, "message counts are in the statistics, and not in access logs");
    let methods = match per_method_stat_specifier {
        // Envoy's own default, by a deprecated runtime feature, is true no more.
        None => GrpcMethods::None,
        Some(PerMethodStatSpecifier::StatsForAllMethods(all)) if all.value => GrpcMethods::All,
        Some(PerMethodStatSpecifier::StatsForAllMethods(_)) => GrpcMethods::None,
        Some(PerMethodStatSpecifier::IndividualMethodStatsAllowlist(list)) => {
            let mut methods = BTreeSet::new();
            cx.at("individual_method_stats_allowlist", |cx| {
                cx.each("services", list.services, |cx, Service { name, method_names }| {
                    cx.not_empty("name", &name)?;
                    if method_names.is_empty() {
                        return Err(cx.reject("method_names", "value must contain at least 1 item(s)"));
                    }
                    let service = interner.string(&name);
                    methods.extend(method_names.iter().map(|m| (Arc::clone(&service), interner.string(m))));
                    Ok(())
                })
            })?;
            GrpcMethods::Some(methods)
        }
    };
    Ok(GrpcStats { methods, upstream: enable_upstream_stats, replace_dots: replace_dots_in_grpc_service_name })
}
