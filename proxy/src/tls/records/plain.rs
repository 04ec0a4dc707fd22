//! Where plaintext lies in a buffer of opened records.

use std::ops::Range;

/// A buffer of 256 KiB holds 16 full records; beyond as many parts as this the rest is moved together.
const PARTS: usize = 64;

/// The parts of a buffer that are plaintext, in order.
pub(crate) struct Plain {
    parts: [Range<usize>; PARTS],
    count: usize,
    total: usize,
}

impl Plain {
    pub(crate) fn new() -> Self {
        Self { parts: [const { 0..0 }; PARTS], count: 0, total: 0 }
    }

    /// Adds what lies there, behind all that was added before.
    pub(crate) fn push(&mut self, buffer: &mut [u8], part: Range<usize>) {
        if part.is_empty() {
            return;
        }
        self.total += part.len();
        match self.parts.get_mut(self.count) {
            Some(free) => {
                *free = part;
                self.count += 1;
            }
            // Small records: copying them is cheap.
            None => {
                let last = &mut self.parts[PARTS - 1];
                let end = last.end + part.len();
                buffer.copy_within(part, last.end);
                last.end = end;
            }
        }
    }

    /// Bytes in all parts.
    pub(crate) fn len(&self) -> usize {
        self.total
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The parts as slices of the buffer.
    pub(crate) fn slices<'b>(&self, buffer: &'b [u8]) -> Slices<'b> {
        let mut slices = Slices { slices: [&[]; PARTS], count: self.count };
        for (slice, part) in slices.slices.iter_mut().zip(&self.parts[..self.count]) {
            *slice = &buffer[part.clone()];
        }
        slices
    }
}

/// The parts of a buffer that are plaintext.
pub(crate) struct Slices<'b> {
    slices: [&'b [u8]; PARTS],
    count: usize,
}

impl<'b> std::ops::Deref for Slices<'b> {
    type Target = [&'b [u8]];

    fn deref(&self) -> &Self::Target {
        &self.slices[..self.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_parts_stay_in_order() {
        let mut buffer: Vec<u8> = (0..200).flat_map(|n: u8| [0xff, n, 0xff]).collect();
        let mut plain = Plain::new();
        for at in 0..200 {
            plain.push(&mut buffer, at * 3 + 1..at * 3 + 2);
            plain.push(&mut buffer, at..at);
        }
        assert_eq!(plain.len(), 200);
        let slices = plain.slices(&buffer);
        assert_eq!(slices.len(), PARTS);
        assert!(slices.concat().iter().copied().eq(0..200));
    }
}
