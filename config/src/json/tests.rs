#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use envoy_types::pb::envoy::admin::v3::ConfigDump;
use envoy_types::pb::envoy::config::bootstrap::v3::Bootstrap;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::google::protobuf::Any;
use prost::Message as _;
use serde_json::{Value, json};

use super::*;

const BOOTSTRAP: &str = "envoy.config.bootstrap.v3.Bootstrap";
const LISTENER: &str = "envoy.config.listener.v3.Listener";
const SECRET: &str = "envoy.extensions.transport_sockets.tls.v3.Secret";

fn converter() -> Converter {
    Converter::new().unwrap()
}

fn fault(message: &str, yaml: &str) -> String {
    converter().text_to_bytes(message, yaml).unwrap_err().to_string()
}

/// `testdata/bootstrap.envoy.json` is what Envoy 1.40 shows on /config_dump for `testdata/bootstrap.yaml` (with a real
/// key in the key's place), less what it says about itself in `node`.
#[test]
fn prints_what_envoy_prints() {
    let bytes = converter().text_to_bytes(BOOTSTRAP, include_str!("testdata/bootstrap.yaml")).unwrap();
    let ours = converter().to_json(BOOTSTRAP, &bytes).unwrap();
    let envoys: Value = serde_json::from_str(include_str!("testdata/bootstrap.envoy.json")).unwrap();
    assert_eq!(ours, envoys);
}

/// prost's generated types are an independent reading of the same .proto files: same bytes, both ways.
#[test]
fn writes_what_prost_writes() {
    let bytes = converter().text_to_bytes(BOOTSTRAP, include_str!("testdata/bootstrap.yaml")).unwrap();
    let typed = Bootstrap::decode(bytes.as_slice()).unwrap();
    let resources = typed.static_resources.as_ref().unwrap();
    assert_eq!(resources.clusters[0].connect_timeout.unwrap().seconds, 1);
    assert_eq!(resources.listeners[0].filter_chains[0].filter_chain_match.as_ref().unwrap().server_names.len(), 2);
    assert_eq!(typed.node.as_ref().unwrap().id, ".ingress");
    let again = typed.encode_to_vec();
    assert_eq!(again.len(), bytes.len());
    assert_eq!(converter().to_json(BOOTSTRAP, &again).unwrap(), converter().to_json(BOOTSTRAP, &bytes).unwrap());
}

#[test]
fn streams_the_same_as_it_builds() {
    let bytes = converter().text_to_bytes(BOOTSTRAP, include_str!("testdata/bootstrap.yaml")).unwrap();
    let mut out = Vec::new();
    converter().write_json(BOOTSTRAP, &bytes, &mut out).unwrap();
    let streamed: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(streamed, converter().to_json(BOOTSTRAP, &bytes).unwrap());
    assert!(!String::from_utf8(out).unwrap().contains("top-secret"));
}

#[test]
fn json_is_stable_once_printed() {
    let bytes = converter().text_to_bytes(BOOTSTRAP, include_str!("testdata/bootstrap.yaml")).unwrap();
    let printed = converter().to_json(BOOTSTRAP, &bytes).unwrap();
    let again = converter().to_bytes(BOOTSTRAP, &printed).unwrap();
    assert_eq!(converter().to_json(BOOTSTRAP, &again).unwrap(), printed);
}

#[test]
fn both_spellings_are_one_field() {
    let a = converter().text_to_bytes(LISTENER, "{perConnectionBufferLimitBytes: 3, name: l}").unwrap();
    let b = converter().text_to_bytes(LISTENER, "{per_connection_buffer_limit_bytes: 3, name: l}").unwrap();
    assert_eq!(a, b);
    assert_eq!(Listener::decode(a.as_slice()).unwrap().per_connection_buffer_limit_bytes.unwrap().value, 3);
    let twice = fault(LISTENER, "{statPrefix: a, stat_prefix: b}");
    assert_eq!(twice, "stat_prefix: the field is given twice");
}

