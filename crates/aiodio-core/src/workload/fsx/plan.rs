//! Chooses operations.

use super::operation::{Kind, Operation};
use crate::random::Random;

/// What is chosen from. Lengths in bytes, none 0.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The file never becomes longer.
    pub size_max: u64,
    /// No operation of LTP's, nor any other, is longer; alignment may add to it.
    pub bytes_max: u64,
    /// Reads begin at its multiples.
    pub read_align: u64,
    /// Writes do.
    pub write_align: u64,
    /// The file is truncated to them.
    pub truncate_align: u64,
    /// Reads and writes that go past the page cache begin and end at its multiples; 1 for those that do not.
    pub dio_offset_align: u64,
    /// What mappings begin at.
    pub page_bytes: u64,
    /// What can be collapsed, inserted and cloned are multiples of it.
    pub block_bytes: u64,
    /// What is chosen, all equally often.
    pub kinds: Vec<Kind>,
}

/// Of so many writes through a mapping, one is synced before the next operation, as LTP syncs all; the others beside what follows. The
/// first finds clean pages, the others pages that are being written back.
const SYNC_AT_ONCE: u64 = 4;

/// What has been chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// An operation.
    Do(Operation),
    /// One for which the file is too short.
    TooShort(Kind),
    /// One for which it is too long.
    TooLong(Kind),
}

impl Rules {
    /// The next operation on a file of `size` bytes.
    pub fn choose(&self, random: &mut Random, size: u64) -> Choice {
        let kind = *random.pick(&self.kinds);
        match kind {
            Kind::Read | Kind::MapRead | Kind::Punch if size == 0 => Choice::TooShort(kind),
            Kind::Write | Kind::MapWrite | Kind::Allocate | Kind::Zero if size >= self.size_max => Choice::TooLong(kind),
            Kind::Read => self.transfer(random, kind, size, self.read_align),
            Kind::Write => self.transfer(random, kind, self.size_max, self.write_align),
            Kind::MapRead => Choice::Do(self.mapping(random, kind, size, self.read_align)),
            Kind::MapWrite => {
                let flag = random.below(SYNC_AT_ONCE) != 0;
                Choice::Do(Operation { flag, ..self.mapping(random, kind, self.size_max, self.write_align) })
            }
            Kind::Truncate => {
                let size = random.below(self.size_max);
                Choice::Do(Operation::new(kind, size - size % self.truncate_align, 0))
            }
            Kind::Punch => Choice::Do(self.range(random, kind, size, 1)),
            Kind::Allocate | Kind::Zero => {
                let flag = random.below(2) == 0;
                Choice::Do(Operation { flag, ..self.range(random, kind, self.size_max, 1) })
            }
            Kind::Collapse => self.collapse(random, size),
            Kind::Insert => self.insert(random, size),
            Kind::Clone => self.copy(random, kind, size, self.block_bytes),
            Kind::Copy => self.copy(random, kind, size, 1),
        }
    }

    /// As LTP chooses a range: any offset, any length behind it, then the beginning down to the alignment.
    fn range(&self, random: &mut Random, kind: Kind, limit: u64, align: u64) -> Operation {
        let offset = random.below(limit);
        let bytes = random.below(limit - offset).min(self.bytes_max);
        let before = offset % align;
        Operation::new(kind, offset - before, (bytes + before).max(1))
    }

    fn mapping(&self, random: &mut Random, kind: Kind, limit: u64, align: u64) -> Operation {
        let range = self.range(random, kind, limit, align);
        let before = range.offset % self.page_bytes;
        Operation::new(kind, range.offset - before, range.bytes + before)
    }

    fn transfer(&self, random: &mut Random, kind: Kind, limit: u64, align: u64) -> Choice {
        let range = self.range(random, kind, limit, align);
        let before = range.offset % self.dio_offset_align;
        let offset = range.offset - before;
        let mut bytes = (range.bytes + before).next_multiple_of(self.dio_offset_align);
        if offset + bytes > self.size_max && self.dio_offset_align > 1 {
            bytes -= self.dio_offset_align;
        }
        if bytes == 0 { Choice::TooLong(kind) } else { Choice::Do(Operation::new(kind, offset, bytes)) }
    }

    /// Whole blocks, not more than `blocks` nor than an operation may have; at least one.
    fn blocks(&self, random: &mut Random, blocks: u64) -> u64 {
        (1 + random.below(blocks)).min((self.bytes_max / self.block_bytes).max(1)) * self.block_bytes
    }

