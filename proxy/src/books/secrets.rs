//! Statistics of each secret: `sds.<name>.…` as Envoy has them, and when it expires.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use config::model::tls::SecretRef;
use config::snapshot::Snapshot;
use config::store::Applied;

use crate::expiry::not_after;
use crate::metrics::{Registry, Scope, SdsStat, SecretStat, SubscriptionStat};

/// By secret; two of the same name share Envoy's series.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    scopes: HashMap<Arc<SecretRef>, Scopes>,
}

#[derive(Debug)]
struct Scopes {
    subscription: Arc<Scope<SubscriptionStat>>,
    files: Arc<Scope<SdsStat>>,
    own: Arc<Scope<SecretStat>>,
}

impl Secrets {
    /// Follows the secrets that are wanted: series of others go.
    pub(super) fn follow<'a>(
        &mut self,
        registry: &Registry,
        snapshot: &Snapshot,
        wanted: impl Iterator<Item = &'a Arc<SecretRef>>,
    ) {
        let mut before = std::mem::take(&mut self.scopes);
        for secret in wanted {
            if let Some(scopes) = before.remove(secret) {
                self.scopes.insert(Arc::clone(secret), scopes);
                continue;
            }
            let scopes = Scopes {
                subscription: registry.subscription(&format!("sds.{}", secret.name)),
                files: registry.sds(&secret.name),
                own: registry.secret(&secret.to_string()),
            };
            self.scopes.insert(Arc::clone(secret), scopes);
            // It may have been there before anybody asked.
            self.changed(snapshot, &[Arc::clone(secret)]);
        }
    }

    /// A batch of secrets: what was sent, with its version, and what came of it.
    pub(super) fn batch(&self, sent: &[(Arc<SecretRef>, Arc<str>)], applied: &Applied) {
        for (secret, version) in sent {
            let Some(Scopes { subscription, .. }) = self.scopes.get(secret) else { continue };
            subscription.inc(SubscriptionStat::UpdateAttempt);
            if applied.rejected.iter().any(|(name, ..)| *name == secret.name) {
                subscription.inc(SubscriptionStat::UpdateRejected);
                continue;
            }
            subscription.inc(SubscriptionStat::UpdateSuccess);
            subscription.set(SubscriptionStat::Version, super::version_hash(version));
            subscription.set(SubscriptionStat::UpdateTime, super::millis(SystemTime::now()));
        }
    }

    /// Secrets that did not come in time.
    pub(super) fn overdue(&self, overdue: &[Arc<SecretRef>]) {
        for scopes in overdue.iter().filter_map(|secret| self.scopes.get(secret)) {
            scopes.subscription.inc(SubscriptionStat::InitFetchTimeout);
        }
    }

    /// Files that were read again.
    pub(super) fn reread(&self, applied: &Applied) {
        for (name, ..) in &applied.rejected {
            if let Some((_, scopes)) = self.scopes.iter().find(|(secret, _)| secret.name == *name) {
                scopes.files.inc(SdsStat::KeyRotationFailed);
            }
        }
    }

    /// When the first certificate of each of these secrets expires.
    pub(super) fn changed(&self, snapshot: &Snapshot, changed: &[Arc<SecretRef>]) {
        for secret in changed {
            let (Some(scopes), Some(entry)) = (self.scopes.get(secret), snapshot.secrets.get(secret)) else { continue };
            if let Some(at) = not_after(&entry.secret) {
                let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
                scopes.own.set(SecretStat::NotAfterSeconds, i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
            }
        }
    }
}
