//! How load divides over priorities, by health (Envoy: `LoadBalancerBase::recalculatePerPriorityState` and
//! `recalculatePerPriorityPanic`).

/// What counts at one priority. Numbers of hosts, or sums of weights with `weighted_priority_health`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    /// Hosts, whatever their health.
    pub(super) hosts: usize,
    /// Of them: not to be regarded until first probed.
    pub(super) excluded: usize,
    /// Of them: healthy.
    pub(super) healthy: usize,
    /// Of them: degraded.
    pub(super) degraded: usize,
    /// Sums of weights of the same, without the excluded: all, healthy, degraded.
    pub(super) weights: (u64, u64, u64),
}

/// The part of one priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Percent of all load for its healthy hosts.
    pub(super) healthy: u8,
    /// Percent of all load for its degraded hosts.
    pub(super) degraded: u8,
    /// Too few are fit: all hosts are used.
    pub(super) panic: bool,
    /// Percent of its load that its healthy and its degraded hosts could take.
    pub(super) available: (u8, u8),
}

/// What the configuration says about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Terms {
    /// Percent.
    pub(super) overprovisioning: u32,
    /// By weights instead of numbers.
    pub(super) weighted: bool,
    /// Percent of fit hosts below which there is panic; 0: never.
    pub(super) panic_threshold: f64,
}

/// Divides the load. The percentages add up to 100 when there is a priority at all.
pub(super) fn divide(census: &[Census], terms: Terms) -> Vec<Load> {
    let available: Vec<(u64, u64)> = census.iter().map(|c| availability(c, terms)).collect();
    let total: u64 = available.iter().map(|(healthy, degraded)| healthy + degraded).sum::<u64>().min(100);
    let mut loads = vec![Load::default(); census.len()];
    // Envoy rounds the threshold to whole percent.
    let threshold = terms.panic_threshold.round().clamp(0.0, 100.0);
    if total == 0 && threshold == 0.0 {
        // Nowhere to go: any priority may say so.
        if let Some(first) = loads.first_mut() {
            first.healthy = 100;
        }
        return loads;
    }
    if total > 0 {
        spread(&mut loads, &available, total);
    }
    for (load, (healthy, degraded)) in loads.iter_mut().zip(&available) {
        load.available = (percent(*healthy), percent(*degraded));
    }
    for (load, census) in loads.iter_mut().zip(census) {
        load.panic = total < 100 && fit_percent(census) < threshold;
    }
    if loads.iter().all(|load| load.panic) {
        by_size(&mut loads, census);
    }
    loads
}

/// Percent of a priority's load that its healthy and its degraded hosts could take.
fn availability(census: &Census, terms: Terms) -> (u64, u64) {
    let (all, healthy, degraded) = if terms.weighted {
        census.weights
    } else {
        (census.hosts.saturating_sub(census.excluded) as u64, census.healthy as u64, census.degraded as u64)
    };
    if all == 0 {
        return (0, 0);
    }
    let percent = |fit: u64| (u128::from(terms.overprovisioning) * u128::from(fit) / u128::from(all)).min(100) as u64;
    (percent(healthy), percent(degraded))
}

