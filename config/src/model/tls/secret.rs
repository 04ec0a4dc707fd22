//! Secrets of SDS, and references to them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroize as _;

use super::proto::{self, Trusts};
use super::{Identity, PartialValidation};
use crate::reject::{Context, Ignored, Rejection};

/// `SdsSecretConfig`: which secret, and who has it. Name and source alone make it equal to another.
#[derive(Clone, Debug)]
pub struct SecretRef {
    /// `name`.
    pub name: Arc<str>,
    /// `sds_config`.
    pub source: SecretSource,
    /// How long what needs it waits before it goes on without (`sds_config.initial_fetch_timeout`; default 15 s, zero:
    /// for ever).
    pub initial_fetch_timeout: Duration,
}

impl PartialEq for SecretRef {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.source == other.source
    }
}

impl Eq for SecretRef {}

impl Hash for SecretRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.source.hash(state);
    }
}

impl fmt::Display for SecretRef {
    /// The name, and the source where it is not the control plane or the bootstrap.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            SecretSource::Ads | SecretSource::Static => f.write_str(&self.name),
            SecretSource::File { path, .. } => write!(f, "{} ({})", self.name, path.display()),
            SecretSource::Grpc(source) => write!(f, "{} ({})", self.name, source.cluster),
        }
    }
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretSource {
    /// The aggregated stream (`ads`, `self`).
    Ads,
    /// The bootstrap's `static_resources.secrets` (no `sds_config`).
    Static,
    /// A file with a DiscoveryResponse (`path`, `path_config_source`).
    File {
        /// The file.
        path: PathBuf,
        /// Read again when something is moved within this folder, instead of when the file is.
        watched_directory: Option<PathBuf>,
    },
    /// A server of its own (`api_config_source`), as SPIRE's agent.
    Grpc(GrpcSource),
}

/// `api_config_source` with `envoy_grpc`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GrpcSource {
    /// The cluster whose endpoints serve it.
    pub cluster: Arc<str>,
    /// `api_type: DELTA_GRPC`.
    pub delta: bool,
    /// `envoy_grpc.authority`; `None`: the cluster's name.
    pub authority: Option<Arc<str>>,
    /// `initial_metadata`: header and value.
    pub metadata: Box<[(Arc<str>, Arc<str>)]>,
}

/// A Secret. Neither keys nor generic secrets show in `Debug`.
#[derive(Clone, Debug)]
pub enum Secret {
    /// `tls_certificate`.
    Certificate(Arc<Identity>),
    /// `validation_context`.
    Validation(Arc<PartialValidation>),
    /// `session_ticket_keys`.
    TicketKeys(Arc<TicketKeys>),
    /// `generic_secret`, which nothing here reads; its content is not kept.
    Generic,
}

/// A secret that is accepted.
#[derive(Debug)]
pub struct ParsedSecret {
    /// Its own name.
    pub name: Box<str>,
    /// It.
    pub secret: Secret,
    /// Fields set and not honoured.
    pub ignored: Box<[Ignored]>,
}

impl Secret {
    /// Parses an encoded Secret, with the files it refers to.
    ///
    /// # Errors
    /// What Envoy refuses too, and what can't be used here, with the path of the field. Holds nothing of a key.
    pub fn parse(body: &[u8]) -> Result<ParsedSecret, Rejection> {
        Self::parse_with(&Trusts::default(), body)
    }

    /// The same, with one copy of equal bundles of certificates.
    pub(crate) fn parse_with(trusts: &Trusts, body: &[u8]) -> Result<ParsedSecret, Rejection> {
        let mut cx = Context::default();
        let (name, secret) = proto::secret(&mut cx, trusts, body)?;
        Ok(ParsedSecret { name, secret, ignored: cx.into_ignored() })
    }

    /// Files that it was read from, to be watched.
    pub fn files(&self) -> &[WatchedFile] {
        match self {
            Self::Certificate(identity) => &identity.files,
            Self::Validation(validation) => &validation.files,
            Self::TicketKeys(_) | Self::Generic => &[],
        }
    }
}

/// A file that is part of a certificate or a trust list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchedFile {
    /// The file.
    pub path: PathBuf,
    /// `watched_directory`: read again when something is moved within this folder.
    pub watched_directory: Option<PathBuf>,
}

/// `TlsSessionTicketKeys`, never empty: the first seals, all open. Wiped when dropped.
pub struct TicketKeys(Box<[[u8; Self::LENGTH]]>);

impl TicketKeys {
    /// Bytes of one key: a name of 16, an HMAC key of 32, an AES key of 32.
    pub const LENGTH: usize = 80;

    /// From at least one key.
    pub fn new(keys: Box<[[u8; Self::LENGTH]]>) -> Self {
        Self(keys)
    }

    /// The keys.
    pub fn keys(&self) -> &[[u8; Self::LENGTH]] {
        &self.0
    }
}

impl Drop for TicketKeys {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|key| key.zeroize());
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketKeys({}, [redacted])", self.0.len())
    }
}
