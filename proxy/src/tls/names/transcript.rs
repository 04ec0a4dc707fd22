//! The cryptography of all TLS on the data path: aws-lc, with hashes that see what is on the wire.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CipherSuiteCommon, CryptoProvider, aws_lc_rs, hash};
use rustls::{SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};

use super::Mask;

/// aws-lc's default provider. Its cipher suites hash plainly, but for connections with a `Mask`.
pub fn provider() -> CryptoProvider {
    PROVIDER.clone()
}

/// Built once: rustls wants suites that live for ever.
static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(|| {
    let provider = aws_lc_rs::default_provider();
    CryptoProvider { cipher_suites: provider.cipher_suites.iter().map(translating).collect(), ..provider }
});

fn translating(suite: &SupportedCipherSuite) -> SupportedCipherSuite {
    match suite {
        SupportedCipherSuite::Tls12(suite) => SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
            common: common(&suite.common),
            prf_provider: suite.prf_provider,
            kx: suite.kx,
            sign: suite.sign,
            aead_alg: suite.aead_alg,
        }))),
        SupportedCipherSuite::Tls13(suite) => SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
            common: common(&suite.common),
            hkdf_provider: suite.hkdf_provider,
            aead_alg: suite.aead_alg,
            quic: suite.quic,
        }))),
    }
}

fn common(common: &CipherSuiteCommon) -> CipherSuiteCommon {
    CipherSuiteCommon {
        suite: common.suite,
        hash_provider: Box::leak(Box::new(Translating(common.hash_provider))),
        confidentiality_limit: common.confidentiality_limit,
    }
}

/// A hash function whose transcripts follow the connection that is driven.
struct Translating(&'static dyn hash::Hash);

impl hash::Hash for Translating {
    fn start(&self) -> Box<dyn hash::Context> {
        match Mask::current() {
            None => self.0.start(),
            Some(mask) => {
                #[cfg(test)]
                STARTED.set(STARTED.get() + 1);
                Box::new(Transcript { inner: self.0.start(), mask })
            }
        }
    }

    fn hash(&self, data: &[u8]) -> hash::Output {
        self.0.hash(data)
    }

    fn output_len(&self) -> usize {
        self.0.output_len()
    }

    fn algorithm(&self) -> hash::HashAlgorithm {
        self.0.algorithm()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

/// A transcript of a connection with a mask. rustls feeds it whole handshake messages, one or several at a time.
struct Transcript {
    inner: Box<dyn hash::Context>,
    mask: Arc<Mask>,
}

impl hash::Context for Transcript {
    fn fork_finish(&self) -> hash::Output {
        self.inner.fork_finish()
    }

    fn fork(&self) -> Box<dyn hash::Context> {
        Box::new(Self { inner: self.inner.fork(), mask: Arc::clone(&self.mask) })
    }

    fn finish(self: Box<Self>) -> hash::Output {
        self.inner.finish()
    }

    fn update(&mut self, data: &[u8]) {
        self.inner.update(&self.mask.on_the_wire(data));
    }
}

#[cfg(test)]
thread_local! {
    static STARTED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Transcripts begun with a mask on this thread, so that a test can tell that plain names have none.
#[cfg(test)]
pub(in crate::tls) fn started() -> usize {
    STARTED.get()
}
