//! The command operators by name, with what each takes.

use super::format::{Command, FormatError};
use super::tls::TlsOperator;
use super::{Operator, Piece};

/// What an operator does with its argument.
enum Make {
    /// Takes none, nor a length.
    Plain(Operator),
    /// May have one.
    Optional(fn(Option<Box<str>>) -> Operator),
    /// Must have one.
    Required(fn(Box<str>) -> Operator),
    /// Must have one; may have a length.
    Cut(fn(Box<str>) -> Operator),
    /// About TLS.
    Tls(TlsOperator),
    /// About HTTP: the whole text is kept, and prints `-` on TCP.
    Other(fn(Box<str>) -> Operator, Takes),
}

/// Syntax of an operator that prints `-`.
#[derive(Clone, Copy)]
enum Takes {
    Nothing,
    Optional,
    OptionalCut,
    RequiredCut,
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
        Make::Plain(_) | Make::Other(_, Takes::Nothing) => (true, false, false),
        Make::Tls(operator) => (!operator.takes_format(), false, false),
        Make::Optional(_) | Make::Other(_, Takes::Optional) => (false, false, false),
        Make::Required(_) => (false, true, false),
        Make::Cut(_) | Make::Other(_, Takes::RequiredCut) => (false, true, true),
        Make::Other(_, Takes::OptionalCut) => (false, false, true),
    };
    match argument {
        Some(_) if takes_none => return Err(FormatError::TakesNoArgument(name.into())),
        None if needs => return Err(FormatError::NeedsArgument(name.into())),
        _ => {}
    }
    if max_length.is_some() && !cut {
        return Err(FormatError::TakesNoLength(name.into()));
    }
    check_argument(name, argument)?;
    let text = || -> Box<str> {
        match argument {
            None => name.into(),
            Some(argument) => format!("{name}({argument})").into(),
        }
    };
    let operator = match make {
        Make::Plain(operator) => operator,
        Make::Optional(make) => make(argument.map(Into::into)),
        Make::Required(make) | Make::Cut(make) => make(argument.unwrap_or_default().into()),
        Make::Tls(operator) => Operator::Tls(TlsOperator { format: argument.map(Into::into), ..operator }),
        Make::Other(make, _) => make(text()),
    };
    Ok(Piece::Operator { operator, max_length })
}

fn check_argument(name: &str, argument: Option<&str>) -> Result<(), FormatError> {
    let Some(argument) = argument else { return Ok(()) };
    let known = match name {
        _ if argument.contains(['\n', '\0']) => false,
        "REQ" | "REQUEST_HEADER" | "RESP" | "RESPONSE_HEADER" | "TRAILER" | "RESPONSE_TRAILER" => headers(argument),
        "START_TIME" | "START_TIME_LOCAL" | "EMIT_TIME" => !argument.contains("%n"),
        "COMMON_DURATION" => match argument.split(':').collect::<Vec<_>>()[..] {
            [start, end] | [start, end, "ms" | "us" | "ns"] => !start.is_empty() && !end.is_empty(),
            _ => false,
        },
        "REQUESTED_SERVER_NAME" => {
            let (order, source) = argument.split_once(':').unwrap_or((argument, "ORIG"));
            matches!(order, "SNI_ONLY" | "SNI_FIRST" | "HOST_ONLY" | "HOST_FIRST")
                && matches!(source, "ORIG" | "HOST" | "ORIG_OR_HOST")
        }
        "FILTER_STATE" | "UPSTREAM_FILTER_STATE" => match argument.split(':').collect::<Vec<_>>()[..] {
            [_] | [_, "PLAIN" | "TYPED"] => true,
            [_, "FIELD", field] => !field.is_empty(),
            _ => false,
        },
        "GRPC_STATUS" => matches!(argument, "CAMEL_STRING" | "SNAKE_STRING" | "NUMBER"),
        "PATH" => {
            let (query, source) = argument.split_once(':').unwrap_or((argument, "ORIG"));
            matches!(query, "WQ" | "NQ") && matches!(source, "ORIG" | "PATH" | "ORIG_OR_PATH")
        }
        "QUERY_PARAMS" => matches!(argument, "ORIG" | "DECODED"),
        _ => true,
    };
    if known { Ok(()) } else { Err(FormatError::Argument(name.into(), argument.into())) }
}

