#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use ::config::bootstrap::kuma::{Feature, ProxyType, ResourceSource, ServerTrust};
use ::config::xds::token::Secret;
use clap::Parser as _;

use super::*;
use crate::app::args::{Cli, Command, RunArgs};
use crate::app::env::Env;
use crate::app::role::Role;
use crate::app::role::testing::{EGRESS, INGRESS};

fn args(line: &str) -> RunArgs {
    match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
        Some(Command::Run(args)) => *args,
        _ => panic!(),
    }
}

/// As the ingress, but for command lines of an egress.
fn resolve(line: &str, env: &[(&str, &str)]) -> Result<RunConfig, String> {
    let role = if line.contains("egress") { EGRESS } else { INGRESS };
    resolve_as(&role, line, env)
}

fn resolve_as(role: &Role, line: &str, env: &[(&str, &str)]) -> Result<RunConfig, String> {
    let env: Env = env.iter().copied().collect();
    RunConfig::resolve(role, &args(line), &env).map_err(|e| e.to_string())
}

#[test]
fn defaults_are_kuma_dps() {
    let config = resolve("kuma-dp run --proxy-type ingress --name i", &[]).unwrap();
    assert_eq!(config.control_plane.url, "https://localhost:5678");
    assert_eq!(config.control_plane.trust, ServerTrust::System);
    let times = (config.control_plane.backoff, config.control_plane.patience, config.drain_time);
    assert_eq!(times, (Duration::from_secs(3), Duration::from_secs(300), Duration::from_secs(30)));
    assert_eq!((config.readiness_port, config.dns_port, config.concurrency), (9902, 15054, None));
    assert!(config.ipv6 && !config.in_kubernetes && config.features.announced().contains(&Feature::DeltaGrpc));
}

#[test]
fn flags_win_over_variables() {
    let env = [
        ("KUMA_CONTROL_PLANE_URL", "https://env:1"),
        ("KUMA_DATAPLANE_DRAIN_TIME", "5s"),
        ("KUMA_DATAPLANE_RUNTIME_CONCURRENCY", "4"),
        ("KUMA_DATAPLANE_PROXY_TYPE", "egress"),
        ("KUMA_DATAPLANE_NAME", "env-name"),
        ("KUMA_CONTROL_PLANE_TLS_SKIP_VERIFY", "true"),
        ("KUMA_CONTROL_PLANE_RETRY_BACKOFF", "1s"),
        ("KUMA_READINESS_PORT", "1234"),
        ("KUMA_DATAPLANE_RESOURCES_MAX_MEMORY_BYTES", "512"),
        ("KUMA_DATAPLANE_RUNTIME_ENVOY_XDS_TRANSPORT_PROTOCOL_VARIANT", "GRPC"),
        ("KUMA_DATAPLANE_RUNTIME_UNIFIED_RESOURCE_NAMING_ENABLED", "1"),
        ("KUMA_DATAPLANE_RUNTIME_IPV6_ENABLED", "false"),
        ("HOST_IP", "10.0.0.9"),
        ("KUMA_DATAPLANE_MESH", ""),
    ];
    let config = resolve_as(&EGRESS, "kuma-dp run", &env).unwrap();
    assert_eq!((config.proxy_type(), &*config.name), (ProxyType::Egress, "env-name"));
    assert_eq!((config.drain_time, config.concurrency.unwrap().get()), (Duration::from_secs(5), 4));
    assert_eq!(
        (config.control_plane.trust, config.readiness_port, config.max_memory),
        (ServerTrust::Nobody, 1234, Some(512))
    );
    assert!(config.features.state_of_the_world && config.features.unified_naming && !config.ipv6);
    assert_eq!(config.dynamic_metadata["HOST_IP"], "10.0.0.9");
    let config = resolve(
        "kuma-dp run --cp-address=https://flag:2 --drain-time=7s --skip-verify=false --proxy-type=ingress",
        &env,
    )
    .unwrap();
    assert_eq!((&*config.control_plane.url, config.drain_time), ("https://flag:2", Duration::from_secs(7)));
    assert_eq!((config.proxy_type(), config.control_plane.trust), (ProxyType::Ingress, ServerTrust::System));
}

