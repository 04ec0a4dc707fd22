#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};

use super::*;
use crate::model::access_log::{Filter, Operator, Piece};
use crate::model::testing::{encode, filter, path, paths};

fn parse(log: &Value) -> Result<(Box<[AccessLog]>, Vec<String>), Rejection> {
    let body = encode("envoy.config.accesslog.v3.AccessLog", log);
    let log = pb::AccessLog::decode(body).unwrap();
    let mut cx = Context::default();
    let logs = access_logs(&mut cx, &mut Cache::default(), vec![log])?;
    Ok((logs, paths(&cx.into_ignored())))
}

fn file(config: Value) -> Value {
    filter("envoy.access_loggers.file", "envoy.extensions.access_loggers.file.v3.FileAccessLog", config)
}

fn with_filter(filter: Value) -> Value {
    let mut log = file(json!({"path": "/dev/stdout"}));
    log["filter"] = filter;
    log
}

fn text(s: &str) -> Template {
    Template::parse(s).unwrap()
}

#[test]
fn sinks_and_formats() {
    let (logs, ignored) = parse(&file(json!({"path": "/f", "logFormat":
        {"textFormatSource": {"inlineString": "%BYTES_SENT%\n"}}})))
    .unwrap();
    assert_eq!(ignored, Vec::<String>::new());
    assert_eq!(logs[0].sink, Sink::File(Path::new("/f").into()));
    assert_eq!(*logs[0].format, Format::Text(text("%BYTES_SENT%\n")));

    let stdout = filter("o", "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", json!({}));
    let (logs, _) = parse(&stdout).unwrap();
    assert_eq!((&logs[0].sink, &*logs[0].format), (&Sink::Stdout, &Format::Text(text(format::DEFAULT))));
}

#[test]
fn json_formats_are_sorted_and_keep_their_kinds() {
    let (logs, _) = parse(&file(json!({"path": "/f", "logFormat": {"jsonFormat":
        {"z": "%DURATION%", "a": {"n": 1.5, "l": [true, null]}}}})))
    .unwrap();
    let Format::Json(fields) = &*logs[0].format else { panic!("not JSON") };
    let lone = Piece::Operator { operator: Operator::Duration, max_length: None };
    let inner = JsonNode::Object(Box::from([
        ("l".into(), JsonNode::List(Box::from([JsonNode::Bool(true), JsonNode::Null]))),
        ("n".into(), JsonNode::Number(1.5)),
    ]));
    let expected = [("a".into(), inner), ("z".into(), JsonNode::Template(Template(Box::from([lone]))))];
    assert_eq!(**fields, expected);
}

#[test]
fn cel_filters_are_compiled() {
    let cel = |expression: &str| {
        let kind = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter";
        with_filter(json!({"extensionFilter": filter("cel", kind, json!({"expression": expression}))}))
    };
    let (logs, ignored) = parse(&cel("has(connection.termination_details)")).unwrap();
    assert_eq!(ignored, Vec::<String>::new());
    let Some(Filter::Cel(cel_filter)) = &logs[0].filter else { panic!("no filter") };
    assert_eq!(&*cel_filter.text, "has(connection.termination_details)");
    assert_eq!(path(parse(&cel("1 +"))), "access_log[0].filter.extension_filter.typed_config.expression");
}

#[test]
fn what_is_not_run_is_named() {
    let kind = "envoy.extensions.access_loggers.filters.process_ratelimit.v3.ProcessRateLimitFilter";
    let (logs, ignored) = parse(&with_filter(json!({"extensionFilter": filter("p", kind, json!({}))}))).unwrap();
    let at = "access_log[0].filter.extension_filter.typed_config";
    assert_eq!((logs.len(), &*ignored), (1, &[at.to_owned()][..]));

    let als = "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig";
    let (logs, ignored) = parse(&filter("als", als, json!({}))).unwrap();
    assert_eq!((logs.len(), &*ignored), (0, &["access_log[0].typed_config".to_owned()][..]));
}

#[test]
fn equal_logs_are_one() {
    let log = file(json!({"path": "/f"}));
    let log = pb::AccessLog::decode(encode("envoy.config.accesslog.v3.AccessLog", &log)).unwrap();
    let (mut cx, mut cache) = (Context::default(), Cache::default());
    let logs = access_logs(&mut cx, &mut cache, vec![log.clone(), log]).unwrap();
    assert!(Arc::ptr_eq(&logs[0].format, &logs[1].format));
}

