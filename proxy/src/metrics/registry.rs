//! All scopes of one engine, by name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::family::{Family, FamilyView};
use super::filters::FilterFamilies;
use super::scope::{AnyScope, Scope};
use super::sets::{
    CloseStat, ClusterManagerStat, ClusterStat, ControlPlaneStat, FilesystemStat, HttpStat, ListenerManagerStat,
    ListenerStat, LocalRateLimitStat, LogExportStat, OverloadActionStat, OverloadResourceStat, OverloadStat,
    ProxyProtocolStat, RbacPolicyStat, RbacShadowStat, RbacStat, RuntimeStat, SdsStat, SecretStat, ServerStat,
    SslFactoryStat, SslStat, SubscriptionStat, TcpStat, TlsInspectorStat, TracerStat, ZonegateStat,
};
use super::sni::SniSeries;
use super::stat::StatSet;
use super::{lock, process};

/// All statistics of one engine. Scopes are shared by name and vanish with their last holder, so those of removed
/// clusters do.
pub struct Registry {
    workers: usize,
    started: Instant,
    listeners: Family<ListenerStat>,
    closes: Family<CloseStat>,
    clusters: Family<ClusterStat>,
    tcp: Family<TcpStat>,
    http: Family<HttpStat>,
    proxy_protocols: Family<ProxyProtocolStat>,
    rate_limits: Family<LocalRateLimitStat>,
    overload: Arc<Scope<OverloadStat>>,
    overload_actions: Family<OverloadActionStat>,
    overload_resources: Family<OverloadResourceStat>,
    rbac: Family<RbacStat>,
    rbac_shadow: Family<RbacShadowStat>,
    rbac_policies: Family<RbacPolicyStat>,
    tracers: Family<TracerStat>,
    log_exports: Family<LogExportStat>,
    subscriptions: Family<SubscriptionStat>,
    ssl: Family<SslStat>,
    ssl_factories: Family<SslFactoryStat>,
    sds: Family<SdsStat>,
    secrets: Family<SecretStat>,
    tls_inspector: Arc<Scope<TlsInspectorStat>>,
    server: Arc<Scope<ServerStat>>,
    listener_manager: Arc<Scope<ListenerManagerStat>>,
    cluster_manager: Arc<Scope<ClusterManagerStat>>,
    control_plane: Arc<Scope<ControlPlaneStat>>,
    filesystem: Arc<Scope<FilesystemStat>>,
    runtime: Arc<Scope<RuntimeStat>>,
    zonegate: Arc<Scope<ZonegateStat>>,
    filters: FilterFamilies,
    texts: Mutex<BTreeMap<Box<str>, Arc<str>>>,
    sni: SniSeries,
}

impl Registry {
    /// An empty registry for an engine with so many data-path workers.
    pub fn new(workers: usize) -> Arc<Self> {
        let server = single(workers);
        server.set(ServerStat::Concurrency, i64::try_from(workers).unwrap_or(i64::MAX));
        // Envoy's number for "no certificate".
        server.set(ServerStat::DaysUntilFirstCertExpiring, u32::MAX.into());
        Arc::new(Self {
            workers,
            started: Instant::now(),
            listeners: Family::default(),
            closes: Family::default(),
            clusters: Family::default(),
            tcp: Family::default(),
            http: Family::default(),
            proxy_protocols: Family::default(),
            rate_limits: Family::default(),
            overload: single(workers),
            overload_actions: Family::default(),
            overload_resources: Family::default(),
            rbac: Family::default(),
            rbac_shadow: Family::default(),
            rbac_policies: Family::default(),
            tracers: Family::default(),
            log_exports: Family::default(),
            subscriptions: Family::default(),
            ssl: Family::default(),
            ssl_factories: Family::default(),
            sds: Family::default(),
            secrets: Family::default(),
            tls_inspector: single(workers),
            server,
            listener_manager: single(workers),
            cluster_manager: single(workers),
            control_plane: single(workers),
            filesystem: single(workers),
            runtime: single(workers),
            zonegate: single(workers),
            filters: FilterFamilies::default(),
            texts: Mutex::default(),
            sni: SniSeries::default(),
        })
    }