#[test]
fn what_is_wrong_is_said_at_once() {
    let error = resolve("kuma-dp run --drain-time 0s", &[("KUMA_READINESS_PORT", "70000")]).unwrap_err();
    for part in [
        ".DrainTime must be positive",
        ".ReadinessPort has to be in (0, 65535]",
        ".Mesh must be non-empty",
        ".Name must be non-empty",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let zone_proxy = resolve("kuma-dp run --proxy-type ingress", &[]).unwrap_err();
    assert!(zone_proxy.contains(".Name must") && !zone_proxy.contains(".Mesh must"), "{zone_proxy}");
    resolve("kuma-dp run -d x.yaml", &[]).unwrap();
    let error = resolve("kuma-dp run -d x", &[("KUMA_DATAPLANE_DRAIN_TIME", "soon")]).unwrap_err();
    assert!(error.contains("KUMA_DATAPLANE_DRAIN_TIME") && error.contains("soon"), "{error}");
    let variant = [("KUMA_DATAPLANE_RUNTIME_ENVOY_XDS_TRANSPORT_PROTOCOL_VARIANT", "REST")];
    assert!(resolve("kuma-dp run -d x", &variant).unwrap_err().contains("Must be one of: DELTA_GRPC or GRPC"));
    assert!(resolve("kuma-dp run -d x -v a", &[]).unwrap_err().contains("\"a\" must be formatted as key=value"));
    let error = resolve("kuma-dp run -d x --ca-cert-file /nowhere.pem", &[]).unwrap_err();
    assert!(error.contains("could not read certificate file /nowhere.pem"), "{error}");
    let retry = resolve("kuma-dp run -d x", &[("KUMA_CONTROL_PLANE_RETRY_BACKOFF", "0s")]).unwrap_err();
    assert!(retry.contains(".Backoff must be a positive duration"), "{retry}");
}

#[test]
fn pods_are_known_by_their_names() {
    let env = [("POD_NAME", "zi-abc"), ("POD_NAMESPACE", "kuma-system")];
    let config = resolve("kuma-dp run --proxy-type=ingress", &env).unwrap();
    assert_eq!((&*config.name, config.in_kubernetes), ("zi-abc.kuma-system", true));
    assert_eq!(resolve("kuma-dp run --name x --proxy-type=ingress", &env).unwrap().name, "x");
    assert_eq!(resolve("kuma-dp run -d -", &env).unwrap().name, "");
    assert_eq!(resolve("kuma-dp run -d -", &env).unwrap().resource, Some(ResourceSource::Stdin));
}

#[test]
fn deprecated_settings_still_count() {
    let config =
        resolve("kuma-dp run -d x --config-dir /old", &[("KUMA_DATAPLANE_RUNTIME_SOCKET_DIR", "/sockets")]).unwrap();
    assert_eq!(
        (config.work_dir.unwrap().as_path(), config.socket_dir.unwrap().as_path()),
        (Path::new("/old"), Path::new("/sockets"))
    );
    assert_eq!(config.notes.len(), 2);
    let config = resolve("kuma-dp run -d x --config-dir /old --work-dir /new", &[]).unwrap();
    assert_eq!(config.work_dir.unwrap(), Path::new("/new"));
}

#[test]
fn readiness_is_told_beside_the_admin_server() {
    let with = |admin: &str| ::config::bootstrap::envoy::parse("test", admin).unwrap();
    let tcp = with("admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}");
    let pipe = with("admin: {address: {pipe: {path: /s}}}");
    let at = |b: &Bootstrap, k8s, proxy| readiness_address(b, 9902, k8s, proxy).to_string();
    assert_eq!(at(&tcp, true, "1.2.3.4"), "127.0.0.1:9902");
    assert_eq!(at(&pipe, false, "1.2.3.4"), "127.0.0.1:9902");
    assert_eq!(at(&pipe, true, ""), "0.0.0.0:9902");
    assert_eq!(at(&pipe, true, "fd00::1"), "[::]:9902");
    assert_eq!(at(&pipe, false, "fd00::1"), "[::1]:9902");
}

const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.e30.c2ln";

/// One answer for each of `statuses`; what was asked comes back.
fn control_plane(status: u16, yaml: &str) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let body = format!("{{\"bootstrap\": \"{}\"}}", base64(yaml.as_bytes()));
    let (asked, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut text = String::new();
            let mut buffer = [0; 4096];
            while !text.contains("\"spireResources\"") {
                let n = stream.read(&mut buffer).unwrap();
                text.push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
            let _ = asked.send(text);
            write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
                .unwrap();
        }
    });
    (url, requests)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |w, b| (w << 8) | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = DIGITS[((word >> (18 - 6 * i)) & 63) as usize] as char;
            out.push(if i <= chunk.len() { digit } else { '=' });
        }
    }
    out
}

