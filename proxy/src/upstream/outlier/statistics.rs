//! Which of several success rates stand out.

use config::model::cluster::OutlierDetection;

/// A host's last interval: (index, success in percent, how many).
pub(super) type Sample = (usize, f64, u32);

/// Hosts whose rate is more than `success_rate_stdev_factor` standard deviations below the mean.
pub(super) fn low(samples: &[Sample], config: &OutlierDetection) -> Vec<usize> {
    let valid: Vec<&Sample> = samples.iter().filter(|s| s.2 >= config.success_rate_request_volume).collect();
    if valid.is_empty() || valid.len() < config.success_rate_minimum_hosts as usize {
        return Vec::new();
    }
    let n = valid.len() as f64;
    let mean = valid.iter().map(|s| s.1).sum::<f64>() / n;
    let variance = valid.iter().map(|s| (s.1 - mean).powi(2)).sum::<f64>() / n;
    let threshold = mean - f64::from(config.success_rate_stdev_factor) / 1000.0 * variance.sqrt();
    valid.iter().filter(|s| s.1 < threshold).map(|s| s.0).collect()
}

/// Hosts with at least `failure_percentage_threshold` percent of failures.
pub(super) fn failing(samples: &[Sample], config: &OutlierDetection) -> Vec<usize> {
    let valid: Vec<&Sample> = samples.iter().filter(|s| s.2 >= config.failure_percentage_request_volume).collect();
    if valid.is_empty() || valid.len() < config.failure_percentage_minimum_hosts as usize {
        return Vec::new();
    }
    let threshold = f64::from(config.failure_percentage_threshold);
    valid.iter().filter(|s| 100.0 - s.1 >= threshold).map(|s| s.0).collect()
}