/// A header's name, or two with `?` between them.
fn headers(argument: &str) -> bool {
    let name = |name: &str| {
        let name = name.strip_prefix(':').unwrap_or(name);
        name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    argument.split('?').count() <= 2 && argument.split('?').all(name)
}

#[rustfmt::skip] // a table
fn make(name: &str) -> Option<Make> {
    use Make::{Cut, Optional, Other, Plain, Required};
    use Operator as O;
    Some(match name {
        "START_TIME" => Optional(O::StartTime),
        "START_TIME_LOCAL" => Optional(O::StartTimeLocal),
        "EMIT_TIME" => Optional(O::EmitTime),
        "BYTES_RECEIVED" => Plain(O::BytesReceived),
        "BYTES_SENT" => Plain(O::BytesSent),
        "PROTOCOL" => Plain(O::Protocol),
        "RESPONSE_CODE" => Plain(O::ResponseCode),
        "RESPONSE_CODE_DETAILS" => Optional(|_| O::ResponseCodeDetails),
        "CONNECTION_TERMINATION_DETAILS" => Plain(O::ConnectionTerminationDetails),
        "DURATION" => Plain(O::Duration),
        "REQUEST_DURATION" => Plain(O::RequestDuration),
        "REQUEST_TX_DURATION" => Plain(O::RequestTxDuration),
        "RESPONSE_DURATION" => Plain(O::ResponseDuration),
        "RESPONSE_TX_DURATION" => Plain(O::ResponseTxDuration),
        "DOWNSTREAM_HANDSHAKE_DURATION" => Plain(O::DownstreamHandshakeDuration),
        "ROUNDTRIP_DURATION" => Plain(O::RoundtripDuration),
        "COMMON_DURATION" => Required(O::CommonDuration),
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
        "UPSTREAM_HEADER_BYTES_SENT" => Plain(O::UpstreamHeaderBytesSent),
        "UPSTREAM_HEADER_BYTES_RECEIVED" => Plain(O::UpstreamHeaderBytesReceived),
        "DOWNSTREAM_WIRE_BYTES_SENT" => Plain(O::DownstreamWireBytesSent),
        "DOWNSTREAM_WIRE_BYTES_RECEIVED" => Plain(O::DownstreamWireBytesReceived),
        "DOWNSTREAM_HEADER_BYTES_SENT" => Plain(O::DownstreamHeaderBytesSent),
        "DOWNSTREAM_HEADER_BYTES_RECEIVED" => Plain(O::DownstreamHeaderBytesReceived),
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
        "REQUESTED_SERVER_NAME" => Optional(O::RequestedServerName),
        "ROUTE_NAME" => Plain(O::RouteName),
        "VIRTUAL_CLUSTER_NAME" => Plain(O::VirtualClusterName),
        "FILTER_CHAIN_NAME" => Plain(O::FilterChainName),
        "HOSTNAME" => Plain(O::Hostname),
        "ACCESS_LOG_TYPE" => Plain(O::AccessLogType),
        "UNIQUE_ID" => Plain(O::UniqueId),
        "ENVIRONMENT" => Cut(O::Environment),
        "DYNAMIC_METADATA" => Cut(O::DynamicMetadata),
        "CLUSTER_METADATA" => Required(O::ClusterMetadata),
        "UPSTREAM_METADATA" => Required(O::UpstreamMetadata),
        "FILTER_STATE" => Cut(O::FilterState),
        "UPSTREAM_FILTER_STATE" => Cut(O::UpstreamFilterState),
        "TLS_JA3_FINGERPRINT" => Plain(O::TlsJa3Fingerprint),
        "TLS_JA4_FINGERPRINT" => Plain(O::TlsJa4Fingerprint),
        "ZONEGATE_KUMA_NAME" => Plain(O::KumaName),
        "ZONEGATE_CLOSE_REASON" => Plain(O::CloseReason),
        "ZONEGATE_RBAC_POLICY" => Plain(O::RbacPolicy),

        "REQ" | "REQUEST_HEADER" | "RESP" | "RESPONSE_HEADER" | "TRAILER" | "RESPONSE_TRAILER"
        | "QUERY_PARAM" => Other(O::Http, Takes::RequiredCut),
        "PATH" | "QUERY_PARAMS" => Other(O::Http, Takes::OptionalCut),
        "GRPC_STATUS" => Other(O::Http, Takes::Optional),
        "GRPC_STATUS_NUMBER" | "LOCAL_REPLY_BODY" | "TRACE_ID" | "SPAN_ID" | "CUSTOM_FLAGS"
        | "REQUEST_HEADERS_BYTES" | "RESPONSE_HEADERS_BYTES" | "RESPONSE_TRAILERS_BYTES"
        | "UPSTREAM_CONNECTION_POOL_READY_DURATION" | "UPSTREAM_HOSTS_ATTEMPTED"
        | "UPSTREAM_HOST_NAMES_ATTEMPTED" | "UPSTREAM_CONNECTION_IDS_ATTEMPTED" | "UPSTREAM_LOCAL_CLOSE_REASON"
        | "UPSTREAM_DETECTED_CLOSE_TYPE" | "DOWNSTREAM_LOCAL_CLOSE_REASON"
        | "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID" | "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID"
        | "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID" =>
            Other(O::Http, Takes::Nothing),
        _ => return TlsOperator::parse(name).map(Make::Tls),
    })
}