    /// How many data-path workers there are.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// `listener.<stat_name>.…`; take `:` as it is, it becomes `_`.
    pub fn listener(&self, stat_name: &str) -> Arc<Scope<ListenerStat>> {
        self.listeners.scope(&sanitize(stat_name), self.workers)
    }

    /// Ours: closes of a listener by reason.
    pub fn closes(&self, stat_name: &str) -> Arc<Scope<CloseStat>> {
        self.closes.scope(&sanitize(stat_name), self.workers)
    }

    /// `cluster.<stat_name>.…`
    pub fn cluster(&self, stat_name: &str) -> Arc<Scope<ClusterStat>> {
        self.clusters.scope(&sanitize(stat_name), self.workers)
    }

    /// `tcp.<prefix>.…`
    pub fn tcp(&self, prefix: &str) -> Arc<Scope<TcpStat>> {
        self.tcp.scope(&sanitize(prefix), self.workers)
    }

    /// `http.<prefix>.…`
    pub fn http(&self, prefix: &str) -> Arc<Scope<HttpStat>> {
        self.http.scope(&sanitize(prefix), self.workers)
    }

    /// `proxy_proto.[<prefix>.]…`
    pub fn proxy_protocol(&self, prefix: Option<&str>) -> Arc<Scope<ProxyProtocolStat>> {
        self.proxy_protocols.scope(&sanitize(prefix.unwrap_or_default()), self.workers)
    }

    /// `local_rate_limit.<prefix>.…`
    pub fn local_rate_limit(&self, prefix: &str) -> Arc<Scope<LocalRateLimitStat>> {
        self.rate_limits.scope(&sanitize(prefix), self.workers)
    }

    /// `overload.…`
    pub fn overload(&self) -> Arc<Scope<OverloadStat>> {
        Arc::clone(&self.overload)
    }

    /// `overload.<action>.…`
    pub fn overload_action(&self, name: &str) -> Arc<Scope<OverloadActionStat>> {
        self.overload_actions.scope(&sanitize(name), self.workers)
    }

    /// `overload.<resource>.…`
    pub fn overload_resource(&self, name: &str) -> Arc<Scope<OverloadResourceStat>> {
        self.overload_resources.scope(&sanitize(name), self.workers)
    }

    /// `<prefix>.rbac.…`; Envoy takes the prefix as it is.
    pub fn rbac(&self, prefix: &str) -> Arc<Scope<RbacStat>> {
        self.rbac.scope(&rbac_name(prefix, ""), self.workers)
    }

    pub(super) fn filters(&self) -> &FilterFamilies {
        &self.filters
    }

    /// `http.<prefix>.rbac.[<rules prefix>.]…`
    pub fn http_rbac(&self, prefix: &str, rules: &str) -> Arc<Scope<RbacStat>> {
        self.rbac.scope(&rbac_name(&format!("http.{}", sanitize(prefix)), rules), self.workers)
    }

    /// `<prefix>.rbac.[<shadow prefix>.]shadow_…`
    pub fn rbac_shadow(&self, prefix: &str, shadow_prefix: &str) -> Arc<Scope<RbacShadowStat>> {
        self.rbac_shadow.scope(&rbac_name(prefix, shadow_prefix), self.workers)
    }

    /// Ours: decisions of a filter by policy.
    pub fn rbac_policy(&self, prefix: &str, policy: &str) -> Arc<Scope<RbacPolicyStat>> {
        self.rbac_policies.scope(&format!("{prefix}.policy.{policy}"), self.workers)
    }

    /// `cluster_manager.cds.…`
    pub fn cds(&self) -> Arc<Scope<SubscriptionStat>> {
        self.subscription("cluster_manager.cds")
    }

