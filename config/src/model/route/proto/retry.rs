//! `RetryPolicy`.

use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3 as pb;
use envoy_types::pb::envoy::extensions::retry::host::omit_canary_hosts::v3::OmitCanaryHostsPredicate;
use envoy_types::pb::envoy::extensions::retry::host::omit_host_metadata::v3::OmitHostMetadataConfig;
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use pb::retry_policy::{
    RateLimitedRetryBackOff, ResetHeader as PbResetHeader, ResetHeaderFormat as PbFormat, RetryBackOff,
    RetryHostPredicate, RetryPriority as PbPriority, retry_host_predicate, retry_priority,
};

use super::{Part, first_set, header_matches, header_name, run};
use crate::model::extension;
use crate::model::metadata::proto::{Interner, lb_fields};
use crate::model::route::{
    BackOff, HostPredicate, RateLimitedBackOff, ResetHeader, ResetHeaderFormat, RetryOn, RetryPolicy, RetryPriority,
};
use crate::reject::{Context, IsSet, Rejection};

/// Envoy's default `max_interval` of a rate-limited back-off.
const RESET_MAX: Duration = Duration::from_secs(300);
const MILLISECOND: Duration = Duration::from_millis(1);
const PREVIOUS_HOSTS: &str = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate";
const OMIT_CANARY: &str = "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate";
const OMIT_METADATA: &str = "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig";
const PREVIOUS_PRIORITIES: &str = "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig";

/// Converts a `RetryPolicy`.
pub(super) fn policy(cx: &mut Context, interner: &mut Interner, policy: pb::RetryPolicy) -> Part<RetryPolicy> {
    let pb::RetryPolicy {
        retry_on,
        num_retries,
        per_try_timeout,
        per_try_idle_timeout,
        retry_priority,
        retry_host_predicate,
        retry_options_predicates,
        host_selection_retry_max_attempts,
        retriable_status_codes,
        retry_back_off,
        rate_limited_retry_back_off,
        retriable_headers,
        retriable_request_headers,
        refresh_cluster_on_retry,
    } = policy;
    let refused: [(&str, &dyn IsSet); 1] = [("retry_options_predicates", &retry_options_predicates)];
    if let Some(unsupported) = first_set(cx, &refused) {
        return Ok(Err(unsupported));
    }
    cx.ignore("refresh_cluster_on_retry", &refresh_cluster_on_retry, "a retry goes to the cluster chosen at first");
    if RetryOn::unknown(&retry_on).next().is_some() {
        cx.note("retry_on", "a word that means nothing is passed over, as in Envoy");
    }
    let mut hosts = Vec::with_capacity(retry_host_predicate.len());
    for (i, predicate) in retry_host_predicate.into_iter().enumerate() {
        hosts.push(run!(cx.item("retry_host_predicate", i, |cx| host_predicate(cx, interner, predicate))?));
    }
    let priority = match retry_priority {
        None => None,
        Some(priority) => Some(run!(cx.at("retry_priority", |cx| self::priority(cx, priority))?)),
    };
    Ok(Ok(RetryPolicy {
        on: RetryOn::parse(&retry_on),
        retries: num_retries.map_or(1, |w| w.value),
        per_try_timeout: cx.duration("per_try_timeout", per_try_timeout)?.filter(|t| !t.is_zero()),
        per_try_idle_timeout: cx.duration("per_try_idle_timeout", per_try_idle_timeout)?.filter(|t| !t.is_zero()),
        priority,
        hosts: hosts.into(),
        host_attempts: match host_selection_retry_max_attempts {
            0 => 1,
            // Envoy takes it as unsigned.
            attempts => u32::try_from(attempts).unwrap_or(u32::MAX),
        },
        // None is greater.
        status_codes: retriable_status_codes.into_iter().filter_map(|code| u16::try_from(code).ok()).collect(),
        back_off: match retry_back_off {
            None => BackOff { base: None, max: None },
            Some(back_off) => cx.at("retry_back_off", |cx| self::back_off(cx, back_off))?,
        },
        rate_limited: match rate_limited_retry_back_off {
            None => None,
            Some(back_off) => Some(Box::new(cx.at("rate_limited_retry_back_off", |cx| rate_limited(cx, back_off))?)),
        },
        response_headers: run!(header_matches(cx, "retriable_headers", retriable_headers)?),
        request_headers: run!(header_matches(cx, "retriable_request_headers", retriable_request_headers)?),
    }))
}

