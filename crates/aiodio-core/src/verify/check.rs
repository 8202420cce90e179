//! Compares memory with what it should be.

use std::ops::Range;

use super::Outcome;
use super::explain::{BadRange, Kind, TornWith, bytes_of, explain};
use crate::oracle::{Content, Expected};
use crate::stamp::{Key, SECTOR, SECTOR_BYTES};

/// Checks what a read of byte `offset` on returned, and describes up to `ranges_max` bad ranges. The outcome's `bytes_found` is the
/// memory's length.
pub fn check_memory(expected: &dyn Expected, offset: u64, memory: &[u8], ranges_max: usize) -> Outcome {
    let mut findings = Findings::new(ranges_max);
    check(expected, offset, memory, None, &mut findings);
    let end = offset + memory.len() as u64;
    let sectors = end.div_ceil(SECTOR) - offset / SECTOR;
    let bytes = memory.len() as u64;
    let mut outcome = Outcome { bytes_expected: bytes, bytes_found: bytes, sectors, ..Outcome::default() };
    findings.finish(&mut outcome);
    outcome
}

/// Compares memory with what should be from byte `offset` on. For data at rest on a device, `block` is the length in bytes of what it
/// writes whole, a multiple of the sector.
pub(super) fn check(expected: &dyn Expected, offset: u64, memory: &[u8], block: Option<u64>, findings: &mut Findings) {
    let key = expected.key();
    let (mut at, end) = (offset, offset + memory.len() as u64);
    expected.each(offset..end, &mut |range, contents| {
        // A gap would pass as good.
        assert!(range.start == at && !contents.is_empty(), "the expectation says nothing of byte {at}");
        at = range.end;
        let memory = &memory[(range.start - offset) as usize..(range.end - offset) as usize];
        match block {
            Some(block) if contents.len() > 1 && expected.keeps_blocks_whole(&range) => {
                blocks(key, &range, contents, memory, block, findings);
            }
            _ => part(key, &range, contents, memory, findings),
        }
    });
    assert!(at == end, "the expectation says nothing of byte {at}");
}

/// A part in which the same contents are right everywhere.
fn part(key: Key, range: &Range<u64>, contents: &[Content], memory: &[u8], findings: &mut Findings) {
    if contents.contains(&Content::Anything) || *contents == [Content::Zeros] && is_zero(memory) {
        return;
    }
    let first = usize::try_from(range.start.next_multiple_of(SECTOR) - range.start).unwrap_or(usize::MAX);
    let (head, rest) = memory.split_at(first.min(memory.len()));
    if !head.is_empty() {
        piece(key, range.start, contents, head, findings);
    }
    let mut offset = range.start + head.len() as u64;
    let (whole, tail) = rest.as_chunks::<SECTOR_BYTES>();
    if let [only] = contents
        && let Some((key, by)) = whole_stamps(key, *only)
    {
        // The way that nearly all data take, at memory speed: one crc for a sector, and nothing is generated to compare it with.
        for found in whole {
            if !key.at(offset.wrapping_add_signed(-by) / SECTOR).matches(found) {
                findings.add(explain(key, contents, offset, found), 1);
            }
            offset += SECTOR;
        }
    } else {
        for found in whole {
            piece(key, offset, contents, found, findings);
            offset += SECTOR;
        }
    }
    if !tail.is_empty() {
        piece(key, offset, contents, tail, findings);
    }
}

/// Whose sectors are whole stamps, and by how many bytes they are moved.
fn whole_stamps(key: Key, content: Content) -> Option<(Key, i64)> {
    match content {
        Content::Stamp(generation) => Some((Key { generation, ..key }, 0)),
        Content::Moved { generation, by } if by % SECTOR as i64 == 0 => Some((Key { generation, ..key }, by)),
        _ => None,
    }
}

/// Whether memory is all of one content. Whole stamps are not generated to be compared.
fn is_all(key: Key, content: Content, offset: u64, memory: &[u8]) -> bool {
    let (sectors, rest) = memory.as_chunks::<SECTOR_BYTES>();
    match whole_stamps(key, content) {
        Some((key, by)) if rest.is_empty() && offset.is_multiple_of(SECTOR) => {
            let first = offset.wrapping_add_signed(-by) / SECTOR;
            sectors.iter().zip(first..).all(|(found, sector)| key.at(sector).matches(found))
        }
        _ if content == Content::Zeros => is_zero(memory),
        _ => content == Content::Anything || bytes_of(key, content, offset, memory.len()) == memory,
    }
}