#[test]
fn errors_name_the_place() {
    let chain = "filter_chains: [{filters: []}, {filters: [{name: a, typed_config: ";
    for (yaml, expected) in [
        ("nam: l", "at the top: envoy.config.listener.v3.Listener has no field \"nam\""),
        (
            "address: {socket_address: {address: 1.2.3.4, port_value: high}}",
            "address.socket_address.port_value: expected an unsigned 32-bit integer, found \"high\"",
        ),
        ("address: {socket_address: {port_value: -1}}", "expected an unsigned 32-bit integer, found -1"),
        ("listener_filters_timeout: 5", "listener_filters_timeout: expected a duration like \"1.5s\", found 5"),
        ("traffic_direction: SIDEWAYS", "has no value \"SIDEWAYS\"; it has UNSPECIFIED, INBOUND, OUTBOUND"),
        ("filter_chains: {}", "filter_chains: expected a list, found an object"),
        ("metadata: {filter_metadata: {ns: 3}}", "metadata.filter_metadata[\"ns\"]: expected an object, found 3"),
        (&format!("{chain}{{a: 1}}}}]}}]"), "filter_chains[1].filters[0].typed_config: an extension's configuration"),
        (&format!("{chain}{{'@type': x/y.Z}}}}]}}]"), "filter_chains[1].filters[0].typed_config: unknown type x/y.Z"),
        (
            "{name: l, address: {pipe: {path: x}, socket_address: {address: a}}}",
            "address: only one of \"socket_address\" and \"pipe\" may be given",
        ),
        ("name: [unclosed", "line"),
        ("- name: l", "at the top: expected an object, found a list"),
    ] {
        let text = fault(LISTENER, yaml);
        assert!(text.contains(expected), "{yaml}\n  said    {text}\n  expected {expected}");
    }
    assert_eq!(fault("no.Such", "{}"), "there is no message no.Such in Envoy's API");
}

#[test]
fn numbers_enums_and_nulls() {
    let c = converter();
    let same = |a: Value, b: Value| assert_eq!(c.to_bytes(LISTENER, &a).unwrap(), c.to_bytes(LISTENER, &b).unwrap());
    same(json!({"traffic_direction": "INBOUND"}), json!({"traffic_direction": 1}));
    same(json!({"tcp_backlog_size": 5}), json!({"tcp_backlog_size": "5"}));
    same(json!({"tcp_backlog_size": 5}), json!({"tcp_backlog_size": 5.0}));
    same(json!({"name": null, "address": null}), json!({}));
    let bool_text = c.to_bytes(LISTENER, &json!({"ignore_global_conn_limit": "true"})).unwrap_err();
    assert_eq!(bool_text.to_string(), "ignore_global_conn_limit: expected true or false, found \"true\"");
    let bytes = |s: &str| c.to_bytes("envoy.config.core.v3.DataSource", &json!({ "inline_bytes": s }));
    assert_eq!(bytes("-_8=").unwrap(), bytes("+/8").unwrap());
    assert!(bytes("!").is_err());
}

#[test]
fn unknown_any_is_printed_as_bytes() {
    let unknown = Any { type_url: "type.googleapis.com/acme.Thing".into(), value: vec![1, 2, 255] };
    let broken = Any { type_url: format!("type.googleapis.com/{LISTENER}"), value: vec![0x0a, 200] };
    let dump = ConfigDump { configs: vec![unknown, broken, Any::default()] };
    let json = converter().to_json("envoy.admin.v3.ConfigDump", &dump.encode_to_vec()).unwrap();
    assert_eq!(json["configs"][0], json!({"@type": "type.googleapis.com/acme.Thing", "value": "AQL/"}));
    assert_eq!(json["configs"][1]["value"], "Csg=");
    assert_eq!(json["configs"][2], json!({}));
}

#[test]
fn any_of_a_well_known_type_is_boxed() {
    let json = json!({"@type": "type.googleapis.com/google.protobuf.Duration", "value": "3s"});
    let bytes = converter().to_bytes("google.protobuf.Any", &json).unwrap();
    assert_eq!(converter().to_json("google.protobuf.Any", &bytes).unwrap(), json);
}