    /// `listener_manager.lds.…`
    pub fn lds(&self) -> Arc<Scope<SubscriptionStat>> {
        self.subscription("listener_manager.lds")
    }

    /// Any other subscription, by Envoy's full prefix: `http.<prefix>.rds.<route>`, `sds.<secret>`.
    pub fn subscription(&self, prefix: &str) -> Arc<Scope<SubscriptionStat>> {
        self.subscriptions.scope(&sanitize(prefix), self.workers)
    }

    /// `listener.<stat_name>.ssl.…` and its socket factory's.
    pub fn listener_ssl(&self, stat_name: &str) -> (Arc<Scope<SslStat>>, Arc<Scope<SslFactoryStat>>) {
        self.ssl(&format!("listener.{}", sanitize(stat_name)), "server_ssl_socket_factory")
    }

    /// `cluster.<stat_name>.ssl.…` and its socket factory's.
    pub fn cluster_ssl(&self, stat_name: &str) -> (Arc<Scope<SslStat>>, Arc<Scope<SslFactoryStat>>) {
        self.ssl(&format!("cluster.{}", sanitize(stat_name)), "client_ssl_socket_factory")
    }

    fn ssl(&self, prefix: &str, factory: &str) -> (Arc<Scope<SslStat>>, Arc<Scope<SslFactoryStat>>) {
        let factory = self.ssl_factories.scope(&format!("{prefix}.{factory}"), self.workers);
        (self.ssl.scope(prefix, self.workers), factory)
    }

    /// `sds.<secret>.…` beside its subscription's.
    pub fn sds(&self, secret: &str) -> Arc<Scope<SdsStat>> {
        self.sds.scope(&sanitize(secret), self.workers)
    }

    /// Ours: what there is to know of a secret.
    pub fn secret(&self, name: &str) -> Arc<Scope<SecretStat>> {
        self.secrets.scope(&sanitize(name), self.workers)
    }

    /// `tls_inspector.…`
    pub fn tls_inspector(&self) -> Arc<Scope<TlsInspectorStat>> {
        Arc::clone(&self.tls_inspector)
    }

    /// `server.…`
    pub fn server(&self) -> Arc<Scope<ServerStat>> {
        Arc::clone(&self.server)
    }

    /// `listener_manager.…`
    pub fn listener_manager(&self) -> Arc<Scope<ListenerManagerStat>> {
        Arc::clone(&self.listener_manager)
    }

    /// `cluster_manager.…`
    pub fn cluster_manager(&self) -> Arc<Scope<ClusterManagerStat>> {
        Arc::clone(&self.cluster_manager)
    }

    /// `control_plane.…`
    pub fn control_plane(&self) -> Arc<Scope<ControlPlaneStat>> {
        Arc::clone(&self.control_plane)
    }

    /// `tracing.<tracer>.…`
    pub fn tracer(&self, name: &str) -> Arc<Scope<TracerStat>> {
        self.tracers.scope(name, self.workers)
    }

    /// `access_logs.<kind>.…`
    pub fn log_export(&self, name: &str) -> Arc<Scope<LogExportStat>> {
        self.log_exports.scope(name, self.workers)
    }

    /// `filesystem.…`
    pub fn filesystem(&self) -> Arc<Scope<FilesystemStat>> {
        Arc::clone(&self.filesystem)
    }

    /// `runtime.…`
    pub fn runtime(&self) -> Arc<Scope<RuntimeStat>> {
        Arc::clone(&self.runtime)
    }

    /// Ours, process-wide.
    pub fn zonegate(&self) -> Arc<Scope<ZonegateStat>> {
        Arc::clone(&self.zonegate)
    }

    /// Ours: series per server name.
    pub fn sni(&self) -> &SniSeries {
        &self.sni
    }