/// How load divides in a retry, when priorities tried before are left out (Envoy: `PreviousPrioritiesRetryPriority`):
/// healthy and degraded percent by priority. `tried` are the priorities of all attempts before; they are looked at after
/// every `frequency` attempts. `None`: as without a retry.
pub(super) fn after(loads: &[Load], tried: impl Iterator<Item = u32>, frequency: usize) -> Option<Vec<(u8, u8)>> {
    let mut attempted: Vec<usize> = Vec::new();
    let mut excluded = vec![false; loads.len()];
    let mut all_used_up = false;
    for priority in tried {
        all_used_up = false;
        attempted.push(priority as usize);
        if !attempted.len().is_multiple_of(frequency.max(1)) {
            continue;
        }
        attempted.iter().filter_map(|p| excluded.get_mut(*p).map(|slot| *slot = true)).for_each(drop);
        if left(loads, &excluded) == 0 {
            // From the start again, rather than nowhere.
            excluded.fill(false);
            attempted.clear();
            all_used_up = true;
        }
    }
    let total = left(loads, &excluded);
    if total == 0 || (attempted.len() < frequency.max(1) && !all_used_up) {
        return None;
    }
    let available: Vec<(u64, u64)> = std::iter::zip(loads, &excluded)
        .map(|(load, out)| if *out { (0, 0) } else { (load.available.0.into(), load.available.1.into()) })
        .collect();
    let mut adjusted = vec![Load::default(); loads.len()];
    spread(&mut adjusted, &available, total);
    Some(adjusted.iter().map(|load| (load.healthy, load.degraded)).collect())
}

/// What the priorities that are not excluded could take, at most 100 percent.
fn left(loads: &[Load], excluded: &[bool]) -> u64 {
    let of = |load: &Load| u64::from(load.available.0) + u64::from(load.available.1);
    std::iter::zip(loads, excluded).filter(|(_, out)| !**out).map(|(load, _)| of(load)).sum::<u64>().min(100)
}

/// Healthy hosts first, in order of priority, then degraded ones; what rounding leaves goes to the first that has any.
fn spread(loads: &mut [Load], available: &[(u64, u64)], total: u64) {
    let mut left = 100;
    for (load, (healthy, _)) in loads.iter_mut().zip(available) {
        load.healthy = percent((healthy * 100 / total).min(left));
        left -= u64::from(load.healthy);
    }
    for (load, (_, degraded)) in loads.iter_mut().zip(available) {
        load.degraded = percent((degraded * 100 / total).min(left));
        left -= u64::from(load.degraded);
    }
    if let Some(first) = available.iter().position(|(healthy, _)| *healthy > 0) {
        loads[first].healthy += percent(left);
    } else if let Some(first) = available.iter().position(|(_, degraded)| *degraded > 0) {
        loads[first].degraded += percent(left);
    }
}

/// All are in panic: load follows the number of hosts, whatever their health.
fn by_size(loads: &mut [Load], census: &[Census]) {
    let total: usize = census.iter().map(|c| c.hosts).sum();
    let mut left = 100;
    for (load, census) in loads.iter_mut().zip(census) {
        load.degraded = 0;
        load.healthy = percent((100 * census.hosts).checked_div(total).unwrap_or_default() as u64);
        left -= load.healthy;
    }
    let first = census.iter().position(|c| c.hosts > 0).unwrap_or_default();
    if let Some(load) = loads.get_mut(first) {
        load.healthy += left;
    }
}

fn fit_percent(census: &Census) -> f64 {
    match census.hosts.saturating_sub(census.excluded) {
        0 => 0.0,
        n => 100.0 * census.healthy as f64 / n as f64 + 100.0 * census.degraded as f64 / n as f64,
    }
}

