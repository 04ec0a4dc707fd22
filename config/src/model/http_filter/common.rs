//! What several filters have.

use std::sync::Arc;

use envoy_types::pb::envoy::config::common::mutation_rules::v3 as rules;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::route::v3::QueryParameterMatcher;
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};

use super::proto::Part;
use crate::model::metadata::proto::Interner;
use crate::model::route::proto::{header_add, header_mutation, query_match, runtime_fraction};
use crate::model::route::{HeaderAdd, HeaderMutation, QueryMatch, RuntimeFraction};
use crate::reject::{Context, Rejection};

/// An absent percentage is 0.
pub(super) fn percentage(
    cx: &mut Context,
    value: Option<FractionalPercent>,
    key: Arc<str>,
) -> Result<RuntimeFraction, Rejection> {
    let FractionalPercent { numerator, denominator } = value.unwrap_or_default();
    let denominator = match cx.variant("percentage.denominator", denominator)? {
        DenominatorType::Hundred => 100,
        DenominatorType::TenThousand => 10_000,
        DenominatorType::Million => 1_000_000,
    };
    Ok(RuntimeFraction { key, numerator, denominator })
}

/// `RuntimeFractionalPercent`, if there is one.
pub(super) fn fraction(
    cx: &mut Context,
    interner: &mut Interner,
    field: &'static str,
    value: Option<core::RuntimeFractionalPercent>,
) -> Result<Option<RuntimeFraction>, Rejection> {
    value.map(|value| cx.at(field, |cx| runtime_fraction(cx, interner, value))).transpose()
}

/// `HeaderValueOption`s.
pub(super) fn header_adds(
    cx: &mut Context,
    field: &'static str,
    headers: Vec<core::HeaderValueOption>,
) -> Result<Box<[HeaderAdd]>, Rejection> {
    cx.each(field, headers, header_add)
}

/// `HeaderMutation`s.
pub(super) fn header_mutations(
    cx: &mut Context,
    field: &'static str,
    mutations: Vec<rules::HeaderMutation>,
) -> Part<Box<[HeaderMutation]>> {
    Ok(cx.each(field, mutations, header_mutation)?.into_vec().into_iter().collect())
}

/// `QueryParameterMatcher`s.
pub(super) fn query_matches(
    cx: &mut Context,
    field: &'static str,
    queries: Vec<QueryParameterMatcher>,
) -> Part<Box<[QueryMatch]>> {
    Ok(cx.each(field, queries, query_match)?.into_vec().into_iter().collect())
}
