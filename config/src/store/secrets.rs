//! Secrets: kept by name and source, the last good version of each; who waits for one is put in force when it is there.
//!
//! As Envoy does (`SdsApi`): that the source removes a secret is not heeded while something refers to it; a removal or
//! a refusal ends the wait for it all the same.

use std::collections::HashSet;
use std::sync::Arc;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::demand::User;
use super::redact::{self, Redacted};
use super::{Applied, Resource, Step, Store, check_name, parse};
use crate::model::cluster::Cluster;
use crate::model::listener::Listener;
use crate::model::tls::proto::Trusts;
use crate::model::tls::{ParsedSecret, SecretRef, SecretSource, WatchedFile};
use crate::reject::{FieldPath, Ignored, Rejection};
use crate::snapshot::{Kind, SecretEntry, Source};

/// Times that files are read again which change while they are read, as Envoy.
const ATTEMPTS: usize = 5;

/// A secret in files.
#[derive(Debug)]
pub(super) struct InFiles {
    /// The message, without anything secret.
    resource: Resource,
    files: Box<[WatchedFile]>,
    /// Of what they held when they were read; `None`: not readable.
    hash: Option<u64>,
}

impl Store {
    /// A resource refers to these secrets from now on. It takes them up before it gives up its old ones, so that a
    /// secret that both refer to is not dropped in between.
    pub(super) fn refer_to_secrets(&mut self, secrets: &[Arc<SecretRef>]) {
        let held = &self.snapshot.secrets;
        self.demands.refer(secrets, |secret| held.contains_key(secret));
    }

    /// Takes back [`Store::refer_to_secrets`]. What its source has told to be gone goes now.
    pub(super) fn release_secrets(&mut self, step: &mut Step, secrets: &[Arc<SecretRef>]) {
        for secret in self.demands.release(secrets) {
            self.forget_rejection(step, Kind::Secret, &rejected_as(&secret));
            if self.gone.remove(&secret) {
                self.drop_secret(step, &secret);
            }
        }
    }

    /// A resource in force refers to these secrets, which are counted, instead of its old ones.
    pub(super) fn replace_secrets(&mut self, step: &mut Step, user: User, secrets: Box<[Arc<SecretRef>]>) {
        let old = match secrets.is_empty() {
            true => self.in_force.remove(&user),
            false => self.in_force.insert(user, secrets),
        };
        self.release_secrets(step, &old.unwrap_or_default());
    }

    /// Whether all references to static secrets lead somewhere.
    pub(super) fn check_static(&self, secrets: &[Arc<SecretRef>]) -> Result<(), Rejection> {
        let known = &self.snapshot.secrets;
        let lost = secrets.iter().find(|secret| secret.source == SecretSource::Static && !known.contains_key(*secret));
        lost.map_or(Ok(()), |secret| {
            let reason = format!("unknown static secret {}", secret.name).into();
            Err(Rejection { path: FieldPath("transport_socket".into()), reason })
        })
    }

    pub(super) fn upsert_secret(&mut self, step: &mut Step, resource: &Resource) -> Result<(), Rejection> {
        let secret = step.secret(&resource.name);
        let Redacted { body, files, is_whole } = redact::secret(&resource.body);
        let kept = Resource { body, ..resource.clone() };
        // As in Envoy, what stands in the bootstrap is read once.
        let watched = !files.is_empty() && secret.source != SecretSource::Static;
        let (hash, parsed) = match watched {
            true => read_stable(&self.trusts, &files, &resource.body),
            false => (None, parse::secret(&self.trusts, &resource.body)),
        };
        if watched && is_whole {
            self.in_files.insert(Arc::clone(&secret), InFiles { resource: kept.clone(), files, hash });
        } else {
            self.in_files.remove(&secret);
        }
        let ParsedSecret { name, secret: parsed, mut ignored } = parsed?;
        check_name(resource, &name)?;
        if watched && !is_whole {
            let path = FieldPath("tls_certificate.certificate_chain.filename".into());
            let note = "the file is read once, since the private key is not in a file";
            ignored = ignored.into_iter().chain([Ignored { path, note }]).collect();
        }
        let known = self.snapshot.secrets.get(&secret);
        step.report.ignored(&resource.name, &ignored, known.map_or(&[], |entry| &*entry.ignored));
        let source = Arc::new(step.source(&kept));
        let received = xxh3_128(&resource.body);
        self.put_secret(step, &secret, SecretEntry { secret: parsed, source, ignored, received });
        Ok(())
    }

