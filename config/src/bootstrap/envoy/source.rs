//! `dynamic_resources`: from where listeners and clusters come.

use core::api_config_source::ApiType;
use core::config_source::ConfigSourceSpecifier as Specifier;
use envoy_types::pb::envoy::config::bootstrap::v3::bootstrap::DynamicResources;
use envoy_types::pb::envoy::config::core::v3 as core;

use super::super::{Dynamic, Source};
use super::ads;
use super::statics::{Statics, file_source};
use crate::reject::{Context, Rejection, immaterial};
use crate::snapshot::Kind;

/// Reads all of it.
pub(super) fn dynamic(cx: &mut Context, message: DynamicResources, statics: &Statics) -> Result<Dynamic, Rejection> {
    let DynamicResources { lds_config, lds_resources_locator, cds_config, cds_resources_locator, ads_config } = message;
    cx.ignore("lds_resources_locator", &lds_resources_locator, "xDS-TP names are not asked for");
    cx.ignore("cds_resources_locator", &cds_resources_locator, "xDS-TP names are not asked for");
    let ads = ads_config.map(|c| cx.at("ads_config", |cx| ads::read(cx, c, statics))).transpose()?;
    let listeners = lds_config.map(|c| cx.at("lds_config", |cx| source(cx, Kind::Listener, c, statics))).transpose()?;
    let clusters = cds_config.map(|c| cx.at("cds_config", |cx| source(cx, Kind::Cluster, c, statics))).transpose()?;
    for (field, source) in [("lds_config", &listeners), ("cds_config", &clusters)] {
        if matches!(source, Some(Source::Ads)) && ads.is_none() {
            return Err(cx.reject(field, "comes from ADS, but there is no ads_config"));
        }
    }
    Ok(Dynamic { ads, listeners, clusters, ..Dynamic::default() })
}

fn source(cx: &mut Context, kind: Kind, source: core::ConfigSource, statics: &Statics) -> Result<Source, Rejection> {
    let file = file_source(kind, &source, None);
    let core::ConfigSource { authorities, initial_fetch_timeout, resource_api_version, config_source_specifier } =
        source;
    immaterial(authorities, "not implemented by Envoy either, which hides the field");
    immaterial(initial_fetch_timeout, "there is nothing to do but to wait for listeners and clusters");
    version(cx, "resource_api_version", resource_api_version)?;
    match (cx.required("config_source_specifier", config_source_specifier)?, file) {
        (_, Some(file)) => {
            let empty = file.path.as_os_str().is_empty();
            if empty {
                Err(cx.reject("path", "value length must be at least 1 characters"))
            } else {
                Ok(Source::File(file))
            }
        }
        (Specifier::Ads(_) | Specifier::Self_(_), _) => Ok(Source::Ads),
        (Specifier::ApiConfigSource(api), _) => cx.at("api_config_source", |cx| {
            let aggregated = matches!(
                cx.variant::<ApiType>("api_type", api.api_type)?,
                ApiType::AggregatedGrpc | ApiType::AggregatedDeltaGrpc
            );
            if aggregated { Ok(Source::Ads) } else { ads::read(cx, api, statics).map(|a| Source::Stream(Box::new(a))) }
        }),
        _ => Err(cx.reject("config_source_specifier", "this source is not supported")),
    }
}

/// Nothing but version 3 is spoken; unset means so here, as in Envoy since it dropped version 2.
pub(super) fn version(cx: &Context, field: &str, version: i32) -> Result<(), Rejection> {
    match cx.variant::<core::ApiVersion>(field, version)? {
        core::ApiVersion::Auto | core::ApiVersion::V3 => Ok(()),
        #[allow(deprecated)]
        core::ApiVersion::V2 => Err(cx.reject(field, "version 2 of the API is no longer spoken")),
    }
}
