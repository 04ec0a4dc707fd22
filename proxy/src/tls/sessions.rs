//! Sessions kept for endpoints: none longer than the certificates that they began with.
//!
//! Whoever resumes is judged by the certificate shown at first, and so are the sessions that follow from it. Past its
//! end all of them would be refused ([`super::client`]), one connection after the other, though the endpoint has long
//! got a new one: so they are forgotten then, and the next handshake is a full one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::NamedGroup;
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::{CertificateDer, ServerName};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Seconds since 1970.
type Seconds = i64;

/// See the module.
#[derive(Debug)]
pub(super) struct Sessions {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    kept: Arc<ClientSessionMemoryCache>,
    /// The first end of a certificate met since it was empty.
    until: Seconds,
}

impl Sessions {
    /// At most so many.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, state: Mutex::new(State::new(most)) })
    }

    /// Sessions with a server that shows these begin.
    pub(super) fn met<'a>(&self, chain: impl IntoIterator<Item = &'a CertificateDer<'a>>) {
        let end = |der: &CertificateDer<'_>| {
            let (_, certificate) = X509Certificate::from_der(der).ok()?;
            Some(certificate.validity.not_after.timestamp())
        };
        if let Some(end) = chain.into_iter().filter_map(end).min() {
            let mut state = self.state();
            state.until = state.until.min(end);
        }
    }

    fn kept(&self) -> Arc<ClientSessionMemoryCache> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        self.kept_at(Seconds::try_from(now).unwrap_or(Seconds::MAX))
    }

    fn kept_at(&self, now: Seconds) -> Arc<ClientSessionMemoryCache> {
        let mut state = self.state();
        if now > state.until {
            *state = State::new(self.most);
        }
        Arc::clone(&state.kept)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(most: usize) -> Self {
        Self { kept: Arc::new(ClientSessionMemoryCache::new(most)), until: Seconds::MAX }
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.kept().set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.kept().kx_hint(server_name)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.kept().set_tls12_session(server_name, value);
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.kept().tls12_session(server_name)
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.kept().remove_tls12_session(server_name);
    }

    fn insert_tls13_ticket(&self, server_name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.kept().insert_tls13_ticket(server_name, value);
    }

    fn take_tls13_ticket(&self, server_name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.kept().take_tls13_ticket(server_name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn until(year: i32) -> (CertificateDer<'static>, Seconds) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let end = params.not_after.unix_timestamp();
        (params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone(), end)
    }

    #[test]
    fn all_are_forgotten_when_the_first_certificate_ends() {
        let ((one, end), (other, later)) = (until(2040), until(2041));
        let sessions = Sessions::new(8);
        let name = ServerName::try_from("a.test").unwrap();
        sessions.set_kx_hint(name.clone(), NamedGroup::X25519);
        sessions.met([&other, &one]);
        sessions.met([&other]);
        let hint = |now| sessions.kept_at(now).kx_hint(&name);
        assert_eq!((hint(end), hint(end + 1)), (Some(NamedGroup::X25519), None));
        // From there on it begins anew.
        sessions.set_kx_hint(name.clone(), NamedGroup::X25519);
        sessions.met([&other]);
        assert_eq!((hint(end + 1), hint(later + 1)), (Some(NamedGroup::X25519), None));
    }
}
