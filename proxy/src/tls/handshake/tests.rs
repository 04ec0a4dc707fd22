#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rustls::crypto::cipher::OutboundChunks;
use rustls::{NamedGroup, ProtocolVersion};

use super::*;
use crate::tls::names;
use crate::tls::records::Plain;
use crate::tls::testing::{End, Outcome, Pki, RETRY, SETUPS, Setup, TLS12, TLS13, Way, shake, straight};

const KUMA: &[u8] = b"backend{mesh=default}";

fn ends(setup: &Setup, pki: &Pki, name: Option<&[u8]>) -> (Handshake, Handshake) {
    let client = Handshake::client(&setup.client(pki), name).unwrap();
    (client, Handshake::server(setup.server(pki), b""))
}

fn established(outcome: Outcome) -> End {
    outcome.expect("the handshake is not over").unwrap()
}

/// Both ends can read each other, and agree on the name.
fn talk(outcomes: (Outcome, Outcome), name: Option<&[u8]>) {
    let (mut client, mut server) = (established(outcomes.0), established(outcomes.1));
    assert_eq!(server.facts.sni.as_deref(), name);
    assert_eq!(client.facts.sni.as_deref(), name);
    assert_eq!(server.facts.alpn.as_deref(), Some(&b"kuma"[..]));
    assert_eq!(client.facts.peer_certificates.len(), 1);
    hear(&mut client, &mut server, b"up");
    hear(&mut server, &mut client, b"down");
}

fn hear(from: &mut End, to: &mut End, words: &[u8]) {
    let mut sealed = Vec::new();
    from.records.seal(OutboundChunks::from(words), &mut sealed).unwrap();
    let mut buffer = std::mem::take(&mut to.sealed);
    buffer.extend(sealed.concat());
    let mut plain = Plain::new();
    assert_eq!(to.records.open(&mut buffer, &mut plain).unwrap(), buffer.len());
    assert_eq!(plain.slices(&buffer).concat(), words);
}

#[test]
fn names_of_all_kinds_in_all_versions() {
    let pki = Pki::new();
    let kinds: [&[u8]; 9] = [
        KUMA,
        b"sni.extsvc.default.ext.9000",
        b"10.0.0.1",
        b"::1",
        b"a.",
        b"*.example.com",
        b" ",
        b"\xff\x01\x80",
        b"under_score.example",
    ];
    for setup in &SETUPS {
        for name in kinds {
            let (client, server) = ends(setup, &pki, Some(name));
            talk(shake(client, server, straight), Some(name));
        }
        let (client, server) = ends(setup, &pki, None);
        talk(shake(client, server, straight), None);
    }
}

#[test]
fn names_of_every_length() {
    let pki = Pki::new();
    for length in 1..=255 {
        let name = vec![b'{'; length];
        let setup = &SETUPS[length % SETUPS.len()];
        let (client, server) = ends(setup, &pki, Some(&name));
        talk(shake(client, server, straight), Some(&name));
    }
    for wrong in [&[b'a'; 256][..], b"", b"a\0b"] {
        assert!(Handshake::client(&TLS13.client(&pki), Some(wrong)).is_err());
    }
}

#[test]
fn the_wire_carries_the_real_name_in_both_hellos() {
    let pki = Pki::new();
    let (client, server) = ends(&RETRY, &pki, Some(KUMA));
    let mut hellos = 0;
    let outcomes = shake(client, server, |way, bytes| {
        if way == Way::ToServer && bytes[0] != 23 {
            // A second hello may follow a change_cipher_spec record.
            let at = if bytes[0] == 20 { 6 } else { 0 };
            let hello = match Reader::with_default_limit().read(&bytes[at..]) {
                Progress::Hello(hello) => hello.server_name().as_bytes().map(<[u8]>::to_vec),
                _ => None,
            };
            if let Some(name) = hello {
                assert_eq!(name, KUMA);
                hellos += 1;
            }
        }
        vec![bytes]
    });
    talk(outcomes, Some(KUMA));
    assert_eq!(hellos, 2);
}

