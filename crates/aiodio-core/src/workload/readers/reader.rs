//! Threads that read a file while it changes. Each has an open file description of its own, so nothing is shared between readers
//! but the inode.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use super::board::{Board, Seen, Turn};
use super::{BadRead, Gaze};
use crate::buffer::{Align, Buffer, Pool};
use crate::error::{Errno, Error, Result, Step};
use crate::random;
use crate::sys::{self, Flags};
use crate::verify::check_memory;
use crate::workload::shared::pattern::spoil_sectors;

/// Bad ranges described of one read.
const RANGES_MAX: usize = 8;

/// What all readers have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look<'caller> {
    pub(super) path: &'caller Path,
    pub(super) gaze: Gaze,
    pub(super) direct: bool,
    /// The length of each read.
    pub(super) bytes: NonZeroUsize,
}

/// Reads, turn by turn, until it is over.
pub(super) fn read(board: &Board, look: Look<'_>, number: usize) {
    let result = Reader::open(board, look, number).and_then(|mut reader| {
        board.ready();
        reader.turns()
    });
    if let Err(error) = result {
        board.fail(error);
    }
}

struct Reader<'caller> {
    board: &'caller Board,
    look: Look<'caller>,
    number: usize,
    file: sys::File,
    buffer: Buffer,
    random: random::Random,
    /// Where the next read through the whole file goes on.
    next: u64,
}

/// Where a turn's reads are made.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Everywhere, one read after the other.
    Through,
    /// Where writes are in flight.
    Beside { first: u64, count: u64 },
    /// At the end of the file, so many bytes before it.
    End { before: u64 },
}

impl<'caller> Reader<'caller> {
    fn open(board: &'caller Board, look: Look<'caller>, number: usize) -> Result<Self> {
        let file = sys::File::open_to_read(look.path, Flags { direct: look.direct, sync: false })?;
        let buffer = Pool::new(1, look.bytes, Align::Offset(0))?.buffers.remove(0);
        Ok(Self { board, look, number, file, buffer, random: random::Random::new(number as u64), next: 0 })
    }

    fn turns(&mut self) -> Result<()> {
        let mut lap = 0;
        while let Some(turn) = self.board.turn_after(lap) {
            lap = turn.lap;
            self.turn(&turn)?;
        }
        Ok(())
    }

    fn turn(&mut self, turn: &Turn) -> Result<()> {
        let began = Instant::now();
        let place = self.place(turn);
        let mut spent = 0;
        while !self.board.is_spent(spent, began) && !self.board.is_over() {
            let offset = match place {
                Place::Through => self.next,
                Place::Beside { first, count } => first + self.random.below(count) * self.look.bytes.get() as u64,
                Place::End { before } => self.file.size()?.saturating_sub(before),
            };
            let whole = self.read(offset)?;
            if matches!(place, Place::Through) {
                self.next = if whole { offset + self.look.bytes.get() as u64 } else { 0 };
            }
            spent += self.look.bytes.get() as u64;
        }
        Ok(())
    }

    /// Half of the turns look where LTP looks, the others where something is more likely to be wrong.
    fn place(&self, Turn { lap, newest }: &Turn) -> Place {
        let bytes = self.look.bytes.get() as u64;
        let as_ltp = (lap + self.number as u64).is_multiple_of(2);
        match self.look.gaze {
            Gaze::Whole if as_ltp || newest.is_empty() => Place::Through,
            Gaze::Whole => {
                let first = newest.start / bytes * bytes;
                Place::Beside { first, count: (newest.end - first).div_ceil(bytes) }
            }
            Gaze::End => Place::End { before: if as_ltp { 0 } else { bytes } },
        }
    }

    /// One read and its check. Returns whether it was read in full.
    fn read(&mut self, offset: u64) -> Result<bool> {
        let ticket = self.board.begin_read();
        let got = self.transfer(offset);
        let got_bytes = *got.as_ref().unwrap_or(&0);
        let range = offset..offset + got_bytes as u64;
        let seen = self.board.end_read(&ticket, &range);
        let got = got.map_err(|errno| {
            let message = format!("Reading {} bytes at offset {offset} failed", self.look.bytes);
            Error::new(Step::Read, message).errno(errno).path(self.look.path).offset(offset)
        })?;
        self.check(&range, &seen);
        Ok(got == self.look.bytes.get())
    }

    fn check(&self, range: &Range<u64>, seen: &Seen) {
        let memory = &self.buffer[..(range.end - range.start) as usize];
        let found = check_memory(seen, range.start, memory, RANGES_MAX);
        let wanted = range.start + self.look.bytes.get() as u64;
        let wrong_end = seen.steady_sizes.as_ref().is_some_and(|sizes| {
            let ends_early = range.end < wanted.min(*sizes.start());
            let ends_late = range.end > *sizes.end() && !memory.is_empty();
            ends_early || ends_late
        });
        if wrong_end || !found.is_good() {
            let sizes = seen.steady_sizes.clone().filter(|_| wrong_end);
            let Self { number, look, .. } = self;
            self.board.report(BadRead {
                reader: *number,
                offset: range.start,
                bytes: memory.len() as u64,
                direct: look.direct,
                found,
                size_min: sizes.as_ref().map(|sizes| *sizes.start()),
                size_max: sizes.map(|sizes| *sizes.end()),
            });
        }
    }

    /// Fewer bytes only at the end of the file.
    fn transfer(&mut self, offset: u64) -> std::result::Result<usize, Errno> {
        // What an earlier read of the same place left there must not pass for what is read.
        spoil_sectors(&mut self.buffer);
        self.file.read(&mut self.buffer, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::super::board::Pace;
    use super::*;
    use crate::oracle::{Oracle, Stamped};
    use crate::stamp::Key;

    #[test]
    #[allow(clippy::unwrap_used, reason = "a test")]
    fn a_read_that_brings_nothing_leaves_nothing_that_looks_right() {
        let key = Key { seed: 1, file: 1, generation: 1 };
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        crate::workload::fill::fill(&path, 8192, key).unwrap();
        let board = Board::new(Oracle::new(key.seed, key.file), Pace::new(1, 4096, 1, 1), 1);
        let look = Look { path: &path, gaze: Gaze::Whole, direct: false, bytes: NonZeroUsize::new(8192).unwrap() };
        let mut reader = Reader::open(&board, look, 0).unwrap();
        let bad_sectors = |reader: &Reader<'_>| {
            check_memory(&Stamped { key, offset: 0, bytes: 8192 }, 0, &reader.buffer[..8192], RANGES_MAX).sectors_bad
        };
        assert_eq!(reader.transfer(0), Ok(8192));
        assert_eq!(bad_sectors(&reader), 0);
        assert_eq!(reader.transfer(8192), Ok(0));
        assert_eq!(bad_sectors(&reader), 16);
    }
}
