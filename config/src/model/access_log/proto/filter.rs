//! From `AccessLogFilter`.

use std::sync::Arc;

use envoy_types::pb::envoy::config::accesslog::v3 as pb;
use envoy_types::pb::envoy::config::core::v3::RuntimeUInt32;
use envoy_types::pb::envoy::data::accesslog::v3::AccessLogType;
use envoy_types::pb::envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter;
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};
use matcher::metadata_matcher::{PathSegment, path_segment::Segment};
use matcher::value_matcher::MatchPattern;
use pb::access_log_filter::FilterSpecifier;
use pb::comparison_filter;

use crate::model::access_log::{CelFilter, Comparison, Filter, MetadataTest, Op, ValueTest};
use crate::model::matcher::proto::text;
use crate::model::{extension, route};
use crate::reject::{Context, Rejection};

const ALL: &str = "the filter is not run: everything is logged";
const RUNTIME: &str = "the default holds";
/// How deep filters may nest.
const MAX_DEPTH: usize = 16;

/// Converts a filter; one that is not run is reported and left out.
pub(crate) fn filter(cx: &mut Context, filter: pb::AccessLogFilter) -> Result<Option<Filter>, Rejection> {
    nested(cx, filter, MAX_DEPTH)
}

fn nested(cx: &mut Context, filter: pb::AccessLogFilter, depth: usize) -> Result<Option<Filter>, Rejection> {
    let depth = depth.checked_sub(1).ok_or_else(|| cx.reject("", "nested too deep"))?;
    let pb::AccessLogFilter { filter_specifier } = filter;
    Ok(Some(match cx.required("filter_specifier", filter_specifier)? {
        FilterSpecifier::ExtensionFilter(filter) => {
            return cx.at("extension_filter", |cx| extension_filter(cx, filter));
        }
        FilterSpecifier::StatusCodeFilter(pb::StatusCodeFilter { comparison }) => {
            cx.at("status_code_filter", |cx| self::comparison(cx, comparison)).map(Filter::StatusCode)?
        }
        FilterSpecifier::DurationFilter(pb::DurationFilter { comparison }) => {
            cx.at("duration_filter", |cx| self::comparison(cx, comparison)).map(Filter::Duration)?
        }
        FilterSpecifier::NotHealthCheckFilter(pb::NotHealthCheckFilter {}) => Filter::NotHealthCheck,
        FilterSpecifier::TraceableFilter(pb::TraceableFilter {}) => Filter::Traceable,
        FilterSpecifier::RuntimeFilter(filter) => cx.at("runtime_filter", |cx| fraction(cx, filter))?,
        FilterSpecifier::AndFilter(pb::AndFilter { filters }) => match several(cx, "and_filter", filters, depth)? {
            Some(filters) => Filter::And(filters),
            None => return Ok(None),
        },
        FilterSpecifier::OrFilter(pb::OrFilter { filters }) => match several(cx, "or_filter", filters, depth)? {
            Some(filters) => Filter::Or(filters),
            None => return Ok(None),
        },
        FilterSpecifier::HeaderFilter(pb::HeaderFilter { header }) => {
            let header = cx.required("header_filter.header", header)?;
            let converted =
                cx.at("header_filter", |cx| route::proto::matching::header_matches(cx, "header", vec![header]))?;
            match converted.ok().and_then(|headers| headers.into_iter().next()) {
                Some(header) => Filter::Header(Box::new(header)),
                None => {
                    cx.note("header_filter", ALL);
                    return Ok(None);
                }
            }
        }
        FilterSpecifier::ResponseFlagFilter(pb::ResponseFlagFilter { flags }) => {
            cx.at("response_flag_filter", |cx| self::flags(cx, flags))?
        }
        FilterSpecifier::GrpcStatusFilter(pb::GrpcStatusFilter { statuses, exclude }) => {
            if let Some(status) = statuses.iter().find(|status| !(0..=16).contains(*status)) {
                return Err(cx.reject("grpc_status_filter.statuses", format!("value {status} is not defined")));
            }
            Filter::GrpcStatus { statuses: statuses.into(), exclude }
        }
        FilterSpecifier::MetadataFilter(filter) => match cx.at("metadata_filter", |cx| metadata(cx, filter))? {
            Some(test) => Filter::Metadata(Box::new(test)),
            None => return Ok(None),
        },
        FilterSpecifier::LogTypeFilter(pb::LogTypeFilter { types, exclude }) => {
            let types = cx.each("log_type_filter.types", types, |cx, value| {
                Ok::<_, Rejection>(Box::from(cx.variant::<AccessLogType>("", value)?.as_str_name()))
            })?;
            Filter::LogType { types, exclude }
        }
    }))
}

/// All of them, or none where one is not run: half of them would log something else.
fn several(
    cx: &mut Context,
    field: &'static str,
    filters: Vec<pb::AccessLogFilter>,
    depth: usize,
) -> Result<Option<Box<[Filter]>>, Rejection> {
    cx.at(field, |cx| {
        if filters.len() < 2 {
            return Err(cx.reject("filters", "value must contain at least 2 item(s)"));
        }
        let filters = cx.each("filters", filters, |cx, filter| nested(cx, filter, depth))?;
        Ok(filters.into_iter().collect())
    })
}

