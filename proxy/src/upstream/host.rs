//! One endpoint at run time. It lives as long as its address stays in the cluster (and as long as a connection to it).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use config::model::address::Address;
use config::model::endpoint::{Endpoint, Health, HealthCheckOverride, Locality};
use config::model::metadata::{Fields, Metadata, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::outlier::monitor::Monitor;
use super::transport::{Transport, TransportVersion};

/// One endpoint of one cluster.
#[derive(Debug)]
pub struct Host {
    address: Address,
    detail: ArcSwap<Detail>,
    weight: AtomicU32,
    flags: AtomicU32,
    active: AtomicU32,
    connects: AtomicU64,
    connect_failures: AtomicU64,
    requests: AtomicU32,
    requests_total: AtomicU64,
    /// By [`End`]; made with the first answer.
    answers: OnceLock<Box<[AtomicU64; 3]>>,
    monitor: OnceLock<Box<Monitor>>,
    removal: OnceLock<CancellationToken>,
    drain: OnceLock<watch::Sender<()>>,
}

/// What the configuration says of an endpoint besides address and weight. Shared by neighbours that agree in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detail {
    /// Where it is.
    pub locality: Arc<Locality>,
    /// 0 is the highest.
    pub priority: u32,
    /// `endpoint.hostname`, or the DNS name it was resolved from.
    pub hostname: Option<Arc<str>>,
    /// All namespaces.
    pub metadata: Option<Arc<Metadata>>,
    /// Where it can be reached too, tried in turn with its own address.
    pub additional_addresses: Box<[SocketAddr]>,
    /// How it is spoken to.
    pub(crate) transport: Transport,
    /// Whether and where it is probed.
    pub health_check: Option<Box<HealthCheckOverride>>,
}

/// One cause why a host may be unfit (Envoy's `Host::HealthFlag`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// The active health check fails, or has not passed yet.
    FailedActiveHc,
    /// Ejected by outlier detection.
    FailedOutlierCheck,
    /// The control plane says unhealthy or timed out.
    FailedEdsHealth,
    /// The active health check passes, but its answer says degraded.
    DegradedActiveHc,
    /// The control plane says degraded.
    DegradedEdsHealth,
    /// No longer configured, but kept while its active health check passes.
    PendingDynamicRemoval,
    /// Not probed yet, and the cluster ignores such hosts.
    PendingActiveHc,
    /// It asked to be left alone (`x-envoy-immediate-health-check-fail`) and does not count until probes pass.
    ExcludedViaImmediateHcFail,
    /// The last probe timed out.
    ActiveHcTimeout,
    /// The control plane drains it.
    EdsStatusDraining,
}

/// How a request ended, in a host's books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// `rq_success`.
    Success,
    /// `rq_error`.
    Error,
    /// `rq_timeout`.
    Timeout,
}

impl Flag {
    /// All, in the order Envoy prints them.
    pub const ALL: [Self; 10] = [
        Self::FailedActiveHc,
        Self::FailedOutlierCheck,
        Self::FailedEdsHealth,
        Self::DegradedActiveHc,
        Self::DegradedEdsHealth,
        Self::PendingDynamicRemoval,
        Self::PendingActiveHc,
        Self::ExcludedViaImmediateHcFail,
        Self::ActiveHcTimeout,
        Self::EdsStatusDraining,
    ];