    fn collapse(&self, random: &mut Random, size: u64) -> Choice {
        // Something must remain behind what is taken out.
        let blocks = size.saturating_sub(1) / self.block_bytes;
        if blocks == 0 {
            return Choice::TooShort(Kind::Collapse);
        }
        let first = random.below(blocks);
        Choice::Do(Operation::new(Kind::Collapse, first * self.block_bytes, self.blocks(random, blocks - first)))
    }

    fn insert(&self, random: &mut Random, size: u64) -> Choice {
        if size == 0 {
            return Choice::TooShort(Kind::Insert);
        }
        let room = self.size_max.saturating_sub(size) / self.block_bytes;
        if room == 0 {
            return Choice::TooLong(Kind::Insert);
        }
        let offset = random.below(size.div_ceil(self.block_bytes)) * self.block_bytes;
        Choice::Do(Operation::new(Kind::Insert, offset, self.blocks(random, room)))
    }

    /// From anywhere to anywhere else that does not overlap it, also behind the file's end.
    fn copy(&self, random: &mut Random, kind: Kind, size: u64, unit: u64) -> Choice {
        let (units, room) = (size / unit, self.size_max / unit);
        if units == 0 {
            return Choice::TooShort(kind);
        }
        let from = random.below(units);
        let to = random.below(room);
        let fits = (units - from).min(room.saturating_sub(to)).min(from.abs_diff(to));
        if fits == 0 {
            return Choice::TooShort(kind);
        }
        let length = (1 + random.below(fits)).min((self.bytes_max / unit).max(1));
        Choice::Do(Operation { to: to * unit, ..Operation::new(kind, from * unit, length * unit) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_choice_is_possible(
            seed: u64, size in 0_u64..300_000, size_max in 1_u64..300_000, bytes_max in 1_u64..100_000,
            read_align in 1_u64..50_000, write_align in 1_u64..50_000, truncate_align in 1_u64..5000,
            direct in prop::sample::select(vec![1_u64, 512, 4096]), kind in prop::sample::select(Kind::ALL.to_vec()),
        ) {
            let size = size.min(size_max);
            let rules = Rules {
                size_max, bytes_max, read_align, write_align, truncate_align, dio_offset_align: direct, page_bytes: 4096,
                block_bytes: 1024, kinds: vec![kind],
            };
            let mut random = Random::new(seed);
            for _ in 0..20 {
                let Choice::Do(operation) = rules.choose(&mut random, size) else { continue };
                let Operation { offset, bytes, to, .. } = operation;
                let end = operation.end();
                match kind {
                    Kind::Truncate => prop_assert!(offset < size_max && offset % truncate_align == 0),
                    Kind::Read | Kind::Write => {
                        prop_assert!(offset % direct == 0 && bytes % direct == 0 && bytes > 0 && end <= size_max.max(direct));
                        prop_assert!(kind == Kind::Write || offset < size);
                    }
                    Kind::MapRead => prop_assert!(offset % 4096 == 0 && end <= size),
                    Kind::MapWrite => prop_assert!(offset % 4096 == 0 && end <= size_max),
                    Kind::Punch => prop_assert!(bytes > 0 && end <= size),
                    Kind::Allocate | Kind::Zero => prop_assert!(bytes > 0 && end <= size_max),
                    Kind::Collapse => prop_assert!(offset % 1024 == 0 && bytes % 1024 == 0 && bytes > 0 && end < size),
                    Kind::Insert => {
                        prop_assert!(offset % 1024 == 0 && bytes % 1024 == 0 && offset < size && size + bytes <= size_max);
                    }
                    Kind::Clone | Kind::Copy => {
                        prop_assert!(bytes > 0 && end <= size && to + bytes <= size_max && offset.abs_diff(to) >= bytes);
                        prop_assert!(kind == Kind::Copy || (offset | bytes | to) % 1024 == 0);
                    }
                }
                if direct == 1 && kind != Kind::Truncate {
                    let added = read_align.max(write_align) + 4096;
                    prop_assert!(bytes <= bytes_max.max(1024) + added);
                }
            }
        }

        #[test]
        fn without_limits_ranges_are_chosen_as_by_ltp(seed: u64, align in 1_u64..5000) {
            let rules = Rules {
                size_max: 262_144, bytes_max: u64::MAX, read_align: align, write_align: 1, truncate_align: 1, dio_offset_align: 1,
                page_bytes: 4096, block_bytes: 4096, kinds: vec![Kind::Read],
            };
            let (mut chosen, mut model) = (Random::new(seed), Random::new(seed));
            model.below(1);
            let offset = model.below(100_000);
            let bytes = model.below(100_000 - offset);
            let begin = offset / align * align;
            let expected = Operation::new(Kind::Read, begin, (bytes + offset - begin).max(1));
            prop_assert_eq!(rules.choose(&mut chosen, 100_000), Choice::Do(expected));
        }
    }
}
