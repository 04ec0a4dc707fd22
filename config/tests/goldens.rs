//! Every zone ingress configuration among Kuma's own expected outputs (`../shared/goldens`) loads whole: nothing
//! refused, no field ignored, no chain that can't be run. So does the TLS of every other proxy's.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config::json::{Converter, parse_text};
use config::model::chain::Handler;
use config::model::tls::Secret;
use config::reject::{Ignored, Unsupported};
use config::snapshot::{Kind, Snapshot};
use config::store::{Batch, Resource, Store, parse_cluster, parse_listener};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Map, Value};

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

/// What stands in the place of cut certificates: one that signs itself.
struct Pem {
    certificate: String,
    key: String,
}

impl Pem {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["kuma-cp".into()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate: STANDARD.encode(certificate.pem()), key: STANDARD.encode(key.serialize_pem()) }
    }

    /// Replaces placeholders of certificates and redacted addresses.
    fn fill_in(&self, value: &mut Value) {
        match value {
            Value::String(text) if matches!(&**text, "IP_REDACTED" | "ADMIN_REDACTED") => *text = "127.0.0.1".into(),
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill_in(item)),
            Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| self.fill_in_field(key, value)),
            _ => {}
        }
    }

    fn fill_in_field(&self, key: &str, value: &mut Value) {
        let bytes = match key {
            "certificateChain" | "trustedCa" | "trustBundle" => &self.certificate,
            "privateKey" => &self.key,
            _ => return self.fill_in(value),
        };
        *value = serde_json::json!({"inlineBytes": bytes});
    }
}

/// Resources of a golden by kind, whichever form it has (see the goldens' README).
#[derive(Default)]
struct Golden(Vec<(Kind, String, Value)>);

impl Golden {
    fn read(path: &Path, pem: &Pem) -> Self {
        let mut document = parse_text(&std::fs::read_to_string(path).unwrap()).unwrap();
        pem.fill_in(&mut document);
        let mut golden = Self::default();
        let Value::Object(mut document) = document else { panic!("{} is no object", path.display()) };
        for (section, kind) in [
            ("Clusters", Kind::Cluster),
            ("Endpoints", Kind::Endpoints),
            ("Listeners", Kind::Listener),
            ("Secrets", Kind::Secret),
        ] {
            if let Some(resources) = document.get_mut(section).and_then(|s| s.get_mut("Resources")) {
                golden.add_all(kind, resources.take());
            }
        }
        if let Some(Value::Object(types)) = document.remove("xds") {
            for (url, resources) in types {
                golden.add_all(kind(&url), resources);
            }
        }
        for entry in document.get_mut("resources").and_then(Value::as_array_mut).into_iter().flatten() {
            let name = entry["name"].as_str().unwrap().to_owned();
            let Value::Object(resource) = entry["resource"].take() else { panic!("{name} is no object") };
            golden.add(kind(resource["@type"].as_str().unwrap()), name, resource);
        }
        golden
    }

    fn add_all(&mut self, kind: Kind, resources: Value) {
        let Value::Object(resources) = resources else { return };
        for (name, resource) in resources {
            let Value::Object(resource) = resource else { panic!("{name} is no object") };
            self.add(kind, name, resource);
        }
    }

    fn add(&mut self, kind: Kind, name: String, mut resource: Map<String, Value>) {
        resource.remove("@type");
        self.0.push((kind, name, Value::Object(resource)));
    }

    /// Loads all as a control plane would send them.
    fn load(&self, path: &Path) -> Store {
        let converter = Converter::new().unwrap();
        let mut store = Store::default();
        for kind in [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Secret] {
            let message = kind.type_url().rsplit('/').next().unwrap();
            let of_kind = self.0.iter().filter(|(k, _, _)| *k == kind);
            let upserts = of_kind.map(|(_, name, value)| {
                let body = converter.to_bytes(message, value).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                Resource { name: name.as_str().into(), version: "1".into(), body: body.into() }
            });
            let batch = Batch { complete: true, ..Batch::new(kind, upserts.collect()) };
            let applied = store.apply(batch);
            assert!(applied.rejected.is_empty(), "{}: {:?}", path.display(), applied.rejected);
        }
        store
    }
}

fn kind(url: &str) -> Kind {
    Kind::ALL.into_iter().find(|kind| kind.type_url() == url).unwrap_or_else(|| panic!("{url}"))
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
    let refused = |rejection| vec![format!("{name}: transport_socket or secret: {rejection}")];
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
