//! Integer pseudo-random numbers: what is decided depends on the rule's seed and the request alone, not on the order in which
//! parallel requests arrive.

use aiodio_core::random::mix;

/// A number that depends on all of these, and on their order.
pub(crate) fn hash(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, word| mix(sum ^ mix(*word)))
}

/// The same for text.
pub(crate) fn hash_text(text: &str) -> u64 {
    text.bytes().fold(text.len() as u64, |sum, byte| mix(sum ^ u64::from(byte)))
}

/// A sequence of numbers that starts from one.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(start: u64) -> Self {
        Self(start)
    }

    /// From 0 to `limit - 1`; 0 when the limit is 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = mix(self.0);
        ((u128::from(self.0) * u128::from(limit)) >> 64) as u64
    }
}
