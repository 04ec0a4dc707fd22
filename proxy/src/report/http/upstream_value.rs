//! What operators about the upstream yield for a request.

use config::model::access_log::Operator;
use config::model::address::Address;

use super::{HttpFlow, Upstream, UpstreamConnection};
use crate::report::value::{Value, failure_text, port, whole, without_port};

/// The value; `None`: the connection's is the request's.
pub(super) fn value<'a>(flow: &'a HttpFlow, operator: &Operator) -> Option<Value<'a>> {
    use Operator as Op;
    let upstream = flow.upstream.as_deref();
    let connection = upstream.and_then(|upstream| upstream.connection.as_deref());
    let wire = upstream.map(|upstream| upstream.wire).unwrap_or_default();
    Some(match operator {
        Op::UpstreamRequestAttemptCount => Value::Number(flow.attempts.into()),
        Op::UpstreamConnectionId => Value::Number(connection.map_or(0, |connection| connection.id)),
        Op::UpstreamWireBytesSent => Value::Number(wire.sent),
        Op::UpstreamWireBytesReceived => Value::Number(wire.received),
        Op::UpstreamHeaderBytesSent => Value::Number(wire.headers_sent),
        Op::UpstreamHeaderBytesReceived => Value::Number(wire.headers_received),
        Op::UpstreamConnectionPoolReadyDuration => {
            let waited = upstream.and_then(|upstream| upstream.waited);
            Value::or_absent(waited, |time| Value::Number(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
        }
        Op::UpstreamHost => Value::or_absent(upstream.and_then(|u| u.host.as_ref()), whole),
        Op::UpstreamHostName | Op::UpstreamHostNameWithoutPort => {
            Value::or_absent(upstream, |upstream| host_name(upstream, matches!(operator, Op::UpstreamHostName)))
        }
        Op::UpstreamCluster => Value::or_absent(upstream, |upstream| {
            Value::text(upstream.stat_name.as_deref().unwrap_or(&upstream.cluster))
        }),
        Op::UpstreamClusterRaw => Value::or_absent(upstream, |upstream| Value::text(&*upstream.cluster)),
        Op::UpstreamProtocol => Value::or_absent(connection, |connection| Value::text(connection.protocol.as_str())),
        Op::UpstreamRemoteAddress => Value::or_absent(connection, |connection| whole(&connection.remote)),
        Op::UpstreamRemoteAddressWithoutPort => {
            Value::or_absent(connection, |connection| without_port(&connection.remote))
        }
        Op::UpstreamRemotePort => Value::or_absent(connection, |connection| port(&connection.remote)),
        Op::UpstreamLocalAddress => Value::or_absent(local(connection), |a| Value::text(a.to_string())),
        Op::UpstreamLocalAddressWithoutPort => Value::or_absent(local(connection), |a| Value::text(a.ip().to_string())),
        Op::UpstreamLocalPort => Value::or_absent(local(connection), |a| Value::Number(a.port().into())),
        Op::UpstreamTransportFailureReason => {
            let failure = upstream.and_then(|upstream| failure_text(upstream.failed_tls.as_deref(), upstream.failure));
            Value::or_absent(failure, Value::Text)
        }
        Op::UpstreamDetectedCloseType => {
            Value::or_absent(upstream.and_then(|u| u.host.as_ref()), |_| Value::text("Normal"))
        }
        Op::UpstreamHostsAttempted => attempted(upstream, |address| Some(address.to_string())),
        Op::UpstreamHostsAttemptedWithoutPort => attempted(upstream, |address| match address {
            Address::Socket(address) => Some(address.ip().to_string()),
            Address::Pipe { .. } => Some(address.to_string()),
        }),
        Op::UpstreamHostNamesAttempted | Op::UpstreamHostNamesAttemptedWithoutPort => match upstream {
            Some(upstream) if connection.is_some() => {
                host_name(upstream, matches!(operator, Op::UpstreamHostNamesAttempted))
            }
            _ => Value::Absent,
        },
        Op::UpstreamConnectionIdsAttempted => {
            Value::or_absent(connection, |connection| Value::text(connection.id.to_string()))
        }
        Op::UpstreamServerName => Value::or_absent(connection.and_then(|c| c.server_name.as_deref()), Value::text),
        _ => return None,
    })
}

fn local(connection: Option<&UpstreamConnection>) -> Option<std::net::SocketAddr> {
    connection.and_then(|connection| connection.local)
}

fn host_name(upstream: &Upstream, with_port: bool) -> Value<'_> {
    match (&upstream.hostname, &upstream.host) {
        (Some(name), _) if with_port => Value::text(&**name),
        (Some(name), _) => Value::text(name.rsplit_once(':').map_or(&**name, |(name, _)| name)),
        (None, Some(address)) if with_port => whole(address),
        (None, Some(address)) => without_port(address),
        (None, None) => Value::Absent,
    }
}

/// Endpoints that took an attempt, each once, in order.
fn attempted<'a>(upstream: Option<&'a Upstream>, show: fn(&Address) -> Option<String>) -> Value<'a> {
    let Some(upstream) = upstream else { return Value::Absent };
    let last = upstream.connection.as_deref().map(|connection| &connection.remote);
    let mut shown: Vec<String> = Vec::new();
    for address in upstream.tried.iter().chain(last).filter_map(show) {
        if !shown.contains(&address) {
            shown.push(address);
        }
    }
    if shown.is_empty() { Value::Absent } else { Value::text(shown.join(",")) }
}
