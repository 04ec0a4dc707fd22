//! One named outcome for each way in which a stream fails to be a ClientHello.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Hello, capture, handshake, hello, outcome, record, records, refusal, server_name_list, vec16};
use sni::client_hello::{Malformed, Progress, Reader, Refusal, ServerName};

#[test]
fn what_is_no_tls() {
    for stream in
        ["GET / HTTP/1.1\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "\0\0\0", "x"]
    {
        assert_eq!(refusal(stream.as_bytes()), Some(Refusal::NotTls), "{stream}");
    }
    assert_eq!(refusal(&[22, 2, 0, 0, 9]), Some(Refusal::NotTls), "a record of version 2");
    assert_eq!(refusal(&[22, 0xfe, 0xfd, 0, 9]), Some(Refusal::NotTls), "DTLS");
    assert_eq!(refusal(&[0x80, 46, 9]), Some(Refusal::NotTls), "top bit, but no SSL 2.0 hello");
    assert_eq!(refusal(&[0x80, 46, 1, 0, 7]), Some(Refusal::NotTls), "SSL 2.0 of no version");
}

#[test]
fn ssl_2_hellos() {
    assert_eq!(refusal(&[0x80, 46, 1, 0, 2, 0, 21]), Some(Refusal::SslV2));
    assert_eq!(refusal(&[0x80, 46, 1, 3, 1, 0, 21]), Some(Refusal::SslV2), "offering TLS 1.0");
    assert_eq!(refusal(&[0x80, 46, 1, 0]), None, "not yet");
}

#[test]
fn other_records_and_messages() {
    for content_type in [20, 21, 23, 24] {
        let stream = record(content_type, &[1, 0]);
        assert_eq!(refusal(&stream), Some(Refusal::NotHandshake { content_type }));
    }
    for handshake_type in [0, 2, 11, 20] {
        let stream = record(22, &handshake(handshake_type, &[0; 50]));
        assert_eq!(refusal(&stream), Some(Refusal::NotClientHello { handshake_type }));
        let split = records(&handshake(handshake_type, &[0; 50]), 1);
        assert_eq!(refusal(&split), Some(Refusal::NotClientHello { handshake_type }));
    }
}

#[test]
fn broken_records() {
    let message = Hello::named(b"a.example").message();
    let (head, tail) = message.split_at(20);
    let joined = |middle: &[u8]| [&record(22, head)[..], middle, &record(22, tail)].concat();
    assert_eq!(refusal(&record(22, &[])), malformed(Malformed::EmptyRecord));
    assert_eq!(refusal(&joined(&record(22, &[]))), malformed(Malformed::EmptyRecord));
    assert_eq!(refusal(&[22, 3, 1, 0x40, 1]), malformed(Malformed::RecordTooLong));
    assert_eq!(refusal(&joined(&[22, 3, 1, 0xff, 0xff])), malformed(Malformed::RecordTooLong));
    assert_eq!(refusal(&joined(&record(21, &[1, 0]))), malformed(Malformed::InterleavedRecord));
    assert_eq!(refusal(&joined(&record(20, &[1]))), malformed(Malformed::InterleavedRecord));
    assert_eq!(refusal(&joined(&[22, 9])), malformed(Malformed::RecordVersion));
    assert_eq!(refusal(&joined(&[])), None);
}

#[test]
fn broken_hellos() {
    let long = Hello { session_id: vec![0; 33], ..Hello::default() };
    assert_eq!(refusal(&long.stream()), malformed(Malformed::SessionId));
    for cipher_suites in [vec![], vec![0x13], vec![0x13, 1, 0x13]] {
        let odd = Hello { cipher_suites, ..Hello::default() };
        assert_eq!(refusal(&odd.stream()), malformed(Malformed::CipherSuites));
    }
    let none = Hello { compression_methods: vec![], ..Hello::default() };
    assert_eq!(refusal(&none.stream()), malformed(Malformed::CompressionMethods));
    let trailing = Hello { trailing: vec![0], ..Hello::named(b"a.example") };
    assert_eq!(refusal(&trailing.stream()), malformed(Malformed::TrailingBytes));
    for body in [&[0][..], &[0, 0, 0], &[0, 0, 0, 9, 1]] {
        let overrun = Hello { extensions: Some(body.to_vec()), ..Hello::default() };
        assert_eq!(refusal(&overrun.stream()), malformed(Malformed::Extensions), "{body:?}");
    }
    assert_eq!(refusal(&record(22, &handshake(1, &[]))), malformed(Malformed::Truncated), "an empty hello");
}

/// A message whose declared length ends at each byte of a valid one.
#[test]
fn hellos_that_end_early() {
    let message = Hello { extensions: None, ..Hello::default() }.message();
    for len in 0..message.len() - 4 {
        let short = handshake(1, &message[4..4 + len]);
        assert_eq!(refusal(&record(22, &short)), malformed(Malformed::Truncated), "{len}");
    }
    assert_eq!(refusal(&record(22, &message)), None, "no extensions at all is fine");
    let message = Hello::named(b"a.example").message();
    let cut = handshake(1, &message[4..message.len() - 1]);
    assert_eq!(refusal(&record(22, &cut)), malformed(Malformed::Truncated));
}

#[test]
fn extensions_that_occur_twice() {
    // Low types, high types, and more of them than any client sends.
    for many in [0, 5, 15, 16, 17, 40, 3000] {
        for twice in [0_u16, 16, 63, 64, 65_281] {
            let others = (100..100 + many).filter(|&kind| kind != twice);
            let start = Hello::default().with(twice, &server_name_list(&[(0, b"a")]));
            let unique = others.fold(start, |hello, kind| hello.with(kind, &[]));
            assert_eq!(refusal(&unique.stream()), None, "{many} and {twice}");
            let double = unique.with(twice, &[]);
            assert_eq!(refusal(&double.stream()), malformed(Malformed::DuplicateExtension), "{many} and {twice}");
        }
    }
}

#[test]
fn old_versions() {
    let ssl3 = Hello { legacy_version: 0x0300, ..Hello::named(b"a") };
    assert_eq!(refusal(&ssl3.stream()), Some(Refusal::VersionTooOld { legacy_version: 0x0300 }));
    let newer = Some(Refusal::VersionTooOld { legacy_version: 0x0300 });
    assert_eq!(refusal(&ssl3.with(43, &[2, 3, 4]).stream()), newer, "TLS 1.3 must not look like this");
    for legacy_version in [0x0301, 0x0302, 0x0303, 0x0304] {
        assert_eq!(refusal(&Hello { legacy_version, ..Hello::named(b"a") }.stream()), None);
    }
}

#[test]
fn any_legacy_record_version() {
    for minor in 0..=255 {
        let mut stream = Hello::named(b"a.example").stream();
        stream[2] = minor;
        assert_eq!(refusal(&stream), None);
    }
}

#[test]
fn server_names() {
    let of = |names: &[(u8, &[u8])]| Hello::default().with(0, &server_name_list(names)).stream();
    let long = [b'a'; 256];
    let cases: [(Vec<u8>, ServerName<'_>); 14] = [
        (Hello::default().stream(), ServerName::Absent),
        (of(&[(0, b"a.example")]), ServerName::Host(b"a.example")),
        (of(&[(0, b"a{b=c,d=E}")]), ServerName::Host(b"a{b=c,d=E}")),
        (of(&[(0, b"\xff\xfe \x01")]), ServerName::Host(b"\xff\xfe \x01")),
        (of(&[(0, &long[..255])]), ServerName::Host(&long[..255])),
        (of(&[(0, b"10.0.0.1")]), ServerName::Ip(b"10.0.0.1")),
        (of(&[(0, b"2001:db8::1")]), ServerName::Ip(b"2001:db8::1")),
        (of(&[(0, b"")]), ServerName::Empty),
        (of(&[(0, &long)]), ServerName::TooLong(&long)),
        (of(&[(0, b"a\0b")]), ServerName::Nul(b"a\0b")),
        (of(&[(0, b"a"), (0, b"b")]), ServerName::Several(b"a")),
        (of(&[(0, b"a"), (1, b"b")]), ServerName::Several(b"a")),
        (of(&[(1, b"b"), (0, b"a")]), ServerName::Several(b"b")),
        (of(&[(7, b"b")]), ServerName::OtherType(7)),
    ];
    for (stream, expected) in cases {
        let mut reader = Reader::with_default_limit();
        let name = hello(&mut reader, &stream).server_name();
        assert_eq!(name, expected);
        assert_eq!(name.as_bytes().is_none(), name.is_refused() || name == ServerName::Absent);
    }
}

#[test]
fn server_name_lists_that_are_none() {
    let bodies: [&[u8]; 8] = [
        &[],
        &[0],
        &[0, 0],
        &[0, 1, 0],
        &[0, 4, 0, 0, 9, b'a'],
        &[0, 4, 0, 0, 1, b'a', 0],
        &[0, 9, 0, 0, 1, b'a'],
        &[0, 6, 0, 0, 1, b'a', 0, 0],
    ];
    for body in bodies {
        let stream = Hello::default().with(0, body).stream();
        assert_eq!(refusal(&stream), malformed(Malformed::ServerNameList), "{body:?}");
    }
}

/// Nobody decides anything by these here, so they are left to whoever terminates the connection.
#[test]
fn other_extensions_are_read_as_far_as_they_go() {
    let broken = Hello::default().with(16, &[0, 3, 2, b'h', b'2', 9]).with(43, &[3, 3, 4, 3]).with(10, &[0, 4, 0, 29]);
    let stream = broken.stream();
    let mut reader = Reader::with_default_limit();
    let broken = hello(&mut reader, &stream);
    assert_eq!(broken.alpn().count(), 0, "as in Envoy, all or nothing");
    assert_eq!(broken.supported_versions().collect::<Vec<_>>(), [0x0304]);
    assert_eq!(broken.supported_groups().count(), 0);
    let stream = Hello::default().with(16, &vec16(&[2, b'h', b'2', 0])).stream();
    let mut reader = Reader::with_default_limit();
    assert_eq!(hello(&mut reader, &stream).alpn().count(), 0, "an empty protocol");
}

#[test]
fn the_limit_counts_the_stream() {
    let stream = capture("chromium.bin");
    let len = stream.len();
    assert!(matches!(Reader::new(len).read(&stream), Progress::Hello(_)));
    let refused = Progress::Refused(Refusal::TooLarge { limit: len - 1 });
    assert_eq!(Reader::new(len - 1).read(&stream), refused);
    assert_eq!(Reader::new(len - 1).read(&stream[..9]), refused, "as soon as the length is known");

    let mut reader = Reader::with_default_limit();
    let split = records(hello(&mut reader, &stream).message(), 100);
    assert!(matches!(Reader::new(split.len()).read(&split), Progress::Hello(_)));
    for limit in 0..split.len() {
        let mut reader = Reader::new(limit);
        let outcome = (0..=split.len()).find_map(|end| match reader.read(&split[..end]) {
            Progress::Incomplete { needed } => {
                // Five bytes tell what a stream is; the limit is on hellos.
                assert!(end + needed <= limit.max(9), "{limit}: {needed} more at {end}");
                None
            }
            other => Some(matches!(other, Progress::Refused(Refusal::TooLarge { .. }))),
        });
        assert_eq!(outcome, Some(true), "{limit}");
    }
}

#[test]
fn hellos_up_to_the_default_limit() {
    // What is left beside four record headers and a hello with an empty extension.
    let fits = 65_536 - 4 * 5 - Hello::default().with(21, &[]).message().len();
    for (len, expected) in [(fits, None), (fits + 1, Some(Refusal::TooLarge { limit: 65_536 }))] {
        let stream = Hello::default().with(21, &vec![0; len]).stream();
        assert_eq!(outcome(&Reader::with_default_limit().read(&stream)), expected, "{}", stream.len());
    }
}

#[test]
fn more_behind_the_hello_in_its_record() {
    let message = [Hello::named(b"a.example").message(), vec![1, 2, 3]].concat();
    for stream in [record(22, &message), records(&message, 40)] {
        assert_eq!(refusal(&stream), malformed(Malformed::ExcessData));
    }
}

#[test]
fn labels_are_snake_case_and_texts_are_sentences() {
    let stream = record(22, &handshake(1, &[]));
    let why = refusal(&stream).unwrap();
    assert_eq!(
        (why.as_str(), why.to_string().as_str()),
        ("malformed_truncated", "the ClientHello ends inside a field")
    );
    assert_eq!(Refusal::TooLarge { limit: 7 }.to_string(), "the ClientHello exceeds 7 bytes");
}

fn malformed(why: Malformed) -> Option<Refusal> {
    Some(Refusal::Malformed(why))
}
