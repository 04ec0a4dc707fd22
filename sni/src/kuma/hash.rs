use std::fmt;

use super::Kind;

/// Bytes of a DNS label (RFC 1035 §2.3.4).
const LABEL: usize = 63;
const HASH_DIGITS: usize = 16;

/// `a<hash>.<name>.<port>.<mesh>.<kind>`: a resource's identity and the hash of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashName<'a> {
    /// FNV-1a over `name;mesh;k=v,…`, name and mesh uncut.
    pub hash: u64,
    /// The resource's name; cut, with an `x` at its end, if it has more than 62 bytes.
    pub name: &'a str,
    /// The resource's port.
    pub port: u16,
    /// The mesh, cut likewise.
    pub mesh: &'a str,
    /// The resource's type.
    pub kind: Kind,
}

impl<'a> HashName<'a> {
    /// Reads a hash name; the hash is not compared with anything.
    pub fn parse(name: &'a str) -> Option<Self> {
        let (hash, rest) = name.strip_prefix('a')?.split_once('.')?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if hash.len() != HASH_DIGITS || !hash.bytes().all(is_digit) {
            return None;
        }
        // From the right: only the resource's name could hold dots.
        let (rest, kind) = rest.rsplit_once('.')?;
        let (rest, mesh) = rest.rsplit_once('.')?;
        let (name, port) = rest.rsplit_once('.')?;
        if name.is_empty() || mesh.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self {
            hash: u64::from_str_radix(hash, 16).ok()?,
            name,
            port: port.parse().ok()?,
            mesh,
            kind: Kind::from_hash_name(kind)?,
        })
    }

    /// Compares the hash with the name and mesh that the server name shows, and no tags.
    pub fn verify(&self) -> Verdict {
        match fnv64a(self.name, self.mesh, &[]) == self.hash {
            true => Verdict::Same,
            false if is_cut(self.name) || is_cut(self.mesh) => Verdict::Unknown,
            false => Verdict::Differs,
        }
    }

    /// Whether this names the given resource: hash, cut name and mesh, port and kind.
    ///
    /// `tags` are what Kuma calls additional data: the tags of a subset, in any order.
    pub fn names(&self, name: &str, mesh: &str, tags: &[(&str, &str)]) -> bool {
        self.hash == fnv64a(name, mesh, tags) && self.name == cut(name) && self.mesh == cut(mesh)
    }
}

impl fmt::Display for HashName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hash: _, name, port, mesh, kind } = self;
        write!(f, "{} {name}:{port} mesh={mesh}", kind.as_str())
    }
}

/// What the hash of a [`HashName`] says about the rest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the hash of this name and mesh without tags.
    Same,
    /// It is not: a subset, whose tags the name does not show, or not Kuma's work.
    Differs,
    /// Name or mesh is cut, so the hash cannot be recomputed from what is left.
    Unknown,
}

/// The server name that Kuma's `SNIForResource` writes. `tags` may come in any order.
pub fn compute(name: &str, port: u16, mesh: &str, kind: Kind, tags: &[(&str, &str)]) -> String {
    let hash = fnv64a(name, mesh, tags);
    format!("a{hash:016x}.{}.{port}.{}.{}", cut(name), cut(mesh), kind.in_hash_name())
}

/// FNV-1a (64 bits) over `name;mesh;k=v,…`, the tags sorted by key.
pub fn fnv64a(name: &str, mesh: &str, tags: &[(&str, &str)]) -> u64 {
    let mut tags = tags.to_vec();
    tags.sort_unstable();
    let mut hash = Fnv::new().with(name).with(";").with(mesh).with(";");
    for (at, (key, value)) in tags.into_iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        hash = hash.with(comma).with(key).with("=").with(value);
    }
    hash.0
}

#[derive(Clone, Copy)]
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn with(self, text: &str) -> Self {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(text.bytes().fold(self.0, step))
    }
}

/// Kuma cuts bytes; its names are ASCII, so that is a cut between characters.
fn cut(label: &str) -> String {
    if label.len() < LABEL {
        return label.to_owned();
    }
    let head = (0..LABEL).rev().find_map(|end| label.get(..end)).unwrap_or_default();
    format!("{head}x")
}

fn is_cut(label: &str) -> bool {
    label.len() == LABEL && label.ends_with('x')
}
