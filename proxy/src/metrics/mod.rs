//! Metrics under Envoy's names.
//!
//! The hot path adds to an array of its own worker; names, sums and formats are made when somebody asks.
//! [`Registry`] holds the scopes by name, [`Scope`] the numbers of one listener, cluster or prefix, [`sets`] the names.

#[macro_use]
mod stat;
mod family;
mod filters;
mod histogram;
pub(crate) mod process;
mod registry;
pub mod render;
mod scope;
pub mod sets;
mod slot;
pub mod sni;
#[cfg(test)]
mod tests;
mod worker;

pub use family::FamilyView;
pub use histogram::{BOUNDS, Histogram};
pub use registry::Registry;
pub use scope::{AnyScope, Scope};
pub use sets::{
    CloseStat, ClusterManagerStat, ClusterStat, CompressionStat, CompressorStat, ControlPlaneStat, CorsStat,
    FaultClusterStat, FaultStat, FilesystemStat, GrpcStat, HealthCheckStat, HttpLocalRateLimitStat, HttpStat,
    ListenerManagerStat, ListenerStat, LocalRateLimitStat, LogExportStat, OverloadActionStat, OverloadResourceStat,
    OverloadStat, ProxyProtocolStat, RbacPolicyStat, RbacRuleStat, RbacShadowStat, RbacStat, RuntimeStat, SdsStat,
    SecretStat, ServerStat, SslFactoryStat, SslStat, SubscriptionStat, TcpStat, TlsInspectorStat, TracerStat,
    ZonegateStat,
};
pub use stat::{Kind, StatDef, StatSet};
pub use worker::{current_worker, enter_worker};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock whose holder panicked is still good: nothing here is left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
