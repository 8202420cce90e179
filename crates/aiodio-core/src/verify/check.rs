//! Compares memory with what it should be.

use std::ops::Range;

use super::Outcome;
use super::explain::{BadRange, Kind, explain};
use crate::oracle::{Content, Expected};
use crate::stamp::{Key, SECTOR, SECTOR_BYTES};

/// Checks what a read of byte `offset` on returned, and describes up to `ranges_max` bad ranges. The outcome's `bytes_found` is the
/// memory's length.
pub fn check_memory(expected: &dyn Expected, offset: u64, memory: &[u8], ranges_max: usize) -> Outcome {
    let mut findings = Findings::new(ranges_max);
    check(expected, offset, memory, &mut findings);
    let end = offset + memory.len() as u64;
    let sectors = end.div_ceil(SECTOR) - offset / SECTOR;
    let mut outcome = Outcome { bytes_found: memory.len() as u64, sectors, ..Outcome::default() };
    findings.finish(&mut outcome);
    outcome
}

/// Compares memory with what should be from byte `offset` on.
pub(super) fn check(expected: &dyn Expected, offset: u64, memory: &[u8], findings: &mut Findings) {
    let key = expected.key();
    let (mut at, end) = (offset, offset + memory.len() as u64);
    expected.each(offset..end, &mut |range, contents| {
        // A gap would pass as good.
        assert!(range.start == at && !contents.is_empty(), "the expectation says nothing of byte {at}");
        at = range.end;
        let memory = &memory[(range.start - offset) as usize..(range.end - offset) as usize];
        part(key, &range, contents, memory, findings);
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
    let whole_stamps = match *contents {
        [Content::Stamp(generation)] => Some((generation, 0)),
        [Content::Moved { generation, by }] if by % SECTOR as i64 == 0 => Some((generation, by)),
        _ => None,
    };
    if let Some((generation, by)) = whole_stamps {
        // The way that nearly all data take, at memory speed: one crc for a sector, and nothing is generated to compare it with.
        let key = Key { generation, ..key };
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

/// A sector or a part of one.
fn piece(key: Key, offset: u64, contents: &[Content], found: &[u8], findings: &mut Findings) {
    let rights: Vec<Vec<u8>> = contents.iter().map(|content| bytes_of(key, *content, offset, found.len())).collect();
    if rights.iter().any(|right| right == found) {
        return;
    }
    let mixture = (0..found.len()).all(|at| rights.iter().any(|right| right[at] == found[at]));
    if !mixture {
        findings.add(explain(key, contents, offset, found), 1);
    }
}

/// What a piece of a sector is when it has that content.
pub(super) fn bytes_of(key: Key, content: Content, offset: u64, bytes: usize) -> Vec<u8> {
    let mut right = vec![0; bytes];
    match content {
        Content::Stamp(generation) => Key { generation, ..key }.fill_from(offset, &mut right),
        Content::Moved { generation, by } => Key { generation, ..key }.fill_from(offset.wrapping_add_signed(-by), &mut right),
        Content::Zeros | Content::Anything => {}
    }
    right
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
        if let Some(range) = self.open.take() {
            self.total += 1;
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
