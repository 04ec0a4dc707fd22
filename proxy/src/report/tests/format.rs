use std::time::{Duration, UNIX_EPOCH};

use config::model::access_log::{Fact, Format, JsonNode, Operator as Op, Piece, Template, TlsOperator};
use sni::client_hello::Refusal;

use super::super::flow::{Fingerprints, Flow};
use super::super::value::{Subject, host_name};
use super::super::{LogType, format};
use super::{flow, socket};
use crate::error::{CloseReason, ConnectError};

fn subject(flow: &Flow) -> Subject<'_> {
    let now = UNIX_EPOCH + Duration::from_millis(1_795_191_571_437);
    Subject { now, ..Subject::of_connection(flow, LogType::TcpConnectionEnd, "vm") }
}

fn operator(operator: Op) -> Piece {
    Piece::Operator { operator, max_length: None }
}

fn text(flow: &Flow, op: Op) -> String {
    format::line(&Format::Text(Template([operator(op)].into())), false, &subject(flow))
}

fn json(flow: &Flow, fields: Vec<(&str, JsonNode)>) -> String {
    let fields = fields.into_iter().map(|(key, node)| (key.into(), node)).collect();
    format::line(&Format::Json(fields), false, &subject(flow))
}

fn parsed(text: &str) -> Op {
    match Template::parse(text).unwrap().0.into_vec().pop() {
        Some(Piece::Operator { operator, .. }) => operator,
        other => panic!("{text}: {other:?}"),
    }
}

fn server_name(option: &str) -> Op {
    parsed(&format!("%REQUESTED_SERVER_NAME({option})%"))
}

fn lone(op: Op) -> JsonNode {
    JsonNode::Template(Template([operator(op)].into()))
}

#[test]
fn what_peers_say_of_themselves_ends_no_line() {
    let mut line = "-".to_owned();
    format::tame(&mut line, "spiffe://a/b\nforged line\u{1b}[2J\tend");
    assert_eq!(line, "-spiffe://a/b_forged line_[2J\tend");
}

