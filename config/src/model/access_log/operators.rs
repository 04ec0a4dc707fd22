//! The command operators by name, with what each takes.

use std::sync::Arc;

use super::format::{Command, FormatError};
use super::http::{GrpcForm, HeaderRef, MetadataRef, MetadataSource, PathForm, ServerName};
use super::tls::TlsOperator;
use super::{CelFilter, Operator, Piece, Template};

/// What an operator does with its argument.
enum Make {
    /// Takes none, nor a length.
    Plain(Operator),
    /// May have one.
    Optional(fn(Option<&str>) -> Option<Operator>),
    /// May have one, and a length.
    OptionalCut(fn(Option<&str>) -> Option<Operator>),
    /// Must have one.
    Required(fn(&str) -> Option<Operator>),
    /// Must have one; may have a length.
    Cut(fn(&str) -> Option<Operator>),
    /// About TLS.
    Tls(TlsOperator),
}

/// Makes a piece of a template.
pub(super) fn parse(command: Command<'_>) -> Result<Piece, FormatError> {
    let Command { name, argument, length } = command;
    let argument = argument.filter(|argument| !argument.is_empty());
    let make = make(name).ok_or_else(|| FormatError::Unknown(name.into()))?;
    let max_length = match length {
        None => None,
        Some(digits) => Some(digits.parse().map_err(|_| FormatError::Length(name.into()))?),
    };
    let (takes_none, needs, cut) = match &make {
        Make::Plain(_) => (true, false, false),
        Make::Tls(operator) => (!operator.takes_format(), false, false),
        Make::Optional(_) => (false, false, false),
        Make::OptionalCut(_) => (false, false, true),
        Make::Required(_) => (false, true, false),
        Make::Cut(_) => (false, true, true),
    };
    match argument {
        Some(_) if takes_none => return Err(FormatError::TakesNoArgument(name.into())),
        None if needs => return Err(FormatError::NeedsArgument(name.into())),
        _ => {}
    }
    if max_length.is_some() && !cut {
        return Err(FormatError::TakesNoLength(name.into()));
    }
    let given = argument.unwrap_or_default();
    let operator = match make {
        _ if given.contains(['\n', '\0']) => None,
        Make::Plain(operator) => Some(operator),
        Make::Optional(make) | Make::OptionalCut(make) => make(argument),
        Make::Required(make) | Make::Cut(make) => make(given),
        Make::Tls(operator) => Some(Operator::Tls(TlsOperator { format: argument.map(Into::into), ..operator })),
    };
    let operator = operator.ok_or_else(|| FormatError::Argument(name.into(), given.into()))?;
    Ok(Piece::Operator { operator, max_length })
}

/// A pattern of a time; Envoy takes no newline in it.
fn time(pattern: Option<&str>, make: fn(Option<Box<str>>) -> Operator) -> Option<Operator> {
    (!pattern.is_some_and(|pattern| pattern.contains("%n"))).then(|| make(pattern.map(Into::into)))
}

fn common_duration(argument: &str) -> Option<Operator> {
    match argument.split(':').collect::<Vec<_>>()[..] {
        [start, end] | [start, end, "ms" | "us" | "ns"] if !start.is_empty() && !end.is_empty() => {
            Some(Operator::CommonDuration(argument.into()))
        }
        _ => None,
    }
}

fn filter_state(argument: &str, make: fn(Box<str>) -> Operator) -> Option<Operator> {
    match argument.split(':').collect::<Vec<_>>()[..] {
        [_] | [_, "PLAIN" | "TYPED"] => Some(make(argument.into())),
        [_, "FIELD", field] if !field.is_empty() => Some(make(argument.into())),
        _ => None,
    }
}

fn metadata(of: MetadataSource, argument: &str) -> Option<Operator> {
    Some(Operator::Metadata(MetadataRef::parse(of, argument)))
}

fn cel(expression: &str) -> Option<Operator> {
    let program = cel::Program::compile(expression).ok()?;
    Some(Operator::Cel(Arc::new(CelFilter { text: expression.into(), program })))
}

