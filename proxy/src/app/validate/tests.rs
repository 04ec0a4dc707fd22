#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::Value;

use super::*;

fn validate(yaml: &str) -> (Vec<String>, Result<(), String>) {
    let report = report(bootstrap_file::parse("test", yaml));
    (report.findings().iter().map(ToString::to_string).collect(), report.verdict())
}

const GOOD: &str = "
static_resources:
  listeners:
  - name: in
    address: {socket_address: {address: 127.0.0.1, port_value: 10001}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: c}
  clusters:
  - {name: c, type: STATIC, load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}}]}]}}
";

#[test]
fn all_is_well() {
    assert_eq!(validate(GOOD), (vec![], Ok(())));
    let mut out = Vec::new();
    report(bootstrap_file::parse("test", GOOD)).print(Format::Text, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "OK: 1 listeners, 1 clusters\n");
}

const HTTP: &str = "
static_resources:
  listeners:
  - name: in
    address: {socket_address: {address: 127.0.0.1, port_value: 10001}}
    filter_chains:
    - name: web
      filters:
      - name: hcm
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: t
          route_config: {name: all, virtual_hosts: [{name: v, domains: ['*'], routes: [{match: {prefix: /}, direct_response: {status: 200}}]}]}
          http_filters:
          - {name: cross, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors}}
          - {name: router, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
";

#[test]
fn http_is_told_by_chain() {
    let report = report(bootstrap_file::parse("test", HTTP));
    let print = |format| {
        let mut out = Vec::new();
        report.print(format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let chain = r#"HTTP: listener "in" chain "web": filters: cross; routes "all": 1 virtual hosts, 1 routes"#;
    assert_eq!(print(Format::Text), format!("{chain}\nOK: 1 listeners, 0 clusters\n"));
    let json: Value = serde_json::from_str(&print(Format::Json)).unwrap();
    let expected = json!({"listener": "in", "chain": "web", "filters": ["cross"], "route_config": "all",
        "virtual_hosts": 1, "routes": 1});
    assert_eq!(json["http"], json!([expected]));
}

#[test]
fn errors_and_fields_are_named() {
    let (findings, verdict) = validate(&GOOD.replace("port_value: 10001", "port_value: 70000"));
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].starts_with("error: listener \"in\": address.socket_address.port_value: "), "{findings:?}");
    assert_eq!(verdict, Err("1 error was found".to_owned()));

    let (findings, verdict) = validate(&format!("flags_path: /x\n{GOOD}"));
    assert_eq!(findings, ["not honoured: bootstrap: flags_path: no flag files are read"]);
    assert_eq!(verdict, Ok(()));

    let unknown = "envoy.extensions.filters.network.redis_proxy.v3.RedisProxy";
    let yaml = GOOD
        .replace("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", unknown)
        .replace(", stat_prefix: t, cluster: c}", ", stat_prefix: t}");
    let (findings, verdict) = validate(&yaml);
    assert!(
        findings.iter().any(|f| f.contains("refuses its connections") && f.contains("listener \"in\"")),
        "{findings:?}"
    );
    assert!(verdict.is_err());

    let (findings, verdict) = validate("nod: {}");
    assert!(findings[0].contains("has no field \"nod\"") && verdict.is_err(), "{findings:?}");
}

#[test]
fn files_that_are_named_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let lds = dir.path().join("lds.yaml");
    let yaml = format!("dynamic_resources: {{lds_config: {{path_config_source: {{path: {}}}}}}}", lds.display());
    let (findings, verdict) = validate(&yaml);
    assert!(findings[0].starts_with("error: file ") && verdict.is_err(), "{findings:?}");
    let listener = "resources: [{'@type': type.googleapis.com/envoy.config.listener.v3.Listener, name: l, address: {socket_address: {address: 127.0.0.1, port_value: PORT}}, filter_chains: [{filters: []}]}]";
    std::fs::write(&lds, listener.replace("PORT", "99999")).unwrap();
    let (findings, _) = validate(&yaml);
    assert!(findings[0].contains("listener \"l\": address.socket_address.port_value"), "{findings:?}");
    std::fs::write(&lds, "resources: [{'@type': nonsense}]").unwrap();
    assert!(validate(&yaml).1.is_err());
}

#[test]
fn json_for_programs() {
    let mut out = Vec::new();
    let report = report(bootstrap_file::parse("test", &format!("flags_path: /x\n{}", GOOD.replace("10001", "70000"))));
    report.print(Format::Json, &mut out).unwrap();
    let json: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((&json["ok"], &json["listeners"]), (&json!(false), &json!(0)));
    assert_eq!(json["errors"][0]["resource"], "listener \"in\"");
    assert_eq!(
        json["not_honoured"][0],
        json!({"resource": "bootstrap", "path": "flags_path", "text": "no flag files are read"})
    );
}

/// Kuma's bootstraps: TLS to the control plane is ours, whatever the data path can do.
#[test]
fn the_control_planes_cluster_is_not_the_data_paths() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/goldens");
    if !dir.exists() {
        assert!(std::env::var_os("CI").is_none(), "{} is absent", dir.display());
        eprintln!("SKIPPED: {} is absent", dir.display());
        return;
    }
    for name in
        ["2.13/bootstrap/bootstrap.universal", "2.14/bootstrap/bootstrap.k8s", "3.0/bootstrap/bootstrap.universal"]
    {
        let report = file(&dir.join(format!("{name}.golden.yaml")));
        assert_eq!(report.findings(), [], "{name}");
    }
}
