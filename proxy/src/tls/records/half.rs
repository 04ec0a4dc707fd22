//! One direction's keys and how often they were used.

use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks,
    OutboundPlainMessage,
};
use rustls::{ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion, SupportedCipherSuite};

/// Records that one set of keys opens or seals at most: the nonce counts them, and must not begin anew
/// (RFC 8446 §5.3). As rustls' `SEQ_SOFT_LIMIT`.
const SEQUENCE_LIMIT: u64 = 0xffff_ffff_ffff_0000;

/// Keys, and how many records they have served.
pub(super) type Numbered = (u64, ConnectionTrafficSecrets);

/// The keys that open the peer's records.
pub(super) struct Opener {
    cipher: Box<dyn MessageDecrypter>,
    sequence: u64,
}

impl Opener {
    pub(super) fn new(suite: SupportedCipherSuite, (sequence, secrets): Numbered) -> Result<Self, Error> {
        let cipher = match (suite, parts(secrets)?) {
            (SupportedCipherSuite::Tls13(suite), (key, iv)) => suite.aead_alg.decrypter(key, iv),
            (SupportedCipherSuite::Tls12(suite), (key, iv)) => {
                let fixed = suite.aead_alg.key_block_shape().fixed_iv_len;
                suite.aead_alg.decrypter(key, &iv.as_ref()[..fixed])
            }
        };
        Ok(Self { cipher, sequence })
    }

    /// Opens the next record.
    pub(super) fn open<'a>(&mut self, record: InboundOpaqueMessage<'a>) -> Result<InboundPlainMessage<'a>, Error> {
        if self.sequence >= SEQUENCE_LIMIT {
            return Err(Error::DecryptError);
        }
        let opened = self.cipher.decrypt(record, self.sequence)?;
        self.sequence += 1;
        Ok(opened)
    }
}

/// The keys that seal our records.
pub(super) struct Sealer {
    cipher: Box<dyn MessageEncrypter>,
    sequence: u64,
    /// Records after which the keys must be changed (`confidentiality_limit`, RFC 8446 §5.5).
    limit: u64,
}

impl Sealer {
    pub(super) fn new(suite: SupportedCipherSuite, (sequence, secrets): Numbered) -> Result<Self, Error> {
        let (mut cipher, limit) = match (suite, parts(secrets)?) {
            (SupportedCipherSuite::Tls13(suite), (key, iv)) => {
                (suite.aead_alg.encrypter(key, iv), suite.common.confidentiality_limit)
            }
            (SupportedCipherSuite::Tls12(suite), (key, iv)) => {
                let (fixed, explicit) = iv.as_ref().split_at(suite.aead_alg.key_block_shape().fixed_iv_len);
                (suite.aead_alg.encrypter(key, fixed, explicit), suite.common.confidentiality_limit)
            }
        };
        if sequence > 0 {
            // aws-lc takes the first nonce it sees for the one of record 0, to check that they count up. It is shown
            // that one; the result goes nowhere, so no two records under one nonce are ever seen.
            cipher.encrypt(message(ContentType::ApplicationData, OutboundChunks::new_empty()), 0)?;
        }
        Ok(Self { cipher, sequence, limit: limit.min(SEQUENCE_LIMIT) })
    }

    /// One record is left, for the message that changes the keys or ends the session.
    pub(super) fn is_worn(&self) -> bool {
        self.sequence + 1 >= self.limit
    }

    /// Seals the next record.
    pub(super) fn seal(&mut self, kind: ContentType, content: OutboundChunks<'_>) -> Result<Vec<u8>, Error> {
        // Past any limit on confidentiality a close_notify or an alert may still go, never a nonce again.
        if self.sequence >= SEQUENCE_LIMIT + 2 {
            return Err(Error::EncryptError);
        }
        let sealed = self.cipher.encrypt(message(kind, content), self.sequence)?;
        self.sequence += 1;
        Ok(sealed.encode())
    }

    /// Makes the keys worn after so many records more.
    #[cfg(test)]
    pub(in crate::tls) fn limit_to(&mut self, further: u64) {
        self.limit = self.sequence + further + 1;
    }
}

fn message(typ: ContentType, payload: OutboundChunks<'_>) -> OutboundPlainMessage<'_> {
    OutboundPlainMessage { typ, version: ProtocolVersion::TLSv1_2, payload }
}

fn parts(secrets: ConnectionTrafficSecrets) -> Result<(AeadKey, Iv), Error> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => Ok((key, iv)),
        // Non-exhaustive; TLS has no fourth kind.
        _ => Err(Error::General("the AEAD is not known".into())),
    }
}