    fn put_secret(&mut self, step: &mut Step, secret: &Arc<SecretRef>, entry: SecretEntry) {
        self.gone.remove(secret);
        self.state().secrets.insert_mut(Arc::clone(secret), Arc::new(entry));
        step.applied.changes.secrets.push(Arc::clone(secret));
        self.settle_secret(step, secret);
    }

    fn drop_secret(&mut self, step: &mut Step, secret: &Arc<SecretRef>) {
        self.gone.remove(secret);
        self.in_files.remove(secret);
        if self.state().secrets.remove_mut(secret) {
            step.applied.changes.secrets.push(Arc::clone(secret));
        }
    }

    /// The source has nothing (more) of this name.
    pub(super) fn remove_secret(&mut self, step: &mut Step, name: &Arc<str>) {
        let secret = step.secret(name);
        if !self.demands.contains(&secret) {
            return self.drop_secret(step, &secret);
        }
        if self.snapshot.secrets.contains_key(&secret) {
            tracing::debug!(%secret, "its source has it no more; it stays while it is in use");
            self.gone.insert(Arc::clone(&secret));
        }
        self.settle_secret(step, &secret);
    }

    /// Nobody waits for this secret any more.
    pub(super) fn settle_secret(&mut self, step: &mut Step, secret: &Arc<SecretRef>) {
        for (kind, name) in self.demands.settle(secret) {
            match kind {
                Kind::Listener => self.activate_complete_listener(step, &name),
                Kind::Cluster => self.activate_complete(step, &name),
                Kind::Endpoints | Kind::Route | Kind::Secret | Kind::Runtime => {}
            }
        }
    }

    /// The same bytes under another version.
    pub(super) fn refresh_secret(&mut self, step: &Step, resource: &Resource) {
        let secret = step.secret(&resource.name);
        let Some(entry) = self.snapshot.secrets.get(&secret) else { return };
        let source = Source { body: entry.source.body.clone(), ..step.source(resource) };
        let refreshed = SecretEntry { source: Arc::new(source), ..SecretEntry::clone(entry) };
        self.gone.remove(&secret);
        self.state().secrets.insert_mut(secret, Arc::new(refreshed));
    }

    /// Secrets whose time is over are waited for no more.
    pub(super) fn expire_secrets(&mut self, step: &mut Step, now: std::time::Instant) {
        for secret in self.demands.expired(now) {
            let after = secret.initial_fetch_timeout;
            tracing::warn!(%secret, ?after, "the secret has not come; what refers to it is in force without");
            self.settle_secret(step, &secret);
            step.applied.overdue.push(secret);
        }
    }

    /// Brings the list of missing secrets up to date; true: it has changed.
    pub(super) fn list_missing(&mut self, secrets_changed: bool) -> bool {
        if !self.demands.take_changed() && !secrets_changed {
            return false;
        }
        let held = &self.snapshot.secrets;
        let mut missing: Vec<_> = self.demands.iter().filter(|secret| !held.contains_key(*secret)).cloned().collect();
        missing.sort_by_cached_key(|secret| secret.to_string());
        let changed = *missing != *self.snapshot.missing_secrets;
        if changed {
            self.state().missing_secrets = missing.into();
        }
        changed
    }

    /// Names of all secrets of one source.
    pub(super) fn secret_names(&self, source: &SecretSource) -> HashSet<Arc<str>> {
        let held = self.snapshot.secrets.keys().filter(|secret| secret.source == *source);
        held.map(|secret| Arc::clone(&secret.name)).collect()
    }

    /// Secrets that resources in force or warming refer to, in no order.
    pub fn wanted_secrets(&self) -> impl Iterator<Item = &Arc<SecretRef>> {
        self.demands.iter()
    }

    /// Files that secrets refer to for their certificates (`filename`), to be watched.
    pub fn secret_files(&self) -> Vec<WatchedFile> {
        self.in_files.values().flat_map(|in_files| in_files.files.iter().cloned()).collect()
    }

