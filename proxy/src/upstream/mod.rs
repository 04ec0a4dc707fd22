//! Clusters at run time: which endpoints there are, which of them may be used, which one is next, and connecting to it.
//!
//! ```text
//! Snapshot ──apply──> Clusters ──get──> Cluster ──admit──> Pending ──pick──> Host ──connect──> Stream + Lease
//!                                         ├ HostSet: priorities, localities, subsets, lines of hosts (immutable, swapped)
//!                                         ├ circuit breakers: permits that give themselves back
//!                                         └ tasks on the control runtime: health checks, outlier sweeps, DNS
//! ```
//! The data path reads an `ArcSwap` and adds to atomics; it never waits for a lock that control work holds. Whatever
//! changes the fitness of a host (configuration, health check, outlier detection, DNS) sets a flag on the host and has
//! its cluster's `HostSet` built anew; hosts are kept by address, with all their history.

mod balance;
pub mod circuit;
pub mod cluster;
pub mod clusters;
pub mod connect;
pub mod dns;
mod happy;
mod health;
pub mod host;
pub mod host_set;
mod introduction;
mod loads;
mod locality;
mod outlier;
mod permit;
mod pool;
mod request;
mod subset;
mod tasks;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod transport;
mod zones;

pub use config::model::cluster::Priority;

pub use cluster::{Cluster, Pick, PickError, Predicates};
pub use clusters::Clusters;
pub use connect::{ConnectOptions, Connected, Pooled, connect, connect_before, connect_pooled};
pub use host::{End, Fitness, Flag, Host};
pub use host_set::HostSet;
pub use outlier::Outcome;
pub use permit::{Lease, Pending};
pub use request::{
    Codec, ConnectionEnd, ConnectionPermit, PoolPermit, PooledLease, Queued, RequestPermit, RetryPermit,
};
pub use transport::TransportVersion;
