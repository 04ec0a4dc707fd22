#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::xds::token::Secret;

/// Answers each request with the next of the answers (the last one again and again); keeps what was asked.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

type Answers = Vec<(u16, String)>;

impl Server {
    async fn start(answers: Answers, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://127.0.0.1:{}/some/path", listener.local_addr().unwrap().port());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                match &tls {
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            answer(stream, &answers, &seen).await;
                        }
                    }
                    None => answer(stream, &answers, &seen).await,
                }
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answers: &Answers, seen: &Mutex<Vec<String>>) {
    let mut text = String::new();
    loop {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).await.unwrap();
        text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.to_lowercase().split_once("content-length: ").map(|(_, l)| l.lines().next().unwrap().to_owned());
        if n == 0 || body.len() >= length.unwrap().parse().unwrap() {
            break;
        }
    }
    let index = {
        let mut seen = seen.lock().unwrap();
        seen.push(text);
        (seen.len() - 1).min(answers.len() - 1)
    };
    let (status, body) = &answers[index];
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}

fn request() -> Request {
    let resource = ProxyResource::parse(INGRESS, &[ProxyType::Ingress]).unwrap();
    Request {
        mesh: String::new(),
        name: resource.name.clone(),
        proxy_type: ProxyType::Ingress,
        token: Some(Secret::Inline(" tok.en.x\n".into())),
        resource: Some(resource),
        ca_cert: "PEM".to_owned(),
        version: Version { version: "0.1.0".to_owned(), commit: "abc".to_owned() },
        dynamic_metadata: BTreeMap::new(),
        dns_port: 15054,
        readiness_port: 9902,
        features: Features::default().announced(),
        max_memory: 0,
        work_dir: PathBuf::from("/tmp/kuma-dp-1"),
        metrics: (String::new(), String::new()),
        system_ca_path: "/ca".to_owned(),
        ipv6: true,
        spire_socket: String::new(),
    }
}

const INGRESS: &str = "{type: ZoneIngress, name: ingress, networking: {address: 127.0.0.2, port: 10001}}";

fn control_plane(url: &str, trust: ServerTrust) -> ControlPlane {
    let (backoff, patience) = (Duration::from_millis(10), Duration::from_millis(400));
    ControlPlane { url: url.to_owned(), trust, backoff, patience }
}

fn bootstrap_answer() -> (u16, String) {
    let yaml = "node: {id: .ingress, cluster: ingress}";
    let side = json!({"networking": {"address": "1.2.3.4", "corefileTemplate": ""}, "metrics": {"aggregate": null}});
    let body = json!({"bootstrap": STANDARD.encode(yaml), "kumaSidecarConfiguration": side});
    (200, body.to_string())
}

#[tokio::test]
async fn asks_as_kuma_dp_does() {
    let server = Server::start(vec![bootstrap_answer()], None).await;
    let fetched = fetch(&control_plane(&server.url, ServerTrust::System), &request()).await.unwrap();
    assert_eq!((&*fetched.bootstrap.node.id, fetched.sidecar.address()), (".ingress", "1.2.3.4"));
    assert!(fetched.sidecar.aggregate().is_empty());
    let asked = server.asked().remove(0);
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /bootstrap HTTP/1.1\r\n"), "{head}");
    let head = head.to_lowercase();
    assert!(head.contains("accept: application/json") && head.contains("content-type: application/json"), "{head}");
    assert!(!head.contains("authorization") && head.contains("host: 127.0.0.1:"), "{head}");
    let mut body: Value = serde_json::from_str(body).unwrap();
    let resource: Value = serde_json::from_str(body["dataplaneResource"].take().as_str().unwrap()).unwrap();
    assert_eq!(resource["networking"]["port"], 10001);
    let expected = json!({
        "mesh": "", "name": "ingress", "proxyType": "ingress", "dataplaneToken": "tok.en.x", "dataplaneResource": null,
        "version": {
            "kumaDp": {"version": "0.1.0-preview.zonegate", "gitTag": "v0.1.0", "gitCommit": "abc", "buildDate": "unknown"},
            "envoy": {"version": "0.1.0", "build": "abc/0.1.0/Clean/RELEASE/rustls", "kumaDpCompatible": true},
        },
        "caCert": "PEM", "dynamicMetadata": {}, "dnsPort": 15054, "readinessPort": 9902, "operatingSystem": "linux",
        "features": [
            "feature-tcp-accesslog-via-named-pipe", "feature-delta-grpc", "feature-strict-inbound-ports",
            "feature-reuse-port"
        ],
        "resources": {"maxHeapSizeBytes": 0}, "workdir": "/tmp/kuma-dp-1",
        "metricsResources": {"certPath": "", "keyPath": ""}, "systemCaPath": "/ca", "ipv6Enabled": true,
        "spireResources": {"socketPath": ""},
    });
    assert_eq!(body, expected);
}

