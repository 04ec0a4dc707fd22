//! One report per connection: metrics and access log, from one [`flow::Flow`].

mod cel;
pub mod flow;
mod format;
pub mod http;
mod rbac;
mod reporter;
pub mod sink;
#[cfg(test)]
mod tests;
mod time_format;
pub(crate) mod tls;
mod value;

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
}

impl LogType {
    /// Envoy's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSet => "NotSet",
            Self::TcpUpstreamConnected => "TcpUpstreamConnected",
            Self::TcpPeriodic => "TcpPeriodic",
            Self::TcpConnectionEnd => "TcpConnectionEnd",
        }
    }
}
