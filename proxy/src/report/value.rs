//! What one command operator yields for a connection, as Envoy 1.40 was seen to print it on TCP.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use config::model::access_log::Operator;
use config::model::address::Address;
use sni::client_hello::Refusal;
use sni::kuma::KumaName;

use super::flow::{Flow, Upstream};
use super::{LogType, rbac, time_format, tls};
use crate::error::{CloseReason, ConnectError, TlsFailure};
use crate::rbac::Ruling;

/// The value of an operator.
#[derive(Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// `-` in text, `null` in JSON.
    Absent,
    /// Text.
    Text(Cow<'a, str>),
    /// A number also in JSON.
    Number(u64),
    /// JSON, as it is.
    Json(String),
}

/// What a line is about, beside the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) flow: &'a Flow,
    pub(super) log_type: LogType,
    pub(super) hostname: &'a str,
    pub(super) now: SystemTime,
}

impl<'a> Value<'a> {
    fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    fn or_absent<T>(value: Option<T>, make: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Absent, make)
    }
}

impl<'a> Subject<'a> {
    /// Envoy prints 0, not `-`, for the response code and for counters of headers.
    pub(super) fn value(&self, operator: &'a Operator) -> Value<'a> {
        use Operator as Op;
        let flow = self.flow;
        match operator {
            Op::StartTime(pattern) => {
                let pattern = pattern.as_deref().unwrap_or(time_format::DEFAULT);
                Value::text(time_format::format(flow.start_time, pattern))
            }
            Op::StartTimeLocal(pattern) => {
                let pattern = pattern.as_deref().unwrap_or(time_format::DEFAULT_LOCAL);
                Value::text(time_format::format(flow.start_time, pattern))
            }
            Op::EmitTime(pattern) => {
                let pattern = pattern.as_deref().unwrap_or(time_format::DEFAULT);
                Value::text(time_format::format(self.now, pattern))
            }
            Op::BytesReceived | Op::DownstreamWireBytesReceived | Op::UpstreamWireBytesSent => {
                Value::Number(flow.received)
            }
            Op::BytesSent | Op::DownstreamWireBytesSent | Op::UpstreamWireBytesReceived => Value::Number(flow.sent),
            Op::ResponseCode
            | Op::UpstreamHeaderBytesSent
            | Op::UpstreamHeaderBytesReceived
            | Op::DownstreamHeaderBytesSent
            | Op::DownstreamHeaderBytesReceived => Value::Number(0),
            Op::Duration => Value::Number(self.duration()),
            Op::CommonDuration(points) => self.common_duration(points),
            Op::ResponseFlags => Value::text(flags(flow.close.as_ref()).0),
            Op::ResponseFlagsLong => Value::text(flags(flow.close.as_ref()).1),
            Op::ResponseCodeDetails => match flow.close {
                Some(CloseReason::HelloRefused(Refusal::TooLarge { .. })) => Value::Absent,
                Some(CloseReason::NoFilterChain | CloseReason::HelloRefused(_)) => {
                    Value::text("filter_chain_not_found")
                }
                _ => Value::Absent,
            },
            Op::ConnectionId => Value::Number(flow.id),
            Op::StreamId => Value::text(uuid(self.stream_id())),
            Op::UniqueId => Value::text(uuid(fastrand::u128(..))),
            Op::RequestedServerName(option) => self.server_name(option.as_deref()),
            Op::FilterChainName => {
                Value::or_absent(flow.chain.as_deref().filter(|c| !c.name.is_empty()), |c| Value::text(&*c.name))
            }
            Op::Hostname => Value::text(self.hostname),
            Op::AccessLogType => Value::text(self.log_type.as_str()),
            Op::Environment(name) => environment(name),
            Op::DownstreamDetectedCloseType => match flow.close {
                Some(CloseReason::DownstreamReset) => Value::text("RemoteReset"),
                _ => Value::text("Normal"),
            },
            Op::Tls(operator) => tls::value(flow, operator),
            Op::DownstreamTransportFailureReason => Value::or_absent(tls::failure(flow.tls.as_deref()), Value::text),
            Op::ConnectionTerminationDetails => Value::or_absent(termination(flow), Value::Text),
            Op::KumaName => self.kuma_name(),
            Op::DynamicMetadata(argument) => rbac::metadata(flow, argument),
            Op::RbacPolicy => rbac::policy(flow),
            Op::CloseReason => Value::or_absent(flow.close.as_ref(), |reason| Value::text(reason.as_str())),
            Op::TlsJa3Fingerprint => {
                Value::or_absent(flow.fingerprints.as_deref().and_then(|f| f.ja3.as_deref()), Value::text)
            }
            Op::TlsJa4Fingerprint => {
                Value::or_absent(flow.fingerprints.as_deref().and_then(|f| f.ja4.as_deref()), Value::text)
            }
            _ => self.address(operator),
        }
    }

    fn address(&self, operator: &Operator) -> Value<'a> {
        use Operator as Op;
        let flow = self.flow;
        match operator {
            Op::DownstreamRemoteAddress => Value::or_absent(flow.remote, |a| Value::text(a.to_string())),
            Op::DownstreamRemoteAddressWithoutPort => {
                Value::or_absent(flow.remote, |a| Value::text(a.ip().to_string()))
            }
            Op::DownstreamRemotePort => Value::or_absent(flow.remote, |a| Value::Number(a.port().into())),
            Op::DownstreamDirectRemoteAddress => Value::or_absent(direct(flow), |a| Value::text(a.to_string())),
            Op::DownstreamDirectRemoteAddressWithoutPort => {
                Value::or_absent(direct(flow), |a| Value::text(a.ip().to_string()))
            }
            Op::DownstreamDirectRemotePort => Value::or_absent(direct(flow), |a| Value::Number(a.port().into())),
            Op::DownstreamLocalAddress => whole(&flow.local),
            Op::DownstreamLocalAddressWithoutPort => without_port(&flow.local),
            Op::DownstreamLocalPort => port(&flow.local),
            _ => Value::or_absent(flow.upstream.as_deref(), |upstream| self.upstream(operator, upstream))
                .unless_count(operator),
        }
    }

