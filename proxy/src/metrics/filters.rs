//! The scopes of HTTP filters.

use std::sync::Arc;

use super::family::{Family, FamilyView};
use super::registry::{Registry, sanitize};
use super::scope::Scope;
use super::sets::{
    CompressionStat, CompressorStat, CorsStat, FaultClusterStat, FaultStat, GrpcStat, HealthCheckStat,
    HttpLocalRateLimitStat, RbacRuleStat,
};

/// All scopes of HTTP filters, by name.
#[derive(Default)]
pub(super) struct FilterFamilies {
    rate_limits: Family<HttpLocalRateLimitStat>,
    faults: Family<FaultStat>,
    fault_clusters: Family<FaultClusterStat>,
    compressors: Family<CompressorStat>,
    compressions: Family<CompressionStat>,
    cors: Family<CorsStat>,
    health_checks: Family<HealthCheckStat>,
    rules: Family<RbacRuleStat>,
    grpc: Family<GrpcStat>,
}

impl FilterFamilies {
    /// All counters begin at 0 again.
    pub(super) fn reset(&self) {
        self.rate_limits.reset();
        self.faults.reset();
        self.fault_clusters.reset();
        self.compressors.reset();
        self.compressions.reset();
        self.cors.reset();
        self.health_checks.reset();
        self.rules.reset();
        self.grpc.reset();
    }

    /// One family after the other.
    pub(super) fn see(&self, see: &mut impl FnMut(FamilyView)) {
        see(self.rate_limits.view());
        see(self.faults.view());
        see(self.fault_clusters.view());
        see(self.compressors.view());
        see(self.compressions.view());
        see(self.cors.view());
        see(self.health_checks.view());
        see(self.rules.view());
        see(self.grpc.view());
    }
}

impl Registry {
    /// `<prefix>.http_local_rate_limit.…`; Envoy takes the prefix as it is.
    pub fn http_local_rate_limit(&self, prefix: &str) -> Arc<Scope<HttpLocalRateLimitStat>> {
        self.filters().rate_limits.scope(&format!("{prefix}.http_local_rate_limit"), self.workers())
    }

    /// `http.<prefix>.fault.…`
    pub fn fault(&self, prefix: &str) -> Arc<Scope<FaultStat>> {
        self.filters().faults.scope(&format!("{}.fault", sanitize(prefix)), self.workers())
    }

    /// `http.<prefix>.fault.<cluster>.…`
    pub fn fault_cluster(&self, prefix: &str, cluster: &str) -> Arc<Scope<FaultClusterStat>> {
        let name = format!("{}.fault.{}", sanitize(prefix), sanitize(cluster));
        self.filters().fault_clusters.scope(&name, self.workers())
    }

    /// `http.<prefix>.compressor.<compressor>.…`, where `compressor` is its name and its library's.
    pub fn compressor(&self, prefix: &str, compressor: &str) -> Arc<Scope<CompressorStat>> {
        let name = format!("{}.compressor.{}", sanitize(prefix), sanitize(compressor));
        self.filters().compressors.scope(&name, self.workers())
    }

    /// `http.<prefix>.compressor.<compressor>.…`, where `compressor` is its name, its library's, and the direction's.
    pub fn compression(&self, prefix: &str, compressor: &str) -> Arc<Scope<CompressionStat>> {
        let name = format!("{}.compressor.{}", sanitize(prefix), sanitize(compressor));
        self.filters().compressions.scope(&name, self.workers())
    }

    /// `http.<prefix>.cors.…`
    pub fn cors(&self, prefix: &str) -> Arc<Scope<CorsStat>> {
        self.filters().cors.scope(&format!("{}.cors", sanitize(prefix)), self.workers())
    }

    /// `http.<prefix>.health_check.…`
    pub fn health_check(&self, prefix: &str) -> Arc<Scope<HealthCheckStat>> {
        self.filters().health_checks.scope(&format!("{}.health_check", sanitize(prefix)), self.workers())
    }

    /// `http.<prefix>.rbac.[<rules prefix>.]policy.<policy>.…`
    pub fn rbac_rule(&self, prefix: &str, rules: &str, policy: &str) -> Arc<Scope<RbacRuleStat>> {
        let rules = rules.strip_suffix('.').unwrap_or(rules);
        let dot = if rules.is_empty() { "" } else { "." };
        let name = format!("{}.rbac.{rules}{dot}policy.{policy}", sanitize(prefix));
        self.filters().rules.scope(&name, self.workers())
    }

    /// `cluster.<cluster>.grpc.[<method>.]…`, where `method` is `<service>.<method>`.
    pub fn grpc(&self, cluster: &str, method: Option<&str>) -> Arc<Scope<GrpcStat>> {
        let (dot, method) = (if method.is_some() { "." } else { "" }, method.unwrap_or_default());
        self.filters().grpc.scope(&format!("{}.grpc{dot}{method}", sanitize(cluster)), self.workers())
    }
}
