//! What a recording leaves out, made anew: authorities, certificates and keys, and the servers outside.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::backend::Backend;
use tests::ca::{Authority, Key, Leaf, Wanted};
use tests::mesh_service::{Answer, MeshService};
use tests::process::Site;

/// The authority of the external services.
const OUTSIDE: &str = "subject ext_CA";

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Speaks {
    /// Plain TCP.
    Plain,
    /// TLS.
    Tls,
    /// TLS with a client's certificate.
    Mutual,
}

enum Server {
    Plain(Backend),
    Tls(MeshService),
}

/// Everything around the proxy. Authorities and servers stay while certificates may change.
#[derive(Default)]
pub(crate) struct World {
    authorities: BTreeMap<String, Authority>,
    leaves: BTreeMap<String, Leaf>,
    servers: BTreeMap<(String, u64, Speaks, bool), Server>,
}

/// The authority that signs for a certificate's first name: that of its trust domain, or the one outside.
fn issuer(name: &str) -> String {
    let domain = name.strip_prefix("spiffe://").map(|rest| rest.split('/').next().unwrap_or(rest));
    domain.map_or_else(|| OUTSIDE.to_owned(), |domain| format!("spiffe://{domain}"))
}

impl World {
    /// The authority of this name.
    pub(crate) fn authority(&mut self, name: &str) -> &Authority {
        self.authorities.entry(name.to_owned()).or_default()
    }

    /// The authority that signs for this identity.
    pub(crate) fn authority_of(&mut self, identity: &str) -> &Authority {
        self.authority(&issuer(identity))
    }

    /// Every certificate is issued anew from now on, by the same authorities.
    pub(crate) fn rotate(&mut self) {
        self.leaves.clear();
    }

    /// The certificate of these names, as a recording writes them.
    fn leaf(&mut self, names: &str) -> &Leaf {
        if !self.leaves.contains_key(names) {
            let uris = names.split(' ').filter(|name| name.contains("://")).map(str::to_owned).collect();
            // RSA, as Kuma's authorities issue.
            let wanted = Wanted { uris, key: Key::Rsa, ..Wanted::identity("spiffe://unused") };
            let leaf = self.authority_of(names).issue_as(&wanted);
            self.leaves.insert(names.to_owned(), leaf);
        }
        &self.leaves[names]
    }

    /// Puts certificates, keys and files in the places that a recording marks.
    pub(crate) fn fill(&mut self, value: &mut Value, site: &Site) {
        match value {
            Value::String(text) if text.contains("WORK_DIR") => {
                *text = text.replace("WORK_DIR", &site.file("").display().to_string());
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.fill(value, site)),
            Value::Object(fields) => {
                if let Some(names) = marked(fields.get("certificateChain"), "CERTIFICATE") {
                    let (certificate, key) = {
                        let leaf = self.leaf(&names);
                        (STANDARD.encode(&leaf.certificate), STANDARD.encode(&leaf.key))
                    };
                    fields.insert("certificateChain".into(), json!({"inlineBytes": certificate}));
                    fields.insert("privateKey".into(), json!({"inlineBytes": key}));
                }
                for place in ["trustedCa", "trustBundle"] {
                    if let Some(name) = marked(fields.get(place), "CA") {
                        let pem = STANDARD.encode(self.authority(&name).pem());
                        fields.insert(place.into(), json!({"inlineBytes": pem}));
                    } else if fields.get(place).is_some_and(|place| place["filename"] == "SYSTEM_CA") {
                        let file = site.file("system-ca.crt");
                        std::fs::write(&file, self.authority(OUTSIDE).pem()).unwrap();
                        fields.insert(place.into(), json!({"filename": file.display().to_string()}));
                    }
                }
                fields.values_mut().for_each(|value| self.fill(value, site));
            }
            _ => {}
        }
    }

    /// The server in the place of a recorded one; it says `address:port` as its name, over HTTP or at once.
    pub(crate) async fn server(&mut self, address: &str, port: u64, (speaks, http): (Speaks, bool)) -> SocketAddr {
        let key = (address.to_owned(), port, speaks, http);
        let answer = if http { Answer::Http } else { Answer::Echo };
        if !self.servers.contains_key(&key) {
            let name = format!("{address}:{port}");
            let authority = self.authority(OUTSIDE);
            let dns = vec!["ext.test".to_owned(), "localhost".to_owned()];
            let leaf = authority.issue_as(&Wanted { dns, ..Wanted::server("ext.test") });
            let server = match speaks {
                Speaks::Plain if http => Server::Plain(Backend::http(&name).await),
                Speaks::Plain => Server::Plain(Backend::echo(&name).await),
                Speaks::Tls => Server::Tls(MeshService::start(&name, Authority::plain_server(&leaf), answer).await),
                Speaks::Mutual => Server::Tls(MeshService::start(&name, authority.server(&leaf, &[]), answer).await),
            };
            self.servers.insert(key.clone(), server);
        }
        match &self.servers[&key] {
            Server::Plain(backend) => backend.address(),
            Server::Tls(service) => service.address(),
        }
    }
}

/// The rest of `{"inlineBytes": "MARK rest"}`.
fn marked(place: Option<&Value>, mark: &str) -> Option<String> {
    match place?["inlineBytes"].as_str()? {
        // The control plane's own listener.
        "ADMIN_CERTIFICATE" => (mark == "CERTIFICATE").then(|| "spiffe://admin/proxy".to_owned()),
        "ADMIN_CA" => (mark == "CA").then(|| "spiffe://admin".to_owned()),
        text => Some(text.strip_prefix(mark)?.strip_prefix(' ')?.to_owned()),
    }
}
