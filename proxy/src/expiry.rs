//! Certificates in use, and a warning before they expire.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use config::model::tls::{Facts, Identity, Secret, ValidationSource};
use config::snapshot::Snapshot;
use config::verify::Trust;

/// A certificate of our own, or one that peers' must descend from.
#[derive(Clone, Debug)]
pub(crate) struct InUse {
    /// The secret, or the listener or cluster that holds it.
    pub(crate) held_by: Arc<str>,
    /// Subject, or the first name.
    label: Box<str>,
    not_before: SystemTime,
    not_after: SystemTime,
}

/// How far a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Fresh,
    /// Less than a sixth of its life is left. Kuma and SPIRE renew when a fifth or a half is.
    Late,
    Expired,
}

impl InUse {
    fn of(held_by: &Arc<str>, identity: &Identity) -> Self {
        let Facts { not_before, .. } = identity.facts;
        let label = identity.facts.label().into();
        Self { held_by: Arc::clone(held_by), label, not_before, not_after: identity.not_after }
    }

    fn stage(&self, now: SystemTime) -> Stage {
        let Ok(left) = self.not_after.duration_since(now) else { return Stage::Expired };
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        if left < life / 6 { Stage::Late } else { Stage::Fresh }
    }
}

/// Says once a day, and when it changes, which certificates are about to expire.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    next: Option<Instant>,
    /// By whom holds it and when it expires: what was said, and when.
    told: HashMap<(Arc<str>, SystemTime), (Stage, Instant)>,
}

const LOOK: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

impl Expiry {
    /// Looks once a minute, however often it is called.
    pub(crate) fn warn(&mut self, snapshot: &Snapshot, now: Instant) {
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        self.next = Some(now + LOOK);
        for found in self.news(certificates(snapshot), now, SystemTime::now()) {
            let InUse { held_by, label, not_before: _, not_after } = found;
            let until = time::OffsetDateTime::from(not_after);
            match not_after.duration_since(SystemTime::now()) {
                Ok(left) => {
                    let hours = left.as_secs() / 3600;
                    tracing::warn!(%held_by, certificate = %label, %until, hours, "a certificate in use is about to expire");
                }
                Err(_) => tracing::error!(%held_by, certificate = %label, %until, "a certificate in use has expired"),
            }
        }
    }

    fn news(&mut self, certificates: Vec<InUse>, now: Instant, clock: SystemTime) -> Vec<InUse> {
        let mut before = std::mem::take(&mut self.told);
        let mut told_now = Vec::new();
        for certificate in certificates {
            let stage = certificate.stage(clock);
            if stage == Stage::Fresh {
                continue;
            }
            let key = (Arc::clone(&certificate.held_by), certificate.not_after);
            let told = before.remove(&key).filter(|(said, at)| *said == stage && now.duration_since(*at) < DAY);
            if told.is_none() && !self.told.contains_key(&key) {
                told_now.push(certificate);
            }
            self.told.entry(key).or_insert(told.unwrap_or((stage, now)));
        }
        told_now
    }
}

/// Identities of secrets, listeners and clusters, and trusted certificates that came as secrets. Each once.
fn certificates(snapshot: &Snapshot) -> Vec<InUse> {
    let mut found = Vec::new();
    for (secret, entry) in &snapshot.secrets {
        let held_by: Arc<str> = secret.to_string().into();
        match &entry.secret {
            Secret::Certificate(identity) => found.push(InUse::of(&held_by, identity)),
            Secret::Validation(validation) => {
                let bundles = validation.spiffe.iter().flat_map(|spiffe| spiffe.bundles()).map(|(_, trust)| trust);
                for der in bundles.chain(&validation.ca).flat_map(|trust| trust.certificates()) {
                    let Ok(Facts { not_before, not_after, ref subject, .. }) = Facts::of(der) else { continue };
                    let (held_by, label) = (Arc::clone(&held_by), subject.clone());
                    found.push(InUse { held_by, label, not_before, not_after });
                }
            }
            Secret::TicketKeys(_) | Secret::Generic => {}
        }
    }
    let mut seen = HashSet::new();
    for_each_inline(snapshot, |held_by, identity| {
        if seen.insert(Arc::as_ptr(identity)) {
            found.push(InUse::of(held_by, identity));
        }
    });
    found
}

