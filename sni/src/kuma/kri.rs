use std::fmt;

use super::Kind;

/// Bytes of a DNS label, and of a whole DNS name in text form (RFC 1035 §2.3.4).
const LABEL: usize = 63;
const DNS_NAME: usize = 253;

/// `sni.<kind>.<mesh>[.<zone>[.<namespace>]].<name>.<section>`: a Kuma resource identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KriName<'a> {
    /// The resource's type.
    pub kind: Kind,
    /// The mesh.
    pub mesh: &'a str,
    /// The zone it comes from; none if it comes from the global control plane.
    pub zone: Option<&'a str>,
    /// The Kubernetes namespace; only with a zone.
    pub namespace: Option<&'a str>,
    /// The resource's name.
    pub name: &'a str,
    /// The port's name, or its number as text.
    pub section: &'a str,
}

impl<'a> KriName<'a> {
    /// Reads a KRI name under the rules of Kuma's `ValidateKRI`: every part a lower-case RFC 1123
    /// label, 253 bytes at most.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > DNS_NAME || !text.split('.').all(is_label) {
            return None;
        }
        let (kind, rest) = text.strip_prefix("sni.")?.split_once('.')?;
        let kind = Kind::from_kri(kind)?;
        let mut parts = [""; 5];
        let mut count = 0;
        for part in rest.split('.') {
            *parts.get_mut(count)? = part;
            count += 1;
        }
        let (mesh, zone, namespace, name, section) = match (count, parts) {
            (3, [mesh, name, section, ..]) => (mesh, None, None, name, section),
            (4, [mesh, zone, name, section, _]) => (mesh, Some(zone), None, name, section),
            (5, [mesh, zone, namespace, name, section]) => (mesh, Some(zone), Some(namespace), name, section),
            _ => return None,
        };
        Some(Self { kind, mesh, zone, namespace, name, section })
    }
}

impl fmt::Display for KriName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, mesh, zone, namespace, name, section } = self;
        write!(f, "{} {name}:{section} mesh={mesh}", kind.as_str())?;
        if let Some(zone) = zone {
            write!(f, " zone={zone}")?;
        }
        match namespace {
            Some(namespace) => write!(f, " namespace={namespace}"),
            None => Ok(()),
        }
    }
}

/// `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, 63 bytes at most (RFC 1123 §2.1, as Kubernetes has it).
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let ends_well = !text.starts_with('-') && !text.ends_with('-');
    !text.is_empty() && text.len() <= LABEL && ends_well && text.bytes().all(inner)
}
