//! What is done when the process runs short (Envoy: `OverloadManagerImpl`). Workers read a number; a task on the control
//! runtime looks at the resources from time to time and sets it.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use config::bootstrap::overload::{
    MonitoredResource, Overload as Config, OverloadActionKind as Kind, ScaledMinimum, ScaledTimer, TimerKind,
};

use crate::metrics::{OverloadActionStat, OverloadResourceStat, OverloadStat, Registry, Scope, process};

/// Envoy's default `refresh_interval`.
const REFRESH: Duration = Duration::from_secs(1);
/// An action that is fully taken.
const FULL: u32 = 1_000_000;

/// How far each action is taken. Cheap to read: one load, nothing more while nothing is short.
#[derive(Debug, Default)]
pub struct Overload {
    requests: Level,
    keepalive: Level,
    accept: Level,
    reject: Level,
    timeouts: Level,
    timers: OnceLock<Box<[ScaledTimer]>>,
}

/// From 0, not at all, to [`FULL`].
#[derive(Debug, Default)]
struct Level(AtomicU32);

impl Level {
    fn load(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// By lot, as far as the action is taken.
    fn draw(&self) -> bool {
        let level = self.load();
        level != 0 && fastrand::u32(..FULL) < level
    }
}

impl Overload {
    /// This request is to be answered with 503 `envoy overloaded` (`stop_accepting_requests`).
    pub fn refuses_request(&self) -> bool {
        self.requests.draw()
    }

    /// This connection is to end with the request at hand (`disable_http_keepalive`).
    pub fn ends_keepalive(&self) -> bool {
        self.keepalive.draw()
    }

    /// No connection is accepted for now: they wait in the listeners' queues (`stop_accepting_connections`).
    pub fn stops_accepting(&self) -> bool {
        self.accept.load() == FULL
    }

    /// This connection is to be closed at once (`reject_incoming_connections`).
    pub fn rejects_connection(&self) -> bool {
        self.reject.draw()
    }

    /// A configured time, shorter while `reduce_timeouts` is taken.
    pub fn scaled(&self, timer: TimerKind, time: Duration) -> Duration {
        let level = self.timeouts.load();
        if level == 0 {
            return time;
        }
        let timers = self.timers.get().map_or(&[][..], |timers| timers);
        let Some(scaled) = timers.iter().find(|scaled| scaled.timer == timer) else { return time };
        let minimum = match scaled.minimum {
            ScaledMinimum::Time(minimum) => minimum.min(time),
            ScaledMinimum::Percent(percent) => time.mul_f64((percent / 100.0).clamp(0.0, 1.0)),
        };
        minimum + (time - minimum).mul_f64(1.0 - f64::from(level) / f64::from(FULL))
    }

    fn level(&self, kind: &Kind) -> Option<&Level> {
        match kind {
            Kind::StopAcceptingRequests => Some(&self.requests),
            Kind::DisableHttpKeepalive => Some(&self.keepalive),
            Kind::StopAcceptingConnections => Some(&self.accept),
            Kind::RejectIncomingConnections => Some(&self.reject),
            Kind::ReduceTimeouts(_) => Some(&self.timeouts),
            Kind::ShrinkHeap => None,
        }
    }
}

/// Looks at the resources as long as somebody else holds `overload`; for the control runtime. Ends at once where nothing is configured.
pub(crate) async fn watch(overload: Arc<Overload>, config: Config, registry: Arc<Registry>) {
    if config.actions.is_empty() && config.monitors.is_empty() {
        return;
    }
    let mut watch = Watch::new(overload, config, &registry);
    let interval = watch.config.refresh_interval.unwrap_or(REFRESH);
    loop {
        let due = Instant::now() + interval;
        tokio::time::sleep(interval).await;
        let late = Instant::now().saturating_duration_since(due).as_millis();
        // Ends with the proxy it is for.
        if Arc::strong_count(&watch.overload) == 1 {
            return;
        }
        watch.stats.record(OverloadStat::RefreshIntervalDelay, u64::try_from(late).unwrap_or(u64::MAX));
        watch.look();
    }
}

struct Watch {
    overload: Arc<Overload>,
    config: Config,
    stats: Arc<Scope<OverloadStat>>,
    resources: Box<[Arc<Scope<OverloadResourceStat>>]>,
    actions: Box<[Arc<Scope<OverloadActionStat>>]>,
    pressures: Box<[f64]>,
}

impl Watch {
    fn new(overload: Arc<Overload>, config: Config, registry: &Registry) -> Self {
        for action in &config.actions {
            if let Kind::ReduceTimeouts(timers) = &action.kind {
                let _first = overload.timers.set(timers.clone());
            }
        }
        Self {
            resources: config.monitors.iter().map(|monitor| registry.overload_resource(&monitor.name)).collect(),
            actions: config.actions.iter().map(|action| registry.overload_action(action.kind.name())).collect(),
            pressures: vec![0.0; config.monitors.len()].into(),
            stats: registry.overload(),
            overload,
            config,
        }
    }

