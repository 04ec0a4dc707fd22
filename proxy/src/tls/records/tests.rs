#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::tls::handshake::Handshake;
use crate::tls::names::ServerConfigs;
use crate::tls::testing::{End, Pki, Setup, TLS12, TLS13, shake, straight};

impl Records {
    /// Changes our keys and asks the peer to change its own.
    pub(in crate::tls) fn ask_for_new_keys(&mut self) -> Vec<u8> {
        self.change_keys(1)
    }

    fn change_keys(&mut self, asks: u8) -> Vec<u8> {
        let message = [24, 0, 0, 1, asks];
        let sealed = self.tx.seal(ContentType::Handshake, OutboundChunks::from(&message[..])).unwrap();
        let secrets = self.kernel.update_tx().unwrap();
        self.tx = Sealer::new(self.kernel.suite(), secrets).unwrap();
        sealed
    }
}

fn ends(setup: &Setup) -> (End, End) {
    let pki = Pki::new();
    let client = Handshake::client(&setup.client(&pki), Some(b"backend{mesh=default}")).unwrap();
    let (client, server) = shake(client, Handshake::server(setup.server(&pki), b""), straight);
    let (mut client, mut server) = (client.unwrap().unwrap(), server.unwrap().unwrap());
    for end in [&mut client, &mut server] {
        let mut sealed = std::mem::take(&mut end.sealed);
        assert_eq!(end.records.open(&mut sealed, &mut Plain::new()).unwrap(), sealed.len());
    }
    (client, server)
}

/// Tickets are sealed by rustls: records are counted on from there.
#[test]
fn numbers_go_on_behind_tickets() {
    let pki = Pki::new();
    for tickets in 1..6 {
        let mut config = TLS13.server_config(&pki);
        config.send_tls13_tickets = tickets;
        let server = Handshake::server(std::sync::Arc::new(ServerConfigs::new(config)), b"");
        let client = Handshake::client(&TLS13.client(&pki), Some(b"example.com")).unwrap();
        let (client, server) = shake(client, server, straight);
        let (mut client, mut server) = (client.unwrap().unwrap(), server.unwrap().unwrap());
        let mut bytes = std::mem::take(&mut client.sealed);
        assert!(!bytes.is_empty());
        for _ in 0..20 {
            bytes.extend(seal(&mut server, b"."));
        }
        assert_eq!(open(&mut client, &bytes).unwrap(), [b'.'; 20]);
    }
}

fn seal(from: &mut End, words: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::new();
    from.records.seal(OutboundChunks::from(words), &mut sealed).unwrap();
    sealed.concat()
}

/// One record of any kind.
fn sealed(from: &mut End, kind: ContentType, content: &[u8]) -> Vec<u8> {
    from.records.tx.seal(kind, OutboundChunks::from(content)).unwrap()
}

fn open(to: &mut End, sealed: &[u8]) -> Result<Vec<u8>, TlsError> {
    let (mut buffer, mut plain) = (sealed.to_vec(), Plain::new());
    let used = to.records.open(&mut buffer, &mut plain)?;
    assert!(used == buffer.len() || to.records.peer_closed());
    Ok(plain.slices(&buffer).concat())
}

fn noise(length: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(length as u64);
    (0..length).map(|_| rng.u8(..)).collect()
}

