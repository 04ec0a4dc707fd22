//! Which metrics a MeshMetric policy shows (Kuma 2.14 and later,
//! `app/kuma-dp/pkg/dataplane/metrics/profiles.go`).

use regex::Regex;
use serde::Deserialize;

/// `Profiles`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Profiles {
    append_profiles: Option<Vec<Named>>,
    exclude: Option<Vec<Written>>,
    include: Option<Vec<Written>>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: Name,
}

/// Widest first: each holds those that follow.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    All,
    Basic,
    None,
}

#[derive(Debug, Deserialize)]
struct Written {
    #[serde(rename = "type")]
    kind: How,
    #[serde(rename = "match")]
    text: String,
}

#[derive(Debug, Deserialize)]
enum How {
    Prefix,
    Regex,
    Exact,
    Contains,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Profile {
    widest: Name,
    exclude: Vec<Selector>,
    include: Vec<Selector>,
}

#[derive(Debug)]
enum Selector {
    Prefix(String),
    Regex(Regex),
    Exact(String),
    Contains(String),
}

impl Selector {
    /// `None`: an expression that is none. The control plane lets none through, and kuma-dp takes it for one that never
    /// matches.
    fn new(Written { kind, text }: Written) -> Option<Self> {
        Some(match kind {
            How::Prefix => Self::Prefix(text),
            How::Exact => Self::Exact(text),
            How::Contains => Self::Contains(text),
            How::Regex => Self::Regex(Regex::new(&text).ok()?),
        })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
            Self::Regex(regex) => regex.is_match(name),
            Self::Exact(text) => name == text,
            Self::Contains(part) => name.contains(part.as_str()),
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::new(Profiles::default())
    }
}

impl Profile {
    /// Without a name, `Basic`.
    pub(super) fn new(Profiles { append_profiles, exclude, include }: Profiles) -> Self {
        let named = append_profiles.unwrap_or_default();
        let selectors = |written: Option<Vec<Written>>| {
            written.unwrap_or_default().into_iter().filter_map(Selector::new).collect::<Vec<_>>()
        };
        Self {
            widest: named.iter().map(|named| named.name).min().unwrap_or(Name::Basic),
            exclude: selectors(exclude),
            include: selectors(include),
        }
    }

    /// Whether metrics of that name are shown: what is included, else what is not excluded, of the profile.
    pub(super) fn shows(&self, metric: &str) -> bool {
        if self.include.iter().any(|selector| selector.matches(metric)) {
            return true;
        }
        let of_profile = match self.widest {
            Name::All => true,
            Name::Basic => basic(metric),
            Name::None => false,
        };
        of_profile && !self.exclude.iter().any(|selector| selector.matches(metric))
    }

    /// Whether a series with that label is: `Basic` leaves out what concerns the control plane's own clusters,
    /// listeners and connection managers.
    pub(super) fn shows_label(&self, label: &str, value: &str) -> bool {
        let entity = ["envoy_cluster_name", "envoy_http_conn_manager_prefix", "envoy_listener_address"];
        self.widest != Name::Basic
            || !entity.contains(&label)
            || !(value.starts_with('_')
                || value.starts_with("system_")
                || ["ads_cluster", "access_log_sink"].contains(&value))
    }
}

fn basic(metric: &str) -> bool {
    const CONTAINS: &[&str] = &[
        "_rq",
        "bytes",
        "cancelled",
        "circuit_breakers",
        "cx_active",
        "cx_connect",
        "cx_count",
        "cx_destroy",
        "cx_length_ms",
        "cx_total",
        "days_until_first_cert_expiring",
        "denied",
        "eject",
        "error",
        "fail",
        "health_check",
        "lb_healthy_panic",
        "max_duration_reached",
        "no_cluster",
        "no_filter_chain",
        "no_route",
        "overflow",
        "rbac",
        "reject",
        "reset",
        "rq_time",
        "ssl_context_update_by_sds",
        "ssl_handshake",
        "timeout",
    ];
    const EXACT: &[&str] = &[
        "envoy_cluster_membership_degraded",
        "envoy_cluster_membership_healthy",
        "envoy_cluster_membership_total",
        "envoy_cluster_ssl_handshake",
    ];
    const PREFIX: &[&str] = &["envoy_control_plane", "envoy_server"];
    CONTAINS.iter().any(|part| metric.contains(part))
        || EXACT.contains(&metric)
        || PREFIX.iter().any(|prefix| metric.starts_with(prefix))
}
