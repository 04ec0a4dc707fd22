use std::iter::FusedIterator;

use super::refusal::Malformed;
use crate::wire::Input;

pub(super) const SERVER_NAME: u16 = 0;
pub(super) const SUPPORTED_GROUPS: u16 = 10;
pub(super) const SIGNATURE_ALGORITHMS: u16 = 13;
pub(super) const ALPN: u16 = 16;
pub(super) const SUPPORTED_VERSIONS: u16 = 43;

/// Whether a cipher suite, extension, group or version is one of RFC 8701's reserved values, which
/// clients mix in so that nobody grows intolerant of the unknown.
pub const fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

/// One extension of the hello (RFC 8446 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// `extension_type`, as registered with IANA.
    pub kind: u16,
    /// `extension_data`, not looked into.
    pub body: &'a [u8],
}

/// The extensions in the order in which they were sent.
#[derive(Clone, Copy)]
pub struct Extensions<'a>(Input<'a>);

impl<'a> Extensions<'a> {
    /// Checks the whole list, of `list.len()` bytes, once: every extension fits, none occurs
    /// twice. Iteration cannot fail afterwards.
    pub(super) fn check(list: &'a [u8]) -> Result<(), Malformed> {
        let mut rest = Input::new(list);
        let mut seen = Seen::default();
        while !rest.is_empty() {
            let extension = next(&mut rest).ok_or(Malformed::Extensions)?;
            if !seen.insert(extension.kind) {
                return Err(Malformed::DuplicateExtension);
            }
        }
        Ok(())
    }

    pub(super) const fn new(list: &'a [u8]) -> Self {
        Self(Input::new(list))
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        next(&mut self.0)
    }
}

impl FusedIterator for Extensions<'_> {}

/// A list of two-byte values: cipher suites, groups, versions, signature algorithms.
#[derive(Clone, Copy)]
pub struct U16s<'a>(&'a [u8]);

impl<'a> U16s<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl Iterator for U16s<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len() / 2, Some(self.0.len() / 2))
    }
}

impl ExactSizeIterator for U16s<'_> {}
impl FusedIterator for U16s<'_> {}

/// The protocols a client offers by ALPN (RFC 7301 §3.1), in its order of preference.
#[derive(Clone, Copy)]
pub struct Alpn<'a>(Input<'a>);

impl<'a> Alpn<'a> {
    /// Empty for a malformed list or one with an empty protocol in it, as in Envoy, which leaves
    /// the complaint to whoever terminates the connection.
    pub(super) fn from_body(body: &'a [u8]) -> Self {
        let mut body = Input::new(body);
        let list = body.vec16().filter(|_| body.is_empty()).unwrap_or_default();
        let mut rest = Input::new(list);
        while !rest.is_empty() {
            if rest.vec8().is_none_or(<[u8]>::is_empty) {
                return Self(Input::new(&[]));
            }
        }
        Self(Input::new(list))
    }
}

impl<'a> Iterator for Alpn<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.vec8()
    }
}

impl FusedIterator for Alpn<'_> {}

/// The extension types met so far. A bit for the low ones and a few slots for the rest keep this
/// off the heap for every client there is; only a hostile hello needs a bit for each type.
#[derive(Default)]
struct Seen {
    low: u64,
    few: [u16; 16],
    used: usize,
    many: Vec<u64>,
}

impl Seen {
    /// `false` if `kind` is there already.
    fn insert(&mut self, kind: u16) -> bool {
        if kind < 64 {
            return set(&mut self.low, kind);
        }
        if self.many.is_empty() {
            let Some(slot) = self.few.get_mut(self.used) else {
                return self.spread(kind);
            };
            *slot = kind;
            let duplicate = self.few.iter().take(self.used).any(|&seen| seen == kind);
            self.used += 1;
            return !duplicate;
        }
        self.many.get_mut(usize::from(kind / 64)).is_some_and(|word| set(word, kind % 64))
    }

    fn spread(&mut self, kind: u16) -> bool {
        self.many = vec![0; 1024];
        for seen in self.few {
            self.insert(seen);
        }
        self.insert(kind)
    }
}

fn set(word: &mut u64, bit: u16) -> bool {
    let mask = 1 << bit;
    let fresh = *word & mask == 0;
    *word |= mask;
    fresh
}

fn next<'a>(rest: &mut Input<'a>) -> Option<Extension<'a>> {
    Some(Extension { kind: rest.u16()?, body: rest.vec16()? })
}
