//! Session tickets: how long they last, and what seals them.
//!
//! A ticket stands for a handshake that was verified at its time. Therefore its keys belong to one version of a context:
//! when a certificate or a trust list is rotated, the tickets given out before it mean nothing any more. And whoever
//! resumes is verified anew ([`super::server`]).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use config::model::tls::TicketKeys;
use rustls::Error;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;

/// BoringSSL's default in Envoy is 2 h (`session_timeout`).
const LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);
/// RFC 8446 §4.6.1.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Seconds since 1970 in front of what is sealed.
const STAMP: usize = 8;

/// Tickets that end in time.
pub(super) struct Tickets {
    inner: Arc<dyn ProducesTickets>,
    lifetime: Duration,
}

impl Tickets {
    /// Sealed with keys of this very value, which are renewed every few hours.
    ///
    /// # Errors
    /// There is no randomness.
    pub(super) fn own(lifetime: Option<Duration>) -> Result<Arc<Self>, Error> {
        Ok(Self::new(Ticketer::new()?, lifetime))
    }

    /// Sealed with keys that other proxies may have too (`session_ticket_keys`). `context` keeps those of another context
    /// apart. Envoy's tickets can't be read, nor ours by Envoy.
    ///
    /// # Errors
    /// A key is refused.
    pub(super) fn shared(keys: &TicketKeys, context: u128, lifetime: Option<Duration>) -> Result<Arc<Self>, Error> {
        let keys = keys.keys().iter().map(|key| {
            let sealing = RandomizedNonceKey::new(&AES_256_GCM, &key[TicketKeys::LENGTH - 32..]);
            sealing.map(|sealing| {
                let mut name = [0; NAME];
                name.copy_from_slice(&key[..NAME]);
                (name, sealing)
            })
        });
        let keys =
            keys.collect::<Result<_, _>>().map_err(|_| Error::General("a session ticket key is refused".into()))?;
        Ok(Self::new(Arc::new(Shared { keys, context }), lifetime))
    }

    fn new(inner: Arc<dyn ProducesTickets>, lifetime: Option<Duration>) -> Arc<Self> {
        Arc::new(Self { inner, lifetime: lifetime.unwrap_or(LIFETIME).min(LONGEST) })
    }

    fn encrypt_at(&self, now: SystemTime, plain: &[u8]) -> Option<Vec<u8>> {
        let seconds = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
        self.inner.encrypt(&[&seconds.to_be_bytes(), plain].concat())
    }

    fn decrypt_at(&self, now: SystemTime, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut plain = self.inner.decrypt(sealed)?;
        let begun = UNIX_EPOCH.checked_add(Duration::from_secs(u64::from_be_bytes(*plain.first_chunk::<STAMP>()?)))?;
        // One from the future was made by another clock, or by nobody.
        now.duration_since(begun).ok().filter(|age| *age <= self.lifetime)?;
        plain.drain(..STAMP);
        Some(plain)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.inner.lifetime().min(u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX))
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.encrypt_at(SystemTime::now(), plain)
    }

    fn decrypt(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        self.decrypt_at(SystemTime::now(), sealed)
    }
}

/// Bytes of a key's name.
const NAME: usize = 16;
/// Bytes of a nonce of AES-GCM.
const NONCE: usize = 12;

/// Keys given to us: name of the key, nonce, sealed bytes.
struct Shared {
    keys: Box<[([u8; NAME], RandomizedNonceKey)]>,
    context: u128,
}

impl Shared {
    fn aad(&self) -> Aad<[u8; 16]> {
        Aad::from(self.context.to_be_bytes())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({}, [redacted])", self.keys.len())
    }
}

impl ProducesTickets for Shared {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::MAX
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let (name, key) = self.keys.first()?;
        let mut sealed = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(self.aad(), &mut sealed).ok()?;
        Some([name, &nonce.as_ref()[..], &sealed].concat())
    }

    fn decrypt(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = sealed.split_first_chunk::<NAME>()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE>()?;
        let (_, key) = self.keys.iter().find(|(known, _)| known == name)?;
        let mut plain = rest.to_vec();
        let length = key.open_in_place(nonce.into(), self.aad(), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
    }

    fn keys(first: &[u8]) -> TicketKeys {
        TicketKeys::new(first.iter().map(|byte| [*byte; TicketKeys::LENGTH]).collect())
    }

    #[test]
    fn a_ticket_ends_in_time() {
        let tickets = Tickets::own(Some(Duration::from_secs(60))).unwrap();
        assert_eq!(tickets.lifetime(), 60);
        let sealed = tickets.encrypt_at(at(0), b"session").unwrap();
        assert_eq!(tickets.decrypt_at(at(60), &sealed).unwrap(), b"session");
        assert!(tickets.decrypt_at(at(61), &sealed).is_none());
        assert!(tickets.decrypt_at(UNIX_EPOCH, &sealed).is_none(), "not from the future");
        assert!(Tickets::own(None).unwrap().decrypt_at(at(1), &sealed).is_none(), "of another version of the context");
        assert_eq!(Tickets::own(Some(Duration::from_secs(1 << 40))).unwrap().lifetime, LONGEST);
    }

    #[test]
    fn shared_keys_open_what_others_sealed_in_the_same_context() {
        let one = Tickets::shared(&keys(&[1, 2]), 7, None).unwrap();
        let other = Tickets::shared(&keys(&[3, 1]), 7, None).unwrap();
        let sealed = one.encrypt_at(at(0), b"session").unwrap();
        assert_eq!(other.decrypt_at(at(1), &sealed).unwrap(), b"session");
        assert!(one.decrypt_at(at(1), &other.encrypt_at(at(0), b"x").unwrap()).is_none(), "a key that is not known");
        assert!(Tickets::shared(&keys(&[1]), 8, None).unwrap().decrypt_at(at(1), &sealed).is_none(), "another context");
        let mut damaged = sealed.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(one.decrypt_at(at(1), &damaged).is_none() && one.decrypt_at(at(1), &sealed[..20]).is_none());
        assert_ne!(sealed, one.encrypt_at(at(0), b"session").unwrap(), "a nonce of its own");
        assert!(!format!("{one:?}{:?}", keys(&[9])).contains("9, 9"));
    }
}
