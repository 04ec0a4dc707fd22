//! The server names by which Kuma's data planes tell zone proxies the destination.
//!
//! | dialect | written by | example |
//! |---|---|---|
//! | [tag](TagName) | 2.x, `kuma.io/service` (`pkg/xds/envoy/tls/sni.go`) | `backend{mesh=default,version=v1}` |
//! | [hash](HashName) | 2.x, MeshService and its kin (same file) | `ae10a8071b8a8eeb8.backend.8080.demo.ms` |
//! | [KRI](KriName) | 2.14 zone listeners, 3.0 (`pkg/core/resources/sni/sni.go`) | `sni.msvc.default.east.app-ns.backend.http` |
//!
//! Decoding is for logs and metrics. Routing matches names literally: what a name says about
//! itself is the client's claim.

mod hash;
mod kri;
mod tag;

pub use hash::{HashName, Verdict, compute, fnv64a};
pub use kri::KriName;
pub use tag::{TagName, Tags};

use std::fmt;

/// A server name in one of Kuma's dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KumaName<'a> {
    /// Service and tags.
    Tag(TagName<'a>),
    /// A resource and the hash of its identity.
    Hash(HashName<'a>),
    /// A resource identifier.
    Kri(KriName<'a>),
}

impl<'a> KumaName<'a> {
    /// Recognises a name as it is received. `None` for any that Kuma does not write, a bare service
    /// name included: it has no tags, whereas Kuma always adds the mesh, and would make a tag name
    /// of every DNS name.
    pub fn decode(name: &'a [u8]) -> Option<Self> {
        let name = str::from_utf8(name).ok()?;
        if name.contains('{') {
            return TagName::parse(name).map(Self::Tag);
        }
        KriName::parse(name).map(Self::Kri).or_else(|| HashName::parse(name).map(Self::Hash))
    }

    /// The dialect as a metrics label: `tag`, `hash` or `kri`.
    pub const fn dialect(&self) -> &'static str {
        match self {
            Self::Tag(_) => "tag",
            Self::Hash(_) => "hash",
            Self::Kri(_) => "kri",
        }
    }

    /// The service or resource name.
    pub const fn service(&self) -> &'a str {
        match self {
            Self::Tag(name) => name.service,
            Self::Hash(name) => name.name,
            Self::Kri(name) => name.name,
        }
    }

    /// The mesh; a tag name may lack it.
    pub fn mesh(&self) -> Option<&'a str> {
        match self {
            Self::Tag(name) => name.tags().find(|(key, _)| *key == "mesh").map(|(_, mesh)| mesh),
            Self::Hash(name) => Some(name.mesh),
            Self::Kri(name) => Some(name.mesh),
        }
    }
}

/// For people: kind, service and port first, the rest as `key=value`.
impl fmt::Display for KumaName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(name) => name.fmt(f),
            Self::Hash(name) => name.fmt(f),
            Self::Kri(name) => name.fmt(f),
        }
    }
}

/// The resources that hash and KRI names address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// MeshService: `ms` in hash names, `msvc` in KRIs.
    MeshService,
    /// MeshExternalService: `mes`, `extsvc`.
    MeshExternalService,
    /// MeshMultiZoneService: `mzms`, `mzsvc`.
    MeshMultiZoneService,
}

impl Kind {
    /// The resource type, e.g. `MeshService`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MeshService => "MeshService",
            Self::MeshExternalService => "MeshExternalService",
            Self::MeshMultiZoneService => "MeshMultiZoneService",
        }
    }

    const fn in_hash_name(self) -> &'static str {
        match self {
            Self::MeshService => "ms",
            Self::MeshExternalService => "mes",
            Self::MeshMultiZoneService => "mzms",
        }
    }

    fn from_hash_name(short: &str) -> Option<Self> {
        match short {
            "ms" => Some(Self::MeshService),
            "mes" => Some(Self::MeshExternalService),
            "mzms" => Some(Self::MeshMultiZoneService),
            _ => None,
        }
    }

    fn from_kri(short: &str) -> Option<Self> {
        match short {
            "msvc" => Some(Self::MeshService),
            "extsvc" => Some(Self::MeshExternalService),
            "mzsvc" => Some(Self::MeshMultiZoneService),
            _ => None,
        }
    }
}