    /// As in Envoy's `/clusters`, without the slash.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FailedActiveHc => "failed_active_hc",
            Self::FailedOutlierCheck => "failed_outlier_check",
            Self::FailedEdsHealth => "failed_eds_health",
            Self::DegradedActiveHc => "degraded_active_hc",
            Self::DegradedEdsHealth => "degraded_eds_health",
            Self::PendingDynamicRemoval => "pending_dynamic_removal",
            Self::PendingActiveHc => "pending_active_hc",
            Self::ExcludedViaImmediateHcFail => "excluded_via_immediate_hc_fail",
            Self::ActiveHcTimeout => "active_hc_timeout",
            Self::EdsStatusDraining => "eds_status_draining",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Whether a host may be used (Envoy's `Host::Health`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// First choice.
    Healthy,
    /// Used where healthy ones are too few.
    Degraded,
    /// Used in panic only.
    Unhealthy,
}

const UNHEALTHY: u32 = Flag::FailedActiveHc.bit()
    | Flag::FailedOutlierCheck.bit()
    | Flag::FailedEdsHealth.bit()
    | Flag::EdsStatusDraining.bit();
const DEGRADED: u32 = Flag::DegradedActiveHc.bit() | Flag::DegradedEdsHealth.bit();
const EDS: u32 = Flag::FailedEdsHealth.bit() | Flag::DegradedEdsHealth.bit() | Flag::EdsStatusDraining.bit();

impl Host {
    /// A host without history.
    pub fn new(address: Address, weight: u32, detail: Arc<Detail>) -> Self {
        Self {
            address,
            detail: ArcSwap::new(detail),
            weight: AtomicU32::new(weight.max(1)),
            flags: AtomicU32::new(0),
            active: AtomicU32::new(0),
            connects: AtomicU64::new(0),
            connect_failures: AtomicU64::new(0),
            requests: AtomicU32::new(0),
            requests_total: AtomicU64::new(0),
            answers: OnceLock::new(),
            monitor: OnceLock::new(),
            removal: OnceLock::new(),
            drain: OnceLock::new(),
        }
    }

    /// Where to connect to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// At least 1.
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// What the configuration says of it.
    pub fn detail(&self) -> Arc<Detail> {
        self.detail.load_full()
    }

    /// What connections opened now use.
    pub fn transport_version(&self) -> TransportVersion {
        self.detail.load().transport.version()
    }

    /// It is told who the client is: connections of one client are not another's.
    pub fn is_told_clients(&self) -> bool {
        self.detail.load().transport.header().is_some()
    }

    /// Connections opened now use that.
    pub fn has_transport(&self, version: &TransportVersion) -> bool {
        version.is_that_of(&self.detail.load().transport)
    }

    /// The same, if there are further addresses to connect to.
    pub(super) fn additional_addresses(&self) -> Option<Arc<Detail>> {
        let detail = self.detail.load();
        (!detail.additional_addresses.is_empty()).then(|| Arc::clone(&detail))
    }

    /// Connections open to it (and attempts under way).
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Attempts to connect so far (Envoy's `cx_total`).
    pub fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }

    /// Attempts that failed (Envoy's `cx_connect_fail`).
    pub fn connect_failures(&self) -> u64 {
        self.connect_failures.load(Ordering::Relaxed)
    }

