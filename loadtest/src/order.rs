//! What a connection asks of the backend, and the bytes it gets.
//!
//! The order travels in the random of the ClientHello, which a proxy that routes by SNI passes on
//! untouched. So one backend serves all scenarios, and no byte is needed that TLS would not send.

const MAGIC: [u8; 4] = *b"ZGLT";
const PERIOD: u64 = 251;
const BLOCK: usize = 64 * 1024;

/// Length of the random of a ClientHello (RFC 8446 §4.1.2).
pub const RANDOM: usize = 32;

/// What the backend is to do after the hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Send back what comes, until the client's end of stream.
    Echo,
    /// Send this many bytes of [`Pattern`], then the end of the stream.
    Send(u64),
    /// Take this many bytes of [`Pattern`], then send one byte, and the end of the stream.
    Take(u64),
}

impl Order {
    /// The random that carries the order; what is left of it is random.
    pub fn random(self) -> [u8; RANDOM] {
        let (kind, bytes) = match self {
            Self::Echo => (0, 0),
            Self::Send(bytes) => (1, bytes),
            Self::Take(bytes) => (2, bytes),
        };
        let mut random = [0; RANDOM];
        fastrand::fill(&mut random);
        for (to, from) in random.iter_mut().zip(MAGIC.into_iter().chain([kind]).chain(u64::to_be_bytes(bytes))) {
            *to = from;
        }
        random
    }

    /// The order in a random; `None` if there is none, as in hellos from elsewhere.
    pub fn from_random(random: &[u8]) -> Option<Self> {
        let (kind, rest) = random.strip_prefix(&MAGIC)?.split_first()?;
        match kind {
            0 => Some(Self::Echo),
            1 => Some(Self::Send(u64::from_be_bytes(*rest.first_chunk()?))),
            2 => Some(Self::Take(u64::from_be_bytes(*rest.first_chunk()?))),
            _ => None,
        }
    }
}

/// An endless sequence of bytes whose period, 251, is prime to the size of every buffer: a piece
/// that is lost, doubled or moved is seen.
#[derive(Clone, Debug)]
pub struct Pattern {
    block: Vec<u8>,
}

impl Default for Pattern {
    fn default() -> Self {
        Self { block: (0u8..251).cycle().take(BLOCK + 251).collect() }
    }
}

impl Pattern {
    /// The bytes from offset `at`: `len` of them, at most 64 KiB.
    pub fn piece(&self, at: u64, len: u64) -> &[u8] {
        // Less than 251, so it fits whatever usize is.
        let from = (at % PERIOD) as usize;
        let len = usize::try_from(len).unwrap_or(BLOCK).min(BLOCK);
        self.block.get(from..from + len).unwrap_or_default()
    }

    /// How many bytes of `received`, from its start, are the pattern's from offset `at`.
    pub fn agree(&self, at: u64, received: &[u8]) -> usize {
        let mut agreed = 0;
        for part in received.chunks(BLOCK) {
            let right = self.piece(at + agreed as u64, part.len() as u64);
            if right != part {
                return agreed + right.iter().zip(part).take_while(|(a, b)| a == b).count();
            }
            agreed += part.len();
        }
        agreed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_travel_in_the_random() {
        for order in [Order::Echo, Order::Send(0), Order::Send(u64::MAX), Order::Take(7)] {
            assert_eq!(Order::from_random(&order.random()), Some(order));
        }
        assert_ne!(Order::Echo.random(), Order::Echo.random(), "the rest differs");
        assert_eq!(Order::from_random(&[7; RANDOM]), None);
        assert_eq!(Order::from_random(b"ZGLT\x01\0"), None);
    }

    #[test]
    fn a_moved_or_changed_byte_is_seen() {
        let pattern = Pattern::default();
        let mut bytes = pattern.piece(1000, 70_000).to_vec();
        assert_eq!(bytes.len(), BLOCK);
        assert_eq!(pattern.agree(1000, &bytes), BLOCK);
        assert_eq!(pattern.agree(1000 + PERIOD, &bytes), BLOCK);
        assert_eq!(pattern.agree(1001, &bytes), 0);
        bytes[500] ^= 1;
        assert_eq!(pattern.agree(1000, &bytes), 500);
    }

    #[test]
    fn more_than_a_block_agrees() {
        let pattern = Pattern::default();
        let bytes: Vec<u8> = (0u8..251).cycle().take(3 * BLOCK + 17).collect();
        assert_eq!(pattern.agree(0, &bytes), bytes.len());
    }
}