/// Every byte alone, and hellos in records of one byte each.
#[test]
fn hellos_in_any_pieces() {
    let pki = Pki::new();
    for setup in &SETUPS {
        for name in [KUMA, b"example.com"] {
            let (client, server) = ends(setup, &pki, Some(name));
            let drops = |_: Way, bytes: Vec<u8>| bytes.into_iter().map(|byte| vec![byte]).collect();
            talk(shake(client, server, drops), Some(name));
            let (client, server) = ends(setup, &pki, Some(name));
            talk(
                shake(client, server, |way, bytes| vec![if way == Way::ToServer { shred(&bytes) } else { bytes }]),
                Some(name),
            );
        }
    }
}

/// Puts each byte of a ClientHello into a record of its own.
fn shred(bytes: &[u8]) -> Vec<u8> {
    let (mut at, mut out) = (0, Vec::new());
    while let Ok(Some(length)) = record(&bytes[at..]) {
        let whole = &bytes[at..at + length];
        match whole[0] {
            // A sealed record of TLS 1.2 begins with a random nonce, which may look like the type of a ClientHello.
            HANDSHAKE if whole[5] == 1 && usize::from(whole[7]) << 8 | usize::from(whole[8]) == length - 9 => {
                whole[5..].iter().for_each(|byte| out.extend([HANDSHAKE, 3, 1, 0, 1, *byte]))
            }
            _ => out.extend_from_slice(whole),
        }
        at += length;
    }
    out
}

#[test]
fn what_was_agreed_on() {
    let pki = Pki::new();
    for (setup, version, group) in [
        (TLS13, ProtocolVersion::TLSv1_3, NamedGroup::X25519),
        (TLS12, ProtocolVersion::TLSv1_2, NamedGroup::X25519),
        (RETRY, ProtocolVersion::TLSv1_3, NamedGroup::secp256r1),
    ] {
        let (client, server) = ends(&setup, &pki, Some(KUMA));
        let facts = established(shake(client, server, straight).1).facts;
        assert_eq!((facts.version, facts.group, facts.resumed), (version, Some(group), false));
        assert_eq!(facts.peer_certificates[0], pki.leaf);
    }
}

/// A fast path that nobody would notice to be gone: names that rustls takes have no mask.
#[test]
fn plain_names_do_without() {
    let pki = Pki::new();
    for (name, masked) in [(&b"example.com"[..], false), (b"A_b-c", false), (KUMA, true), (b"example.com.", true)] {
        assert_eq!(names::is_plain(name), !masked);
        let before = names::started();
        let (client, server) = ends(&TLS13, &pki, Some(name));
        talk(shake(client, server, straight), Some(name));
        assert_eq!(names::started() > before, masked, "{}", name.escape_ascii());
    }
}

/// A name changed on the way: both ends saw other hellos, and neither may be satisfied.
#[test]
fn another_name_on_the_wire_fails() {
    let pki = Pki::new();
    for setup in &SETUPS {
        for (name, seen) in [(KUMA, &b"backend{mesh=defaulT}"[..]), (KUMA, b"example.com"), (b"example.com", KUMA)] {
            let (client, server) = ends(setup, &pki, Some(name));
            let outcomes = shake(client, server, |way, bytes| {
                vec![if way == Way::ToServer { renamed(bytes, name, seen) } else { bytes }]
            });
            assert!(!matches!(outcomes.0, Some(Ok(_))), "{}", seen.escape_ascii());
            assert!(!matches!(outcomes.1, Some(Ok(_))), "{}", seen.escape_ascii());
        }
    }
}

fn renamed(bytes: Vec<u8>, name: &[u8], seen: &[u8]) -> Vec<u8> {
    let mut reader = Reader::with_default_limit();
    let Progress::Hello(hello) = reader.read(&bytes) else { return bytes };
    assert_eq!(hello.server_name().as_bytes(), Some(name));
    let mut out = in_records(&hello.with_server_name(seen).unwrap());
    out.extend_from_slice(&bytes[hello.stream_len()..]);
    out
}

/// A second hello with another name than the first: rustls refuses it, whichever of the two is odd.
#[test]
fn a_second_hello_keeps_the_name() {
    let pki = Pki::new();
    for (name, seen) in [(KUMA, &b"other{mesh=default}"[..]), (KUMA, b"example.com"), (b"example.com", KUMA)] {
        let (client, server) = ends(&RETRY, &pki, Some(name));
        let mut flights = 0;
        let outcomes = shake(client, server, |way, bytes| {
            flights += usize::from(way == Way::ToServer);
            if way == Way::ToClient || flights != 2 {
                return vec![bytes];
            }
            let at = if bytes[0] == 20 { 6 } else { 0 };
            vec![[&bytes[..at], &renamed(bytes[at..].to_vec(), name, seen)].concat()]
        });
        assert!(matches!(outcomes.1, Some(Err(_))), "{}", seen.escape_ascii());
        assert!(!matches!(outcomes.0, Some(Ok(_))));
    }
}