#[test]
fn any_amount_in_any_pieces() {
    for setup in [TLS13, TLS12] {
        let (mut client, mut server) = ends(&setup);
        for length in [1, 2, 16_383, 16_384, 16_385, 100_000] {
            let words = noise(length);
            let sealed = seal(&mut client, &words);
            assert_eq!(sealed.len().div_ceil(MAX_PLAIN + HEADER + 30), length.div_ceil(MAX_PLAIN));
            let (mut buffer, mut heard) = (Vec::new(), Vec::new());
            for piece in sealed.chunks(1 + length / 7) {
                buffer.extend_from_slice(piece);
                let mut plain = Plain::new();
                let used = server.records.open(&mut buffer, &mut plain).unwrap();
                heard.extend(plain.slices(&buffer).concat());
                buffer.drain(..used);
            }
            assert!(heard == words && buffer.is_empty());
        }
        // Many slices become few records.
        let slices: Vec<&[u8]> = (0..1000).map(|_| &b"0123456789"[..]).collect();
        let mut sealed = Vec::new();
        client.records.seal(OutboundChunks::new(&slices), &mut sealed).unwrap();
        assert_eq!(sealed.len(), 1);
        assert_eq!(open(&mut server, &sealed.concat()).unwrap(), slices.concat());
    }
}

#[test]
fn a_close_notify_ends_one_direction() {
    for setup in [TLS13, TLS12] {
        let (mut client, mut server) = ends(&setup);
        let mut bytes = seal(&mut client, b"last words");
        bytes.extend(client.records.close().unwrap());
        bytes.extend(b"rubbish that nobody looks at");
        assert_eq!(open(&mut server, &bytes).unwrap(), b"last words");
        assert!(server.records.peer_closed());
        let bytes = seal(&mut server, b"still here");
        assert_eq!(open(&mut client, &bytes).unwrap(), b"still here");
    }
}

#[test]
fn worn_keys_are_changed() {
    let (mut client, mut server) = ends(&TLS13);
    for round in 0..5 {
        client.records.tx.limit_to(3);
        server.records.tx.limit_to(2);
        let words = noise(100_000 + round);
        let sealed = seal(&mut client, &words);
        assert!(open(&mut server, &sealed).unwrap() == words);
        let sealed = seal(&mut server, &words);
        assert!(open(&mut client, &sealed).unwrap() == words);
    }
}

#[test]
fn worn_keys_of_tls12_end_the_session() {
    let (mut client, mut server) = ends(&TLS12);
    client.records.tx.limit_to(2);
    let mut sealed = Vec::new();
    let words = noise(3 * MAX_PLAIN);
    let error = client.records.seal(OutboundChunks::from(&words[..]), &mut sealed).unwrap_err();
    assert!(matches!(error, TlsError::Exhausted));
    // What was sealed can be read, and the end can still be told.
    let mut bytes = sealed.concat();
    bytes.extend(client.records.close().unwrap());
    assert!(open(&mut server, &bytes).unwrap() == words[..2 * MAX_PLAIN]);
    assert!(server.records.peer_closed());
}

#[test]
fn a_key_update_is_answered_where_that_is_asked_for() {
    let (mut client, mut server) = ends(&TLS13);
    for asks in [0, 1] {
        let mut bytes = client.records.change_keys(asks);
        bytes.extend(seal(&mut client, b"new keys"));
        assert_eq!(open(&mut server, &bytes).unwrap(), b"new keys");
        assert_eq!(server.records.owes_update(), asks == 1);
        let answer = seal(&mut server, b"mine too");
        assert!(!server.records.owes_update());
        assert_eq!(open(&mut client, &answer).unwrap(), b"mine too");
    }
}

