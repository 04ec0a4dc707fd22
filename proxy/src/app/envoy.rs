//! As envoy is called: `-c FILE`.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use config::bootstrap::{Bootstrap, BootstrapError, StatsTag, TagValue, envoy as bootstrap_file};

use crate::app::args::{EnvoyArgs, Strategy};
use crate::app::run::host;
use crate::app::settings::{DrainStrategy, Logs, Settings};

/// Envoy's `--drain-time-s`.
const DRAIN_TIME: Duration = Duration::from_secs(600);

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum EnvoyError {
    /// The bootstrap.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// `--stats-tag`.
    #[error("--stats-tag {0:?} is not name:value")]
    StatsTag(String),
}

/// The bootstrap that the flags name, with what they change in it.
///
/// # Errors
/// See [`EnvoyError`].
pub fn bootstrap(args: &EnvoyArgs) -> Result<Bootstrap, EnvoyError> {
    let mut bootstrap = bootstrap_file::load(args.config_path.as_deref(), args.config_yaml.as_deref())?;
    let node = &mut bootstrap.node;
    if let Some(id) = &args.service_node {
        node.id.clone_from(id);
    }
    if let Some(cluster) = &args.service_cluster {
        node.cluster.clone_from(cluster);
    }
    if let Some(zone) = &args.service_zone {
        node.locality.get_or_insert_default().zone.clone_from(zone);
    }
    for tag in &args.stats_tag {
        let (name, value) = tag.split_once(':').ok_or_else(|| EnvoyError::StatsTag(tag.clone()))?;
        let value: Arc<str> = value.into();
        bootstrap.stats.tags.push(StatsTag { name: name.into(), value: TagValue::Fixed(value) });
    }
    Ok(bootstrap)
}

/// What to serve with.
///
/// # Errors
/// See [`EnvoyError`].
pub fn prepare(args: &EnvoyArgs) -> Result<Settings, EnvoyError> {
    Ok(Settings {
        bootstrap: bootstrap(args)?,
        concurrency: args.concurrency.and_then(NonZeroUsize::new).unwrap_or_else(host::cpus),
        drain_time: args.drain_time_s.map_or(DRAIN_TIME, Duration::from_secs),
        drain_strategy: match args.drain_strategy {
            Some(Strategy::Immediate) => DrainStrategy::Immediate,
            Some(Strategy::Gradual) | None => DrainStrategy::Gradual,
        },
        readiness: None,
        admin_address_path: args.admin_address_path.clone(),
        logs: Logs {
            flush_interval: args.file_flush_interval_msec.map(Duration::from_millis),
            flush_bytes: args.file_flush_min_size_kb.map(|kib| kib.saturating_mul(1024)),
        },
        config_path: args.config_path.clone(),
        kuma: None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn args() -> EnvoyArgs {
        EnvoyArgs { config_yaml: Some("node: {id: a, cluster: b}".to_owned()), ..EnvoyArgs::default() }
    }

    #[test]
    fn envoys_defaults() {
        let settings = prepare(&args()).unwrap();
        assert_eq!((settings.drain_time, settings.drain_strategy), (DRAIN_TIME, DrainStrategy::Gradual));
        assert!(settings.readiness.is_none() && settings.kuma.is_none());
        assert_eq!(settings.concurrency, host::cpus());
    }

    #[test]
    fn flags_win_over_the_file() {
        let settings = prepare(&EnvoyArgs {
            concurrency: Some(3),
            drain_time_s: Some(7),
            drain_strategy: Some(Strategy::Immediate),
            service_node: Some("n".to_owned()),
            service_zone: Some("z".to_owned()),
            stats_tag: vec!["env:prod".to_owned()],
            ..args()
        })
        .unwrap();
        let node = &settings.bootstrap.node;
        assert_eq!((&*node.id, &*node.cluster, &*node.locality.as_ref().unwrap().zone), ("n", "b", "z"));
        assert_eq!((settings.concurrency.get(), settings.drain_time), (3, Duration::from_secs(7)));
        assert_eq!(settings.bootstrap.stats.tags[0].value, TagValue::Fixed("prod".into()));
        let bad = EnvoyArgs { stats_tag: vec!["x".to_owned()], ..args() };
        assert_eq!(prepare(&bad).unwrap_err().to_string(), "--stats-tag \"x\" is not name:value");
    }
}
