//! What a proxy did, told by its clients, its statistics and its access log, in a form that two proxies can share.

use crate::bootstrap::access_log;
use crate::process::{Proxy, Site};
use serde_json::Value;

/// The port of the listener under test.
pub const IN: u16 = 10_000;

/// An access-log line that holds everything about a connection but times, ports of clients and ids.
const LINE: &str = "flags=%RESPONSE_FLAGS% details=%RESPONSE_CODE_DETAILS% \
    end=%CONNECTION_TERMINATION_DETAILS% sni=%REQUESTED_SERVER_NAME% chain=%FILTER_CHAIN_NAME% \
    cluster=%UPSTREAM_CLUSTER% host=%UPSTREAM_HOST% failure=%UPSTREAM_TRANSPORT_FAILURE_REASON% \
    rx=%BYTES_RECEIVED% tx=%BYTES_SENT% local=%DOWNSTREAM_LOCAL_ADDRESS% \
    remote=%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% attempts=%UPSTREAM_REQUEST_ATTEMPT_COUNT%";

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Story<T> {
    /// What clients saw.
    pub seen: T,
    /// Statistics that changed, and by how much.
    pub stats: Vec<String>,
    /// The access log.
    pub log: Vec<String>,
}

impl<T> Story<T> {
    /// By how much this statistic, given with its labels, changed.
    pub fn change(&self, name: &str) -> f64 {
        let find = |line: &String| line.strip_prefix(name)?.trim().parse().ok();
        self.stats.iter().find_map(find).unwrap_or(0.0)
    }

    /// The same without statistics whose names begin so.
    pub fn without(mut self, prefix: &str) -> Self {
        self.stats.retain(|line| !line.starts_with(prefix));
        self
    }

    /// The value of this key in a line of the access log.
    pub fn logged(&self, line: usize, key: &str) -> &str {
        let key = format!("{key}=");
        let mut words = self.log[line].split(' ');
        words.find_map(|word| word.strip_prefix(&key)).unwrap_or_else(|| panic!("no {key} in {}", self.log[line]))
    }
}

/// The access log that [`tell`] reads.
pub fn log_to(site: &Site) -> Value {
    access_log(site, LINE)
}

/// The same with `more` at the end of each line.
pub fn log_more(site: &Site, more: &str) -> Value {
    access_log(site, &format!("{LINE} {more}"))
}

/// Lets something happen, waits for this many log lines and for silence, and tells it all.
pub async fn tell<T>(proxy: &Proxy, lines: usize, act: impl AsyncFnOnce(&Proxy) -> T) -> Story<T> {
    let before = proxy.quiet_stats().await;
    let seen = act(proxy).await;
    let mut log = if lines == 0 { Vec::new() } else { proxy.access_log(lines).await };
    // Two connections that end at the same time may be written in either order.
    log.sort();
    let stats = proxy.quiet_stats().await.since(&before).only(compared).lines();
    let site = proxy.site.address.to_string();
    Story { seen, stats, log: log.iter().map(|line| line.replace(&site, "SITE")).collect() }
}

/// Statistics of which ours are known to be others than Envoy's, and in what (docs/differences.md). Whatever is not
/// named here must be equal.
const DIFFERENT: [(&str, &str); 10] = [
    ("envoy_cluster_upstream_cx_connect_attempts_exceeded", "not counted"),
    ("envoy_cluster_upstream_rq_pending_failure_eject", "not counted"),
    (
        "envoy_cluster_upstream_rq_pending_total",
        "once a connection, where Envoy counts attempts that found an endpoint",
    ),
    ("envoy_tcp_upstream_flush_total", "not counted: there is no flush timer to speak of"),
    ("envoy_tcp_downstream_cx_total", "without connections that a filter before tcp_proxy has closed"),
    ("envoy_listener_downstream_listener_filter_error", "counts malformed PROXY protocol headers as well"),
    ("envoy_listener_ssl_ciphers", "AES-128-GCM is taken first"),
    ("envoy_listener_ssl_sigalgs", "the client's order is followed"),
    ("envoy_listener_ssl_ocsp_staple_omitted", "not counted: there are no staples"),
    ("envoy_listener_ssl_ocsp_staple_requests", "not counted"),
];

/// Families in which two proxies must agree: all that Envoy has about listeners, clusters, tcp_proxy and their
/// filters, but histograms (times) and what depends on which worker took a connection.
pub fn compared(family: &str) -> bool {
    const ABOUT: [&str; 6] = [
        "envoy_listener_",
        "envoy_cluster_",
        "envoy_tcp_",
        "envoy_tls_inspector_",
        "envoy_proxy_proto_",
        "envoy_local_rate_limit_",
    ];
    if DIFFERENT.iter().any(|(different, _)| *different == family) {
        return false;
    }
    const NOT: [&str; 6] =
        ["_bucket", "_sum", "_count", "envoy_listener_worker_", "envoy_listener_admin_", "envoy_cluster_manager_"];
    let about = ABOUT.iter().any(|about| family.starts_with(about))
        || (family.starts_with("envoy_") && family.contains("_rbac_"));
    about && !NOT.iter().any(|not| family.contains(not))
}
