use std::fmt::Write as _;

use super::extension::{ALPN, SERVER_NAME, is_grease};
use super::hello::ClientHello;
use crate::wire::Input;

/// Hex digits of a hash that a fingerprint keeps.
const HASH_DIGITS: usize = 12;

/// The parts of a JA4 fingerprint of a TLS client over TCP (FoxIO, `technical_details/JA4.md`; in
/// the details that Envoy's `enable_ja4_fingerprinting` settles, as Envoy does).
///
/// The fingerprint is `head_hash(ciphers)_hash(extensions)` with SHA-256 cut to 12 hex digits.
/// Hashing is the caller's, so that this crate needs no cryptography.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ja4 {
    /// JA4_a: `t`, version, `d` or `i`, counts of ciphers and extensions, ends of the first ALPN.
    pub head: String,
    /// Cipher suites in hex, sorted, joined by commas, without GREASE.
    pub ciphers: String,
    /// Extensions but `server_name` and ALPN likewise; then, if there are any, `_` and the
    /// signature algorithms in the order sent.
    pub extensions: String,
}

impl Ja4 {
    pub(super) fn of(hello: &ClientHello<'_>) -> Self {
        let ciphers = sorted(hello.cipher_suites());
        let all = sorted(hello.extensions().map(|extension| extension.kind));
        let named = if hello.extension(SERVER_NAME).is_some() { 'd' } else { 'i' };
        let head = format!(
            "t{}{named}{:02}{:02}{}",
            version(hello),
            ciphers.len().min(99),
            all.len().min(99),
            alpn_ends(first_protocol(hello).unwrap_or_default()),
        );
        let kept = all.into_iter().filter(|&kind| kind != SERVER_NAME && kind != ALPN);
        let mut extensions = hex_list(kept);
        let algorithms = hex_list(hello.signature_algorithms());
        if !extensions.is_empty() && !algorithms.is_empty() {
            extensions.push('_');
            extensions.push_str(&algorithms);
        }
        Self { head, ciphers: hex_list(ciphers), extensions }
    }

    /// The readable form, JA4_r: nothing hashed.
    pub fn raw(&self) -> String {
        format!("{}_{}_{}", self.head, self.ciphers, self.extensions)
    }

    /// The fingerprint proper, 36 characters, e.g. `t13d1516h2_8daaf6152771_e5627efa2ab1`.
    pub fn fingerprint(&self, sha256: impl Fn(&[u8]) -> [u8; 32]) -> String {
        let hash = |list: &str| match list {
            "" => "0".repeat(HASH_DIGITS),
            list => hex_bytes(&sha256(list.as_bytes())),
        };
        format!("{}_{}_{}", self.head, hash(&self.ciphers), hash(&self.extensions))
    }
}

/// The highest version offered, `00` for what JA4 has no name for.
fn version(hello: &ClientHello<'_>) -> &'static str {
    let offered = hello.supported_versions().filter(|&version| !is_grease(version)).max();
    match offered.unwrap_or(hello.legacy_version()) {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        _ => "00",
    }
}

/// The first protocol offered, even of a list that is broken further on.
fn first_protocol<'a>(hello: &ClientHello<'a>) -> Option<&'a [u8]> {
    let mut body = Input::new(hello.extension(ALPN)?);
    body.u16()?;
    body.vec8()
}

/// First and last character; of a protocol with others than letters and digits there, the first
/// and last hex digit.
fn alpn_ends(protocol: &[u8]) -> String {
    let (Some(&first), Some(&last)) = (protocol.first(), protocol.last()) else {
        return "00".to_owned();
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(first), char::from(last)].iter().collect();
    }
    format!("{:x}{:x}", first >> 4, last & 0x0f)
}

fn sorted(values: impl Iterator<Item = u16>) -> Vec<u16> {
    let mut values: Vec<u16> = values.filter(|&value| !is_grease(value)).collect();
    values.sort_unstable();
    values
}

fn hex_list(values: impl IntoIterator<Item = u16>) -> String {
    let mut list = String::new();
    for value in values {
        let comma = if list.is_empty() { "" } else { "," };
        // Writing into a String cannot fail.
        let _ = write!(list, "{comma}{value:04x}");
    }
    list
}

fn hex_bytes(hash: &[u8; 32]) -> String {
    let mut text = String::with_capacity(HASH_DIGITS);
    for byte in hash.iter().take(HASH_DIGITS / 2) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
