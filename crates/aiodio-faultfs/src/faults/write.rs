//! A write, and what faults make of it before it is stored.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use aiodio_core::stamp::{self, SECTOR, SECTOR_BYTES};

use crate::contents::Contents;
use crate::random::Random;
use crate::rule::{Active, Fault};

/// Where the number of a synthetic other file starts, so that it is none of the test's own.
const OTHER_FILE_DISTANCE: u32 = 1 << 20;

/// How a write ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// So many bytes are reported.
    Now(u64),
    /// The rest happens and is reported after that time.
    Later(Duration, Deferred),
}

/// What is left to be done of a write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Deferred {
    pub(crate) reported: u64,
    pub(super) pieces: Vec<(u64, Vec<u8>)>,
}

impl Deferred {
    pub(crate) fn finish(self, contents: &Contents) -> io::Result<u64> {
        let state = &mut *contents.state.write();
        for (offset, bytes) in self.pieces {
            contents.store(state, offset, &bytes)?;
        }
        Ok(self.reported)
    }
}

/// A write before it happens.
pub(super) struct Write<'a> {
    pub(super) contents: &'a Contents,
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
    /// Where in the file which bytes will be stored.
    pub(super) pieces: Vec<(u64, Range<usize>)>,
    pub(super) veils: Vec<(Range<u64>, Instant, Option<Vec<u8>>)>,
}

/// What a fault does to a write.
pub(super) struct Change {
    pub(super) range: Range<u64>,
    how: How,
}

enum How {
    Replace(Vec<u8>),
    Omit,
    Move(u64),
    Veil(Option<Vec<u8>>),
}

impl Write<'_> {
    fn place(&self, range: &Range<u64>) -> Range<usize> {
        (range.start - self.offset) as usize..(range.end - self.offset) as usize
    }

    /// What the fault would do; `None` when that would make no difference.
    pub(super) fn change(&self, active: &Active, range: &Range<u64>, random: &mut Random) -> io::Result<Option<Change>> {
        let rule = &active.rule;
        let new = &self.bytes[self.place(range)];
        let differs = |range: &Range<u64>| {
            self.contents.stored(range.clone()).map(|old| (old != self.bytes[self.place(range)]).then_some(old))
        };
        let change = match rule.fault {
            Fault::DropWrite => differs(range)?.map(|_| (range.clone(), How::Omit)),
            Fault::DelayVisibility => differs(range)?.map(|old| (range.clone(), How::Veil(Some(old)))),
            Fault::ZerosUntil => new.iter().any(|byte| *byte != 0).then(|| (range.clone(), How::Veil(None))),
            Fault::MisdirectWrite => {
                let by = rule.parameter("by");
                let target = range.start.checked_add_signed(by).unwrap_or(range.start + by.unsigned_abs());
                let there = self.contents.stored(target..target + new.len() as u64)?;
                (by != 0 && (there != new || differs(range)?.is_some())).then(|| (range.clone(), How::Move(target)))
            }
            Fault::Tear => {
                let block = rule.parameter("block") as u64;
                let end = range.end.min((range.start / block + 1) * block);
                let whole = end - range.start;
                let cut = match rule.parameter("at") {
                    // Far from the sector's ends: what is left and what is lost can both be recognised.
                    -1 => random.below(whole / SECTOR) * SECTOR + SECTOR / 8 + random.below(SECTOR * 3 / 4),
                    at => at as u64,
                };
                let lost = range.start + cut..end;
                if lost.is_empty() { None } else { differs(&lost)?.map(|_| (lost, How::Omit)) }
            }
            Fault::FlipBit => {
                let mut bytes = new.to_vec();
                flip(&mut bytes, rule.parameter("bits"), random);
                Some((range.clone(), How::Replace(bytes)))
            }
            Fault::MutateInFlight => {
                let half = new.len() / 2;
                let count = (rule.parameter("bytes") as usize).min(new.len() - half);
                let at = half + random.below((new.len() - half - count + 1) as u64) as usize;
                let bytes = new[at..at + count].iter().map(|byte| byte ^ (1 + random.below(255) as u8)).collect();
                let start = range.start + at as u64;
                Some((start..start + count as u64, How::Replace(bytes)))
            }
            Fault::StaleDisk | Fault::OtherFile => {
                let sectors = whole_sectors(range);
                if sectors.is_empty() {
                    None
                } else {
                    let mut bytes = self.bytes[self.place(&sectors)].to_vec();
                    if rule.fault == Fault::StaleDisk {
                        stale_disk().fill(sectors.start, &mut bytes);
                    } else {
                        other_file(sectors.start, &mut bytes);
                    }
                    Some((sectors, How::Replace(bytes)))
                }
            }
            _ => None,
        };
        Ok(change.map(|(range, how)| Change { range, how }))
    }

    pub(super) fn apply(&mut self, Change { range, how }: Change, until: Instant) {
        let place = self.place(&range);
        match how {
            How::Replace(bytes) => self.bytes[place].copy_from_slice(&bytes),
            How::Omit => self.omit(&place),
            How::Move(target) => {
                self.omit(&place);
                self.pieces.push((target, place));
            }
            How::Veil(seen) => self.veils.push((range, until, seen)),
        }
    }

    /// These bytes are not stored where they belong.
    fn omit(&mut self, place: &Range<usize>) {
        for (to, from) in std::mem::take(&mut self.pieces) {
            let belongs = to == self.offset + from.start as u64;
            if !belongs || from.end <= place.start || place.end <= from.start {
                self.pieces.push((to, from));
                continue;
            }
            for part in [from.start..from.end.min(place.start), from.start.max(place.end)..from.end] {
                if part.start < part.end {
                    self.pieces.push((to + (part.start - from.start) as u64, part));
                }
            }
        }
    }
}

/// Makes sectors those of another file of the same run; where there is no stamp, of a run of its own.
fn other_file(offset: u64, bytes: &mut [u8]) {
    let (sectors, _) = bytes.as_chunks_mut::<SECTOR_BYTES>();
    for (index, sector) in sectors.iter_mut().enumerate() {
        let number = offset / SECTOR + index as u64;
        let own = stamp::Stamp::read(sector).unwrap_or(stamp::Stamp { seed: 0, file: 0, generation: 0, sector: number });
        stamp::Stamp { file: own.file.wrapping_add(OTHER_FILE_DISTANCE), ..own }.write(sector);
    }
}

/// A length less than `length`, if that is more than 1.
pub(super) fn shortened(length: u64, bytes: i64) -> u64 {
    let wanted = match bytes {
        0 if length >= 2 * SECTOR => length / 2 / SECTOR * SECTOR,
        0 => length / 2,
        bytes => bytes as u64,
    };
    wanted.clamp(1, length)
}

pub(super) fn flip(bytes: &mut [u8], bits: i64, random: &mut Random) {
    for _ in 0..bits {
        let bit = random.below(bytes.len() as u64 * 8);
        bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    }
}

pub(super) fn whole_sectors(range: &Range<u64>) -> Range<u64> {
    range.start.next_multiple_of(SECTOR)..range.end / SECTOR * SECTOR
}

/// As a provisioned filesystem's free space is filled.
pub(super) fn stale_disk() -> stamp::Key {
    stamp::Key { seed: 0, file: stamp::STALE_DISK_FILE, generation: 0 }
}