#[test]
fn a_flood_of_key_updates_ends_the_session() {
    let (mut client, mut server) = ends(&TLS13);
    let mut updates = 0;
    let error = loop {
        let bytes = client.records.ask_for_new_keys();
        match open(&mut server, &bytes) {
            Ok(_) => updates += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(updates, 32);
    assert!(matches!(error, TlsError::Protocol(_)));
}

/// An endless stream of nothing, with key updates in between or without.
#[test]
fn a_flood_of_empty_records_ends_the_session() {
    for (setup, updates) in [(TLS13, false), (TLS13, true), (TLS12, false)] {
        let (mut client, mut server) = ends(&setup);
        let error = (0..1000).find_map(|_| {
            let mut bytes = sealed(&mut client, ContentType::ApplicationData, &[]);
            if updates {
                bytes.extend(client.records.change_keys(0));
            }
            open(&mut server, &bytes).err()
        });
        assert!(matches!(error, Some(TlsError::Protocol(_))), "{error:?}");
    }
    let (mut client, mut server) = ends(&TLS13);
    for _ in 0..100 {
        let bytes = [sealed(&mut client, ContentType::ApplicationData, &[]), seal(&mut client, b".")].concat();
        assert_eq!(open(&mut server, &bytes).unwrap(), b".");
    }
}

/// What may not come, and what the peer is told.
#[test]
fn misbehaviour_ends_the_session_with_an_alert() {
    let unexpected = u8::from(AlertDescription::UnexpectedMessage);
    let cases: [(Setup, ContentType, &[u8], u8); 11] = [
        (TLS13, ContentType::Handshake, &[1, 0, 0, 0], unexpected),
        (TLS13, ContentType::Handshake, &[4, 0, 0, 0], unexpected),
        (TLS13, ContentType::Handshake, &[], unexpected),
        (TLS13, ContentType::Handshake, &[24, 0, 0, 1, 0, 0], unexpected),
        (TLS13, ContentType::Handshake, &[24, 0, 0, 1, 2], 50),
        (TLS13, ContentType::ChangeCipherSpec, &[1], unexpected),
        (TLS13, ContentType::Alert, &[1], unexpected),
        (TLS13, ContentType::Alert, &[2, 40], 0),
        (TLS13, ContentType::from(99), &[1], unexpected),
        (TLS12, ContentType::Handshake, &[1, 0, 0, 0], 100),
        (TLS12, ContentType::Alert, &[2, 40], 0),
    ];
    for (setup, kind, content, told) in cases {
        let (mut client, mut server) = ends(&setup);
        let bytes = sealed(&mut client, kind, content);
        let error = open(&mut server, &bytes).unwrap_err();
        let alert = server.records.alert(&error);
        assert_eq!(alert.is_some(), told != 0, "{error}");
        let Some(alert) = alert else { continue };
        match open(&mut client, &alert).unwrap_err() {
            TlsError::PeerAlert(alert) => assert_eq!(u8::from(alert), told, "{error}"),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_message_in_pieces_takes_nothing_between_them() {
    let (mut client, mut server) = ends(&TLS13);
    let ticket = [&[4, 0, 0, 20][..], &[0; 20]].concat();
    let bytes = sealed(&mut client, ContentType::Handshake, &ticket[..7]);
    open(&mut server, &bytes).unwrap();
    let bytes = seal(&mut client, b"between");
    assert!(matches!(open(&mut server, &bytes), Err(TlsError::Unexpected(_))));

    // Nor does it grow for ever.
    let (mut client, mut server) = ends(&TLS13);
    let mut total = 0;
    let error = loop {
        let first: &[u8] = if total == 0 { &[4, 0xff, 0xff, 0xff] } else { &[] };
        let bytes = sealed(&mut client, ContentType::Handshake, &[first, &[0; 16_000]].concat());
        total += 16_000;
        if let Err(error) = open(&mut server, &bytes) {
            break error;
        }
        assert!(total < 100_000);
    };
    assert!(matches!(error, TlsError::TooLarge(_)));
}

/// Any bit of any record turned: it does not open, and nothing behind it does.
#[test]
fn no_corrupted_record_opens() {
    for setup in [TLS13, TLS12] {
        let (mut client, _) = ends(&setup);
        let length = seal(&mut client, b"some words").len();
        for at in 0..length {
            let (mut client, mut server) = ends(&setup);
            let mut bytes = seal(&mut client, b"some words");
            // A longer record is awaited, a shorter one fails; the second byte of the version is nobody's business.
            if at == 2 || at == 3 || at == 4 {
                continue;
            }
            bytes[at] ^= 0x10;
            assert!(open(&mut server, &bytes).is_err(), "byte {at}");
        }
    }
}
