//! Metrics under Envoy's names.
//!
//! The hot path adds to an array of its own worker; names, sums and formats are made when somebody asks.
//! [`Registry`] holds the scopes by name, [`Scope`] the numbers of one listener, cluster or prefix, [`sets`] the names.

#[macro_use]
mod stat;
mod histogram;
mod registry;
pub mod render;
mod scope;
pub mod sets;
mod slot;
pub mod sni;
#[cfg(test)]
mod tests;
mod worker;

pub use histogram::{BOUNDS, Histogram};
pub use registry::{FamilyView, Registry};
pub use scope::{AnyScope, Scope};
pub use sets::{
    CloseStat, ClusterManagerStat, ClusterStat, ControlPlaneStat, FilesystemStat, HttpStat, ListenerManagerStat,
    ListenerStat, LocalRateLimitStat, ProxyProtocolStat, RuntimeStat, ServerStat, SubscriptionStat, TcpStat,
    TlsInspectorStat, ZonegateStat,
};
pub use stat::{Kind, StatDef, StatSet};
pub use worker::{current_worker, enter_worker};
