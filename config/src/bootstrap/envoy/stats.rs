//! `stats_config`.

use envoy_types::pb::envoy::config::metrics::v3 as pb;

use super::super::{Stats, StatsTag, TagValue};
use crate::reject::{Context, Rejection};

/// Tags are kept; a matcher would only take statistics away.
pub(super) fn read(cx: &mut Context, config: Option<pb::StatsConfig>) -> Result<Stats, Rejection> {
    let pb::StatsConfig {
        stats_tags,
        use_all_default_tags,
        stats_matcher,
        histogram_bucket_settings,
        allow_default_tag_overrides,
    } = config.unwrap_or_default();
    cx.ignore("stats_matcher", &stats_matcher, "no statistics are left out");
    cx.ignore("histogram_bucket_settings", &histogram_bucket_settings, "Envoy's default buckets are used");
    cx.ignore("allow_default_tag_overrides", &allow_default_tag_overrides, "default tags stay as they are");
    let tags = cx.each("stats_tags", stats_tags, |cx, tag| {
        let pb::TagSpecifier { tag_name, tag_value } = tag;
        cx.not_empty("tag_name", &tag_name)?;
        let value = match tag_value {
            None => TagValue::Default,
            Some(pb::tag_specifier::TagValue::Regex(text)) => TagValue::Regex(text.into()),
            Some(pb::tag_specifier::TagValue::FixedValue(text)) => TagValue::Fixed(text.into()),
        };
        Ok(StatsTag { name: tag_name.into(), value })
    })?;
    Ok(Stats { tags: tags.into(), default_tags: use_all_default_tags.is_none_or(|f| f.value) })
}