/// A part in which each block is one of the contents as a whole.
fn blocks(key: Key, range: &Range<u64>, contents: &[Content], memory: &[u8], block: u64, findings: &mut Findings) {
    let of = |part: &Range<u64>| &memory[(part.start - range.start) as usize..(part.end - range.start) as usize];
    let first = range.start.next_multiple_of(block).min(range.end);
    let last = (range.end / block * block).max(first);
    let head = range.start..first;
    part(key, &head, contents, of(&head), findings);
    for start in (first..last).step_by(block as usize) {
        let whole = start..start + block;
        one_of(key, &whole, contents, of(&whole), findings);
    }
    let tail = last..range.end;
    part(key, &tail, contents, of(&tail), findings);
}

/// A block that must be one of the contents as a whole.
fn one_of(key: Key, block: &Range<u64>, contents: &[Content], found: &[u8], findings: &mut Findings) {
    if contents.iter().any(|content| is_all(key, *content, block.start, found)) {
        return;
    }
    let before = findings.sectors_bad;
    part(key, block, contents, found, findings);
    if findings.sectors_bad > before {
        return;
    }
    // Each byte may be what it is, but not all of them at once. What most of the block is counts as right, of equals the newest.
    let rights: Vec<Vec<u8>> = contents.iter().map(|content| bytes_of(key, *content, block.start, found.len())).collect();
    let sectors = |memory: &[u8]| memory.chunks(SECTOR_BYTES).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let found = sectors(found);
    let fitting = |right: &[u8]| found.iter().zip(sectors(right)).filter(|(found, right)| *found == right).count();
    let most = (0..rights.len()).max_by_key(|index| fitting(&rights[*index])).unwrap_or(0);
    for ((found, right), number) in found.iter().zip(sectors(&rights[most])).zip(0..) {
        if *found == right {
            continue;
        }
        let torn = explain(key, &contents[most..=most], block.start + number * SECTOR, found);
        let with = match torn.kind {
            Kind::Zeros => TornWith::Zeros,
            Kind::Stale => TornWith::Stale,
            _ => torn.torn_with.unwrap_or(TornWith::Other),
        };
        findings.add(BadRange { kind: Kind::Torn, torn_with: Some(with), right: contents.to_vec(), ..torn }, 1);
    }
}

/// A sector or a part of one: one of the contents, else a mixture of them.
fn piece(key: Key, offset: u64, contents: &[Content], found: &[u8], findings: &mut Findings) {
    if contents.iter().any(|content| is_all(key, *content, offset, found)) {
        return;
    }
    let rights: Vec<Vec<u8>> = contents.iter().map(|content| bytes_of(key, *content, offset, found.len())).collect();
    let mixture = (0..found.len()).all(|at| rights.iter().any(|right| right[at] == found[at]));
    if !mixture {
        findings.add(explain(key, contents, offset, found), 1);
    }
}

fn is_zero(memory: &[u8]) -> bool {
    let (words, rest) = memory.as_chunks::<64>();
    words.iter().all(|word| word.iter().fold(0, |all, byte| all | byte) == 0) && rest.iter().all(|byte| *byte == 0)
}

/// Collects bad ranges in ascending order, merging neighbours.
#[derive(Debug)]
pub(super) struct Findings {
    max: usize,
    ranges: Vec<BadRange>,
    total: u64,
    sectors_bad: u64,
    open: Option<BadRange>,
    /// Read errors so far, those that passed included.
    read_errors: u64,
    /// Errors that were gone when the bytes were asked for again: they lie over ranges that were looked at afterwards.
    passed: Vec<BadRange>,
}

impl Findings {
    pub(super) fn new(max: usize) -> Self {
        Self { max, ranges: Vec::new(), total: 0, sectors_bad: 0, open: None, read_errors: 0, passed: Vec::new() }
    }

    pub(super) fn add(&mut self, next: BadRange, sectors: u64) {
        self.sectors_bad += sectors;
        self.read_errors += u64::from(next.kind == Kind::ReadError);
        if let Some(open) = &mut self.open
            && open.continues_with(&next)
        {
            open.bytes += next.bytes;
            open.differing_bytes += next.differing_bytes;
            open.differing_bits += next.differing_bits;
            return;
        }
        self.close();
        self.open = Some(next);
    }