/// kuma-contract of 2.x: no mesh, the resource as it was given, whatever else the request holds.
#[tokio::test]
async fn asks_as_an_egress() {
    let server = Server::start(vec![bootstrap_answer()], None).await;
    let text = "{type: ZoneEgress, name: egress, networking: {address: 127.0.0.3, port: 10002}}";
    let resource = ProxyResource::parse(text, &[ProxyType::Dataplane, ProxyType::Egress]).unwrap();
    let egress = Request {
        name: resource.name.clone(),
        mesh: resource.mesh.clone(),
        proxy_type: resource.proxy_type,
        resource: Some(resource),
        ..request()
    };
    fetch(&control_plane(&server.url, ServerTrust::System), &egress).await.unwrap();
    let asked = server.asked().remove(0);
    let body: Value = serde_json::from_str(asked.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&body["proxyType"], &body["mesh"], &body["name"]), (&json!("egress"), &json!(""), &json!("egress")));
    let sent: Value = serde_json::from_str(body["dataplaneResource"].as_str().unwrap()).unwrap();
    assert_eq!(
        sent,
        json!({"type": "ZoneEgress", "name": "egress", "networking": {"address": "127.0.0.3", "port": 10002}})
    );
}

#[tokio::test]
async fn tries_again_until_the_proxy_is_known() {
    let answers =
        vec![(404, String::new()), (500, String::new()), (404, "404: Page Not Found".into()), bootstrap_answer()];
    let server = Server::start(answers, None).await;
    fetch(&control_plane(&server.url, ServerTrust::System), &request()).await.unwrap();
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn reads_the_token_file_for_each_attempt() {
    let server = Server::start(vec![(500, String::new()), bootstrap_answer()], None).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first\n").unwrap();
    let request = Request { token: Some(Secret::File(file.path().to_owned())), ..request() };
    let control_plane =
        ControlPlane { backoff: Duration::from_millis(200), ..control_plane(&server.url, ServerTrust::System) };
    let (fetched, ()) = tokio::join!(fetch(&control_plane, &request), async {
        while server.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::fs::write(file.path(), "second\n").unwrap();
    });
    fetched.unwrap();
    let asked = server.asked();
    let path = format!("\"dataplaneTokenPath\":\"{}\"", file.path().display());
    assert!(asked[0].contains("\"dataplaneToken\":\"first\"") && asked[0].contains(&path));
    assert!(asked[1].contains("\"dataplaneToken\":\"second\""));
}

#[tokio::test]
async fn a_refused_request_is_not_repeated() {
    let server = Server::start(vec![(422, "mesh: is required\n".into())], None).await;
    let error = fetch(&control_plane(&server.url, ServerTrust::System), &request()).await.unwrap_err();
    assert_eq!(error.to_string(), "Invalid request: mesh: is required");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn gives_up_in_time_and_says_what_happened_last() {
    for (answer, words) in [
        ((404, String::new()), "Dataplane entity not found"),
        ((404, "404: Page Not Found".to_owned()), "DP Server port (5678 by default)"),
        ((503, "x".to_owned()), "unexpected status code: 503"),
    ] {
        let server = Server::start(vec![answer], None).await;
        let started = Instant::now();
        let error = fetch(&control_plane(&server.url, ServerTrust::System), &request()).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(started.elapsed() >= Duration::from_millis(400) && started.elapsed() < Duration::from_secs(5));
        assert!(server.asked().len() > 2);
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = fetch(&control_plane(&format!("http://{nobody}"), ServerTrust::System), &request()).await.unwrap_err();
    assert!(error.to_string().to_lowercase().contains("connection refused"), "{error}");
}

#[tokio::test]
async fn wrong_addresses_and_answers() {
    let with = |url: &str| control_plane(url, ServerTrust::System);
    for (url, words) in [
        ("ftp://a", "unsupported URL scheme \"ftp\", must be http or https"),
        ("localhost:5678", "unsupported URL scheme \"localhost\""),
        ("://", "is not a URL"),
    ] {
        let error = fetch(&with(url), &request()).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let no_ca = control_plane("https://127.0.0.1:1", ServerTrust::Ca("no PEM".to_owned()));
    let error = fetch(&no_ca, &request()).await.unwrap_err().to_string();
    assert!(error.contains("could not add certificate"), "{error}");
    for (body, words) in [
        ("node: {id: x}", "is not what /bootstrap answers"),
        (r#"{"bootstrap": "%"}"#, "its bootstrap"),
        (
            r#"{"bootstrap": "bm9kOiAx"}"#,
            "the control plane's bootstrap: at the top: envoy.config.bootstrap.v3.Bootstrap has no field \"nod\"",
        ),
    ] {
        let server = Server::start(vec![(200, body.to_owned())], None).await;
        let error = fetch(&with(&server.url), &request()).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// kuma-cp's own certificate: self-signed, CA:TRUE.
fn certificate(name: &str) -> (String, TlsAcceptor) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(crate::verify::rustls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    (certificate.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn the_control_plane_is_verified() {
    let (pem, acceptor) = certificate("127.0.0.1");
    let server = Server::start(vec![bootstrap_answer()], Some(acceptor)).await;
    let with = |trust| control_plane(&server.url, trust);
    fetch(&with(ServerTrust::Ca(pem)), &request()).await.unwrap();
    fetch(&with(ServerTrust::Nobody), &request()).await.unwrap();
    let (other, acceptor) = certificate("other.example");
    let error = fetch(&with(ServerTrust::Ca(other.clone())), &request()).await.unwrap_err().to_string();
    assert!(error.contains("is not trusted"), "{error}");
    let misnamed = Server::start(vec![bootstrap_answer()], Some(acceptor)).await;
    let error = fetch(&control_plane(&misnamed.url, ServerTrust::Ca(other)), &request()).await.unwrap_err().to_string();
    assert!(error.contains("wanted 127.0.0.1, it has other.example"), "{error}");
}

#[test]
fn templates_are_filled_in() {
    let text = "type: Dataplane\nmesh: {{mesh}}\nname: \"{{ name }}\"\nnetworking: {address: \"{{ net.ip }}\", x: \"{{ net.port.main }}\"}";
    let variables: BTreeMap<_, _> =
        [("mesh", "default"), ("name", "zi-1"), ("net.ip", "127.0.0.2"), ("net.port.main", "x1")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
    let source = ResourceSource::Inline(text.to_owned());
    let resource = ProxyResource::load(&source, &variables, &[ProxyType::Dataplane]).unwrap().unwrap();
    assert_eq!((&*resource.mesh, &*resource.name), ("default", "zi-1"));
    let json: Value = serde_json::from_str(&resource.json).unwrap();
    assert_eq!(json["networking"], json!({"address": "127.0.0.2", "x": "x1"}));
    let empty =
        ProxyResource::load(&ResourceSource::Inline(String::new()), &variables, &[ProxyType::Dataplane]).unwrap();
    assert!(empty.is_none());
}

#[test]
fn resources_that_do_not_fit() {
    let refuse = |text: &str, kind| ProxyResource::parse(text, &[kind]).unwrap_err().to_string();
    let dataplane = |text: &str| refuse(text, ProxyType::Dataplane);
    assert_eq!(
        refuse("{type: Dataplane, name: a}", ProxyType::Ingress),
        "invalid proxy resource type \"Dataplane\", expected ZoneIngress"
    );
    assert_eq!(dataplane("{name: a}"), "the resource has no type; is a --dataplane-var missing?");
    assert_eq!(dataplane("{type: Dataplane, name: a}"), "the resource has no mesh; is a --dataplane-var missing?");
    assert_eq!(
        dataplane("{type: Dataplane, mesh: m, name: ''}"),
        "the resource has no name; is a --dataplane-var missing?"
    );
    assert!(dataplane("{type: Dataplane, mesh: m, name: Up}").contains("name \"Up\" is not valid"));
    assert!(dataplane("- a").contains("no type"));
    assert!(dataplane("{a").contains("neither YAML nor JSON"));
    let either = |text: &str| ProxyResource::parse(text, &[ProxyType::Dataplane, ProxyType::Egress]);
    assert_eq!(either("{type: ZoneEgress, name: e.1}").unwrap().proxy_type, ProxyType::Egress);
    assert_eq!(either("{type: Dataplane, mesh: m, name: e}").unwrap().proxy_type, ProxyType::Dataplane);
    assert_eq!(
        either("{type: ZoneIngress, name: i}").unwrap_err().to_string(),
        "invalid proxy resource type \"ZoneIngress\", expected Dataplane or ZoneEgress"
    );
    let missing = ResourceSource::File(Path::new("/nowhere.yaml").to_owned());
    let error = ProxyResource::load(&missing, &BTreeMap::new(), &[ProxyType::Ingress]).unwrap_err().to_string();
    assert!(error.contains("error while reading provided file /nowhere.yaml"), "{error}");
}

#[test]
fn tokens_are_looked_at() {
    let part = |json: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
    let token = |header: &str, claims: &str| format!("{}.{}.c2ln", part(header), part(claims));
    let good = token(r#"{"alg":"RS256","kid":"1"}"#, r#"{"Mesh":"default"}"#);
    let check_token = |text: &str| check_token(text, ProxyType::Egress);
    check_token(&format!("  {good}\n")).unwrap();
    let scope = |list: &str| token(r#"{"alg":"RS256","kid":"1"}"#, &format!(r#"{{"Zone":"east","Scope":{list}}}"#));
    check_token(&scope(r#"["ingress","egress"]"#)).unwrap();
    let error = check_token(&scope(r#"["ingress"]"#)).unwrap_err().to_string();
    assert!(error.contains(r#"the zone token's scope is ["ingress"]; --proxy-type=egress needs"#), "{error}");
    let refuse = |text: &str| check_token(text).unwrap_err().to_string();
    assert!(refuse(&format!("{good}\n{good}")).contains("line breaks within the token"));
    assert!(refuse("abc").contains("three parts"));
    assert!(refuse(&token("{}", "{}")).contains("names no algorithm"));
    assert!(refuse(&format!("{}.x.y", part(r#"{"alg":"RS256"}"#))).contains("claims"));
    assert!(!refuse(&token("x", "secret")).contains("secret"));
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = check_token_file(file.path(), ProxyType::Ingress).unwrap_err().to_string();
    assert_eq!(error, format!("token under file {} is empty", file.path().display()));
    std::fs::write(file.path(), good).unwrap();
    check_token_file(file.path(), ProxyType::Ingress).unwrap();
    assert!(
        check_token_file(Path::new("/nowhere"), ProxyType::Ingress)
            .unwrap_err()
            .to_string()
            .starts_with("could not read file /nowhere")
    );
}

#[test]
fn features_follow_the_settings() {
    let names = |f: Features| f.announced().into_iter().map(Feature::as_str).collect::<Vec<_>>();
    let sotw = Features { state_of_the_world: true, reuse_port: false, ..Features::default() };
    assert_eq!(names(sotw), ["feature-tcp-accesslog-via-named-pipe", "feature-strict-inbound-ports"]);
    let all = Features { unified_naming: true, spire: true, ..Features::default() };
    assert!(names(all).contains(&"feature-unified-resource-naming") && names(all).contains(&"feature-spire"));
    assert_eq!(
        "gateway".parse::<ProxyType>().unwrap_err().to_string(),
        "invalid proxy type \"gateway\": it is one of dataplane, ingress, egress"
    );
}