/// Any one bit of any handshake byte turned: never do both ends come to a session, and never does one come to a session
/// with another name. TLS does not protect the record headers of its first messages; where such a bit does nothing, both
/// ends still agree on everything.
#[test]
fn no_corruption_opens() {
    let pki = Pki::new();
    let mut rng = fastrand::Rng::with_seed(5);
    let configs: Vec<_> = SETUPS.iter().map(|setup| (setup.client(&pki), setup.server(&pki))).collect();
    for round in 0..600 {
        let (client, server) = &configs[round % configs.len()];
        let client = Handshake::client(client, Some(KUMA)).unwrap();
        let server = Handshake::server(Arc::clone(server), b"");
        let mut left = rng.usize(0..3500);
        let mut hit = false;
        let (bit, header) = (1 << rng.u8(0..8), rng.bool());
        let outcomes = shake(client, server, |_, mut bytes| {
            if left < bytes.len() && !hit {
                // Half of them near the front, where the hello and its name are.
                let at = if header { left.min(300) } else { left };
                let at = at.min(bytes.len() - 1);
                bytes[at] ^= bit;
                hit = true;
            }
            left = left.saturating_sub(bytes.len());
            vec![bytes]
        });
        for end in [&outcomes.0, &outcomes.1] {
            if let Some(Ok(end)) = end {
                assert_eq!(end.facts.sni.as_deref(), Some(KUMA));
            }
        }
        if let (Some(Ok(_)), Some(Ok(_))) = (&outcomes.0, &outcomes.1) {
            talk(outcomes, Some(KUMA));
        }
    }
}

#[test]
fn what_is_no_hello_gets_an_alert() {
    let pki = Pki::new();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[22, 3, 1, 0, 4, 2, 0, 0, 0], &[0x80, 0x2e, 1, 3, 1]] {
        let mut server = Handshake::server(TLS13.server(&pki), bytes);
        let mut out = Vec::new();
        let error = server.advance(&mut out).unwrap_err();
        assert!(matches!(error, TlsError::Hello(_)), "{error}");
        assert_eq!(out, [ALERT, 3, 3, 0, 2, 2, DECODE_ERROR]);
    }
}

/// A client that has no certificate.
#[derive(Debug)]
struct Nobody;

impl rustls::client::ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[test]
fn a_client_without_certificate_is_told() {
    let pki = Pki::new();
    let mut config = rustls::ClientConfig::clone(&TLS13.client(&pki).plain);
    config.client_auth_cert_resolver = Arc::new(Nobody);
    let client = Handshake::client(&ClientConfigs::new(config), Some(KUMA)).unwrap();
    let mut alert = Vec::new();
    let (_, server) = shake(client, Handshake::server(TLS13.server(&pki), b""), |way, bytes| {
        if way == Way::ToClient {
            alert = bytes.clone();
        }
        vec![bytes]
    });
    assert!(matches!(server, Some(Err(TlsError::NoCertificate))));
    assert!(!alert.is_empty());
}

/// A hello that promises more than anybody sends does not fill the memory.
#[test]
fn the_inbox_is_bounded() {
    let pki = Pki::new();
    let mut server = Handshake::server(TLS13.server(&pki), b"");
    let mut out = Vec::new();
    let mut total = 0;
    let error = loop {
        let piece =
            [&[22, 3, 1, 0x40, 0][..], &[if total == 0 { 1 } else { 0xff }, 0, 0xff, 0xff], &[0; 16380]].concat();
        total += piece.len();
        if let Err(error) = server.receive(&piece).and_then(|()| server.advance(&mut out).map(|_| ())) {
            break error;
        }
        assert!(total <= 2 * INBOX);
    };
    assert!(matches!(error, TlsError::Hello(_) | TlsError::TooLarge(_) | TlsError::Protocol(_)), "{error}");
}