    /// Reads those of [`Store::secret_files`] again that have changed. What is broken keeps its last good version.
    pub fn reread_files(&mut self) -> Applied {
        let mut step = Step::new(Kind::Secret, false, &self.trusts);
        let changed = self.in_files.iter().filter(|(_, kept)| hash(&kept.files) != kept.hash);
        for secret in changed.map(|(secret, _)| Arc::clone(secret)).collect::<Vec<_>>() {
            step.from = secret.source.clone();
            self.reread(&mut step, &secret);
        }
        self.finish(step)
    }

    fn reread(&mut self, step: &mut Step, secret: &Arc<SecretRef>) {
        let Some(kept) = self.in_files.get_mut(secret) else { return };
        let (hash, parsed) = read_stable(&self.trusts, &kept.files, &kept.resource.body);
        kept.hash = hash;
        let resource = kept.resource.clone();
        match parsed {
            Ok(ParsedSecret { name: _, secret: parsed, ignored }) => {
                tracing::info!(%secret, "its files were read again");
                let known = self.snapshot.secrets.get(secret);
                let received = known.map_or(0, |entry| entry.received);
                let entry = SecretEntry { secret: parsed, source: Arc::new(step.source(&resource)), ignored, received };
                self.forget_rejection(step, Kind::Secret, &rejected_as(secret));
                self.put_secret(step, secret, entry);
            }
            Err(rejection) => self.reject(step, Kind::Secret, resource, rejection),
        }
    }
}

/// What a secret's rejection is listed under: the name alone is not unique.
pub(super) fn rejected_as(secret: &SecretRef) -> Arc<str> {
    match secret.source {
        SecretSource::Ads | SecretSource::Static => Arc::clone(&secret.name),
        SecretSource::File { .. } | SecretSource::Grpc(_) => secret.to_string().into(),
    }
}

/// Reads a secret that stands in files so that none of them changes meanwhile.
fn read_stable(
    trusts: &Trusts,
    files: &[WatchedFile],
    body: &bytes::Bytes,
) -> (Option<u64>, Result<ParsedSecret, Rejection>) {
    let mut before = hash(files);
    for _ in 1..ATTEMPTS {
        let parsed = parse::secret(trusts, body);
        let after = hash(files);
        if before == after {
            return (after, parsed);
        }
        before = after;
    }
    (before, parse::secret(trusts, body))
}

/// Of what the files hold; `None`: one can't be read.
fn hash(files: &[WatchedFile]) -> Option<u64> {
    let mut hasher = Xxh3::new();
    for file in files {
        let content = zeroize::Zeroizing::new(std::fs::read(&file.path).ok()?);
        hasher.update(&content.len().to_le_bytes());
        hasher.update(&content);
    }
    Some(hasher.digest())
}

/// The secrets that a listener refers to, each once.
pub(super) fn of_listener(listener: &Listener) -> Box<[Arc<SecretRef>]> {
    let mut found = Distinct::default();
    // Ten thousand chains may share one context.
    let mut last = std::ptr::null();
    for tls in listener.chains.iter().chain(&listener.default_chain).filter_map(|chain| chain.tls.as_ref()) {
        if !std::ptr::eq(std::mem::replace(&mut last, Arc::as_ptr(tls)), Arc::as_ptr(tls)) {
            found.extend(tls.secrets());
        }
    }
    found.into_secrets()
}

/// The secrets that a cluster refers to, each once.
pub(super) fn of_cluster(cluster: &Cluster) -> Box<[Arc<SecretRef>]> {
    let mut found = Distinct::default();
    let matches = cluster.transport_matches.iter().map(|of| &of.transport);
    for transport in matches.chain([&cluster.transport]) {
        if let Some(tls) = transport.tls() {
            found.extend(tls.secrets());
        }
    }
    found.into_secrets()
}

#[derive(Default)]
struct Distinct<'a> {
    seen: HashSet<&'a Arc<SecretRef>>,
    secrets: Vec<Arc<SecretRef>>,
}

impl<'a> Distinct<'a> {
    fn extend(&mut self, secrets: impl Iterator<Item = &'a Arc<SecretRef>>) {
        self.secrets.extend(secrets.filter(|secret| self.seen.insert(secret)).cloned());
    }

    fn into_secrets(self) -> Box<[Arc<SecretRef>]> {
        self.secrets.into()
    }
}
