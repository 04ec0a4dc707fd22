//! Kuma's expected outputs as resources.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config::json::{Converter, parse_text};
use config::snapshot::Kind;
use config::store::{Batch, Resource, Store};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Map, Value};

/// What stands in the place of cut certificates: one that signs itself.
pub(super) struct Pem {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Pem {
    pub(super) fn new() -> Self {
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
pub(super) struct Golden(pub(super) Vec<(Kind, String, Value)>);

impl Golden {
    pub(super) fn read(path: &Path, pem: &Pem) -> Self {
        let mut document = parse_text(&std::fs::read_to_string(path).unwrap()).unwrap();
        pem.fill_in(&mut document);
        let mut golden = Self::default();
        let Value::Object(mut document) = document else { panic!("{} is no object", path.display()) };
        for (section, kind) in [
            ("Clusters", Kind::Cluster),
            ("Endpoints", Kind::Endpoints),
            ("Listeners", Kind::Listener),
            ("Routes", Kind::Route),
            ("Secrets", Kind::Secret),
            ("Runtimes", Kind::Runtime),
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

    /// Loads all as a control plane would send them; nothing of it may be refused.
    pub(super) fn load(&self, path: &Path) -> Store {
        let (store, refused) = self.load_with_refusals(path);
        assert!(refused.is_empty(), "{}: {refused:?}", path.display());
        store
    }

    /// Loads all as a control plane would send them; and what was refused.
    pub(super) fn load_with_refusals(&self, path: &Path) -> (Store, Vec<String>) {
        let converter = Converter::new().unwrap();
        let (mut store, mut refused) = (Store::default(), Vec::new());
        for kind in Kind::ALL {
            let message = kind.type_url().rsplit('/').next().unwrap();
            let of_kind = self.0.iter().filter(|(k, _, _)| *k == kind);
            let upserts = of_kind.map(|(_, name, value)| {
                let body = converter.to_bytes(message, value).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                Resource { name: name.as_str().into(), version: "1".into(), body: body.into() }
            });
            let batch = Batch { complete: true, ..Batch::new(kind, upserts.collect()) };
            let applied = store.apply(batch);
            refused.extend(applied.rejected.iter().map(|(_, _, rejection)| rejection.to_string()));
        }
        (store, refused)
    }
}

fn kind(url: &str) -> Kind {
    Kind::ALL.into_iter().find(|kind| kind.type_url() == url).unwrap_or_else(|| panic!("{url}"))
}