    fn look(&mut self) {
        for ((monitor, stats), pressure) in self.config.monitors.iter().zip(&self.resources).zip(&mut self.pressures) {
            match measure(&monitor.resource) {
                Some(now) => {
                    *pressure = now;
                    stats.set(OverloadResourceStat::Pressure, percent(now));
                }
                None => stats.inc(OverloadResourceStat::FailedUpdates),
            }
        }
        for (action, stats) in self.config.actions.iter().zip(&self.actions) {
            let scales = action.triggers.iter().map(|trigger| {
                let index = self.config.monitors.iter().position(|monitor| monitor.name == trigger.resource);
                trigger.scale(index.and_then(|index| self.pressures.get(index)).copied().unwrap_or_default())
            });
            self.act(&action.kind, scales.fold(0.0, f64::max), stats);
        }
    }

    fn act(&self, kind: &Kind, scale: f64, stats: &Scope<OverloadActionStat>) {
        let was = stats.gauge(OverloadActionStat::ScalePercent);
        if (was == 100) != (scale >= 1.0) {
            let state = if scale >= 1.0 { "active" } else { "no longer active" };
            tracing::warn!(action = kind.name(), "overload action {state}");
        }
        stats.set(OverloadActionStat::Active, i64::from(scale >= 1.0));
        stats.set(OverloadActionStat::ScalePercent, percent(scale));
        match self.overload.level(kind) {
            Some(level) => level.0.store((scale * f64::from(FULL)) as u32, Ordering::Relaxed),
            // What is free goes back to the system within seconds anyway (jemalloc's decay); Envoy counts each turn.
            None if scale >= 1.0 => stats.inc(OverloadActionStat::ShrinkCount),
            None => {}
        }
    }
}

fn percent(scale: f64) -> i64 {
    (scale * 100.0) as i64
}

/// The pressure, from 0 to 1 and beyond; `None`: not known.
fn measure(resource: &MonitoredResource) -> Option<f64> {
    match resource {
        MonitoredResource::Heap(most) => Some(process::allocated()? as f64 / *most as f64),
        MonitoredResource::Injected(file) => injected(file),
    }
}

/// What `envoy.resource_monitors.injected_resource` reads.
fn injected(file: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.trim().parse().ok().filter(|pressure| (0.0..=1.0).contains(pressure))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use config::bootstrap::overload::{Monitor, OverloadAction, Trigger};

    use super::*;

    fn action(kind: Kind, from: f64, saturation: f64) -> OverloadAction {
        OverloadAction { kind, triggers: Box::new([Trigger { resource: "i".into(), from, saturation }]) }
    }

    fn watched(file: &Path, actions: Vec<OverloadAction>) -> (Watch, Arc<Registry>) {
        let registry = Registry::new(1);
        let monitors = Box::new([
            Monitor { name: "i".into(), resource: MonitoredResource::Injected(file.into()) },
            Monitor { name: "h".into(), resource: MonitoredResource::Heap(1) },
        ]);
        let config = Config { monitors, actions: actions.into(), ..Config::default() };
        (Watch::new(Arc::default(), config, &registry), registry)
    }

    #[test]
    fn actions_follow_the_pressure() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pressure");
        let actions = vec![
            action(Kind::StopAcceptingRequests, 0.5, 1.0),
            action(Kind::StopAcceptingConnections, 0.9, 0.9),
            action(Kind::ShrinkHeap, 0.9, 0.9),
        ];
        let (mut watch, registry) = watched(&file, actions);
        watch.look();
        assert!(!watch.overload.refuses_request() && !watch.overload.stops_accepting());
        let resource = registry.overload_resource("i");
        assert_eq!(resource.get(OverloadResourceStat::FailedUpdates), 1);
        std::fs::write(&file, "0.75\n").unwrap();
        watch.look();
        assert_eq!(resource.gauge(OverloadResourceStat::Pressure), 75);
        let refused = (0..1000).filter(|_| watch.overload.refuses_request()).count();
        assert!((300..700).contains(&refused), "{refused}");
        assert!(!watch.overload.stops_accepting());
        std::fs::write(&file, "1").unwrap();
        watch.look();
        assert!(watch.overload.refuses_request() && watch.overload.stops_accepting());
        let name = Kind::ShrinkHeap.name();
        assert_eq!(registry.overload_action(name).get(OverloadActionStat::ShrinkCount), 1);
        assert_eq!(registry.overload_action(name).gauge(OverloadActionStat::Active), 1);
        std::fs::write(&file, "0").unwrap();
        watch.look();
        assert!(!watch.overload.refuses_request() && !watch.overload.stops_accepting());
        assert!(registry.overload_resource("h").gauge(OverloadResourceStat::Pressure) > 100);
    }

    #[test]
    fn timeouts_shrink() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pressure");
        let timers = [
            ScaledTimer { timer: TimerKind::HttpConnectionIdle, minimum: ScaledMinimum::Time(Duration::from_secs(2)) },
            ScaledTimer { timer: TimerKind::HttpStreamIdle, minimum: ScaledMinimum::Percent(10.0) },
        ];
        let (mut watch, _registry) = watched(&file, vec![action(Kind::ReduceTimeouts(Box::new(timers)), 0.0, 1.0)]);
        let ten = Duration::from_secs(10);
        assert_eq!(watch.overload.scaled(TimerKind::HttpConnectionIdle, ten), ten);
        std::fs::write(&file, "0.5").unwrap();
        watch.look();
        let seconds = |timer| watch.overload.scaled(timer, ten).as_secs_f64().round();
        assert_eq!(seconds(TimerKind::HttpConnectionIdle), 6.0);
        assert_eq!((seconds(TimerKind::HttpStreamIdle) * 2.0).round(), 12.0);
        assert_eq!(seconds(TimerKind::TransportConnect), 10.0);
    }
}