/// When the first certificate of a secret expires; `None`: it has none.
pub(crate) fn not_after(secret: &Secret) -> Option<SystemTime> {
    match secret {
        Secret::Certificate(identity) => Some(identity.not_after),
        Secret::Validation(validation) => validation.not_after(),
        Secret::TicketKeys(_) | Secret::Generic => None,
    }
}

/// Identities that stand in listeners and clusters.
fn for_each_inline(snapshot: &Snapshot, mut see: impl FnMut(&Arc<str>, &Arc<Identity>)) {
    for (name, entry) in &snapshot.listeners {
        let chains = entry.listener.chains.iter().chain(&entry.listener.default_chain);
        let contexts = chains.filter_map(|chain| chain.tls.as_ref());
        contexts.flat_map(|tls| tls.certificates.inline()).for_each(|identity| see(name, identity));
    }
    for (name, entry) in &snapshot.clusters {
        let sockets = entry.cluster.transport_matches.iter().map(|of| &of.transport);
        for transport in sockets.chain([&entry.cluster.transport]) {
            let Some(tls) = transport.tls() else { continue };
            tls.certificates.inline().iter().for_each(|identity| see(name, identity));
        }
    }
}

/// `server.days_until_first_cert_expiring`: whole days, zero once it is over; `None`: there are no certificates.
pub(crate) fn days_until_first(snapshot: &Snapshot) -> Option<u64> {
    let mut first: Option<SystemTime> = None;
    let mut see = |at: Option<SystemTime>| first = [first, at].into_iter().flatten().min();
    for entry in snapshot.secrets.values() {
        see(not_after(&entry.secret));
    }
    for_each_inline(snapshot, |_, identity| see(Some(identity.not_after)));
    let mut trusts: HashSet<*const Trust> = HashSet::new();
    for_each_inline_trust(snapshot, |trust| {
        if trusts.insert(Arc::as_ptr(trust)) {
            see(trust.not_after());
        }
    });
    first.map(|at| at.duration_since(SystemTime::now()).map_or(0, |left| left.as_secs() / 86_400))
}

fn for_each_inline_trust(snapshot: &Snapshot, mut see: impl FnMut(&Arc<Trust>)) {
    let mut look = |source: &Option<ValidationSource>| match source {
        Some(ValidationSource::Inline(validation)) => validation.trusts().for_each(&mut see),
        Some(ValidationSource::Sds { .. }) | None => {}
    };
    for entry in snapshot.listeners.values() {
        let chains = entry.listener.chains.iter().chain(&entry.listener.default_chain);
        chains.filter_map(|chain| chain.tls.as_ref()).for_each(|tls| look(&tls.validation));
    }
    for entry in snapshot.clusters.values() {
        let sockets = entry.cluster.transport_matches.iter().map(|of| &of.transport);
        for transport in sockets.chain([&entry.cluster.transport]) {
            if let Some(tls) = transport.tls() {
                look(&tls.validation);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_told_when_it_is_late_once_a_day_and_when_it_is_over() {
        let hour = Duration::from_secs(3600);
        let (start, now) = (SystemTime::now(), Instant::now());
        let certificate = || InUse {
            held_by: "identity".into(),
            label: "spiffe://m/a".into(),
            not_before: start,
            not_after: start + hour * 24 * 60,
        };
        let mut expiry = Expiry::default();
        let mut told = |days: u32| expiry.news(vec![certificate()], now + DAY * days, start + DAY * days).len();
        assert_eq!([told(0), told(49), told(51), told(51), told(52), told(59)], [0, 0, 1, 0, 1, 1]);
        assert_eq!([told(60), told(60)], [1, 0], "the end is told for itself");
        assert!(expiry.news(Vec::new(), now, start).is_empty() && expiry.told.is_empty(), "a renewed one is forgotten");
        assert_eq!(expiry.news(vec![certificate(), certificate()], now + DAY * 60, start + DAY * 60).len(), 1);
    }
}