fn back_off(
    cx: &mut Context,
    RetryBackOff { base_interval, max_interval }: RetryBackOff,
) -> Result<BackOff, Rejection> {
    let base = cx.longer_than("base_interval", base_interval, Duration::ZERO)?;
    let base = cx.required("base_interval", base)?.max(MILLISECOND);
    let max = cx.longer_than("max_interval", max_interval, Duration::ZERO)?.map(|max| max.max(MILLISECOND));
    match max {
        Some(max) if max < base => {
            Err(cx.reject("max_interval", "retry_policy.max_interval must greater than or equal to the base_interval"))
        }
        max => Ok(BackOff { base: Some(base), max }),
    }
}

fn rate_limited(cx: &mut Context, back_off: RateLimitedRetryBackOff) -> Result<RateLimitedBackOff, Rejection> {
    let RateLimitedRetryBackOff { reset_headers, max_interval } = back_off;
    if reset_headers.is_empty() {
        return Err(cx.reject("reset_headers", "value must contain at least 1 item(s)"));
    }
    let headers = cx.each("reset_headers", reset_headers, |cx, PbResetHeader { name, format }| {
        let format = match cx.variant("format", format)? {
            PbFormat::Seconds => ResetHeaderFormat::Seconds,
            PbFormat::UnixTimestamp => ResetHeaderFormat::UnixTimestamp,
        };
        Ok(ResetHeader { name: header_name(cx, "name", &name)?, format })
    })?;
    let max = cx.longer_than("max_interval", max_interval, Duration::ZERO)?;
    Ok(RateLimitedBackOff { headers, max: max.map_or(RESET_MAX, |max| max.max(MILLISECOND)) })
}

fn host_predicate(cx: &mut Context, interner: &mut Interner, predicate: RetryHostPredicate) -> Part<HostPredicate> {
    let RetryHostPredicate { name, config_type } = predicate;
    cx.not_empty("name", &name)?;
    let config = config_type.map(|retry_host_predicate::ConfigType::TypedConfig(config)| config);
    let (type_name, body) = extension::required(cx, &name, config)?;
    cx.at("typed_config", |cx| {
        Ok(Ok(match &*type_name {
            PREVIOUS_HOSTS => {
                let PreviousHostsPredicate {} = cx.decode(&body)?;
                HostPredicate::PreviousHosts
            }
            OMIT_CANARY => {
                let OmitCanaryHostsPredicate {} = cx.decode(&body)?;
                HostPredicate::OmitCanary
            }
            OMIT_METADATA => {
                let OmitHostMetadataConfig { metadata_match } = cx.decode(&body)?;
                let fields = cx.at("metadata_match", |cx| lb_fields(cx, interner, metadata_match))?;
                HostPredicate::OmitMetadata(fields.unwrap_or_default())
            }
            other if other.starts_with("envoy.extensions.retry.host.") => return Ok(Err(cx.unsupported("", other))),
            other => return Err(extension::unknown(cx, &name, other)),
        }))
    })
}

fn priority(cx: &mut Context, PbPriority { name, config_type }: PbPriority) -> Part<RetryPriority> {
    cx.not_empty("name", &name)?;
    let config = config_type.map(|retry_priority::ConfigType::TypedConfig(config)| config);
    let (type_name, body) = extension::required(cx, &name, config)?;
    cx.at("typed_config", |cx| match &*type_name {
        PREVIOUS_PRIORITIES => {
            let PreviousPrioritiesConfig { update_frequency } = cx.decode(&body)?;
            match u32::try_from(update_frequency) {
                Ok(update_frequency @ 1..) => Ok(Ok(RetryPriority { update_frequency })),
                _ => Err(cx.reject("update_frequency", "value must be greater than 0")),
            }
        }
        other if other.starts_with("envoy.extensions.retry.priority.") => Ok(Err(cx.unsupported("", other))),
        other => Err(extension::unknown(cx, &name, other)),
    })
}