    fn upstream(&self, operator: &Operator, upstream: &'a Upstream) -> Value<'a> {
        use Operator as Op;
        let host = upstream.host.as_ref();
        let remote = upstream.connected.and(host);
        match operator {
            Op::UpstreamHost | Op::UpstreamHostName => Value::or_absent(host, whole),
            Op::UpstreamHostNameWithoutPort => Value::or_absent(host, without_port),
            Op::UpstreamRemoteAddress => Value::or_absent(remote, whole),
            Op::UpstreamRemoteAddressWithoutPort => Value::or_absent(remote, without_port),
            Op::UpstreamRemotePort => Value::or_absent(remote, port),
            Op::UpstreamCluster => match self.flow.close {
                Some(CloseReason::NoCluster) => Value::Absent,
                _ => Value::text(upstream.stat_name.as_deref().unwrap_or(&upstream.cluster)),
            },
            Op::UpstreamClusterRaw => match self.flow.close {
                Some(CloseReason::NoCluster) => Value::Absent,
                _ => Value::text(&*upstream.cluster),
            },
            Op::UpstreamLocalAddress => Value::or_absent(upstream.local, |a| Value::text(a.to_string())),
            Op::UpstreamLocalAddressWithoutPort => {
                Value::or_absent(upstream.local, |a| Value::text(a.ip().to_string()))
            }
            Op::UpstreamLocalPort => Value::or_absent(upstream.local, |a| Value::Number(a.port().into())),
            Op::UpstreamTransportFailureReason => match tls::failure(upstream.tls.as_deref()) {
                Some(text) => Value::text(text),
                None => Value::or_absent(upstream.failure.and_then(failure), Value::text),
            },
            Op::UpstreamRequestAttemptCount => Value::Number(upstream.attempts.into()),
            Op::UpstreamConnectionId => Value::Number(if upstream.connected.is_some() { self.flow.id } else { 0 }),
            // All else is about HTTP, metadata or filter state, of which a passed-through connection has none.
            _ => Value::Absent,
        }
    }

    /// Milliseconds; while the connection lives, so far.
    fn duration(&self) -> u64 {
        u64::try_from(self.flow.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn common_duration(&self, points: &str) -> Value<'static> {
        let mut parts = points.split(':');
        let (Some(from), Some(to)) = (parts.next(), parts.next()) else { return Value::Absent };
        let (Some(from), Some(to)) = (self.point(from), self.point(to)) else { return Value::Absent };
        let Some(time) = to.checked_duration_since(from) else { return Value::Absent };
        let value = match parts.next() {
            Some("us") => time.as_micros(),
            Some("ns") => time.as_nanos(),
            _ => time.as_millis(),
        };
        Value::Number(u64::try_from(value).unwrap_or(u64::MAX))
    }

    /// The time points that exist on TCP.
    fn point(&self, name: &str) -> Option<Instant> {
        let upstream = self.flow.upstream.as_deref();
        match name {
            "DS_RX_BEG" => Some(self.flow.start),
            "US_CX_BEG" => upstream.filter(|u| u.connected.is_some()).and_then(|u| u.started),
            "US_CX_END" => upstream.and_then(|u| u.connected),
            _ => None,
        }
    }

    /// What would come from a Host header is absent on TCP.
    fn server_name(&self, option: Option<&str>) -> Value<'static> {
        if option.is_some_and(|option| option.starts_with("HOST_ONLY")) {
            return Value::Absent;
        }
        Value::or_absent(self.flow.sni.as_deref().filter(|name| !name.is_empty()), |name| Value::text(host_name(name)))
    }

    fn kuma_name(&self) -> Value<'static> {
        let name = self.flow.sni.as_deref().and_then(KumaName::decode);
        Value::or_absent(name, |name| Value::text(name.to_string()))
    }

