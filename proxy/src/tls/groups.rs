//! Groups of the key exchange: whose order counts.
//!
//! Envoy takes of a client's groups the one that it likes best itself, and asks for a share of it where there is none.
//! rustls takes the one that the client likes best. Here rustls' groups are wrapped: while a server's handshake with a
//! [`Choice`] is driven on this thread, all others call themselves unusable.

use std::cell::Cell;

use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
use rustls::crypto::{ActiveKeyExchange, CompletedKeyExchange, SupportedKxGroup};
use rustls::{Error, NamedGroup, ProtocolVersion, ServerConfig};
use sni::client_hello::ClientHello;

/// All that there are, in our own order: the hybrid of X25519 and ML-KEM first, so that what is recorded today is not
/// read tomorrow.
pub(super) const ALL: [&dyn SupportedKxGroup; 4] = [&Group::MlKem, &Group::X25519, &Group::P256, &Group::P384];

#[derive(Clone, Copy, Debug)]
enum Group {
    MlKem,
    X25519,
    P256,
    P384,
}

impl Group {
    fn inner(self) -> &'static dyn SupportedKxGroup {
        match self {
            Self::MlKem => X25519MLKEM768,
            Self::X25519 => X25519,
            Self::P256 => SECP256R1,
            Self::P384 => SECP384R1,
        }
    }
}

impl SupportedKxGroup for Group {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        self.inner().start()
    }

    fn start_and_complete(&self, peer_pub_key: &[u8]) -> Result<CompletedKeyExchange, Error> {
        self.inner().start_and_complete(peer_pub_key)
    }

    fn name(&self) -> NamedGroup {
        self.inner().name()
    }

    fn fips(&self) -> bool {
        self.inner().fips()
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        let chosen = CHOICE.get().and_then(|choice| choice.of(version));
        chosen.is_none_or(|chosen| chosen == self.name()) && self.inner().usable_for_version(version)
    }
}

/// What a server takes of a client's groups. The version is rustls' to choose, hence one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    tls12: Option<NamedGroup>,
    tls13: Option<NamedGroup>,
}

impl Choice {
    /// By the server's order; `None` where the client's counts (`prefer_client_ciphers`).
    pub(super) fn make(config: &ServerConfig, hello: &ClientHello<'_>) -> Option<Self> {
        let first = |version| {
            let usable = config.crypto_provider().kx_groups.iter().filter(|group| group.usable_for_version(version));
            usable.map(|group| group.name()).find(|name| hello.supported_groups().any(|one| one == u16::from(*name)))
        };
        let choice = || Self { tls12: first(ProtocolVersion::TLSv1_2), tls13: first(ProtocolVersion::TLSv1_3) };
        config.ignore_client_order.then(choice)
    }

    const fn of(self, version: ProtocolVersion) -> Option<NamedGroup> {
        match version {
            ProtocolVersion::TLSv1_2 => self.tls12,
            ProtocolVersion::TLSv1_3 => self.tls13,
            _ => None,
        }
    }

    /// Server handshakes driven on this thread take these, until the guard is gone.
    pub(super) fn enter(self) -> Entered {
        Entered(CHOICE.replace(Some(self)))
    }
}

/// See [`Choice::enter`].
pub(super) struct Entered(Option<Choice>);

impl Drop for Entered {
    fn drop(&mut self) {
        CHOICE.set(self.0);
    }
}

thread_local! {
    /// That of the connection which is driven at the moment.
    static CHOICE: Cell<Option<Choice>> = const { Cell::new(None) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_chosen_one_is_usable_and_only_while_it_is_chosen() {
        let usable = |version| -> Vec<_> {
            ALL.into_iter().filter(|group| group.usable_for_version(version)).map(SupportedKxGroup::name).collect()
        };
        let (old, new) = (ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3);
        let names = [NamedGroup::X25519MLKEM768, NamedGroup::X25519, NamedGroup::secp256r1, NamedGroup::secp384r1];
        assert_eq!((usable(old), usable(new)), (names[1..].to_vec(), names.to_vec()));
        let choice = Choice { tls12: Some(NamedGroup::secp256r1), tls13: Some(NamedGroup::X25519MLKEM768) };
        {
            let _entered = choice.enter();
            assert_eq!((usable(old), usable(new)), (vec![NamedGroup::secp256r1], vec![NamedGroup::X25519MLKEM768]));
            // Nothing in common is rustls' to refuse.
            let _inner = Choice { tls12: None, tls13: None }.enter();
            assert_eq!(usable(new), names);
        }
        assert_eq!(usable(new), names);
    }

    #[test]
    fn a_wrapped_group_agrees_with_the_one_inside() {
        for group in ALL {
            let client = group.start().unwrap();
            let server = group.start_and_complete(client.pub_key()).unwrap();
            assert_eq!((client.group(), server.group), (group.name(), group.name()));
            let secret = client.complete(&server.pub_key).unwrap();
            assert_eq!(secret.secret_bytes(), server.secret.secret_bytes());
        }
    }
}