    pub(super) fn ends_at(&self, offset: u64) -> bool {
        self.open.as_ref().is_some_and(|open| open.offset + open.bytes == offset)
    }

    pub(super) fn read_errors(&self) -> u64 {
        self.read_errors
    }

    /// An error that did not come again: no byte is bad, and yet somebody who does not read twice would have failed.
    pub(super) fn add_passed(&mut self, range: BadRange) {
        self.read_errors += 1;
        if self.passed.len() < self.max.max(1) {
            self.passed.push(range);
        }
    }

    fn close(&mut self) {
        if let Some(mut range) = self.open.take() {
            self.total += 1;
            range.seed = range.seed.filter(|_| range.kind == Kind::OtherRun);
            if self.ranges.len() < self.max {
                self.ranges.push(range);
            }
        }
    }

    pub(super) fn finish(mut self, outcome: &mut Outcome) {
        self.close();
        self.total += self.passed.len() as u64;
        self.ranges.append(&mut self.passed);
        self.ranges.truncate(self.max);
        outcome.sectors_bad = self.sectors_bad;
        outcome.ranges = self.ranges;
        outcome.ranges_total = self.total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{Change, ChangeId, Ending, Oracle};
    use proptest::prelude::*;

    /// Two sectors.
    const BLOCK: u64 = 1024;
    const BLOCKS: u64 = 4;
    const BYTES: usize = (BLOCK * BLOCKS) as usize;

    #[derive(Clone, Debug)]
    enum Step {
        /// Of blocks, or through the page cache of any bytes; with bits that say which part of it happens at once and not at its end.
        Begin {
            direct: bool,
            at: u64,
            length: u64,
            early: u64,
        },
        End {
            which: usize,
            failed: bool,
        },
    }

    fn step(buffered: bool) -> impl Strategy<Value = Step> {
        let direct = (0..BLOCKS, 1..=BLOCKS, any::<u64>()).prop_map(|(at, blocks, early)| {
            let length = blocks.min(BLOCKS - at) * BLOCK;
            Step::Begin { direct: true, at: at * BLOCK, length, early }
        });
        let cached = (0..BYTES as u64 - 1, 1..2000_u64, any::<u64>()).prop_map(|(at, length, early)| {
            let length = length.min(BYTES as u64 - at);
            Step::Begin { direct: false, at, length, early }
        });
        let end = (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(which, failed)| Step::End { which, failed });
        prop_oneof![3 => direct, u32::from(buffered) => cached, 3 => end]
    }

    struct Open {
        id: ChangeId,
        generation: u32,
        direct: bool,
        range: Range<usize>,
        early: u64,
    }

    /// A device that writes whole blocks, each at the beginning or at the end of a write, and a page cache that copies byte by byte.
    struct World {
        oracle: Oracle,
        memory: Vec<u8>,
        open: Vec<Open>,
        generation: u32,
        /// All contents that the direct writes to each block have had, with the one from before.
        written: Vec<Vec<u32>>,
    }

    impl World {
        fn new() -> Self {
            let written = vec![Vec::new(); BLOCKS as usize];
            Self { oracle: Oracle::new(1, 2), memory: vec![0; BYTES], open: Vec::new(), generation: 0, written }
        }

        fn stamps(&self, generation: u32) -> Vec<u8> {
            let mut all = vec![0; BYTES];
            self.oracle.stamps(generation).fill(0, &mut all);
            all
        }

        fn apply(&mut self, open: &Open, now: impl Fn(usize) -> bool) {
            let new = self.stamps(open.generation);
            for at in open.range.clone().filter(|at| now(*at)) {
                self.memory[at] = new[at];
            }
        }

        fn step(&mut self, step: &Step) {
            match *step {
                Step::Begin { direct, at, length, early } => {
                    self.generation += 1;
                    let change = Change::write(at, length, self.generation);
                    let id = if direct { self.oracle.begin_direct(change) } else { self.oracle.begin(change) };
                    let range = at as usize..(at + length) as usize;
                    for block in at / BLOCK..(at + length).div_ceil(BLOCK) {
                        self.written[block as usize].push(self.generation);
                    }
                    let open = Open { id, generation: self.generation, direct, range, early };
                    self.apply(&open, |at| open.is_early(at));
                    self.open.push(open);
                }
                Step::End { which, failed } if !self.open.is_empty() => {
                    let open = self.open.swap_remove(which % self.open.len());
                    if !failed {
                        self.apply(&open, |at| !open.is_early(at));
                    }
                    self.oracle.end(open.id, if failed { Ending::Failed } else { Ending::Done });
                }
                Step::End { .. } => {}
            }
        }

        fn found(&self, memory: &[u8]) -> Outcome {
            let mut findings = Findings::new(99);
            check(&self.oracle, 0, memory, Some(BLOCK), &mut findings);
            let mut outcome = Outcome::default();
            findings.finish(&mut outcome);
            outcome
        }

        /// Whether a block holds one content that is right for all of its bytes.
        fn is_whole(&self, block: usize, memory: &[u8]) -> bool {
            let part = block * BLOCK as usize..(block + 1) * BLOCK as usize;
            let mut right = std::iter::once(0).chain(self.written[block].iter().copied());
            right.any(|generation| {
                let (content, image) = if generation == 0 {
                    (Content::Zeros, vec![0; BYTES])
                } else {
                    (Content::Stamp(generation), self.stamps(generation))
                };
                let mut allowed = true;
                self.oracle.each(part.start as u64..part.end as u64, &mut |_, contents| allowed &= contents.contains(&content));
                allowed && image[part.clone()] == memory[part.clone()]
            })
        }
    }

    impl Open {
        fn is_early(&self, at: usize) -> bool {
            let bit = if self.direct { at / BLOCK as usize } else { at % 61 };
            self.early >> bit & 1 != 0
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 400 }, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_a_device_and_a_page_cache_may_do_is_no_finding(steps in prop::collection::vec(step(true), 1..40)) {
            let mut world = World::new();
            for step in &steps {
                world.step(step);
                // Even in between: what is under way is no block's whole content yet.
                prop_assert_eq!(world.found(&world.memory).ranges, vec![], "after {:?}", step);
            }
            while !world.open.is_empty() {
                world.step(&Step::End { which: 0, failed: false });
            }
            prop_assert_eq!(world.found(&world.memory).ranges, vec![]);
        }

        #[test]
        fn of_direct_writes_a_block_at_rest_holds_one_content_and_no_mixture(
            steps in prop::collection::vec(step(false), 1..40),
            (block, sector, generation) in (0..BLOCKS as usize, 0..2_usize, any::<u32>()),
        ) {
            let mut world = World::new();
            for step in &steps {
                world.step(step);
            }
            while !world.open.is_empty() {
                world.step(&Step::End { which: 0, failed: true });
            }
            // One sector of a block is another generation's.
            let mut memory = world.memory.clone();
            let at = block * BLOCK as usize + sector * SECTOR_BYTES;
            let other = generation % (world.generation + 1);
            let foreign = if other == 0 { vec![0; BYTES] } else { world.stamps(other) };
            memory[at..at + SECTOR_BYTES].copy_from_slice(&foreign[at..at + SECTOR_BYTES]);
            let found = world.found(&memory);
            for number in 0..BLOCKS as usize {
                let start = number as u64 * BLOCK;
                let flagged = found.ranges.iter().any(|range| range.offset < start + BLOCK && start < range.offset + range.bytes);
                prop_assert_eq!(flagged, !world.is_whole(number, &memory), "block {}: {:?}", number, found.ranges);
            }
        }
    }

    #[test]
    fn a_block_of_two_right_halves_is_torn() {
        let mut world = World::new();
        for _ in 0..2 {
            world.step(&Step::Begin { direct: true, at: 0, length: BLOCK, early: 0 });
        }
        for _ in 0..2 {
            world.step(&Step::End { which: 0, failed: false });
        }
        let (first, second) = (world.stamps(1), world.stamps(2));
        let torn = [&first[..SECTOR_BYTES], &second[SECTOR_BYTES..1024], &vec![0; BYTES - 1024]].concat();
        let found = world.found(&torn);
        let [range] = found.ranges.as_slice() else { panic!("{found:?}") };
        assert_eq!((range.kind, range.torn_with, range.offset, range.bytes), (Kind::Torn, Some(TornWith::Stale), 0, 512));
        assert_eq!(range.right, [Content::Stamp(1), Content::Stamp(2)]);
        // A reader may have seen it while it was written.
        assert_eq!(check_memory(&world.oracle, 0, &torn, 9).ranges_total, 0);
        assert_eq!(world.found(&[&first[..1024], &vec![0; BYTES - 1024]].concat()).ranges_total, 0);
    }
}
