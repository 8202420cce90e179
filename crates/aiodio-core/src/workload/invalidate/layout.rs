//! Where everything is, and what each byte should be.

use std::ops::{Range, RangeInclusive};

use super::{Collider, Options};
use crate::buffer::page_bytes;
use crate::oracle::{Content, Expected};
use crate::stamp::Key;

/// Generations of the collider's stamps where it writes to the direct writes' own range.
pub(super) const OTHER: u32 = 1 << 31;

/// Where everything is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Bytes from one unit to the next.
    pub(super) stride: u64,
    /// Bytes before the direct write.
    pub(super) head: u64,
    pub(super) block: u64,
    pub(super) writes: u64,
}

impl Layout {
    pub(super) fn new(options: &Options) -> Self {
        let block = options.block_bytes.get() as u64;
        let writes = options.writes.get() as u64;
        if options.collider == Collider::SameRange {
            return Self { stride: block, head: 0, block, writes };
        }
        let head = options.dio_offset_align.get() as u64;
        Self { stride: (head + block).next_multiple_of(page_bytes() as u64), head, block, writes }
    }

    pub(super) fn bytes(self) -> u64 {
        self.stride * self.writes
    }

    pub(super) fn unit(self, index: u64) -> Range<u64> {
        index * self.stride..(index + 1) * self.stride
    }

    pub(super) fn direct(self, index: u64) -> Range<u64> {
        let start = index * self.stride + self.head;
        start..start + self.block
    }

    /// What is beside the direct write in its unit.
    pub(super) fn beside(self, index: u64) -> [Range<u64>; 2] {
        let (unit, direct) = (self.unit(index), self.direct(index));
        [unit.start..direct.start, direct.end..unit.end]
    }

    /// Whether the byte belongs to a direct write, and where that, or what is beside it, ends.
    pub(super) fn part(self, offset: u64) -> (bool, u64) {
        let inside = offset % self.stride;
        let (direct, end) = match inside {
            _ if inside < self.head => (false, self.head),
            _ if inside < self.head + self.block => (true, self.head + self.block),
            _ => (false, self.stride),
        };
        (direct, offset - inside + end)
    }

    /// Whether a page holds bytes of both.
    pub(super) fn shares_a_page(self, index: u64, other: &Range<u64>) -> bool {
        let page = page_bytes() as u64;
        let direct = self.direct(index);
        !other.is_empty() && other.start / page <= (direct.end - 1) / page && direct.start / page <= (other.end - 1) / page
    }
}

/// What the file may be: one thing where the direct writes are, another beside them.
#[derive(Clone, Debug)]
pub struct Units {
    pub(super) key: Key,
    pub(super) layout: Layout,
    pub(super) direct: Vec<Content>,
    pub(super) beside: Vec<Content>,
}

impl Expected for Units {
    fn key(&self) -> Key {
        self.key
    }
    fn sizes(&self) -> RangeInclusive<u64> {
        self.layout.bytes()..=self.layout.bytes()
    }
    fn each(&self, range: Range<u64>, visit: &mut dyn FnMut(Range<u64>, &[Content])) {
        let mut at = range.start;
        while at < range.end {
            let (direct, end) = self.layout.part(at);
            let end = end.min(range.end);
            visit(at..end, if direct { &self.direct } else { &self.beside });
            at = end;
        }
    }
}

/// What the file should be after a round.
pub(super) fn expected(options: &Options, layout: Layout, round: u32) -> Units {
    let mut direct = vec![Content::Stamp(round)];
    let mut beside = vec![Content::Stamp(round)];
    match options.collider {
        // Both wrote everything.
        Collider::SameRange if round > 0 => direct.push(Content::Stamp(OTHER | round)),
        // Nobody wrote what is beside the direct writes.
        Collider::Reader | Collider::Pinned => beside = vec![Content::Stamp(0)],
        _ => {}
    }
    Units { key: Key { seed: options.seed, file: 1, generation: round }, layout, direct, beside }
}