#[test]
fn text_as_envoy_wrote_it() {
    let flow = flow();
    let rows = [
        (server_name("SNI_ONLY"), "a.example.com"),
        (Op::StartTime(None), "2026-11-20T16:19:31.401Z"),
        (Op::StartTimeLocal(None), "2026-11-20T16:19:31.401+0000"),
        (Op::EmitTime(None), "2026-11-20T16:19:31.437Z"),
        (Op::StartTime(Some("%s.%3f".into())), "1795191571.401"),
        (Op::ResponseFlags, "-"),
        (Op::ResponseFlagsLong, "-"),
        (Op::ConnectionTerminationDetails, "-"),
        (Op::UpstreamTransportFailureReason, "-"),
        (Op::BytesReceived, "517"),
        (Op::BytesSent, "518"),
        (Op::RequestDuration, "-"),
        (Op::DownstreamHandshakeDuration, "-"),
        (Op::CommonDuration("DS_RX_BEG:US_CX_BEG:us".into()), "32503"),
        (Op::CommonDuration("US_CX_BEG:US_CX_END:us".into()), "27"),
        (Op::CommonDuration("US_CX_BEG:US_CX_END:ns".into()), "27000"),
        (Op::CommonDuration("DS_RX_BEG:US_CX_END:ms".into()), "32"),
        (Op::CommonDuration("US_CX_END:DS_TX_END:ms".into()), "-"),
        (Op::Protocol, "-"),
        (Op::ResponseCode, "0"),
        (Op::ResponseCodeDetails(false), "-"),
        (Op::UpstreamHost, "127.0.0.1:21500"),
        (Op::UpstreamHostName, "127.0.0.1:21500"),
        (Op::UpstreamHostNameWithoutPort, "127.0.0.1"),
        (Op::UpstreamCluster, "ca"),
        (Op::UpstreamClusterRaw, "ca"),
        (Op::UpstreamLocalAddress, "127.0.0.1:48176"),
        (Op::UpstreamLocalAddressWithoutPort, "127.0.0.1"),
        (Op::UpstreamLocalPort, "48176"),
        (Op::UpstreamRemoteAddress, "127.0.0.1:21500"),
        (Op::UpstreamRemotePort, "21500"),
        (Op::UpstreamRequestAttemptCount, "1"),
        (Op::UpstreamProtocol, "-"),
        (Op::UpstreamWireBytesSent, "517"),
        (Op::UpstreamWireBytesReceived, "518"),
        (Op::UpstreamHeaderBytesSent, "0"),
        (Op::DownstreamWireBytesReceived, "517"),
        (Op::DownstreamRemoteAddress, "127.0.0.1:55766"),
        (Op::DownstreamRemoteAddressWithoutPort, "127.0.0.1"),
        (Op::DownstreamRemotePort, "55766"),
        (Op::DownstreamDirectRemoteAddress, "127.0.0.1:55766"),
        (Op::DownstreamLocalAddress, "127.0.0.1:21000"),
        (Op::DownstreamLocalPort, "21000"),
        (Op::DownstreamDetectedCloseType, "Normal"),
        (Op::ConnectionId, "6"),
        (Op::RouteName, "-"),
        (Op::FilterChainName, "fc_a"),
        (Op::Hostname, "vm"),
        (Op::AccessLogType, "TcpConnectionEnd"),
        (Op::Environment("NOPE_NOT_SET".into()), "-"),
        (parsed("%DYNAMIC_METADATA(a:b)%"), "-"),
        (Op::Tls(TlsOperator { upstream: false, local: false, fact: Fact::Version, format: None }), "-"),
        (parsed("%REQ(:PATH)%"), "-"),
        (parsed("%PATH%"), "-"),
        (parsed("%TRACE_ID%"), "-"),
        (parsed("%METADATA(ROUTE:a:b)%"), "-"),
        (parsed("%COALESCE({\"operators\":[\"PROTOCOL\",\"BYTES_SENT\"]})%"), "518"),
        (parsed("%CEL(source.port + 1)%"), "55767"),
        (Op::TlsJa3Fingerprint, "-"),
    ];
    for (op, expected) in rows {
        assert_eq!(text(&flow, op.clone()), expected, "{op:?}");
    }
}

#[test]
fn closes_as_envoy_wrote_them() {
    let refused = |error| CloseReason::ConnectFailed(error);
    let rows = [
        (refused(ConnectError::Refused), "UF,URX", "UpstreamConnectionFailure,UpstreamRetryLimitExceeded", "-"),
        (CloseReason::NoHealthyUpstream, "UH", "NoHealthyUpstream", "-"),
        (CloseReason::NoCluster, "NC", "NoClusterFound", "-"),
        (CloseReason::IdleTimeout, "-", "-", "-"),
        (CloseReason::MaxDuration, "DT", "DurationTimeout", "-"),
        (CloseReason::RateLimited, "URX", "UpstreamRetryLimitExceeded", "-"),
        (CloseReason::Overflow, "UO", "UpstreamOverflow", "-"),
        (CloseReason::NoFilterChain, "NR", "NoRouteFound", "filter_chain_not_found"),
        (CloseReason::HelloRefused(Refusal::NotTls), "NR", "NoRouteFound", "filter_chain_not_found"),
        (CloseReason::HelloEof, "-", "-", "-"),
    ];
    for (reason, short, long, details) in rows {
        let mut flow = flow();
        flow.close = Some(reason.clone());
        assert_eq!(text(&flow, Op::ResponseFlags), short, "{reason:?}");
        assert_eq!(text(&flow, Op::ResponseFlagsLong), long, "{reason:?}");
        assert_eq!(text(&flow, Op::ResponseCodeDetails(false)), details, "{reason:?}");
        assert_eq!(text(&flow, Op::CloseReason), reason.as_str());
    }
    let mut reset = flow();
    reset.close = Some(CloseReason::DownstreamReset);
    assert_eq!(text(&reset, Op::DownstreamDetectedCloseType), "RemoteReset");
}

