//! Another server name in the place of a hello's own.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{Hello, captured, hello};
use sni::client_hello::{ClientHello, Malformed, Reader, Refusal};

#[test]
fn captured_hellos_take_names_of_every_length_and_go_back() {
    for (file, stream) in captured() {
        let mut reader = Reader::with_default_limit();
        let hello = hello(&mut reader, &stream);
        let Some(own) = hello.server_name().as_bytes() else {
            assert_eq!(hello.with_server_name(b"a"), None, "{file}");
            continue;
        };
        for length in 1..=255 {
            let name = vec![b'{'; length];
            let other = hello.with_server_name(&name).unwrap();
            assert_eq!(other.len(), hello.message().len() - own.len() + length);
            let parsed = ClientHello::from_message(&other).unwrap();
            assert_eq!(parsed.server_name().as_bytes(), Some(&name[..]), "{file}");
            assert_eq!(parsed.with_server_name(own).unwrap(), hello.message(), "{file}");
        }
    }
}

#[test]
fn a_message_is_whole_and_a_client_hello() {
    let message = Hello::named(b"backend{mesh=default}").message();
    assert_eq!(ClientHello::from_message(&message).unwrap().message(), message);
    for length in 0..message.len() {
        let cut = ClientHello::from_message(&message[..length]);
        assert_eq!(cut, Err(Refusal::Malformed(Malformed::Truncated)), "{length}");
    }
    let longer = [&message[..], &[0]].concat();
    assert_eq!(ClientHello::from_message(&longer), Err(Refusal::Malformed(Malformed::ExcessData)));
    let server = [&[2], &message[1..]].concat();
    assert_eq!(ClientHello::from_message(&server), Err(Refusal::NotClientHello { handshake_type: 2 }));
}

#[test]
fn what_does_not_fit_its_length_is_refused() {
    let message = Hello::named(b"a").with(60_000, &[0; 65_000]).message();
    let hello = ClientHello::from_message(&message).unwrap();
    assert!(hello.with_server_name(&[b'a'; 255]).is_some());
    assert_eq!(hello.with_server_name(&[b'a'; 600]), None);
}
