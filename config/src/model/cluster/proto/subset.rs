//! `lb_subset_config`.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::cluster::LbSubsetConfig;
use envoy_types::pb::envoy::config::cluster::v3::cluster::lb_subset_config::{
    LbSubsetFallbackPolicy, LbSubsetMetadataFallbackPolicy, LbSubsetSelector,
    lb_subset_selector::LbSubsetSelectorFallbackPolicy,
};

use crate::model::cluster::{SubsetFallback, SubsetSelector, Subsets};
use crate::model::metadata::proto::{Interner, fields};
use crate::reject::{Context, Rejection};

/// Subsets; `None` without selectors, which in Envoy turns subsets off.
pub(super) fn subsets(
    cx: &mut Context,
    interner: &mut Interner,
    config: LbSubsetConfig,
) -> Result<Option<Subsets>, Rejection> {
    let LbSubsetConfig {
        fallback_policy,
        default_subset,
        subset_selectors,
        locality_weight_aware,
        scale_locality_weight,
        panic_mode_any,
        list_as_any,
        metadata_fallback_policy,
    } = config;
    match cx.variant("metadata_fallback_policy", metadata_fallback_policy)? {
        LbSubsetMetadataFallbackPolicy::MetadataNoFallback => {}
        LbSubsetMetadataFallbackPolicy::FallbackList => {
            cx.note("metadata_fallback_policy", "a fallback_list in metadata is not looked at");
        }
    }
    let fallback = match cx.variant("fallback_policy", fallback_policy)? {
        LbSubsetFallbackPolicy::NoFallback => SubsetFallback::NoFallback,
        LbSubsetFallbackPolicy::AnyEndpoint => SubsetFallback::AnyEndpoint,
        LbSubsetFallbackPolicy::DefaultSubset => SubsetFallback::DefaultSubset,
    };
    let selectors = cx.each("subset_selectors", subset_selectors, |cx, s| selector(cx, interner, s))?;
    let selectors: Box<[_]> = selectors.into_iter().filter(|s| !s.keys.is_empty()).collect();
    if selectors.is_empty() {
        return Ok(None);
    }
    Ok(Some(Subsets {
        fallback,
        default_subset: fields(cx, interner, default_subset.unwrap_or_default())?,
        selectors,
        locality_weight_aware,
        scale_locality_weight,
        panic_mode_any,
        list_as_any,
    }))
}

fn selector(
    cx: &mut Context,
    interner: &mut Interner,
    selector: LbSubsetSelector,
) -> Result<SubsetSelector, Rejection> {
    let LbSubsetSelector { keys, single_host_per_subset, fallback_policy, fallback_keys_subset } = selector;
    let mut sorted = |keys: Vec<String>| -> Box<[Arc<str>]> {
        let mut keys: Vec<_> = keys.iter().map(|k| interner.string(k)).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into()
    };
    let (keys, fallback_keys) = (sorted(keys), sorted(fallback_keys_subset));
    let fallback = match cx.variant("fallback_policy", fallback_policy)? {
        LbSubsetSelectorFallbackPolicy::NotDefined => None,
        LbSubsetSelectorFallbackPolicy::NoFallback => Some(SubsetFallback::NoFallback),
        LbSubsetSelectorFallbackPolicy::AnyEndpoint => Some(SubsetFallback::AnyEndpoint),
        LbSubsetSelectorFallbackPolicy::DefaultSubset => Some(SubsetFallback::DefaultSubset),
        LbSubsetSelectorFallbackPolicy::KeysSubset => Some(SubsetFallback::KeysSubset),
    };
    match fallback {
        Some(SubsetFallback::KeysSubset) => {
            if fallback_keys.is_empty() || fallback_keys.len() >= keys.len() {
                let reason = "must be a non-empty part of the selector's keys with KEYS_SUBSET";
                return Err(cx.reject("fallback_keys_subset", reason));
            }
            if !fallback_keys.iter().all(|k| keys.binary_search(k).is_ok()) {
                return Err(cx.reject("fallback_keys_subset", "must be a subset of the selector's keys"));
            }
        }
        _ if !fallback_keys.is_empty() => {
            return Err(cx.reject("fallback_keys_subset", "is for the fallback policy KEYS_SUBSET only"));
        }
        _ => {}
    }
    Ok(SubsetSelector { keys, fallback, fallback_keys, single_host: single_host_per_subset })
}