#[test]
fn an_endpoint_that_refuses() {
    let mut flow = flow();
    flow.close = Some(CloseReason::ConnectFailed(ConnectError::Refused));
    let upstream = flow.upstream.as_deref_mut().unwrap();
    (upstream.connected, upstream.local) = (None, None);
    upstream.failure = Some(ConnectError::Refused);
    upstream.stat_name = Some("cb_alt".into());
    let rows = [
        (Op::UpstreamTransportFailureReason, "delayed_connect_error:_Connection_refused"),
        (Op::UpstreamHost, "127.0.0.1:21500"),
        (Op::UpstreamCluster, "cb_alt"),
        (Op::UpstreamClusterRaw, "ca"),
        (Op::UpstreamLocalAddress, "-"),
        (Op::UpstreamRemoteAddress, "-"),
        (Op::UpstreamConnectionId, "0"),
        (Op::CommonDuration("US_CX_BEG:US_CX_END:us".into()), "-"),
        (Op::CommonDuration("DS_RX_BEG:US_CX_BEG:us".into()), "-"),
    ];
    for (op, expected) in rows {
        assert_eq!(text(&flow, op.clone()), expected, "{op:?}");
    }
    flow.upstream = None;
    assert_eq!(text(&flow, Op::UpstreamRequestAttemptCount), "0");
    assert_eq!(text(&flow, Op::UpstreamConnectionId), "0");
    assert_eq!(text(&flow, Op::UpstreamCluster), "-");
}

#[test]
fn server_names_as_envoy_wrote_them() {
    let rows: [(&[u8], &str); 6] = [
        (b"UPPER.example.com", "upper.example.com"),
        (b"a_b-1.example.com", "a_b-1.example.com"),
        (b"we}ird{x=,y", "invalid:we_ird_x__y"),
        (b"xyzzy\xff\x01\"b\nq", "invalid:xyzzy___b_q"),
        (b"sni:x.y", "invalid:sni_x.y"),
        (b"backend{mesh=default}", "invalid:backend_mesh_default_"),
    ];
    for (name, expected) in rows {
        assert_eq!(host_name(name), expected);
    }
    let mut flow = flow();
    flow.sni = Some((*b"backend{mesh=default}").into());
    assert_eq!(text(&flow, Op::KumaName), sni::kuma::KumaName::decode(b"backend{mesh=default}").unwrap().to_string());
    assert_eq!(text(&flow, server_name("HOST_FIRST:HOST")), "invalid:backend_mesh_default_");
    flow.sni = None;
    assert_eq!(text(&flow, server_name("SNI_FIRST")), "-");
    assert_eq!(text(&flow, Op::KumaName), "-");
}

#[test]
fn json_as_envoy_wrote_it() {
    let mixed = |before: &str, op: Op, after: &str| {
        let pieces = [Piece::Literal(before.into()), operator(op), Piece::Literal(after.into())];
        JsonNode::Template(Template(pieces.into()))
    };
    let literal = |text: &str| JsonNode::Template(Template([Piece::Literal(text.into())].into()));
    let fields = vec![
        ("a", lone(Op::UpstreamHost)),
        ("at", lone(Op::UpstreamRequestAttemptCount)),
        ("b", JsonNode::Bool(true)),
        ("det", lone(Op::ConnectionTerminationDetails)),
        ("f1", JsonNode::Number(1.5)),
        ("fl", lone(Op::ResponseFlags)),
        ("key\"q", literal("v")),
        ("lst", JsonNode::List([JsonNode::Number(1.0), literal("q\"uote/<>&")].into())),
        ("mix", mixed("x ", Op::BytesSent, " y")),
        ("mixdash", mixed("-", Op::RouteName, "-")),
        ("nest", JsonNode::Object([("k".into(), lone(Op::ConnectionId)), ("n".into(), lone(Op::RouteName))].into())),
        ("none", JsonNode::Null),
        ("num", JsonNode::Number(5.0)),
        ("rc", lone(Op::ResponseCode)),
        ("st", lone(Op::StartTime(None))),
    ];
    assert_eq!(
        json(&flow(), fields),
        concat!(
            r#"{"a":"127.0.0.1:21500","at":1,"b":true,"det":null,"f1":1.5,"fl":"-","key\"q":"v","#,
            r#""lst":[1,"q\"uote/<>&"],"mix":"x 518 y","mixdash":"---","nest":{"k":6,"n":null},"#,
            r#""none":null,"num":5,"rc":0,"st":"2026-11-20T16:19:31.401Z"}"#,
            "\n"
        )
    );
}

