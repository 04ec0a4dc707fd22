#![allow(clippy::unwrap_used)]

use super::super::{Fact, HeaderRef, MetadataRef, MetadataSource, Operator, TlsOperator};
use super::*;

fn parse(format: &str) -> Vec<Piece> {
    Template::parse(format).unwrap().0.into()
}

fn literal(text: &str) -> Piece {
    Piece::Literal(text.into())
}

fn operator(operator: Operator) -> Piece {
    Piece::Operator { operator, max_length: None }
}

#[test]
fn literals_and_operators_in_order() {
    assert_eq!(
        parse("a %BYTES_SENT%%BYTES_RECEIVED% b\n"),
        [literal("a "), operator(Operator::BytesSent), operator(Operator::BytesReceived), literal(" b\n")]
    );
    assert_eq!(parse(""), []);
    assert_eq!(parse("100%%"), [literal("100%")]);
}

#[test]
fn arguments_may_hold_anything_up_to_the_end() {
    let time = "%START_TIME(%Y/%m/%dT%H:%M:%S%z (%s))%";
    assert_eq!(parse(time), [operator(Operator::StartTime(Some("%Y/%m/%dT%H:%M:%S%z (%s)".into())))]);
    assert_eq!(parse("%START_TIME%"), [operator(Operator::StartTime(None))]);
    let path = Box::from([Box::from("b")]);
    let metadata = Operator::Metadata(MetadataRef { of: MetadataSource::Dynamic, namespace: "a".into(), path });
    assert_eq!(
        parse("%DYNAMIC_METADATA(a:b):7%)"),
        [Piece::Operator { operator: metadata, max_length: Some(7) }, literal(")")]
    );
    assert_eq!(parse("%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%").len(), 1);
}

#[test]
fn what_is_about_http_or_tls_is_known() {
    let header = HeaderRef { name: "x-a".into(), alternative: Some(":path".into()), without_query: false };
    assert_eq!(
        parse("%REQ(X-A?:PATH):3%"),
        [Piece::Operator { operator: Operator::Request(header), max_length: Some(3) }]
    );
    let tls = |fact, format: Option<&str>| {
        operator(Operator::Tls(TlsOperator { upstream: false, local: false, fact, format: format.map(Into::into) }))
    };
    assert_eq!(parse("%DOWNSTREAM_PEER_URI_SAN%"), [tls(Fact::UriSan, None)]);
    assert_eq!(parse("%DOWNSTREAM_PEER_CERT_V_START(%Y)%"), [tls(Fact::CertValidFrom, Some("%Y"))]);
}

#[test]
fn the_default_format_is_one() {
    assert!(DEFAULT.ends_with("\"%UPSTREAM_HOST%\"\n"));
    assert!(!DEFAULT.contains("  "));
    Template::parse(DEFAULT).unwrap();
}

#[test]
fn refusals() {
    let error = |format: &str| Template::parse(format).unwrap_err();
    assert_eq!(error("a % b"), FormatError::NoCommand(2));
    assert_eq!(error("%%%"), FormatError::NoCommand(2));
    assert_eq!(error("%bytes%"), FormatError::NoCommand(0));
    assert_eq!(error("%REQ(a%"), FormatError::NoCommand(0));
    assert_eq!(error("%NONSENSE%"), FormatError::Unknown("NONSENSE".into()));
    assert_eq!(error("%BYTES_SENT(1)%"), FormatError::TakesNoArgument("BYTES_SENT".into()));
    assert_eq!(error("%BYTES_SENT:3%"), FormatError::TakesNoLength("BYTES_SENT".into()));
    assert_eq!(error("%REQ%"), FormatError::NeedsArgument("REQ".into()));
    assert_eq!(error("%REQ(a?b?c)%"), FormatError::Argument("REQ".into(), "a?b?c".into()));
    assert_eq!(error("%REQ(a):99999999999999999999999%"), FormatError::Length("REQ".into()));
    for (name, argument) in [
        ("COMMON_DURATION", "a"),
        ("COMMON_DURATION", "a:b:s"),
        ("REQ", "a:b"),
        ("PATH", "X"),
        ("GRPC_STATUS", "X"),
        ("FILTER_STATE", "a:FIELD"),
        ("START_TIME", "%n"),
        ("REQUESTED_SERVER_NAME", "HOST_ONLY"),
        ("METADATA", "X:a:b"),
        ("QUERY_PARAMS", "X"),
        ("CEL", "1 +"),
        ("COALESCE", "{}"),
        ("COALESCE", r#"{"operators":["REQ(a)","NONSENSE"]}"#),
    ] {
        let expected = FormatError::Argument(name.into(), argument.into());
        assert_eq!(error(&format!("%{name}({argument})%")), expected);
    }
    assert_eq!(error("%REQ()%"), FormatError::NeedsArgument("REQ".into()));
    assert_eq!(parse("%BYTES_SENT()%"), [operator(Operator::BytesSent)]);
}

#[test]
fn coalesced_operators_are_operators() {
    let text = r#"%COALESCE({"operators":[{"command":"REQ","param":"b","max_length":2},"PROTOCOL"]}):3%"#;
    let header = HeaderRef { name: "b".into(), alternative: None, without_query: false };
    let inner =
        [Piece::Operator { operator: Operator::Request(header), max_length: Some(2) }, operator(Operator::Protocol)];
    assert_eq!(parse(text), [Piece::Operator { operator: Operator::Coalesce(inner.into()), max_length: Some(3) }]);
}