const BOOTSTRAP: &str = "
node: {id: .ingress, cluster: ingress}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
dynamic_resources:
  ads_config: {api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: ads}, initial_metadata: [{key: authorization, value: old}]}]}
  lds_config: {ads: {}}
  cds_config: {ads: {}}
static_resources: {clusters: [{name: ads, load_assignment: {cluster_name: ads, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}}]}]}}]}
";

#[test]
fn from_the_command_line_to_settings() {
    let (url, asked) = control_plane(200, BOOTSTRAP);
    let resource = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        resource.path(),
        "{type: ZoneIngress, name: \"{{ name }}\", networking: {address: 127.0.0.2, port: 10001}}",
    )
    .unwrap();
    let file = resource.path().display();
    let line = format!(
        "kuma-dp run --proxy-type=ingress --cp-address={url} -d {file} -v name=ingress --dataplane-token={TOKEN} --concurrency=3"
    );
    let settings = prepare(resolve(&line, &[]).unwrap()).unwrap();
    let kuma = settings.kuma.unwrap();
    assert_eq!((&*kuma.name, &*kuma.mesh, settings.concurrency.get()), ("ingress", "", 3));
    assert_eq!(settings.readiness.unwrap().to_string(), "127.0.0.1:9902");
    assert_eq!(settings.drain_strategy, DrainStrategy::Immediate);
    let token_file = kuma.work_dir.path().join("ingress");
    let metadata = &settings.bootstrap.dynamic.ads.unwrap().metadata;
    assert!(matches!(&metadata[0].value, Secret::File(path) if *path == token_file));
    assert_eq!(std::fs::read_to_string(&token_file).unwrap(), TOKEN);
    let asked = asked.recv().unwrap();
    assert!(asked.contains(&format!("\"dataplaneTokenPath\":\"{}\"", token_file.display())));
    assert!(asked.contains(&format!("\"workdir\":\"{}\"", kuma.work_dir.path().display())));
    assert_eq!(kuma.sockets.admin, kuma.work_dir.path().join("kuma-envoy-admin.sock"));
    let path = kuma.work_dir.path().to_owned();
    drop(kuma.work_dir);
    assert!(!path.exists());
}

#[test]
fn what_stands_in_the_way() {
    let fail = |line: &str| prepare(resolve(line, &[]).unwrap()).unwrap_err().to_string();
    let inline = "--dataplane={type:ZoneIngress,name:a}".replace(':', ": ").replace(',', ", ");
    let with_name = |extra: &str| {
        let mut line: Vec<String> = "kuma-dp run --proxy-type=ingress".split(' ').map(str::to_owned).collect();
        line.push(inline.clone());
        line.extend(extra.split_whitespace().map(str::to_owned));
        let Some(Command::Run(args)) = Cli::try_parse_from(line).unwrap().command else { panic!() };
        let config = RunConfig::resolve(&INGRESS, &args, &Env::default()).unwrap();
        prepare(config).unwrap_err().to_string()
    };
    assert!(with_name("--name x").starts_with("--name and --mesh cannot be specified when a dataplane definition"));
    assert!(
        fail("kuma-dp run -d /nowhere.yaml")
            .contains("failed to read dataplane: error while reading provided file /nowhere.yaml")
    );
    assert!(
        fail("kuma-dp run --proxy-type=ingress --name i --dataplane-token=abc").contains("dataplane token is invalid")
    );
    assert!(
        fail("kuma-dp run --proxy-type=ingress --name i --dataplane-token-file=/nowhere")
            .contains("could not read file /nowhere")
    );
    let (url, _asked) = control_plane(422, "");
    let error = fail(&format!("kuma-dp run --proxy-type=ingress --name i --cp-address={url}"));
    assert!(error.starts_with("Failed to fetch Envoy bootstrap config. Invalid request: "), "{error}");
}
