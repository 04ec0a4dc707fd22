//! ClientHellos, byte by byte: any server name, any offer, any size, cut into any records.

use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
use rustls::{CipherSuite, NamedGroup, ProtocolVersion};

/// A ClientHello to build (RFC 8446, section 4.1.2).
#[derive(Clone, Debug, Default)]
pub struct Hello {
    names: Vec<Vec<u8>>,
    alpn: Vec<Vec<u8>>,
    offer: Option<Offer>,
    padding: usize,
    seed: u64,
}

/// What a client can do, each in the order of its liking.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// Versions.
    pub versions: Vec<ProtocolVersion>,
    /// Cipher suites.
    pub suites: Vec<CipherSuite>,
    /// Groups for the key exchange.
    pub groups: Vec<NamedGroup>,
    /// Of which of them there is a share already: one that can be answered.
    pub shares: Vec<NamedGroup>,
}

impl Hello {
    /// With this server name, which may hold any bytes.
    pub fn to(name: impl AsRef<[u8]>) -> Self {
        Self::nameless().and(name)
    }

    /// Without a server name.
    pub fn nameless() -> Self {
        Self { seed: fastrand::u64(..), ..Self::default() }
    }

    /// One more server name.
    pub fn and(mut self, name: impl AsRef<[u8]>) -> Self {
        self.names.push(name.as_ref().to_vec());
        self
    }

    /// Offers these application protocols.
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        self
    }

    /// Offers this, instead of TLS 1.2 and 1.3 with whatever everybody has.
    pub fn offering(mut self, offer: &Offer) -> Self {
        self.offer = Some(offer.clone());
        self
    }

    /// Makes it at least this much longer, with padding extensions (a post-quantum key share does the same).
    pub fn padded(mut self, bytes: usize) -> Self {
        self.padding = bytes;
        self
    }

    /// The handshake message, without a record around it.
    pub fn message(&self) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut body = vec![3, 3];
        body.extend(std::iter::repeat_with(|| random.u8(..)).take(32));
        body.extend(sized8(&std::iter::repeat_with(|| random.u8(..)).take(32).collect::<Vec<_>>()));
        body.extend(match &self.offer {
            Some(offer) => sized16(&numbers(&offer.suites)),
            None => sized16(&[0x13, 0x01, 0x13, 0x02, 0xc0, 0x2b, 0xc0, 0x2f]),
        });
        body.extend(sized8(&[0]));
        body.extend(sized16(&self.extensions(&mut random)));
        let length = u32::try_from(body.len()).expect("a hello below 16 MiB").to_be_bytes();
        [&[1], &length[1..], &body].concat()
    }

    fn extensions(&self, random: &mut fastrand::Rng) -> Vec<u8> {
        let mut all = Vec::new();
        if !self.names.is_empty() {
            let entries: Vec<u8> = self.names.iter().flat_map(|n| [vec![0], sized16(n)].concat()).collect();
            all.extend(extension(0, &sized16(&entries)));
        }
        all.extend(match &self.offer {
            Some(offer) => extension(10, &sized16(&numbers(&offer.groups))),
            None => extension(10, &sized16(&[0, 0x1d, 0, 0x17])),
        });
        all.extend(extension(13, &sized16(&[4, 3, 8, 4, 4, 1])));
        if !self.alpn.is_empty() {
            all.extend(extension(16, &sized16(&self.alpn.iter().flat_map(|p| sized8(p)).collect::<Vec<_>>())));
        }
        match &self.offer {
            Some(offer) => {
                all.extend(extension(43, &sized8(&numbers(&offer.versions))));
                all.extend(extension(51, &sized16(&offer.shares.iter().flat_map(share).collect::<Vec<_>>())));
            }
            None => {
                all.extend(extension(43, &sized8(&[3, 4, 3, 3])));
                let share: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(32).collect();
                all.extend(extension(51, &sized16(&[vec![0, 0x1d], sized16(&share)].concat())));
            }
        }
        if self.padding > 0 {
            all.extend(extension(21, &vec![0; self.padding]));
        }
        all
    }

    /// In one record, or as few as it takes.
    pub fn bytes(&self) -> Vec<u8> {
        self.records(1 << 14)
    }

    /// In records of at most `size` bytes.
    pub fn records(&self, size: usize) -> Vec<u8> {
        self.message().chunks(size).flat_map(|part| [vec![22, 3, 1], sized16(part)].concat()).collect()
    }
}

fn numbers<T: Copy + Into<u16>>(all: &[T]) -> Vec<u8> {
    all.iter().flat_map(|number| (*number).into().to_be_bytes()).collect()
}

/// A share of a key that is thrown away.
fn share(group: &NamedGroup) -> Vec<u8> {
    let known = [X25519MLKEM768, X25519, SECP256R1, SECP384R1].into_iter().find(|known| known.name() == *group);
    let exchange = known.expect("a group that we know").start().expect("a key");
    [u16::from(*group).to_be_bytes().to_vec(), sized16(exchange.pub_key())].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), sized16(body)].concat()
}

fn sized8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).expect("at most 255 bytes")], bytes].concat()
}

fn sized16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).expect("at most 65,535 bytes").to_be_bytes(), bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// rustls, which had no part in building it, reads what was asked for.
    #[test]
    fn rustls_reads_it() {
        let hello = Hello::to("backend.test").alpn(&["kuma", "h2"]).padded(2000);
        for size in [1, 7, 300, 1 << 14] {
            let mut acceptor = rustls::server::Acceptor::default();
            acceptor.read_tls(&mut &hello.records(size)[..]).unwrap();
            let mut rest = hello.records(size);
            let accepted = loop {
                match acceptor.accept() {
                    Ok(Some(accepted)) => break accepted,
                    Ok(None) => {
                        rest.drain(..rest.len().min(4096));
                        acceptor.read_tls(&mut &rest[..]).unwrap();
                    }
                    Err(error) => panic!("{size}: {error:?}"),
                }
            };
            let seen = accepted.client_hello();
            assert_eq!(seen.server_name(), Some("backend.test"));
            assert_eq!(seen.alpn().unwrap().collect::<Vec<_>>(), [&b"kuma"[..], b"h2"]);
        }
    }
}