#[test]
fn refusals_name_the_field() {
    let at = |rest: &str| format!("access_log[0].{rest}");
    assert_eq!(path(parse(&file(json!({})))), at("typed_config.path"));
    let bad = file(json!({"path": "/f", "logFormat": {"textFormat": "%NO%"}}));
    assert_eq!(path(parse(&bad)), at("typed_config.log_format.text_format"));
    let bad = file(json!({"path": "/f", "logFormat": {"jsonFormat": {"k": "%NO%"}}}));
    assert_eq!(path(parse(&bad)), at("typed_config.log_format.json_format.k"));
    assert_eq!(path(parse(&json!({"name": "x"}))), at("typed_config"));
    assert_eq!(path(parse(&with_filter(json!({})))), at("filter.filter_specifier"));
}

fn otel(config: Value) -> Value {
    filter("o", "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig", config)
}

#[test]
fn records_of_open_telemetry() {
    let grpc = json!({"envoyGrpc": {"clusterName": "c"}});
    let text = |text: &str| json!({"stringValue": text});
    let config = json!({"commonConfig": {"logName": "n", "grpcService": grpc}, "body": text("%PROTOCOL%"),
        "attributes": {"values": [{"key": "z", "value": text("1")},
            {"key": "a", "value": {"kvlistValue": {"values": [{"key": "k", "value": text("%DURATION%")}]}}}]},
        "resourceAttributes": {"values": [{"key": "r", "value": text("v")}]}});
    let (logs, ignored) = parse(&otel(config)).unwrap();
    assert_eq!(ignored, Vec::<String>::new());
    let Sink::OpenTelemetry(log) = &logs[0].sink else { panic!("{:?}", logs[0].sink) };
    assert_eq!((&*log.log_name, log.buffer_size, log.built_in_labels), ("n", 16_384, true));
    assert_eq!(*log.resource, [("r".into(), "v".into())]);
    let Format::Record { body: Some(_), attributes } = &*logs[0].format else { panic!("{:?}", logs[0].format) };
    assert_eq!(attributes.iter().map(|(key, _)| &**key).collect::<Vec<_>>(), ["z", "a"], "in order");
    let number = json!({"grpcService": grpc, "body": {"intValue": "1"}});
    assert_eq!(path(parse(&otel(number))), "access_log[0].typed_config.body");
    assert_eq!(path(parse(&otel(json!({})))), "access_log[0].typed_config.grpc_service");
}

#[test]
fn filters_of_all_kinds() {
    let of = |filter: Value| parse(&with_filter(filter)).map(|(logs, ignored)| (logs[0].filter.clone(), ignored));
    let status = json!({"statusCodeFilter": {"comparison": {"op": "GE", "value": {"defaultValue": 400}}}});
    let header = json!({"headerFilter": {"header": {"name": "X-A", "stringMatch": {"exact": "1"}}}});
    let (filter, ignored) = of(json!({"andFilter": {"filters": [status.clone(), header]}})).unwrap();
    assert!(ignored.is_empty() && matches!(&filter, Some(Filter::And(both)) if both.len() == 2), "{filter:?}");
    let (filter, _) = of(json!({"logTypeFilter": {"types": ["DownstreamEnd"], "exclude": true}})).unwrap();
    assert!(matches!(filter, Some(Filter::LogType { types, exclude: true }) if *types == ["DownstreamEnd".into()]));
    let value = json!({"matcher": {"filter": "n", "path": [{"key": "k"}], "value": {"boolMatch": true}}});
    assert!(matches!(of(json!({"metadataFilter": value})).unwrap().0, Some(Filter::Metadata(_))));
    let at = |rest: &str| format!("access_log[0].filter.{rest}");
    assert_eq!(path(of(json!({"responseFlagFilter": {"flags": ["XX"]}}))), at("response_flag_filter.flags[0]"));
    assert_eq!(path(of(json!({"orFilter": {"filters": [status]}}))), at("or_filter.filters"));
    assert_eq!(path(of(json!({"statusCodeFilter": {}}))), at("status_code_filter.comparison"));
}