#[test]
fn secrets_are_never_printed() {
    for yaml in [
        "{name: a, tls_certificate: {private_key: {inline_string: HUSH}, password: {inline_bytes: SFVTSA==}}}",
        "{name: a, generic_secret: {secrets: {k: {inline_string: HUSH}}}}",
        "{name: a, tls_certificate: {private_key_provider: {provider_name: p, typed_config: {'@type': x/google.protobuf.StringValue, value: HUSH}}}}",
    ] {
        let bytes = converter().text_to_bytes(SECRET, yaml).unwrap();
        let json = converter().to_json(SECRET, &bytes).unwrap().to_string();
        assert!(!json.contains("HUSH") && !json.contains("SFVTSA"), "{json}");
        assert!(json.contains("redacted") || json.contains("W3JlZGFjdGVkXQ=="), "{json}");
    }
    let typed =
        "{'@type': x/xds.type.v3.TypedStruct, type_url: t, value: {a: 1, privateKey: {inline_string: HUSH, n: 7}}}";
    let bytes = converter().text_to_bytes("google.protobuf.Any", typed).unwrap();
    let json = converter().to_json("google.protobuf.Any", &bytes).unwrap();
    assert_eq!(json["value"], json!({"a": 1, "privateKey": {"inline_string": "[redacted]", "n": null}}));
    let header =
        converter().text_to_bytes("envoy.config.core.v3.HeaderValue", "{key: Authorization, value: HUSH}").unwrap();
    let json = converter().to_json("envoy.config.core.v3.HeaderValue", &header).unwrap();
    assert_eq!(json, json!({"key": "Authorization", "value": "[redacted]"}));
}

#[test]
fn maps_defaults_and_merging_follow_protobuf() {
    let c = converter();
    let print = |bytes: &[u8]| c.to_json("envoy.config.core.v3.SocketAddress", bytes).unwrap();
    // protocol = UDP twice, then TCP (the default, not printed); address given twice, the last one counts.
    assert_eq!(print(&[0x08, 1, 0x08, 0, 0x12, 1, b'a', 0x12, 1, b'b']), json!({"address": "b"}));
    // port_value, then named_port of the same oneof.
    assert_eq!(print(&[0x18, 80, 0x22, 1, b'p']), json!({"named_port": "p"}));
    // A field that nobody knows is skipped.
    assert_eq!(print(&[0xf8, 0x3f, 1]), json!({}));
    assert!(c.to_json("envoy.config.core.v3.SocketAddress", &[0x12, 9, b'a']).is_err());
    assert!(c.to_json("envoy.config.core.v3.SocketAddress", &[0x12, 1, 0xff]).is_err());
    // A message field in two pieces is one message.
    let json = c.to_json("envoy.config.core.v3.Address", &[0x0a, 2, 0x18, 80, 0x0a, 3, 0x12, 1, b'x']).unwrap();
    assert_eq!(json, json!({"socket_address": {"address": "x", "port_value": 80}}));
}

#[test]
fn routes_with_every_kind_of_value() {
    let yaml = "
name: r
virtual_hosts:
- name: v
  domains: ['*']
  rate_limits: [{stage: 3}]
  routes:
  - match: {prefix: /, runtime_fraction: {default_value: {numerator: 5, denominator: MILLION}}, headers: [{name: n, range_match: {start: -3, end: 9007199254740993}}]}
    route: {cluster: c, timeout: 0s, retry_policy: {retriable_status_codes: [500, 503], num_retries: 0}}
";
    let bytes = converter().text_to_bytes("envoy.config.route.v3.RouteConfiguration", yaml).unwrap();
    let typed = RouteConfiguration::decode(bytes.as_slice()).unwrap();
    assert_eq!(typed.encode_to_vec().len(), bytes.len());
    let json = converter().to_json("envoy.config.route.v3.RouteConfiguration", &bytes).unwrap();
    let route = &json["virtual_hosts"][0]["routes"][0];
    assert_eq!(route["match"]["headers"][0]["range_match"], json!({"start": "-3", "end": "9007199254740993"}));
    assert_eq!(route["route"]["retry_policy"], json!({"retriable_status_codes": [500, 503], "num_retries": 0}));
    assert_eq!(route["route"]["timeout"], json!("0s"));
}

