//! Hellos of real clients, cut in every way.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use common::{capture, captured, hello, records};
use sni::client_hello::{Progress, Reader, ServerName, is_grease};
use sni::kuma::KumaName;

#[test]
fn every_prefix_is_incomplete_and_says_what_it_needs() {
    for (file, stream) in captured() {
        let mut whole = Reader::with_default_limit();
        let expected = hello(&mut whole, &stream);
        assert_eq!(expected.stream_len(), stream.len(), "{file}");
        for end in 0..stream.len() {
            let mut reader = Reader::with_default_limit();
            let Progress::Incomplete { needed } = reader.read(&stream[..end]) else {
                panic!("{file} is not over after {end} bytes");
            };
            assert!((1..=stream.len() - end).contains(&needed), "{file}: {needed} at {end}");
            assert_eq!(hello(&mut reader, &stream), expected, "{file} resumed at {end}");
        }
    }
}

#[test]
fn one_byte_per_segment() {
    for (file, stream) in captured() {
        let mut reader = Reader::with_default_limit();
        for end in 0..stream.len() {
            let progress = reader.read(&stream[..end]);
            assert!(matches!(progress, Progress::Incomplete { .. }), "{file} after {end} bytes");
        }
        let mut whole = Reader::with_default_limit();
        assert_eq!(hello(&mut reader, &stream), hello(&mut whole, &stream), "{file}");
    }
}

#[test]
fn reading_just_what_is_needed_never_passes_the_end() {
    for (file, stream) in captured() {
        let (mut reader, mut end) = (Reader::with_default_limit(), 0);
        while let Progress::Incomplete { needed } = reader.read(&stream[..end]) {
            end += needed;
        }
        assert_eq!(end, stream.len(), "{file}");
    }
}

#[test]
fn split_in_two_records_at_every_byte() {
    for (file, stream) in captured() {
        let mut whole = Reader::with_default_limit();
        let expected = hello(&mut whole, &stream);
        let message = expected.message();
        for at in 1..message.len() {
            let split = [records(&message[..at], at), records(&message[at..], message.len())].concat();
            let mut reader = Reader::with_default_limit();
            let joined = hello(&mut reader, &split);
            assert_eq!(joined.message(), message, "{file} split at {at}");
            assert_eq!(joined.server_name(), expected.server_name(), "{file} split at {at}");
            assert!(!joined.in_place());
        }
    }
}

#[test]
fn records_of_every_small_size_in_segments_of_one_byte() {
    for (file, stream) in captured() {
        let mut whole = Reader::with_default_limit();
        let expected = hello(&mut whole, &stream);
        for size in [1, 2, 3, 4, 5, 7, 64, 511] {
            let split = records(expected.message(), size);
            let mut reader = Reader::with_default_limit();
            for end in 0..split.len() {
                assert!(matches!(reader.read(&split[..end]), Progress::Incomplete { .. }), "{file} by {size}");
            }
            assert_eq!(hello(&mut reader, &split).message(), expected.message(), "{file} by {size}");
        }
    }
}

#[test]
fn bytes_behind_the_hello_change_nothing() {
    for (file, mut stream) in captured() {
        let len = stream.len();
        stream.extend([20, 3, 3, 0, 1, 1]);
        let mut reader = Reader::with_default_limit();
        let hello = hello(&mut reader, &stream);
        assert_eq!(hello.stream_len(), len, "{file}");
    }
}

#[test]
fn the_names_are_those_that_were_asked_for() {
    let host = |name| ServerName::Host(name);
    let expected: [(&str, ServerName<'_>); 15] = [
        ("chromium.bin", host(b"chrome.example.com")),
        ("curl_h2.bin", host(b"curl.example.com")),
        ("curl_ip.bin", ServerName::Absent),
        ("envoy_kuma_tag.bin", host(b"echo-server_kuma-test_svc_8080{kuma.io/zone=east,mesh=default,version=V1}")),
        ("envoy_pq_kri.bin", host(b"sni.extsvc.default.ext-backend.9000")),
        ("go_pq.bin", host(b"go.example.com")),
        ("openssl_ip.bin", ServerName::Ip(b"192.0.2.7")),
        ("openssl_kuma_hash.bin", host(b"ae10a8071b8a8eeb8.backend.8080.demo.ms")),
        ("openssl_kuma_tag.bin", host(b"backend{mesh=default,version=v1}")),
        ("openssl_nosni.bin", ServerName::Absent),
        ("openssl_split_records.bin", host(b"split.example.com")),
        ("openssl_tls10.bin", host(b"tls10.example.com")),
        ("openssl_tls12.bin", host(b"Legacy.Example.COM")),
        ("openssl_tls13.bin", host(b"www.example.com")),
        ("rustls_pq.bin", host(b"rustls.example.com")),
    ];
    for (file, name) in expected {
        let (mut reader, stream) = (Reader::with_default_limit(), capture(file));
        let hello = hello(&mut reader, &stream);
        assert_eq!(hello.server_name(), name, "{file}");
        let offset = hello.server_name_offset();
        assert_eq!(offset.is_some(), name.as_bytes().is_some());
        if let (Some(offset), Some(name)) = (offset, name.as_bytes()) {
            assert!(hello.message()[offset..].starts_with(name), "{file}");
            assert_eq!(KumaName::decode(name).is_some(), file.contains("kuma") || file.contains("kri"), "{file}");
        }
    }
}

#[test]
fn a_browser_s_hello_in_detail() {
    let (mut reader, stream) = (Reader::with_default_limit(), capture("chromium.bin"));
    let hello = hello(&mut reader, &stream);
    assert!(hello.in_place());
    assert!(stream.len() > 1400, "post-quantum key shares do not fit one segment");
    assert_eq!(hello.legacy_version(), 0x0303);
    assert_eq!(hello.alpn().collect::<Vec<_>>(), [&b"h2"[..], b"http/1.1"]);
    assert_eq!(hello.supported_versions().filter(|&v| !is_grease(v)).collect::<Vec<_>>(), [0x0304, 0x0303]);
    assert!(hello.supported_groups().any(|group| group == 0x11ec), "X25519MLKEM768");
    assert!(hello.cipher_suites().any(is_grease) && hello.extensions().any(|extension| is_grease(extension.kind)));
    assert!(hello.signature_algorithms().any(|algorithm| algorithm == 0x0403));
    assert_eq!((hello.random().len(), hello.session_id().len()), (32, 32));
    assert_eq!(hello.compression_methods(), [0]);
}

#[test]
fn a_client_that_splits_its_own_records() {
    let (mut reader, stream) = (Reader::with_default_limit(), capture("openssl_split_records.bin"));
    assert_eq!(u16::from_be_bytes([stream[3], stream[4]]), 512);
    let hello = hello(&mut reader, &stream);
    assert!(!hello.in_place());
    assert_eq!(hello.alpn().count(), 9);
}