fn comparison(cx: &mut Context, comparison: Option<pb::ComparisonFilter>) -> Result<Comparison, Rejection> {
    let comparison = cx.required("comparison", comparison)?;
    cx.at("comparison", |cx| {
        let pb::ComparisonFilter { op, value } = comparison;
        let op = match cx.variant::<comparison_filter::Op>("op", op)? {
            comparison_filter::Op::Eq => Op::Eq,
            comparison_filter::Op::Ge => Op::Ge,
            comparison_filter::Op::Le => Op::Le,
            comparison_filter::Op::Ne => Op::Ne,
        };
        let RuntimeUInt32 { default_value, runtime_key } = value.unwrap_or_default();
        cx.ignore("value.runtime_key", &runtime_key, RUNTIME);
        Ok(Comparison { op, value: default_value })
    })
}

fn fraction(cx: &mut Context, filter: pb::RuntimeFilter) -> Result<Filter, Rejection> {
    let pb::RuntimeFilter { runtime_key, percent_sampled, use_independent_randomness } = filter;
    cx.not_empty("runtime_key", &runtime_key)?;
    cx.ignore("runtime_key", &runtime_key, RUNTIME);
    let FractionalPercent { numerator, denominator } = percent_sampled.unwrap_or_default();
    let denominator = match cx.variant::<DenominatorType>("percent_sampled.denominator", denominator)? {
        DenominatorType::Hundred => 100,
        DenominatorType::TenThousand => 10_000,
        DenominatorType::Million => 1_000_000,
    };
    Ok(Filter::Fraction { numerator, denominator, independent: use_independent_randomness })
}

fn flags(cx: &mut Context, flags: Vec<String>) -> Result<Filter, Rejection> {
    const KNOWN: [&str; 30] = [
        "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX", "SI",
        "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR", "UDO",
    ];
    let flags = cx.each("flags", flags, |cx, flag| {
        if KNOWN.contains(&&*flag) { Ok(flag.into()) } else { Err(cx.reject("", "is no response flag")) }
    })?;
    Ok(Filter::ResponseFlags(flags))
}

fn metadata(cx: &mut Context, filter: pb::MetadataFilter) -> Result<Option<MetadataTest>, Rejection> {
    let pb::MetadataFilter { matcher, match_if_key_not_found } = filter;
    let Some(matcher::MetadataMatcher { filter, path, value, invert }) = matcher else {
        cx.note("matcher", ALL);
        return Ok(None);
    };
    cx.at("matcher", |cx| {
        cx.not_empty("filter", &filter)?;
        let path = cx.each("path", path, |cx, PathSegment { segment }| {
            let Segment::Key(key) = cx.required("segment", segment)?;
            Ok::<_, Rejection>(key.into_boxed_str())
        })?;
        let value = cx.required("value", value)?;
        let value = cx.at("value", |cx| self::value(cx, value, MAX_DEPTH))?;
        let if_absent = match_if_key_not_found.is_none_or(|log| log.value);
        Ok(Some(MetadataTest { namespace: filter.into(), path, value, invert, if_absent }))
    })
}

fn value(cx: &mut Context, value: matcher::ValueMatcher, depth: usize) -> Result<ValueTest, Rejection> {
    use matcher::double_matcher::MatchPattern as Double;
    use matcher::list_matcher::MatchPattern as List;
    let depth = depth.checked_sub(1).ok_or_else(|| cx.reject("", "nested too deep"))?;
    let matcher::ValueMatcher { match_pattern } = value;
    Ok(match cx.required("match_pattern", match_pattern)? {
        MatchPattern::NullMatch(_) => ValueTest::Null,
        MatchPattern::BoolMatch(wanted) => ValueTest::Bool(wanted),
        MatchPattern::PresentMatch(wanted) => ValueTest::Present(wanted),
        MatchPattern::DoubleMatch(matcher::DoubleMatcher { match_pattern }) => {
            match cx.required("double_match.match_pattern", match_pattern)? {
                Double::Range(range) => ValueTest::Range(range.start, range.end),
                Double::Exact(number) => ValueTest::Number(number),
            }
        }
        MatchPattern::StringMatch(matcher) => match cx.at("string_match", |cx| text::envoy(cx, matcher))? {
            Ok(text) => ValueTest::Text(text),
            Err(unsupported) => return Err(cx.reject("string_match", &*unsupported.what)),
        },
        MatchPattern::ListMatch(list) => {
            let matcher::ListMatcher { match_pattern } = *list;
            match cx.required("list_match.match_pattern", match_pattern)? {
                List::OneOf(one) => ValueTest::AnyOf(Box::new(cx.at("list_match", |cx| self::value(cx, *one, depth))?)),
            }
        }
        MatchPattern::OrMatch(matcher::OrMatcher { value_matchers }) => {
            ValueTest::Or(cx.at("or_match", |cx| {
                cx.each("value_matchers", value_matchers, |cx, one| self::value(cx, one, depth))
            })?)
        }
    })
}

fn extension_filter(cx: &mut Context, filter: pb::ExtensionFilter) -> Result<Option<Filter>, Rejection> {
    let pb::ExtensionFilter { name, config_type } = filter;
    let any = config_type.map(|pb::extension_filter::ConfigType::TypedConfig(any)| any);
    let (type_name, body) = extension::required(cx, &name, any)?;
    if &*type_name != "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter" {
        extension::check_known(cx, extension::Category::AccessLogFilter, &name, &type_name)?;
        cx.note("typed_config", ALL);
        return Ok(None);
    }
    cx.at("typed_config", |cx| {
        let ExpressionFilter { expression, cel_config } = cx.decode(&body)?;
        cx.ignore("cel_config", &cel_config, "the standard functions are there");
        let program = cel::Program::compile(&expression)
            .map_err(|e| cx.reject("expression", format!("is not a CEL expression: {e}")))?;
        Ok(Some(Filter::Cel(Arc::new(CelFilter { text: expression.into(), program }))))
    })
}
