//! JA3 and JA4 of a ClientHello, where the listener's `tls_inspector` asks for them.

use std::fmt::Write;

use config::model::listener::TlsInspector;
use md5::{Digest, Md5};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use sni::client_hello::{ClientHello, is_grease};

use crate::report::flow::Fingerprints;

/// `ec_point_formats` (RFC 8422 §5.1.2).
const EC_POINT_FORMATS: u16 = 11;

/// The fingerprints that are asked for; `None` when none is.
pub(crate) fn of(hello: &ClientHello<'_>, inspector: TlsInspector) -> Option<Box<Fingerprints>> {
    if !inspector.ja3 && !inspector.ja4 {
        return None;
    }
    let ja3 = inspector.ja3.then(|| hex(&Md5::digest(ja3_text(hello))).into_boxed_str());
    let ja4 = inspector.ja4.then(|| hello.ja4().fingerprint(sha256).into_boxed_str());
    Some(Box::new(Fingerprints { ja3, ja4 }))
}

/// `version,ciphers,extensions,groups,point formats`, decimal numbers joined by `-`, GREASE left out.
fn ja3_text(hello: &ClientHello<'_>) -> String {
    let points = hello.extension(EC_POINT_FORMATS).and_then(<[u8]>::split_first);
    let points = points.map_or(&[][..], |(length, rest)| &rest[..rest.len().min(usize::from(*length))]);
    [
        hello.legacy_version().to_string(),
        join(hello.cipher_suites()),
        join(hello.extensions().map(|extension| extension.kind)),
        join(hello.supported_groups()),
        join(points.iter().map(|point| u16::from(*point))),
    ]
    .join(",")
}

fn join(numbers: impl Iterator<Item = u16>) -> String {
    numbers.filter(|n| !is_grease(*n)).map(|n| n.to_string()).collect::<Vec<_>>().join("-")
}

/// SHA-256 as rustls' provider has it: no second implementation for one fingerprint.
fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    if let rustls::SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256 {
        let hash = suite.common.hash_provider.hash(bytes);
        let n = hash.as_ref().len().min(digest.len());
        digest[..n].copy_from_slice(&hash.as_ref()[..n]);
    }
    digest
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