    /// The same in each line about the connection.
    fn stream_id(&self) -> u128 {
        let since = self.flow.start_time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(&since.as_nanos().to_le_bytes());
        bytes[16..].copy_from_slice(&self.flow.id.to_le_bytes());
        xxhash_rust::xxh3::xxh3_128(&bytes)
    }
}

impl Value<'_> {
    /// Counters stand at 0 where there never was an upstream.
    fn unless_count(self, operator: &Operator) -> Self {
        let counts = matches!(operator, Operator::UpstreamRequestAttemptCount | Operator::UpstreamConnectionId);
        if counts && self == Self::Absent { Self::Number(0) } else { self }
    }
}

/// `%RESPONSE_FLAGS%` and its long form. A connect that failed has also used up its attempts, which Envoy flags too;
/// and Envoy flags a rate-limited connection as if it had.
pub(super) fn flags(reason: Option<&CloseReason>) -> (&'static str, &'static str) {
    match reason {
        None => ("-", "-"),
        Some(CloseReason::ConnectFailed(_)) => ("UF,URX", "UpstreamConnectionFailure,UpstreamRetryLimitExceeded"),
        Some(CloseReason::RateLimited) => ("URX", "UpstreamRetryLimitExceeded"),
        Some(CloseReason::HelloRefused(Refusal::TooLarge { .. })) => ("-", "-"),
        Some(CloseReason::HelloRefused(_)) => ("NR", "NoRouteFound"),
        Some(reason) => (reason.flag().short(), reason.flag().long()),
    }
}

/// In Envoy's words; absent where it has none.
fn termination(flow: &Flow) -> Option<Cow<'_, str>> {
    match (&flow.close, flow.ruling.as_deref()) {
        (Some(CloseReason::RbacDenied), Some(Ruling { denied: Some(denial), .. })) => Some(denial.detail().into()),
        (Some(CloseReason::Tls(TlsFailure::Timeout)), _) => Some("transport socket timeout was reached".into()),
        _ => None,
    }
}

/// Envoy's words, blanks made `_` as it does.
fn failure(error: ConnectError) -> Option<&'static str> {
    match error {
        ConnectError::Timeout => None,
        ConnectError::Refused => Some("delayed_connect_error:_Connection_refused"),
        ConnectError::Unreachable => Some("delayed_connect_error:_No_route_to_host"),
        ConnectError::Tls(TlsFailure::Timeout) => None,
        ConnectError::Local | ConnectError::Transport | ConnectError::Other | ConnectError::Tls(_) => {
            Some(error.as_str())
        }
    }
}

/// Envoy's `StringUtil::sanitizeInvalidHostname`: what is no letter, digit, `.`, `-` or `_` becomes `_`, and the whole is
/// marked. Kuma's tag names look so, too; `%ZONEGATE_KUMA_NAME%` prints those.
pub(super) fn host_name(name: &[u8]) -> String {
    let mut clean = String::with_capacity(name.len() + "invalid:".len());
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if !name.iter().copied().all(valid) {
        clean.push_str("invalid:");
    }
    clean.extend(name.iter().map(|&byte| if valid(byte) { char::from(byte.to_ascii_lowercase()) } else { '_' }));
    clean
}

fn direct(flow: &Flow) -> Option<SocketAddr> {
    flow.direct_remote.or(flow.remote)
}

fn whole(address: &Address) -> Value<'static> {
    Value::text(address.to_string())
}

fn without_port(address: &Address) -> Value<'static> {
    match address {
        Address::Socket(address) => Value::text(address.ip().to_string()),
        Address::Pipe { .. } => whole(address),
    }
}

fn port(address: &Address) -> Value<'static> {
    match address {
        Address::Socket(address) => Value::Number(address.port().into()),
        Address::Pipe { .. } => Value::Absent,
    }
}

/// A variable of our environment, but for those that by their name hold secrets (`KUMA_DATAPLANE_RUNTIME_TOKEN`).
fn environment(name: &str) -> Value<'static> {
    let upper = name.to_ascii_uppercase();
    if ["TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "PRIVATE_KEY"].iter().any(|word| upper.contains(word)) {
        return Value::Absent;
    }
    Value::or_absent(std::env::var(name).ok().filter(|value| !value.is_empty()), Value::text)
}

/// A random UUID (RFC 9562 version 4) of these bits.
fn uuid(bits: u128) -> String {
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
