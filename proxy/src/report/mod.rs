//! One report per connection: metrics and access log, from one [`flow::Flow`].

mod cel;
mod filter;
pub mod flow;
mod format;
mod formatter;
pub mod http;
mod http_logs;
mod metadata;
mod needs;
mod rbac;
mod record;
mod reporter;
pub mod sink;
#[cfg(test)]
mod tests;
mod time_format;
pub(crate) mod tls;
mod value;

pub use formatter::{Formatter, local_reply, matches};
pub use http_logs::HttpLogs;
pub use needs::{Names, Needs};
pub use reporter::{Report, Reporter};
pub use sink::Sinks;

/// Why a line is written (`%ACCESS_LOG_TYPE%`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogType {
    /// By the listener: Envoy does not say.
    NotSet,
    /// By tcp_proxy, the endpoint is connected.
    TcpUpstreamConnected,
    /// By tcp_proxy, at an interval.
    TcpPeriodic,
    /// By tcp_proxy, the connection is over.
    TcpConnectionEnd,
    /// By HTTP, a request has come (`flush_access_log_on_new_request`).
    DownstreamStart,
    /// By HTTP, at an interval.
    DownstreamPeriodic,
    /// By HTTP, the answer is complete.
    DownstreamEnd,
    /// By HTTP, an upgrade or CONNECT has come about.
    DownstreamTunnelSuccessfullyEstablished,
    /// By the router, an attempt has its connection.
    UpstreamPoolReady,
    /// By the router, at an interval.
    UpstreamPeriodic,
    /// By the router, an attempt is over.
    UpstreamEnd,
}

impl LogType {
    /// Envoy's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSet => "NotSet",
            Self::TcpUpstreamConnected => "TcpUpstreamConnected",
            Self::TcpPeriodic => "TcpPeriodic",
            Self::TcpConnectionEnd => "TcpConnectionEnd",
            Self::DownstreamStart => "DownstreamStart",
            Self::DownstreamPeriodic => "DownstreamPeriodic",
            Self::DownstreamEnd => "DownstreamEnd",
            Self::DownstreamTunnelSuccessfullyEstablished => "DownstreamTunnelSuccessfullyEstablished",
            Self::UpstreamPoolReady => "UpstreamPoolReady",
            Self::UpstreamPeriodic => "UpstreamPeriodic",
            Self::UpstreamEnd => "UpstreamEnd",
        }
    }
}

/// A variable of our environment as logs and spans may show it: not one that by its name holds a secret.
pub fn environment(name: &str) -> Option<String> {
    value::variable(name)
}

/// Metadata as JSON.
pub fn metadata_json(value: &config::model::metadata::Value) -> String {
    metadata::json(value).to_string()
}

/// `%HOSTNAME%`; `-` where the system does not say.
fn hostname() -> Box<str> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "-".into(),
        name => name.into(),
    }
}