    /// Requests under way (Envoy's `rq_active`); a connection of TCP counts as one.
    pub fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests so far (Envoy's `rq_total`).
    pub fn requests_total(&self) -> u64 {
        self.requests_total.load(Ordering::Relaxed)
    }

    /// How many requests ended so (Envoy's `rq_success`, `rq_error`, `rq_timeout`).
    pub fn ended(&self, end: End) -> u64 {
        self.answers.get().map_or(0, |answers| answers[end as usize].load(Ordering::Relaxed))
    }

    /// Counts how a request ended. Envoy's router: success for answers below 500 (of gRPC: by its status as HTTP would
    /// say it, once that is known), error for others and for resets, timeout beside them where a timeout of the route or
    /// of the try ended it.
    pub fn count_end(&self, end: End) {
        self.answers.get_or_init(Box::default)[end as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// `envoy.lb` metadata says `canary: true`.
    pub fn is_canary(&self) -> bool {
        let detail = self.detail.load();
        let fields = detail.metadata.as_ref().map(|m| m.namespace(Metadata::LB)).unwrap_or_default();
        fields.iter().any(|(key, value)| key.as_ref() == "canary" && *value == Value::Bool(true))
    }

    /// Whether its `envoy.lb` metadata holds all these fields.
    pub fn has_metadata(&self, wanted: &Fields) -> bool {
        let detail = self.detail.load();
        let fields = detail.metadata.as_ref().map(|m| m.namespace(Metadata::LB)).unwrap_or_default();
        wanted.iter().all(|field| fields.contains(field))
    }

    /// Whether `flag` is set.
    pub fn has(&self, flag: Flag) -> bool {
        self.flags.load(Ordering::Acquire) & flag.bit() != 0
    }

    /// All flags that are set, in Envoy's order.
    pub fn flags(&self) -> impl Iterator<Item = Flag> + use<> {
        let flags = self.flags.load(Ordering::Acquire);
        Flag::ALL.into_iter().filter(move |f| flags & f.bit() != 0)
    }

    /// It counts neither as healthy nor as unhealthy (Envoy: excluded hosts).
    pub fn is_excluded(&self) -> bool {
        self.has(Flag::PendingActiveHc) || self.has(Flag::ExcludedViaImmediateHcFail)
    }

    /// All causes taken together.
    pub fn fitness(&self) -> Fitness {
        let flags = self.flags.load(Ordering::Acquire);
        if flags & UNHEALTHY != 0 {
            Fitness::Unhealthy
        } else if flags & DEGRADED != 0 {
            Fitness::Degraded
        } else {
            Fitness::Healthy
        }
    }

    /// Success rates in percent over the last outlier detection interval, of answers and of connects, where there were
    /// enough to say; -1 stands in `/clusters` where not.
    pub fn success_rates(&self) -> [Option<f64>; 2] {
        self.heard().map(|m| m.history().success_rate).unwrap_or_default()
    }

    /// How often outlier detection ejected it.
    pub fn ejections(&self) -> u32 {
        self.heard().map(|m| m.history().ejections).unwrap_or_default()
    }

    /// What outlier detection knows of it; made on first use.
    pub(super) fn monitor(&self) -> &Monitor {
        self.monitor.get_or_init(Box::default)
    }

    /// The same, if there is anything.
    pub(super) fn heard(&self) -> Option<&Monitor> {
        self.monitor.get().map(|m| &**m)
    }

    /// Resolves once the host is gone from a cluster that then closes its connections.
    pub fn removed(&self) -> &CancellationToken {
        self.removal.get_or_init(CancellationToken::new)
    }

    /// Changes whenever pooled connections to it should end as soon as nothing is on them: it is no longer in its
    /// cluster, or it turned unhealthy (a new connection may fare better), as in Envoy.
    pub fn drained(&self) -> watch::Receiver<()> {
        self.drain.get_or_init(|| watch::Sender::new(())).subscribe()
    }

    pub(super) fn drain(&self) {
        if let Some(drain) = self.drain.get() {
            drain.send_replace(());
        }
    }

    pub(super) fn remove(&self) {
        self.removed().cancel();
    }

    /// Sets or clears `flag`; whether that changed anything.
    pub(super) fn mark(&self, flag: Flag, on: bool) -> bool {
        let before = if on {
            self.flags.fetch_or(flag.bit(), Ordering::AcqRel)
        } else {
            self.flags.fetch_and(!flag.bit(), Ordering::AcqRel)
        };
        let changed = (before & flag.bit() != 0) != on;
        if changed && on && matches!(flag, Flag::FailedActiveHc | Flag::FailedOutlierCheck) {
            self.drain();
        }
        changed
    }

    /// Takes over what a new configuration says; history stays.
    pub(super) fn update(&self, endpoint: &Endpoint, detail: &Arc<Detail>) {
        self.weight.store(endpoint.weight.max(1), Ordering::Relaxed);
        self.mark_eds(endpoint.health);
        if !Arc::ptr_eq(&self.detail.load(), detail) {
            self.detail.store(Arc::clone(detail));
        }
    }

    /// It is reached this way from now on.
    pub(super) fn speak(&self, transport: Transport) {
        let detail = self.detail.load();
        if detail.transport != transport {
            self.detail.store(Arc::new(Detail { transport, ..Detail::clone(&detail) }));
        }
    }

    pub(super) fn mark_eds(&self, health: Health) {
        let bits = match health {
            Health::Unknown | Health::Healthy => 0,
            Health::Unhealthy | Health::Timeout => Flag::FailedEdsHealth.bit(),
            Health::Draining => Flag::EdsStatusDraining.bit(),
            Health::Degraded => Flag::DegradedEdsHealth.bit(),
        };
        let old = self.flags.load(Ordering::Acquire);
        // Other bits belong to other tasks: only ours are touched.
        self.flags.fetch_and(!(EDS & !bits), Ordering::AcqRel);
        if old & bits != bits {
            self.flags.fetch_or(bits, Ordering::AcqRel);
        }
    }

    pub(super) fn connecting(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.connects.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn request_started(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.requests_total.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn request_ended(&self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn connect_failed(&self) {
        self.connect_failures.fetch_add(1, Ordering::Relaxed);
    }
}
