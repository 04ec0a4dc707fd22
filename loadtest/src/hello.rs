//! A ClientHello for a server name.

use crate::order::RANDOM;

const TLS_1_2: u16 = 0x0303;
const TLS_1_3: u16 = 0x0304;
const X25519: u16 = 0x001d;

/// A TLS 1.3 ClientHello (RFC 8446 §4.1.2) in one record, with this server name (RFC 6066 §3) and
/// this random.
///
/// It has what clients send, key share included, so that its size and the work of parsing it are
/// usual. The key share is random bytes, which X25519 takes as a public key.
///
/// Names of more than 255 bytes make a hello that proxies refuse.
pub fn client_hello(server_name: &str, random: &[u8; RANDOM]) -> Vec<u8> {
    let mut body = TLS_1_2.to_be_bytes().to_vec();
    body.extend_from_slice(random);
    let mut session = [0; 32];
    fastrand::fill(&mut session);
    vec8(&mut body, &session);
    // TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256.
    vec16(&mut body, &u16s(&[0x1301, 0x1302, 0x1303]));
    vec8(&mut body, &[0]);
    vec16(&mut body, &extensions(server_name));

    let mut message = vec![1];
    message.extend_from_slice(u32_of(body.len()).to_be_bytes().get(1..).unwrap_or_default());
    message.append(&mut body);
    // Records say TLS 1.0 in a first hello, for old middleboxes (RFC 8446 §5.1).
    let mut record = vec![22, 3, 1];
    vec16(&mut record, &message);
    record
}

fn extensions(server_name: &str) -> Vec<u8> {
    let mut name = vec![0];
    vec16(&mut name, server_name.as_bytes());
    let mut key = [0; 32];
    fastrand::fill(&mut key);
    let mut share = u16s(&[X25519]);
    vec16(&mut share, &key);

    let mut all = Vec::new();
    extension(&mut all, 0, &in_vec16(&name));
    // supported_groups, signature_algorithms: X25519 and P-256; ECDSA P-256, RSA-PSS, PKCS#1.
    extension(&mut all, 10, &in_vec16(&u16s(&[X25519, 0x0017])));
    extension(&mut all, 13, &in_vec16(&u16s(&[0x0403, 0x0804, 0x0401])));
    // ALPN: h2, http/1.1.
    extension(&mut all, 16, &in_vec16(b"\x02h2\x08http/1.1"));
    // supported_versions.
    extension(&mut all, 43, &[2, TLS_1_3.to_be_bytes()[0], TLS_1_3.to_be_bytes()[1]]);
    // psk_key_exchange_modes: psk_dhe_ke.
    extension(&mut all, 45, &[1, 1]);
    extension(&mut all, 51, &in_vec16(&share));
    all
}

fn extension(all: &mut Vec<u8>, kind: u16, body: &[u8]) {
    all.extend_from_slice(&kind.to_be_bytes());
    vec16(all, body);
}

fn u16s(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn in_vec16(bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    vec16(&mut all, bytes);
    all
}

fn vec16(all: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    all.extend_from_slice(&len.to_be_bytes());
    all.extend_from_slice(bytes.get(..usize::from(len)).unwrap_or(bytes));
}

fn vec8(all: &mut Vec<u8>, bytes: &[u8]) {
    let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    all.push(len);
    all.extend_from_slice(bytes.get(..usize::from(len)).unwrap_or(bytes));
}

fn u32_of(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use sni::client_hello::{Progress, Reader, ServerName};

    use super::*;
    use crate::order::Order;

    #[test]
    fn it_is_a_hello_with_its_name_and_random() {
        let random = Order::Send(5).random();
        let bytes = client_hello("svc-00001.mesh.test", &random);
        let mut reader = Reader::with_default_limit();
        let Progress::Hello(hello) = reader.read(&bytes) else { panic!("no hello") };
        assert_eq!(hello.server_name(), ServerName::Host(b"svc-00001.mesh.test"));
        assert_eq!(hello.random(), random);
        assert_eq!(hello.alpn().collect::<Vec<_>>(), [&b"h2"[..], b"http/1.1"]);
        assert_eq!(hello.supported_versions().collect::<Vec<_>>(), [TLS_1_3]);
        assert_eq!(hello.stream_len(), bytes.len());
    }

    #[test]
    fn no_hello_is_whole_before_its_last_byte() {
        let bytes = client_hello("a.mesh.test", &Order::Echo.random());
        for end in 0..bytes.len() {
            let mut reader = Reader::with_default_limit();
            let progress = reader.read(&bytes[..end]);
            assert!(matches!(progress, Progress::Incomplete { .. }), "{end}: {progress:?}");
        }
    }
}
