//! Clusters at run time: which endpoints there are, which of them may be used, which one is next, and connecting to it.
//!
//! ```text
//! Snapshot ──apply──> Clusters ──get──> Cluster ──admit──> Pending ──pick──> Host ──connect──> Stream + Lease
//!                        │                 ├ HostSet: priorities, localities, subsets, lines of hosts (immutable, swapped)
//!                        │                 ├ circuit breakers: permits that give themselves back
//!                        │                 └ tasks on the control runtime: active health checks, outlier sweeps, DNS
//! ```
//! The data path reads an `ArcSwap` and adds to atomics; it never waits for a lock that control work holds.

pub mod circuit;
pub mod cluster;
pub mod clusters;
pub mod connect;
pub mod host;
pub mod host_set;

pub use circuit::{Lease, Pending};
pub use cluster::{Cluster, Pick, PickError};
pub use clusters::Clusters;
pub use connect::{Connected, Stream, connect};
pub use host::{Flag, Host};
pub use host_set::HostSet;