    /// Sets a text (Envoy's text readouts), by full name: `cluster_manager.cds.version_text`,
    /// `control_plane.identifier`.
    pub fn set_text(&self, name: &str, value: &str) {
        lock(&self.texts).insert(name.into(), value.into());
    }

    /// All texts by name.
    pub fn texts(&self) -> BTreeMap<Box<str>, Arc<str>> {
        lock(&self.texts).clone()
    }

    /// Sets what is only known by asking the system: `server.uptime`, `server.memory_…`. For those who render.
    pub fn refresh(&self) {
        process::refresh(&self.server, self.started);
    }

    /// All counters begin at 0 again.
    pub fn reset_counters(&self) {
        self.listeners.reset();
        self.closes.reset();
        self.clusters.reset();
        self.tcp.reset();
        self.http.reset();
        self.proxy_protocols.reset();
        self.rate_limits.reset();
        self.overload_actions.reset();
        self.overload_resources.reset();
        self.rbac.reset();
        self.rbac_shadow.reset();
        self.rbac_policies.reset();
        self.tracers.reset();
        self.log_exports.reset();
        self.subscriptions.reset();
        self.ssl.reset();
        self.ssl_factories.reset();
        self.sds.reset();
        self.secrets.reset();
        self.tls_inspector.reset_counters();
        self.server.reset_counters();
        self.listener_manager.reset_counters();
        self.cluster_manager.reset_counters();
        self.control_plane.reset_counters();
        self.filesystem.reset_counters();
        self.runtime.reset_counters();
        self.zonegate.reset_counters();
        self.filters.reset();
    }

    /// Calls `see` with one family after the other; scopes that nobody holds are forgotten first. Only one family's
    /// list is in memory at a time.
    pub fn families(&self, mut see: impl FnMut(FamilyView)) {
        see(self.clusters.view());
        see(one(&self.cluster_manager));
        see(one(&self.control_plane));
        see(one(&self.filesystem));
        self.filters.see(&mut see);
        see(self.http.view());
        see(self.listeners.view());
        see(one(&self.listener_manager));
        see(self.rate_limits.view());
        see(one(&self.overload));
        see(self.overload_actions.view());
        see(self.overload_resources.view());
        see(self.proxy_protocols.view());
        see(self.rbac.view());
        see(self.rbac_shadow.view());
        see(one(&self.runtime));
        see(one(&self.server));
        see(self.sds.view());
        see(self.secrets.view());
        see(self.subscriptions.view());
        see(self.ssl.view());
        see(self.ssl_factories.view());
        see(self.tcp.view());
        see(one(&self.tls_inspector));
        see(self.closes.view());
        see(self.rbac_policies.view());
        see(self.tracers.view());
        see(self.log_exports.view());
        see(one(&self.zonegate));
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("workers", &self.workers).finish_non_exhaustive()
    }
}

fn single<S: StatSet>(workers: usize) -> Arc<Scope<S>> {
    Arc::new(Scope::new("", workers))
}

fn one<S: StatSet>(scope: &Arc<Scope<S>>) -> FamilyView {
    let scope: Arc<dyn AnyScope> = Arc::<Scope<S>>::clone(scope);
    FamilyView { prefix: S::PREFIX, defs: S::DEFS, scopes: vec![scope] }
}

fn rbac_name(prefix: &str, shadow_prefix: &str) -> String {
    let shadow_prefix = shadow_prefix.strip_suffix('.').unwrap_or(shadow_prefix);
    let (dot, shadow_dot) = (if prefix.is_empty() { "" } else { "." }, if shadow_prefix.is_empty() { "" } else { "." });
    format!("{prefix}{dot}rbac{shadow_dot}{shadow_prefix}")
}

/// Envoy's `Utility::sanitizeStatsName`: what would break a text listing becomes `_`.
pub(super) fn sanitize(name: &str) -> Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.contains("://") || name.contains([':', '\0']) {
        name.replace("://", "_").replace([':', '\0'], "_").into()
    } else {
        name.into()
    }
}