fn percent(n: u64) -> u8 {
    u8::try_from(n).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: Terms = Terms { overprovisioning: 140, weighted: false, panic_threshold: 50.0 };

    fn census(hosts: usize, healthy: usize, degraded: usize) -> Census {
        Census { hosts, healthy, degraded, ..Census::default() }
    }

    fn divided(census: &[Census]) -> Vec<(u8, u8, bool)> {
        divide(census, TERMS).iter().map(|l| (l.healthy, l.degraded, l.panic)).collect()
    }

    /// The tables of Envoy's documentation on priorities and panic (`arch_overview/upstream/load_balancing`).
    #[test]
    fn documented() {
        let two = |a, b| divided(&[census(100, a, 0), census(100, b, 0)]);
        assert_eq!(two(100, 100), [(100, 0, false), (0, 0, false)]);
        assert_eq!(two(72, 100), [(100, 0, false), (0, 0, false)]);
        assert_eq!(two(71, 1), [(99, 0, false), (1, 0, false)]);
        assert_eq!(two(50, 60), [(70, 0, false), (30, 0, false)]);
        assert_eq!(two(25, 100), [(35, 0, false), (65, 0, false)]);
        assert_eq!(two(25, 25), [(50, 0, true), (50, 0, true)]);
        // 7 and 91 of 98 percent; what rounding leaves goes to the first.
        assert_eq!(two(5, 65), [(8, 0, true), (92, 0, false)]);
    }

    #[test]
    fn degraded_hosts_take_what_healthy_ones_leave() {
        assert_eq!(divided(&[census(10, 5, 5)]), [(70, 30, false)]);
        assert_eq!(divided(&[census(10, 0, 10)]), [(0, 100, false)]);
    }

    #[test]
    fn nobody_fit() {
        assert_eq!(divided(&[census(3, 0, 0), census(1, 0, 0)]), [(75, 0, true), (25, 0, true)]);
        let strict = Terms { panic_threshold: 0.0, ..TERMS };
        let loads = divide(&[census(3, 0, 0), census(1, 0, 0)], strict);
        assert_eq!((loads[0].healthy, loads[0].degraded, loads[0].panic), (100, 0, false));
        assert_eq!(divided(&[census(0, 0, 0)]), [(100, 0, true)]);
        assert!(divide(&[], TERMS).is_empty());
    }

    #[test]
    fn weights_count_where_asked() {
        let heavy = Census { hosts: 2, healthy: 1, weights: (100, 90, 0), ..Census::default() };
        let next = Census { hosts: 1, healthy: 1, weights: (1, 1, 0), ..Census::default() };
        let weighted = Terms { weighted: true, ..TERMS };
        assert_eq!(divide(&[heavy, next], weighted)[0].healthy, 100);
        assert_eq!(divide(&[heavy, next], TERMS)[0].healthy, 70);
    }

    #[test]
    fn retries_leave_priorities_out() {
        let loads = divide(&[census(2, 2, 0), census(2, 2, 0), census(2, 1, 1)], TERMS);
        let after = |tried: &[u32], frequency| after(&loads, tried.iter().copied(), frequency);
        assert_eq!(after(&[], 2), None);
        assert_eq!(after(&[0], 2), None, "too early");
        assert_eq!(after(&[0, 0], 2), Some(vec![(0, 0), (100, 0), (0, 0)]));
        assert_eq!(after(&[0, 0, 1], 2), Some(vec![(0, 0), (100, 0), (0, 0)]), "not yet again");
        assert_eq!(after(&[0, 1], 1), Some(vec![(0, 0), (0, 0), (70, 30)]));
        assert_eq!(after(&[0, 1, 2], 1), Some(vec![(100, 0), (0, 0), (0, 0)]), "from the start");
        assert_eq!(after(&[0, 1, 2, 0], 1), Some(vec![(0, 0), (100, 0), (0, 0)]));
        let dead = divide(&[census(1, 0, 0)], TERMS);
        assert_eq!(super::after(&dead, [0].into_iter(), 1), None);
    }

    #[test]
    fn excluded_hosts_do_not_count() {
        let fresh = Census { hosts: 10, excluded: 9, healthy: 1, ..Census::default() };
        assert_eq!(divided(&[fresh]), [(100, 0, false)]);
    }

    proptest! {
        #[test]
        fn always_a_hundred(sizes in prop::collection::vec((0_usize..20, 0_usize..20, 0_usize..20), 1..6)) {
            let census: Vec<Census> =
                sizes.iter().map(|(h, d, u)| census(h + d + u, *h, *d)).collect();
            let sum: u32 = divide(&census, TERMS).iter().map(|l| u32::from(l.healthy) + u32::from(l.degraded)).sum();
            prop_assert_eq!(sum, 100);
        }
    }
}
