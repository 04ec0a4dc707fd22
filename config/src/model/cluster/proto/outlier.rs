//! `outlier_detection`.

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::google::protobuf::UInt32Value;

use crate::model::cluster::OutlierDetection;
use crate::reject::{Context, Rejection};

const INTERVAL: Duration = Duration::from_secs(10);
const BASE_EJECTION: Duration = Duration::from_secs(30);
const MAX_EJECTION: Duration = Duration::from_secs(300);

/// Envoy's defaults filled in.
pub(super) fn detection(cx: &mut Context, outlier: pb::OutlierDetection) -> Result<OutlierDetection, Rejection> {
    let pb::OutlierDetection {
        consecutive_5xx,
        interval,
        base_ejection_time,
        max_ejection_percent,
        enforcing_consecutive_5xx,
        enforcing_success_rate,
        success_rate_minimum_hosts,
        success_rate_request_volume,
        success_rate_stdev_factor,
        consecutive_gateway_failure,
        enforcing_consecutive_gateway_failure,
        split_external_local_origin_errors,
        consecutive_local_origin_failure,
        enforcing_consecutive_local_origin_failure,
        enforcing_local_origin_success_rate,
        failure_percentage_threshold,
        enforcing_failure_percentage,
        enforcing_failure_percentage_local_origin,
        failure_percentage_minimum_hosts,
        failure_percentage_request_volume,
        max_ejection_time,
        max_ejection_time_jitter,
        successful_active_health_check_uneject_host,
        monitors,
        always_eject_one_host,
        detect_degraded_hosts,
    } = outlier;
    cx.ignore("monitors", &monitors, "no extension monitors run");
    cx.ignore("detect_degraded_hosts", &detect_degraded_hosts.filter(|f| f.value), "hosts are ejected or not");
    let base = cx.longer_than("base_ejection_time", base_ejection_time, Duration::ZERO)?.unwrap_or(BASE_EJECTION);
    let max = cx.longer_than("max_ejection_time", max_ejection_time, Duration::ZERO)?;
    let max = max.unwrap_or(MAX_EJECTION.max(base));
    if max < base {
        return Err(cx.reject("max_ejection_time", "cannot be smaller than base_ejection_time"));
    }
    let percent = |field, value: Option<UInt32Value>, default| match value.map_or(default, |w| w.value) {
        percent @ 0..=100 => Ok(percent),
        _ => Err(cx.reject(field, "value must be less than or equal to 100")),
    };
    let number = |value: Option<UInt32Value>, default| value.map_or(default, |w| w.value);
    Ok(OutlierDetection {
        interval: cx.longer_than("interval", interval, Duration::ZERO)?.unwrap_or(INTERVAL),
        base_ejection_time: base,
        max_ejection_time: max,
        max_ejection_time_jitter: cx
            .duration("max_ejection_time_jitter", max_ejection_time_jitter)?
            .unwrap_or_default(),
        max_ejection_percent: percent("max_ejection_percent", max_ejection_percent, 10)?,
        always_eject_one_host: always_eject_one_host.is_some_and(|f| f.value),
        consecutive_5xx: number(consecutive_5xx, 5),
        consecutive_gateway_failure: number(consecutive_gateway_failure, 5),
        consecutive_local_origin_failure: number(consecutive_local_origin_failure, 5),
        enforcing_consecutive_5xx: percent("enforcing_consecutive_5xx", enforcing_consecutive_5xx, 100)?,
        enforcing_consecutive_gateway_failure: percent(
            "enforcing_consecutive_gateway_failure",
            enforcing_consecutive_gateway_failure,
            0,
        )?,
        enforcing_consecutive_local_origin_failure: percent(
            "enforcing_consecutive_local_origin_failure",
            enforcing_consecutive_local_origin_failure,
            100,
        )?,
        enforcing_success_rate: percent("enforcing_success_rate", enforcing_success_rate, 100)?,
        enforcing_local_origin_success_rate: percent(
            "enforcing_local_origin_success_rate",
            enforcing_local_origin_success_rate,
            100,
        )?,
        enforcing_failure_percentage: percent("enforcing_failure_percentage", enforcing_failure_percentage, 0)?,
        enforcing_failure_percentage_local_origin: percent(
            "enforcing_failure_percentage_local_origin",
            enforcing_failure_percentage_local_origin,
            0,
        )?,
        success_rate_minimum_hosts: number(success_rate_minimum_hosts, 5),
        success_rate_request_volume: number(success_rate_request_volume, 100),
        success_rate_stdev_factor: number(success_rate_stdev_factor, 1900),
        failure_percentage_threshold: percent("failure_percentage_threshold", failure_percentage_threshold, 85)?,
        failure_percentage_minimum_hosts: number(failure_percentage_minimum_hosts, 5),
        failure_percentage_request_volume: number(failure_percentage_request_volume, 50),
        split_external_local_origin_errors,
        successful_check_unejects: successful_active_health_check_uneject_host.is_none_or(|f| f.value),
    })
}