#[test]
fn deep_nesting_is_an_error_not_a_crash() {
    let mut value = json!({});
    for _ in 0..120 {
        value = json!({"@type": "x/google.protobuf.Any", "value": value});
    }
    let error = converter().to_bytes("google.protobuf.Any", &value).unwrap_err();
    assert!(error.to_string().contains("nested too deep"), "{error}");
    let mut bytes = Vec::new();
    for _ in 0..500 {
        bytes = Any { type_url: "x/google.protobuf.Any".into(), value: bytes }.encode_to_vec();
    }
    let printed = converter().to_json("google.protobuf.Any", &bytes).unwrap();
    assert_eq!(printed["@type"], "x/google.protobuf.Any");
    let mut list = Vec::new();
    for _ in 0..500 {
        let mut value = Vec::new();
        wire::put_bytes(6, &list, &mut value);
        list.clear();
        wire::put_bytes(1, &value, &mut list);
    }
    assert!(converter().to_json("google.protobuf.ListValue", &list).is_err());
}

/// Every configuration that Kuma emits goes in and comes out the same.
#[test]
fn kumas_goldens() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/goldens");
    if !root.exists() {
        assert!(std::env::var_os("CI").is_none(), "{} is absent", root.display());
        eprintln!("SKIPPED: {} is absent", root.display());
        return;
    }
    let mut count = 0;
    for file in walk(&root) {
        let text = std::fs::read_to_string(&file).unwrap();
        if !text.contains("resources:") || file.to_string_lossy().contains("bootstrap") {
            continue;
        }
        for entry in parse_text(&text).unwrap()["resources"].as_array().into_iter().flatten() {
            let resource = &entry["resource"];
            let place = format!("{} {}", file.display(), entry["name"]);
            let bytes =
                converter().to_bytes("google.protobuf.Any", resource).unwrap_or_else(|e| panic!("{place}: {e}"));
            let printed = converter().to_json("google.protobuf.Any", &bytes).unwrap();
            let again = converter().to_bytes("google.protobuf.Any", &printed).unwrap();
            assert_eq!(converter().to_json("google.protobuf.Any", &again).unwrap(), printed, "{place}");
            count += 1;
        }
    }
    assert!(count > 200, "only {count} resources");
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else if path.extension().is_some_and(|e| e == "yaml") {
            found.push(path);
        }
    }
    found
}

#[test]
fn yaml_in_all_its_forms() {
    let c = converter();
    let same = |a: &str, b: &str| {
        let read = |text: &str| c.text_to_bytes(LISTENER, text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(c.to_json(LISTENER, &read(a)).unwrap(), c.to_json(LISTENER, &read(b)).unwrap(), "{a}");
    };
    let filter = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
    let chain = |any: &str| format!("filter_chains: [{{filters: [{{name: t, typed_config: {any}}}]}}]");
    // @type need not come first.
    let first = chain(&format!("{{'@type': {filter}, cluster: c, stat_prefix: s}}"));
    let last = chain(&format!("{{cluster: c, stat_prefix: s, '@type': {filter}}}"));
    same(&first, &last);
    same("{name: a, <<: {stat_prefix: b}}", "{name: a, stat_prefix: b}");
    same(
        "metadata: {filter_metadata: {a: {200: x, true: y}}}",
        "metadata: {filter_metadata: {a: {'200': x, 'true': y}}}",
    );
    same("{\"name\": \"a\"}", "name: a");
    // A tab is no indentation in YAML, and JSON with comments is YAML.
    same("{\"name\": \"a\" # why\n}", "name: a");
    let twice = c.text_to_bytes(LISTENER, r#"{"name": "a", "name": "b"}"#).unwrap_err().to_string();
    assert_eq!(twice, "name: the field is given twice");
    let nested = chain(&format!("{{stat_prefix: s, '@type': {filter}, clusters: c}}"));
    let error = c.text_to_bytes(LISTENER, &nested).unwrap_err().to_string();
    assert!(
        error.starts_with("filter_chains[0].filters[0].typed_config: ") && error.contains("\"clusters\""),
        "{error}"
    );
}
