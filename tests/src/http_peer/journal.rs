//! What servers saw.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// What a server knows of the TLS under a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSeen {
    /// The server name, as sent.
    pub sni: Option<String>,
    /// The protocol agreed on by ALPN.
    pub alpn: Option<String>,
    /// Whether the client showed a certificate of the mesh.
    pub certificate: bool,
}

/// A request as its server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which server.
    pub server: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// The method.
    pub method: String,
    /// Path and query, in origin form; the authority of CONNECT.
    pub path: String,
    /// `:authority`, of HTTP/2 only.
    pub authority: Option<String>,
    /// `:scheme`, of HTTP/2 only.
    pub scheme: Option<String>,
    /// `:protocol`, of extended CONNECT only.
    pub protocol: Option<String>,
    /// In the order of arrival.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// What came after it.
    pub trailers: Vec<(String, String)>,
    /// The body did not come whole.
    pub broken: bool,
    /// The connection's TLS.
    pub tls: Option<TlsSeen>,
}

impl Seen {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Whether it is a mirrored copy: Envoy marks them in the host.
    pub fn is_shadow(&self) -> bool {
        let host = self.authority.as_deref().or_else(|| self.header("host")).unwrap_or_default();
        host.split(':').next().is_some_and(|host| host.ends_with("-shadow"))
    }
}

/// Requests by name, in the order in which they arrived.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<HashMap<String, Vec<Seen>>>>);

impl Journal {
    /// Writes the head of a request down; how many of this name, mirrored copies apart, were there before.
    pub(super) fn arrived(&self, name: &str, seen: Seen) -> (usize, usize) {
        let mut all = self.0.lock().expect("no panic before");
        let of_name = all.entry(name.to_owned()).or_default();
        let shadow = seen.is_shadow();
        let before = of_name.iter().filter(|seen| seen.is_shadow() == shadow).count();
        of_name.push(seen);
        (of_name.len() - 1, before)
    }

    /// Adds what came after the head.
    pub(super) fn completed(
        &self,
        name: &str,
        index: usize,
        (body, trailers): (Vec<u8>, Vec<(String, String)>),
        broken: bool,
    ) {
        let mut all = self.0.lock().expect("no panic before");
        // Taken meanwhile by somebody who did not want to wait.
        if let Some(seen) = all.get_mut(name).and_then(|of_name| of_name.get_mut(index)) {
            (seen.body, seen.trailers, seen.broken) = (body, trailers, broken);
        }
    }

    /// What was seen of this name.
    pub fn of(&self, name: &str) -> Vec<Seen> {
        self.0.lock().expect("no panic before").get(name).cloned().unwrap_or_default()
    }

    /// All of it; the journal is empty afterwards.
    pub fn take(&self) -> HashMap<String, Vec<Seen>> {
        std::mem::take(&mut *self.0.lock().expect("no panic before"))
    }
}
