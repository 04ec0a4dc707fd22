//! The sets of statistics, by Envoy's names.

mod cluster;
mod filter;
mod http;
mod listener;
mod own;
mod rbac;
mod server;
mod ssl;
mod tcp;
mod tracing;

pub use cluster::ClusterStat;
pub use filter::{
    CompressionStat, CompressorStat, CorsStat, FaultClusterStat, FaultStat, GrpcStat, HealthCheckStat,
    HttpLocalRateLimitStat, RbacRuleStat,
};
pub use http::HttpStat;
pub use listener::{ListenerStat, LocalRateLimitStat, ProxyProtocolStat, TlsInspectorStat};
pub use own::{CloseStat, SecretStat, ZonegateStat};
pub use rbac::{RbacPolicyStat, RbacShadowStat, RbacStat};
pub use server::{
    ClusterManagerStat, ControlPlaneStat, FilesystemStat, ListenerManagerStat, OverloadActionStat,
    OverloadResourceStat, OverloadStat, RuntimeStat, SdsStat, ServerStat, SubscriptionStat,
};
pub use ssl::{SslFactoryStat, SslStat};
pub use tcp::TcpStat;
pub use tracing::{LogExportStat, TracerStat};
