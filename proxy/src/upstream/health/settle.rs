//! What a probe means for its host: flags, statistics, events, and the hosts sorted anew where it matters.

use std::sync::{Arc, Mutex};

use config::model::cluster::HealthCheck;

use super::events::Event;
use super::session::{Change, Session};
use super::{Verdict, lock};
use crate::metrics::ClusterStat;
use crate::upstream::cluster::Cluster;
use crate::upstream::host::{Flag, Host};
use crate::upstream::outlier;

/// Draws the conclusions of a probe.
pub(super) fn settle(
    cluster: &Arc<Cluster>,
    host: &Host,
    check: &HealthCheck,
    (session, verdict): (&Mutex<Session>, Verdict),
) -> Change {
    let (first, change) = {
        let mut session = lock(session);
        (session.is_first(), session.settle(check, host.has(Flag::FailedActiveHc), verdict))
    };
    let settling = Settling { cluster, host, check };
    let mut change = if verdict.passed() {
        settling.passed(first, change, verdict == Verdict::Degraded)
    } else {
        settling.failed(first, change, verdict)
    };
    // Regarded from now on, one way or the other.
    if host.mark(Flag::PendingActiveHc, false) {
        change = Change::Changed;
    }
    let returned = verdict.passed() && outlier::check_passed(cluster, host);
    if change == Change::Changed || returned {
        cluster.refresh();
    }
    change
}

struct Settling<'a> {
    cluster: &'a Cluster,
    host: &'a Host,
    check: &'a HealthCheck,
}

impl Settling<'_> {
    fn passed(&self, first: bool, change: Change, degraded: bool) -> Change {
        let Self { cluster, host, check } = self;
        cluster.stats().inc(ClusterStat::HealthCheckSuccess);
        if change == Change::Changed {
            for flag in [Flag::FailedActiveHc, Flag::ActiveHcTimeout, Flag::ExcludedViaImmediateHcFail] {
                host.mark(flag, false);
            }
            self.log(Event::AddHealthy { first });
        } else if check.always_log_successes {
            self.log(Event::Success);
        }
        if !host.mark(Flag::DegradedActiveHc, degraded) {
            return change;
        }
        self.log(if degraded { Event::Degraded } else { Event::NoLongerDegraded });
        if change == Change::Unchanged { Change::Changed } else { change }
    }

    fn failed(&self, first: bool, change: Change, verdict: Verdict) -> Change {
        let Self { cluster, host, check } = self;
        if let Verdict::Failed { excluded: true, .. } = verdict {
            host.mark(Flag::ExcludedViaImmediateHcFail, true);
        }
        if change == Change::Changed {
            host.mark(Flag::FailedActiveHc, true);
            self.log(Event::EjectUnhealthy { verdict });
        }
        host.mark(Flag::ActiveHcTimeout, verdict == Verdict::Timeout && host.has(Flag::FailedActiveHc));
        if first || check.always_log_failures {
            self.log(Event::Failure { verdict, first });
        }
        let stats = cluster.stats();
        stats.inc(ClusterStat::HealthCheckFailure);
        match verdict {
            Verdict::Network | Verdict::Timeout => stats.inc(ClusterStat::HealthCheckNetworkFailure),
            Verdict::Passive => stats.inc(ClusterStat::HealthCheckPassiveFailure),
            Verdict::Passed | Verdict::Degraded | Verdict::Failed { .. } => {}
        }
        change
    }

    fn log(&self, event: Event) {
        let Self { cluster, host, check } = self;
        cluster.shared().sinks.log(check, cluster.name(), host, event);
    }
}
