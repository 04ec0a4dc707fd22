//! A TLS context at run time: what handshakes use now, made anew when a secret is rotated.
//!
//! The data path reads an `ArcSwap`. A handshake goes on with what it began with, and established connections do not
//! look here at all: a rotation touches neither.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use config::model::tls::{Identity, PartialValidation, Secret, SecretRef, TicketKeys, Validation, ValidationSource};
use rpds::HashTrieMapSync;

use crate::metrics::{Scope, SslFactoryStat};

/// The secrets that are there.
pub(crate) type Secrets = HashTrieMapSync<Arc<SecretRef>, Secret>;

/// Why a context can't be used (yet): its connections are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// It has not come.
    #[error("the secret {0:?} has not been supplied by SDS")]
    Missing(Arc<str>),
    /// It has come as something else.
    #[error("the secret {name:?} is not {wanted}")]
    Kind {
        /// Its name.
        name: Arc<str>,
        /// What it has to be.
        wanted: &'static str,
    },
    /// It is all there and makes no sense.
    #[error("{0}")]
    Unusable(Arc<str>),
}

/// A context of which `T` is what handshakes use.
#[derive(Debug)]
pub(crate) struct Context<C, T> {
    config: Arc<C>,
    state: ArcSwap<Result<Arc<T>, NotReady>>,
    /// Rotations so far.
    version: AtomicU64,
    /// Told of rotations.
    told: Mutex<Vec<Weak<Scope<SslFactoryStat>>>>,
}

/// What contexts of both sides have in common.
pub(crate) trait Configured: Sized {
    /// What handshakes use.
    type Ready;

    /// The secrets it needs.
    fn secrets(&self) -> impl Iterator<Item = &Arc<SecretRef>>;

    /// Makes it of what is there.
    fn build(&self, secrets: &Secrets) -> Result<Self::Ready, NotReady>;
}

impl<C: Configured<Ready = T>, T> Context<C, T> {
    pub(super) fn new(config: &Arc<C>, secrets: &Secrets) -> Arc<Self> {
        let state = config.build(secrets).map(Arc::new);
        let (version, told) = Default::default();
        Arc::new(Self { config: Arc::clone(config), state: ArcSwap::from_pointee(state), version, told })
    }

    /// Takes over the secrets, if one of its own is among the changed.
    pub(super) fn update(&self, secrets: &Secrets, changed: impl Fn(&Arc<SecretRef>) -> bool) {
        if !self.config.secrets().any(changed) {
            return;
        }
        match self.config.build(secrets) {
            // The last good state stays: it verifies as before, nobody is let in who was not.
            Err(error @ (NotReady::Kind { .. } | NotReady::Unusable(_))) if self.state.load().is_ok() => {
                tracing::warn!(%error, "a rotated secret can't be used, what was there before goes on");
                return;
            }
            state => self.state.store(Arc::new(state.map(Arc::new))),
        }
        self.version.fetch_add(1, Ordering::Relaxed);
        for scope in self.told.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
            scope.inc(SslFactoryStat::SslContextUpdateBySds);
        }
    }
}

impl<C, T> Context<C, T> {
    /// As configured.
    pub(crate) fn config(&self) -> &Arc<C> {
        &self.config
    }

    /// Rotations so far: connections of before used something else.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// What a handshake that begins now uses.
    ///
    /// # Errors
    /// There is nothing it could use.
    pub(crate) fn ready(&self) -> Result<Arc<T>, NotReady> {
        Result::clone(&self.state.load())
    }

    /// Counts rotations with `scope` (`ssl_context_update_by_sds`).
    pub(crate) fn tell(&self, scope: &Arc<Scope<SslFactoryStat>>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|known| known.strong_count() > 0);
        if !told.iter().any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(scope))) {
            told.push(Arc::downgrade(scope));
        }
    }
}

/// A certificate by reference.
pub(super) fn identity(secrets: &Secrets, of: &Arc<SecretRef>) -> Result<Arc<Identity>, NotReady> {
    match find(secrets, of)? {
        Secret::Certificate(identity) => Ok(Arc::clone(identity)),
        _ => Err(NotReady::Kind { name: Arc::clone(&of.name), wanted: "a TLS certificate" }),
    }
}

/// Session ticket keys by reference.
pub(super) fn ticket_keys(secrets: &Secrets, of: &Arc<SecretRef>) -> Result<Arc<TicketKeys>, NotReady> {
    match find(secrets, of)? {
        Secret::TicketKeys(keys) => Ok(Arc::clone(keys)),
        _ => Err(NotReady::Kind { name: Arc::clone(&of.name), wanted: "a list of session ticket keys" }),
    }
}

/// A validation, whole.
pub(super) fn validation(secrets: &Secrets, source: &ValidationSource) -> Result<Arc<Validation>, NotReady> {
    let (name, found) = match source {
        ValidationSource::Inline(_) => (None, None),
        ValidationSource::Sds { secret, .. } => (Some(secret), Some(partial(secrets, secret)?)),
    };
    match source.resolve(|_| found) {
        Some(Ok(validation)) => Ok(validation),
        Some(Err(incomplete)) => Err(NotReady::Unusable(incomplete.to_string().into())),
        None => Err(NotReady::Missing(name.map(|secret| Arc::clone(&secret.name)).unwrap_or_default())),
    }
}

fn partial<'a>(secrets: &'a Secrets, of: &Arc<SecretRef>) -> Result<&'a Arc<PartialValidation>, NotReady> {
    match find(secrets, of)? {
        Secret::Validation(validation) => Ok(validation),
        _ => Err(NotReady::Kind { name: Arc::clone(&of.name), wanted: "a validation context" }),
    }
}

fn find<'a>(secrets: &'a Secrets, of: &Arc<SecretRef>) -> Result<&'a Secret, NotReady> {
    secrets.get(of).ok_or_else(|| NotReady::Missing(Arc::clone(&of.name)))
}
