//! The MeshMetric policy as the control plane's dynamic configuration has it: JSON behind the path `/meshmetric` of the
//! listener `_kuma:dynamicconfig` (Kuma `pkg/plugins/policies/meshmetric/dpapi/api.go`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::model::address::Address;
use config::model::chain::Handler;
use config::model::http::{Action, HttpManager, PathMatch};
use config::snapshot::Snapshot;
use serde::Deserialize;

use super::profile::Profile;
use crate::app::duration::parse_duration;

/// Path of the dynamic configuration that holds the policy.
const PATH: &str = "/meshmetric";

/// `sdkmetric.PeriodicReader`'s default, which holds where the policy says nothing or 0.
const INTERVAL: Duration = Duration::from_secs(60);

/// What is shown, how it is labelled and where it is sent.
#[derive(Debug)]
pub(super) struct Policy {
    /// Which metrics.
    pub(super) profile: Profile,
    /// `extraLabels`: on every series, in place of its own of that name.
    pub(super) labels: BTreeMap<String, String>,
    /// `sidecar.includeUnused`.
    pub(super) include_unused: bool,
    /// OpenTelemetry backends.
    pub(super) pushes: Vec<Push>,
    /// Names of applications; there are none beside a gateway or a zone proxy.
    pub(super) applications: Vec<String>,
}

/// An OpenTelemetry backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Push {
    /// Its name.
    pub(super) name: String,
    /// The cluster behind the listener on the backend's socket; `None`: there is no such listener.
    pub(super) cluster: Option<Arc<str>>,
    /// From one push to the next.
    pub(super) every: Duration,
}

/// A policy that can't be understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum PolicyError {
    /// It is not the JSON that it should be.
    #[error("the MeshMetric policy of the dynamic configuration: {0}")]
    Json(#[from] serde_json::Error),
    /// The interval of a backend is no duration.
    #[error("the MeshMetric policy: refreshInterval of the backend {backend:?}: {why}")]
    Interval {
        /// Its name.
        backend: String,
        /// In words.
        why: String,
    },
}

#[derive(Deserialize)]
struct Document {
    observability: Observability,
}

#[derive(Deserialize)]
struct Observability {
    metrics: Metrics,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    applications: Option<Vec<Application>>,
    backends: Option<Vec<Backend>>,
    sidecar: Option<Sidecar>,
    extra_labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Application {
    name: Option<String>,
    #[serde(default)]
    path: String,
    #[serde(default)]
    port: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Backend {
    name: Option<String>,
    open_telemetry: Option<OpenTelemetry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpenTelemetry {
    endpoint: String,
    #[serde(default)]
    refresh_interval: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sidecar {
    profiles: Option<super::profile::Profiles>,
    include_unused: Option<bool>,
}

impl Policy {
    /// The policy in force; `None`: none is.
    ///
    /// # Errors
    /// There is one, but it can't be understood.
    pub(super) fn of(snapshot: &Snapshot) -> Result<Option<Self>, PolicyError> {
        let Some(body) = managers(snapshot).find_map(|(_, manager)| direct(manager)) else { return Ok(None) };
        let Document { observability: Observability { metrics } } = serde_json::from_slice(&body)?;
        let Metrics { applications, backends, sidecar, extra_labels } = metrics;
        let (profiles, include_unused) =
            sidecar.map_or((None, None), |Sidecar { profiles, include_unused }| (profiles, include_unused));
        let pushes = backends.unwrap_or_default().into_iter().filter_map(|backend| push(snapshot, backend).transpose());
        let applications = applications.unwrap_or_default().into_iter();
        Ok(Some(Self {
            profile: Profile::new(profiles.unwrap_or_default()),
            labels: extra_labels.unwrap_or_default(),
            include_unused: include_unused.unwrap_or(false),
            pushes: pushes.collect::<Result<_, _>>()?,
            applications: applications
                .map(|Application { name, path, port }| name.unwrap_or_else(|| format!(":{port}{path}")))
                .collect(),
        }))
    }
}

fn push(snapshot: &Snapshot, backend: Backend) -> Result<Option<Push>, PolicyError> {
    let Backend { name, open_telemetry } = backend;
    let Some(OpenTelemetry { endpoint, refresh_interval }) = open_telemetry else { return Ok(None) };
    let name = name.unwrap_or_default();
    let every = if refresh_interval.is_empty() { Ok(INTERVAL) } else { parse_duration(&refresh_interval) };
    let every = every.map_err(|why| PolicyError::Interval { backend: name.clone(), why })?;
    let every = if every.is_zero() { INTERVAL } else { every };
    Ok(Some(Push { name, cluster: behind(snapshot, &endpoint), every }))
}

/// The control plane's own listeners with routes.
fn managers(snapshot: &Snapshot) -> impl Iterator<Item = (&[Address], &HttpManager)> {
    let listeners = snapshot.listeners.values().map(|entry| &entry.listener).filter(|listener| listener.system);
    listeners.flat_map(|listener| {
        let addresses = &*listener.addresses;
        listener.chains.iter().filter_map(move |chain| match &chain.handler {
            Handler::System(manager) => Some((addresses, &**manager)),
            Handler::TcpProxy(_) | Handler::DirectResponse(_) | Handler::Http(_) | Handler::Unsupported(_) => None,
        })
    })
}

fn direct(manager: &HttpManager) -> Option<Bytes> {
    let routes = manager.virtual_hosts.iter().flat_map(|host| &host.routes);
    let mut wanted = routes.filter(|route| matches!(&route.path, PathMatch::Exact(path) if &**path == PATH));
    wanted.find_map(|route| match &route.action {
        // The other one says 304 to who has it already.
        Action::Direct { status: 200, body } => Some(body.clone()),
        Action::Direct { .. } | Action::Cluster { .. } => None,
    })
}

/// Where the listener on that socket leads: nobody needs to go through it within one process.
fn behind(snapshot: &Snapshot, socket: &str) -> Option<Arc<str>> {
    let on = |address: &Address| match address {
        Address::Pipe { path, .. } => path.as_os_str() == socket,
        Address::Socket(_) => false,
    };
    let (_, manager) = managers(snapshot).find(|(addresses, _)| addresses.iter().any(on))?;
    let mut routes = manager.virtual_hosts.iter().flat_map(|host| &host.routes);
    routes.find_map(|route| match &route.action {
        Action::Cluster { cluster, .. } => Some(Arc::clone(cluster)),
        Action::Direct { .. } => None,
    })
}
