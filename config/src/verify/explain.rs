//! What a failed handshake is about, in words: rustls prints foreign errors as `Other(OtherError(…))`.

use std::error::Error;
use std::io;

use rustls::{CertificateError, OtherError};

/// The reason why a certificate was refused, where `error`, or the one inside it, is such a refusal.
pub(crate) fn refusal(error: &(dyn Error + 'static)) -> Option<String> {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let tls = error
        .downcast_ref::<rustls::Error>()
        .or_else(|| inner.and_then(|inner| (inner as &(dyn Error + 'static)).downcast_ref::<rustls::Error>()))?;
    match tls {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(reason))) => {
            Some(format!("the peer's certificate is refused: {reason}"))
        }
        rustls::Error::InvalidCertificate(reason) => Some(format!("the peer's certificate is refused: {reason}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn foreign_reasons_are_told_in_their_own_words_also_within_an_io_error() {
        let reason = OtherError(Arc::new(io::Error::other("no trusted CA has signed it")));
        let tls = rustls::Error::InvalidCertificate(CertificateError::Other(reason));
        let expected = Some("the peer's certificate is refused: no trusted CA has signed it".to_owned());
        assert_eq!(refusal(&tls), expected);
        assert_eq!(refusal(&io::Error::new(io::ErrorKind::InvalidData, tls)), expected);
        assert_eq!(refusal(&io::Error::other("nothing to do with TLS")), None);
    }
}
