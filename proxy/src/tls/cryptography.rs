//! Which suites and groups are used, in which order.
//!
//! Ours: AES-128-GCM first, since every CPU of interest has it in hardware; groups as in [`super::groups`].

use std::sync::Arc;

use config::model::tls::Parameters;
use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion};

use super::{groups, names};

const SUITES: [CipherSuite; 9] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Our cryptography, narrowed and ordered as asked.
pub(super) fn provider(parameters: &Parameters) -> Arc<CryptoProvider> {
    let mut provider = names::provider();
    provider.cipher_suites = suites(&provider.cipher_suites, parameters.cipher_suites.as_deref());
    provider.kx_groups = match &parameters.groups {
        None => groups::ALL.to_vec(),
        Some(asked) => {
            asked.iter().filter_map(|name| groups::ALL.into_iter().find(|group| group.name() == *name)).collect()
        }
    };
    Arc::new(provider)
}

/// `asked` concerns TLS 1.2 only.
fn suites(known: &[SupportedCipherSuite], asked: Option<&[CipherSuite]>) -> Vec<SupportedCipherSuite> {
    let find = |wanted: &CipherSuite| known.iter().find(|suite| suite.suite() == *wanted).copied();
    let ours = SUITES.iter().filter_map(find);
    match asked {
        None => ours.collect(),
        Some(asked) => {
            let tls13 = ours.filter(|suite| suite.tls13().is_some());
            tls13.chain(asked.iter().filter_map(find).filter(|suite| suite.tls13().is_none())).collect()
        }
    }
}

/// Versions that may be spoken.
pub(super) fn versions(parameters: &Parameters) -> Vec<&'static SupportedProtocolVersion> {
    [(parameters.tls13, &TLS13), (parameters.tls12, &TLS12)].into_iter().filter_map(|(on, v)| on.then_some(v)).collect()
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup;

    use super::*;

    #[test]
    fn our_own_order_and_theirs() {
        let ours = provider(&Parameters::default());
        assert_eq!(ours.cipher_suites.iter().map(SupportedCipherSuite::suite).collect::<Vec<_>>(), SUITES);
        assert_eq!(ours.kx_groups[0].name(), NamedGroup::X25519MLKEM768);
        let asked = Parameters {
            cipher_suites: Some(
                [
                    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
                    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                ]
                .into(),
            ),
            groups: Some([NamedGroup::secp384r1, NamedGroup::X25519].into()),
            ..Parameters::default()
        };
        let theirs = provider(&asked);
        let suites: Vec<_> = theirs.cipher_suites.iter().map(SupportedCipherSuite::suite).collect();
        assert_eq!(suites[..3], SUITES[..3], "those of TLS 1.3 can't be chosen");
        assert_eq!(
            suites[3..],
            [
                CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
            ]
        );
        let groups: Vec<_> = theirs.kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(groups, [NamedGroup::secp384r1, NamedGroup::X25519]);
    }
}
