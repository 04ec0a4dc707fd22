//! Fingerprints against those that Envoy 1.40 gave for the same bytes (`hellos/envoy.tsv`).
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Hello, capture, hello, server_name_list, vec16};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use sni::client_hello::{Ja4, Reader};

#[test]
fn as_envoy_computes_them() {
    let table = include_str!("hellos/envoy.tsv");
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let (file, rest) = line.split_once('\t').unwrap();
        let (name, expected) = rest.split_once('\t').unwrap();
        assert_eq!(of(&capture(file)).fingerprint(sha256), expected, "{file}");
        assert_eq!(envoy_log_form(&capture(file)), name, "{file}");
    }
    assert!(table.lines().count() > 10);
}

#[test]
fn the_raw_form() {
    let suites = [0x1a, 0x1a, 0x13, 0x02, 0x13, 0x01];
    let hello = Hello { cipher_suites: suites.to_vec(), ..Hello::default() }
        .with(0x2a2a, &[])
        .with(43, &[4, 0x3a, 0x3a, 3, 4])
        .with(16, &vec16(b"\x02h2\x08http/1.1"))
        .with(0, &server_name_list(&[(0, b"a.example")]))
        .with(13, &vec16(&[8, 4, 4, 3]));
    let expected = Ja4 {
        head: "t13d0204h2".to_owned(),
        ciphers: "1301,1302".to_owned(),
        extensions: "000d,002b_0804,0403".to_owned(),
    };
    assert_eq!(of(&hello.stream()), expected);
    assert_eq!(expected.raw(), "t13d0204h2_1301,1302_000d,002b_0804,0403");
}

#[test]
fn ends_of_the_first_protocol() {
    let cases: [(&[u8], &str); 6] =
        [(b"h2", "h2"), (b"h", "hh"), (b"kuma", "ka"), (b"\xabxyz\xcd", "ad"), (b"!a", "21"), (b"", "00")];
    for (protocol, expected) in cases {
        let list = vec16(&common::vec8(protocol));
        assert_eq!(of(&Hello::default().with(16, &list).stream()).head, format!("t12i0101{expected}"));
    }
    // Envoy looks no further than the first.
    assert_eq!(of(&Hello::default().with(16, &[0, 3, 2, b'h', b'2', 9]).stream()).head, "t12i0101h2");
    assert_eq!(of(&Hello::default().with(43, &[3, 3, 4, 3]).stream()).head, "t13i010100");
}

#[test]
fn nothing_to_hash() {
    let bare = Hello { cipher_suites: vec![0x0a, 0x0a], ..Hello::default() };
    assert_eq!(of(&bare.stream()).fingerprint(sha256), "t12i000000_000000000000_000000000000");
}

fn of(stream: &[u8]) -> Ja4 {
    hello(&mut Reader::with_default_limit(), stream).ja4()
}

/// What Envoy logs as the requested name: lower case, and marked and masked if it is no DNS name.
fn envoy_log_form(stream: &[u8]) -> String {
    let mut reader = Reader::with_default_limit();
    let Some(name) = hello(&mut reader, stream).server_name().as_bytes() else { return "-".to_owned() };
    let is_dns = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let prefix = if name.iter().all(is_dns) { "" } else { "invalid:" };
    let masked = name.iter().map(|byte| if is_dns(byte) { char::from(byte.to_ascii_lowercase()) } else { '_' });
    prefix.chars().chain(masked).collect()
}

fn sha256(data: &[u8]) -> [u8; 32] {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().unwrap();
    suite.common.hash_provider.hash(data).as_ref().try_into().unwrap()
}
