//! Every zone ingress configuration among Kuma's own expected outputs (`../shared/goldens`) loads whole: nothing
//! refused, no field ignored, no chain that can't be run. So does the TLS of every other proxy's.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod http;
mod load;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::json::{Converter, parse_text};
use config::model::chain::Handler;
use config::model::tls::Secret;
use config::reject::{Ignored, Unsupported};
use config::snapshot::{Kind, Snapshot};
use config::store::{parse_cluster, parse_listener};
use load::{Golden, Pem};
use serde_json::Value;

/// Where the goldens are, beside the workspace.
fn goldens() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/goldens");
    if path.is_dir() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{} is not there", path.display());
    eprintln!("\n*** SKIPPED: {} is not there, so no golden was loaded ***\n", path.display());
    None
}

/// Ingress configurations below one folder.
fn ingresses(folder: &Path) -> Vec<PathBuf> {
    let whole = folder.file_name().is_some_and(|name| name == "ingress");
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| whole || path.file_name().unwrap().to_string_lossy().contains("ingress"));
    found.sort();
    found
}

/// Lines about all that is not honoured.
fn complaints(snapshot: &Snapshot) -> Vec<String> {
    let clusters = snapshot.clusters.iter().flat_map(|(name, entry)| entry.ignored.iter().map(move |i| (name, i)));
    let listeners = snapshot.listeners.iter().flat_map(|(name, entry)| entry.ignored.iter().map(move |i| (name, i)));
    let endpoints = snapshot.endpoint_notes.iter().flat_map(|(name, notes)| notes.iter().map(move |i| (name, i)));
    let ignored = clusters.chain(listeners).chain(endpoints);
    let mut lines: Vec<String> = ignored.map(|(name, i)| format!("{name}: {} ({})", i.path, i.note)).collect();
    for (name, entry) in &snapshot.listeners {
        lines.extend(entry.unsupported.iter().map(|(chain, why)| format!("{name}: chain {chain:?}: {why}")));
    }
    lines
}

#[test]
fn every_ingress_loads_whole() {
    let Some(goldens) = goldens() else { return };
    let pem = Pem::new();
    let folders = ["2.13/ingress", "2.14/ingress", "2.14/zone-listener", "3.0/zone-listener", "3.0/zone-e2e"];
    let mut loaded = 0;
    for path in folders.iter().flat_map(|folder| ingresses(&goldens.join(folder))) {
        let golden = Golden::read(&path, &pem);
        assert!(!golden.0.is_empty(), "{} holds nothing", path.display());
        let snapshot = golden.load(&path).snapshot();
        assert_eq!(complaints(&snapshot), Vec::<String>::new(), "{}", path.display());
        assert!(snapshot.held.is_empty() && snapshot.rejected.is_empty());
        let of = |kind| golden.0.iter().filter(|(k, _, _)| *k == kind).count();
        assert_eq!(snapshot.listeners.size(), of(Kind::Listener), "{}", path.display());
        assert_eq!(snapshot.clusters.size() + snapshot.warming.size(), of(Kind::Cluster), "{}", path.display());
        for (name, entry) in &snapshot.listeners {
            for chain in &entry.listener.chains {
                let http = matches!(chain.handler, Handler::Http(_) | Handler::System(_));
                assert_eq!(http, entry.listener.system, "{name} in {}", path.display());
            }
        }
        loaded += 1;
    }
    assert!(loaded >= 23, "only {loaded} goldens found");
}

/// What is not honoured of a resource's TLS: of its transport sockets, or of a secret as a whole.
fn tls_complaints(kind: Kind, name: &str, body: Vec<u8>) -> Vec<String> {
    let told = |ignored: &[Ignored], unsupported: &[(Arc<str>, Unsupported)]| {
        let ignored = ignored.iter().map(|i| format!("{name}: {} ({})", i.path, i.note));
        ignored.chain(unsupported.iter().map(|(_, why)| format!("{name}: {why}"))).collect::<Vec<_>>()
    };
    let refused = |rejection| vec![format!("{name}: {rejection}")];
    let all = match kind {
        Kind::Cluster => {
            parse_cluster(&body.into()).map_or_else(refused, |parsed| told(&parsed.ignored, &parsed.unsupported))
        }
        Kind::Listener => {
            parse_listener(&body.into(), None).map_or_else(refused, |parsed| told(&parsed.ignored, &parsed.unsupported))
        }
        Kind::Secret => return Secret::parse(&body).map_or_else(refused, |parsed| told(&parsed.ignored, &[])),
        _ => Vec::new(),
    };
    all.into_iter().filter(|line| line.contains("transport_socket")).collect()
}

/// Those of every kind of proxy: gateways, egresses, ingresses, 3.0's zone listeners.
#[test]
fn every_tls_context_and_secret_is_honoured_whole() {
    let Some(goldens) = goldens() else { return };
    let (pem, converter) = (Pem::new(), Converter::new().unwrap());
    let (mut contexts, mut secrets) = (0, 0);
    for version in ["2.13", "2.14", "3.0"] {
        let folders = std::fs::read_dir(goldens.join(version)).unwrap().map(|entry| entry.unwrap().path());
        let folders = folders.filter(|path| path.is_dir() && !path.ends_with("bootstrap"));
        for path in folders.flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path()) {
            let is_golden = |text: &String| parse_text(text).is_ok_and(|document| document.is_object());
            if !std::fs::read_to_string(&path).is_ok_and(|text| is_golden(&text)) {
                continue;
            }
            for (kind, name, value) in Golden::read(&path, &pem).0 {
                let text = value.to_string();
                contexts += text.matches("TlsContext\"").count();
                secrets += usize::from(kind == Kind::Secret);
                let message = kind.type_url().rsplit('/').next().unwrap();
                let body = converter.to_bytes(message, &value).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                assert_eq!(tls_complaints(kind, &name, body), Vec::<String>::new(), "{}", path.display());
            }
        }
    }
    println!("{contexts} TLS contexts, {secrets} secrets");
    assert!(contexts >= 240 && secrets >= 80, "{contexts} contexts, {secrets} secrets");
}

#[test]
fn a_cut_certificate_is_refused_by_name() {
    let Some(goldens) = goldens() else { return };
    let path = goldens.join("3.0/zone-e2e/meshtimeout__sni.zone-proxy-ingress.golden.json");
    let void = Pem { certificate: "S0VZ".into(), key: "S0VZ".into() };
    let golden = Golden::read(&path, &void);
    let admin = |(kind, name, _): &&(Kind, String, Value)| *kind == Kind::Listener && name == "system_envoy_admin";
    let (_, _, listener) = golden.0.iter().find(admin).unwrap();
    let body = Converter::new().unwrap().to_bytes("envoy.config.listener.v3.Listener", listener).unwrap();
    let rejection = config::store::parse_listener(&body.into(), None).unwrap_err();
    assert!(rejection.path.0.ends_with("tls_certificates[0].certificate_chain"), "{rejection}");
}