#[test]
fn lengths_cut_at_characters() {
    let mut flow = flow();
    flow.chain = Some(super::chain("aé", config::model::chain::Handler::DirectResponse(bytes::Bytes::new())));
    let cut = |op: Op, length| {
        let piece = Piece::Operator { operator: op, max_length: Some(length) };
        format::line(&Format::Text(Template([piece].into())), false, &subject(&flow))
    };
    assert_eq!(cut(Op::FilterChainName, 2), "a");
    assert_eq!(cut(Op::FilterChainName, 3), "aé");
    assert_eq!(cut(Op::FilterChainName, 0), "");
    assert_eq!(cut(Op::UpstreamHost, 4), "127.");
    assert_eq!(cut(Op::BytesReceived, 2), "51");
    assert_eq!(cut(Op::RouteName, 0), "-", "what is absent is not cut");
}

#[test]
fn ids_are_uuids() {
    let flow = flow();
    let id = text(&flow, Op::StreamId);
    assert_eq!(id, text(&flow, Op::StreamId), "one connection, one id");
    let groups: Vec<_> = id.split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12]);
    assert_eq!(&id[14..15], "4");
    assert!("89ab".contains(&id[19..20]));
    assert_ne!(text(&flow, Op::UniqueId), text(&flow, Op::UniqueId));
}

#[test]
fn secrets_of_the_environment_stay_there() {
    assert_ne!(text(&flow(), Op::Environment("PATH".into())), "-");
    // Set by cargo for each test, so that there is something to find.
    assert_ne!(text(&flow(), Op::Environment("CARGO_PKG_NAME".into())), "-");
    for name in ["KUMA_DATAPLANE_RUNTIME_TOKEN", "db_password", "AWS_SECRET_ACCESS_KEY"] {
        assert_eq!(text(&flow(), Op::Environment(name.into())), "-");
    }
}

#[test]
fn addresses_of_other_kinds() {
    let mut flow = flow();
    flow.direct_remote = Some("[::1]:9".parse().unwrap());
    assert_eq!(text(&flow, Op::DownstreamDirectRemoteAddress), "[::1]:9");
    assert_eq!(text(&flow, Op::DownstreamDirectRemoteAddressWithoutPort), "::1");
    flow.local = config::model::address::Address::Pipe { path: std::path::Path::new("/run/x.sock").into(), mode: 0 };
    assert_eq!(text(&flow, Op::DownstreamLocalAddress), "/run/x.sock");
    assert_eq!(text(&flow, Op::DownstreamLocalPort), "-");
    flow.local = socket("[::1]:1");
    assert_eq!(text(&flow, Op::DownstreamLocalAddressWithoutPort), "::1");
    flow.remote = None;
    assert_eq!(text(&flow, Op::DownstreamRemoteAddress), "-");
    flow.fingerprints = Some(Box::new(Fingerprints { ja3: None, ja4: Some("t13d".into()) }));
    assert_eq!((text(&flow, Op::TlsJa3Fingerprint), text(&flow, Op::TlsJa4Fingerprint)), ("-".into(), "t13d".into()));
}
