//! `envoy.extensions.filters.http.router.v3.Router`, always the last filter.

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;

use crate::reject::{Context, Rejection, Unsupported, immaterial};

/// The filter of the upstream chain that stands in every one, and does nothing but send.
const CODEC: &str = "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";

/// Only the codec, which every chain towards upstreams ends with.
pub(crate) fn upstream_filters(
    cx: &mut Context,
    field: &'static str,
    filters: Vec<hcm::HttpFilter>,
) -> Result<Option<Unsupported>, Rejection> {
    for (i, hcm::HttpFilter { name, is_optional, disabled, config_type }) in filters.into_iter().enumerate() {
        immaterial((is_optional, disabled), "only the codec is known");
        let any = match config_type {
            Some(hcm::http_filter::ConfigType::TypedConfig(any)) => Some(any),
            Some(hcm::http_filter::ConfigType::ConfigDiscovery(_)) | None => None,
        };
        let found = cx.item(field, i, |cx| {
            cx.not_empty("name", &name)?;
            let what = any.map_or("filter configuration by ECDS".into(), |any| any.type_url);
            Ok((what != CODEC).then(|| cx.unsupported("", &what)))
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
