//! What one command operator yields for a connection, as Envoy 1.40 was seen to print it on TCP.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use config::model::access_log::{Operator, Piece, ServerName};
use config::model::address::Address;
use sni::client_hello::Refusal;
use sni::kuma::KumaName;

use super::flow::{Flow, TlsSide, Upstream};
use super::format::cut;
use super::http::{self, HttpFlow};
use super::{LogType, cel, metadata, rbac, time_format, tls};
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
    /// The request, where the line is about one.
    pub(super) http: Option<&'a HttpFlow>,
    /// `%LOCAL_REPLY_BODY%`.
    pub(super) reply_body: &'a str,
    pub(super) log_type: LogType,
    pub(super) hostname: &'a str,
    pub(super) now: SystemTime,
}

impl<'a> Value<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn or_absent<T>(value: Option<T>, make: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Absent, make)
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::Text(text) => text.is_empty(),
            Self::Number(_) | Self::Json(_) => false,
        }
    }

    /// At most so many bytes, whole characters.
    fn cut(self, length: Option<usize>) -> Self {
        match self {
            Self::Text(text) => match cut(&text, length).len() {
                whole if whole == text.len() => Self::Text(text),
                shorter => Self::Text(text.get(..shorter).unwrap_or_default().to_owned().into()),
            },
            other => other,
        }
    }
}

impl<'a> Subject<'a> {
    /// A connection.
    pub(super) fn of_connection(flow: &'a Flow, log_type: LogType, hostname: &'a str) -> Self {
        Self { flow, http: None, reply_body: "", log_type, hostname, now: SystemTime::now() }
    }

    /// A request.
    pub(super) fn of_request(http: &'a HttpFlow, log_type: LogType, hostname: &'a str) -> Self {
        Self { http: Some(http), ..Self::of_connection(&http.connection, log_type, hostname) }
    }

    /// Envoy prints 0, not `-`, for the response code and for counters of headers.
    pub(super) fn value(&self, operator: &'a Operator) -> Value<'a> {
        if let Some(value) = self.http.and_then(|http| http::value(self, http, operator)) {
            return value;
        }
        match self.any(operator) {
            Some(value) => value,
            None => self.connection(operator),
        }
    }

    /// What is said of connections and requests alike.
    fn any(&self, operator: &'a Operator) -> Option<Value<'a>> {
        use Operator as Op;
        let start = self.http.map_or(self.flow.start_time, |http| http.start_time);
        let time = |at, pattern: &Option<Box<str>>, default| {
            Value::text(time_format::format(at, pattern.as_deref().unwrap_or(default)))
        };
        Some(match operator {
            Op::StartTime(pattern) => time(start, pattern, time_format::DEFAULT),
            Op::StartTimeLocal(pattern) => time(start, pattern, time_format::DEFAULT_LOCAL),
            Op::EmitTime(pattern) => time(self.now, pattern, time_format::DEFAULT),
            Op::EmitTimeLocal(pattern) => time(self.now, pattern, time_format::DEFAULT_LOCAL),
            Op::UniqueId => Value::text(uuid(fastrand::u128(..))),
            Op::Hostname => Value::text(self.hostname),
            Op::AccessLogType => Value::text(self.log_type.as_str()),
            Op::Environment(name) => environment(name),
            Op::CustomFlags | Op::LocalReplyBody => Value::text(""),
            Op::DownstreamCxRtt => Value::Number(0),
            Op::Cel(filter) => Value::or_absent(cel::text(filter, self), Value::text),
            Op::Coalesce(pieces) => self.coalesce(pieces),
            Op::Unknown(_) => Value::Absent,
            _ => return None,
        })
    }

    /// The first that is there and not empty.
    fn coalesce(&self, pieces: &'a [Piece]) -> Value<'a> {
        let values = pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => Value::text(&**text),
            Piece::Operator { operator, max_length } => self.value(operator).cut(*max_length),
        });
        values.into_iter().find(|value| !value.is_empty()).unwrap_or(Value::Absent)
    }

    fn connection(&self, operator: &'a Operator) -> Value<'a> {
        use Operator as Op;
        let flow = self.flow;
        match operator {
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
            Op::ResponseCodeDetails(_) => match flow.close {
                Some(CloseReason::HelloRefused(Refusal::TooLarge { .. })) => Value::Absent,
                Some(CloseReason::NoFilterChain | CloseReason::HelloRefused(_)) => {
                    Value::text("filter_chain_not_found")
                }
                _ => Value::Absent,
            },
            Op::ConnectionId => Value::Number(flow.id),
            Op::StreamId => Value::text(uuid(self.stream_id())),
            Op::RequestedServerName(wanted) => self.server_name(*wanted),
            Op::FilterChainName => {
                Value::or_absent(flow.chain.as_deref().filter(|c| !c.name.is_empty()), |c| Value::text(&*c.name))
            }
            Op::DownstreamDetectedCloseType => match flow.close {
                Some(CloseReason::DownstreamReset) => Value::text("RemoteReset"),
                _ => Value::text("Normal"),
            },
            Op::Tls(operator) => tls::value(flow, operator),
            Op::DownstreamTransportFailureReason => Value::or_absent(tls::failure(flow.tls.as_deref()), Value::text),
            Op::ConnectionTerminationDetails => Value::or_absent(termination(flow), Value::Text),
            Op::KumaName => self.kuma_name(),
            Op::Metadata(wanted) => metadata::of_connection(flow, wanted),
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
            Op::UpstreamTransportFailureReason => {
                Value::or_absent(failure_text(upstream.tls.as_deref(), upstream.failure), Value::Text)
            }
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
    fn server_name(&self, _wanted: ServerName) -> Value<'static> {
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

/// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
pub(super) fn failure_text(side: Option<&TlsSide>, error: Option<ConnectError>) -> Option<Cow<'static, str>> {
    tls::failure(side).map(Cow::Owned).or_else(|| error.and_then(failure).map(Cow::Borrowed))
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

pub(super) fn whole(address: &Address) -> Value<'static> {
    Value::text(address.to_string())
}

pub(super) fn without_port(address: &Address) -> Value<'static> {
    match address {
        Address::Socket(address) => Value::text(address.ip().to_string()),
        Address::Pipe { .. } => whole(address),
    }
}

pub(super) fn port(address: &Address) -> Value<'static> {
    match address {
        Address::Socket(address) => Value::Number(address.port().into()),
        Address::Pipe { .. } => Value::Absent,
    }
}

fn environment(name: &str) -> Value<'static> {
    Value::or_absent(variable(name), Value::text)
}

/// A variable of our environment, but for those that by their name hold secrets (`KUMA_DATAPLANE_RUNTIME_TOKEN`).
pub(super) fn variable(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    if ["TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "PRIVATE_KEY"].iter().any(|word| upper.contains(word)) {
        return None;
    }
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A random UUID (RFC 9562 version 4) of these bits.
pub(super) fn uuid(bits: u128) -> String {
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