/// `{"operators": ["NAME", {"command": "NAME", "param": "…", "max_length": 3}]}`.
fn coalesce(argument: &str) -> Option<Operator> {
    let parsed: serde_json::Value = serde_json::from_str(argument).ok()?;
    let one = |operator: &serde_json::Value| {
        let (command, param, length) = match operator {
            serde_json::Value::String(command) => (command.as_str(), None, None),
            other => (other.get("command")?.as_str()?, other.get("param"), other.get("max_length")),
        };
        let mut text = format!("%{command}");
        if let Some(param) = param {
            text.push_str(&format!("({})", param.as_str()?));
        }
        if let Some(length) = length {
            text.push_str(&format!(":{}", length.as_u64()?));
        }
        text.push('%');
        let mut pieces = Template::parse(&text).ok()?.0.into_vec();
        let piece = pieces.pop()?;
        (pieces.is_empty() && matches!(piece, Piece::Operator { .. })).then_some(piece)
    };
    let operators = parsed.get("operators")?.as_array()?;
    let pieces: Option<Box<[Piece]>> = operators.iter().map(one).collect();
    pieces.filter(|pieces| !pieces.is_empty()).map(Operator::Coalesce)
}

#[rustfmt::skip] // a table
fn make(name: &str) -> Option<Make> {
    use MetadataSource as Of;
    use Make::{Cut, Optional, OptionalCut, Plain, Required};
    use Operator as O;
    Some(match name {
        "START_TIME" => Optional(|a| time(a, O::StartTime)),
        "START_TIME_LOCAL" => Optional(|a| time(a, O::StartTimeLocal)),
        "EMIT_TIME" => Optional(|a| time(a, O::EmitTime)),
        "EMIT_TIME_LOCAL" => Optional(|a| time(a, O::EmitTimeLocal)),
        "BYTES_RECEIVED" => Plain(O::BytesReceived),
        "BYTES_SENT" => Plain(O::BytesSent),
        "PROTOCOL" => Plain(O::Protocol),
        "RESPONSE_CODE" => Plain(O::ResponseCode),
        "RESPONSE_CODE_DETAILS" => Optional(|a| Some(O::ResponseCodeDetails(a == Some("ALLOW_WHITESPACES")))),
        "CONNECTION_TERMINATION_DETAILS" => Plain(O::ConnectionTerminationDetails),
        "DURATION" => Plain(O::Duration),
        "REQUEST_DURATION" => Plain(O::RequestDuration),
        "REQUEST_TX_DURATION" => Plain(O::RequestTxDuration),
        "RESPONSE_DURATION" => Plain(O::ResponseDuration),
        "RESPONSE_TX_DURATION" => Plain(O::ResponseTxDuration),
        "DOWNSTREAM_HANDSHAKE_DURATION" => Plain(O::DownstreamHandshakeDuration),
        "ROUNDTRIP_DURATION" => Plain(O::RoundtripDuration),
        "COMMON_DURATION" => Required(common_duration),
        "RESPONSE_FLAGS" => Plain(O::ResponseFlags),
        "RESPONSE_FLAGS_LONG" => Plain(O::ResponseFlagsLong),
        "UPSTREAM_HOST" => Plain(O::UpstreamHost),
        "UPSTREAM_HOST_NAME" => Plain(O::UpstreamHostName),
        "UPSTREAM_HOST_NAME_WITHOUT_PORT" => Plain(O::UpstreamHostNameWithoutPort),
        "UPSTREAM_CLUSTER" => Plain(O::UpstreamCluster),
        "UPSTREAM_CLUSTER_RAW" => Plain(O::UpstreamClusterRaw),
        "UPSTREAM_LOCAL_ADDRESS" => Plain(O::UpstreamLocalAddress),
        "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => Plain(O::UpstreamLocalAddressWithoutPort),
        "UPSTREAM_LOCAL_PORT" => Plain(O::UpstreamLocalPort),
        "UPSTREAM_REMOTE_ADDRESS" => Plain(O::UpstreamRemoteAddress),
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Plain(O::UpstreamRemoteAddressWithoutPort),
        "UPSTREAM_REMOTE_PORT" => Plain(O::UpstreamRemotePort),
        "UPSTREAM_TRANSPORT_FAILURE_REASON" => Plain(O::UpstreamTransportFailureReason),
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Plain(O::UpstreamRequestAttemptCount),
        "UPSTREAM_CONNECTION_ID" => Plain(O::UpstreamConnectionId),
        "UPSTREAM_PROTOCOL" => Plain(O::UpstreamProtocol),
        "UPSTREAM_WIRE_BYTES_SENT" => Plain(O::UpstreamWireBytesSent),
        "UPSTREAM_WIRE_BYTES_RECEIVED" => Plain(O::UpstreamWireBytesReceived),
        // HTTP/1 has no compressed heads, and HTTP/2's are counted uncompressed (docs/differences.md).
        "UPSTREAM_HEADER_BYTES_SENT" | "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT" => Plain(O::UpstreamHeaderBytesSent),
        "UPSTREAM_HEADER_BYTES_RECEIVED" | "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED" =>
            Plain(O::UpstreamHeaderBytesReceived),
        "DOWNSTREAM_WIRE_BYTES_SENT" => Plain(O::DownstreamWireBytesSent),
        "DOWNSTREAM_WIRE_BYTES_RECEIVED" => Plain(O::DownstreamWireBytesReceived),
        "DOWNSTREAM_HEADER_BYTES_SENT" | "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT" =>
            Plain(O::DownstreamHeaderBytesSent),
        "DOWNSTREAM_HEADER_BYTES_RECEIVED" | "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED" =>
            Plain(O::DownstreamHeaderBytesReceived),
        "DOWNSTREAM_REMOTE_ADDRESS" => Plain(O::DownstreamRemoteAddress),
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Plain(O::DownstreamRemoteAddressWithoutPort),
        "DOWNSTREAM_REMOTE_PORT" => Plain(O::DownstreamRemotePort),
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Plain(O::DownstreamDirectRemoteAddress),
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => Plain(O::DownstreamDirectRemoteAddressWithoutPort),
        "DOWNSTREAM_DIRECT_REMOTE_PORT" => Plain(O::DownstreamDirectRemotePort),
        // The address a connection was accepted on is never rewritten here.
        "DOWNSTREAM_LOCAL_ADDRESS" | "DOWNSTREAM_DIRECT_LOCAL_ADDRESS" => Plain(O::DownstreamLocalAddress),
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" | "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT" =>
            Plain(O::DownstreamLocalAddressWithoutPort),
        "DOWNSTREAM_LOCAL_PORT" | "DOWNSTREAM_DIRECT_LOCAL_PORT" => Plain(O::DownstreamLocalPort),
        "DOWNSTREAM_TRANSPORT_FAILURE_REASON" => Plain(O::DownstreamTransportFailureReason),
        "DOWNSTREAM_DETECTED_CLOSE_TYPE" => Plain(O::DownstreamDetectedCloseType),
        "CONNECTION_ID" => Plain(O::ConnectionId),
        "STREAM_ID" => Plain(O::StreamId),
        "REQUESTED_SERVER_NAME" => Optional(|a| ServerName::parse(a).map(O::RequestedServerName)),
        "ROUTE_NAME" => Plain(O::RouteName),
        "VIRTUAL_CLUSTER_NAME" => Plain(O::VirtualClusterName),
        "FILTER_CHAIN_NAME" => Plain(O::FilterChainName),
        "HOSTNAME" => Plain(O::Hostname),
        "ACCESS_LOG_TYPE" => Plain(O::AccessLogType),
        "UNIQUE_ID" => Plain(O::UniqueId),
        "ENVIRONMENT" => Cut(|a| Some(O::Environment(a.into()))),
        "DYNAMIC_METADATA" => Cut(|a| metadata(Of::Dynamic, a)),
        "CLUSTER_METADATA" => Cut(|a| metadata(Of::Cluster, a)),
        "UPSTREAM_METADATA" => Cut(|a| metadata(Of::UpstreamHost, a)),
        "METADATA" => Cut(|a| MetadataRef::parse_any(a).map(O::Metadata)),
        "FILTER_STATE" => Cut(|a| filter_state(a, O::FilterState)),
        "UPSTREAM_FILTER_STATE" => Cut(|a| filter_state(a, O::UpstreamFilterState)),
        "TLS_JA3_FINGERPRINT" => Plain(O::TlsJa3Fingerprint),
        "TLS_JA4_FINGERPRINT" => Plain(O::TlsJa4Fingerprint),
        "ZONEGATE_KUMA_NAME" => Plain(O::KumaName),
        "ZONEGATE_CLOSE_REASON" => Plain(O::CloseReason),
        "ZONEGATE_RBAC_POLICY" => Plain(O::RbacPolicy),

        "REQ" | "REQUEST_HEADER" => Cut(|a| HeaderRef::parse(a, false).map(O::Request)),
        "RESP" | "RESPONSE_HEADER" => Cut(|a| HeaderRef::parse(a, false).map(O::Response)),
        "TRAILER" | "RESPONSE_TRAILER" => Cut(|a| HeaderRef::parse(a, false).map(O::Trailer)),
        // Envoy's extension `envoy.formatter.req_without_query`; it is there always.
        "REQ_WITHOUT_QUERY" => Cut(|a| HeaderRef::parse(a, true).map(O::Request)),
        "QUERY_PARAM" => Cut(|a| Some(O::QueryParam(a.into()))),
        "QUERY_PARAMS" => OptionalCut(|a| matches!(a, None | Some("ORIG" | "DECODED")).then_some(O::QueryParams)),
        "PATH" => OptionalCut(|a| PathForm::parse(a).map(O::Path)),
        "GRPC_STATUS" => Optional(|a| GrpcForm::parse(a).map(O::GrpcStatus)),
        "GRPC_STATUS_NUMBER" => Plain(O::GrpcStatus(GrpcForm::Number)),
        "LOCAL_REPLY_BODY" => Plain(O::LocalReplyBody),
        "TRACE_ID" => Plain(O::TraceId),
        "SPAN_ID" => Plain(O::SpanId),
        "CUSTOM_FLAGS" => Plain(O::CustomFlags),
        "CEL" => Cut(cel),
        "COALESCE" => Cut(coalesce),
        "REQUEST_HEADERS_BYTES" => Plain(O::RequestHeadersBytes),
        "RESPONSE_HEADERS_BYTES" => Plain(O::ResponseHeadersBytes),
        "RESPONSE_TRAILERS_BYTES" => Plain(O::ResponseTrailersBytes),
        "UPSTREAM_CONNECTION_POOL_READY_DURATION" => Plain(O::UpstreamConnectionPoolReadyDuration),
        "UPSTREAM_HOSTS_ATTEMPTED" => Plain(O::UpstreamHostsAttempted),
        "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT" => Plain(O::UpstreamHostsAttemptedWithoutPort),
        "UPSTREAM_HOST_NAMES_ATTEMPTED" => Plain(O::UpstreamHostNamesAttempted),
        "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT" => Plain(O::UpstreamHostNamesAttemptedWithoutPort),
        "UPSTREAM_CONNECTION_IDS_ATTEMPTED" => Plain(O::UpstreamConnectionIdsAttempted),
        "UPSTREAM_DETECTED_CLOSE_TYPE" => Plain(O::UpstreamDetectedCloseType),
        "UPSTREAM_SERVER_NAME" => Plain(O::UpstreamServerName),
        "DOWNSTREAM_CX_RTT" => Plain(O::DownstreamCxRtt),
        "UPSTREAM_LOCAL_CLOSE_REASON" | "DOWNSTREAM_LOCAL_CLOSE_REASON" | "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID"
        | "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID" | "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID" =>
            Plain(O::Unknown(name.into())),
        _ => return TlsOperator::parse(name).map(Make::Tls),
    })
}
