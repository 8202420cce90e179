//! Writes consecutive blocks, a number of them in flight, and tells the board.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use super::board::Board;
use crate::buffer::Buffer;
use crate::engine::{Completion, Op, Operation, Queue};
use crate::error::{Errno, Error, Result, Step};
use crate::oracle::{Change, ChangeId, Content, Ending, SizeChange};
use crate::stamp::Key;

/// What blocks hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// Stamps of this key.
    Stamps(Key),
    /// This byte throughout.
    Byte(u8),
}

impl Data {
    /// As the oracle knows it.
    pub(super) fn content(self) -> Content {
        match self {
            Self::Stamps(key) => Content::Stamp(key.generation),
            Self::Byte(0) => Content::Zeros,
            Self::Byte(_) => Content::Anything,
        }
    }

    fn generation(self) -> u32 {
        match self {
            Self::Stamps(key) => key.generation,
            Self::Byte(_) => 0,
        }
    }

    /// Fills memory that will be written at `offset`, which may lie inside a sector.
    pub(super) fn fill(self, offset: u64, memory: &mut [u8]) {
        match self {
            Self::Byte(byte) => memory.fill(byte),
            Self::Stamps(key) => key.fill_from(offset, memory),
        }
    }
}

/// A stretch of blocks; the last one may reach beyond its end.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    /// Index among the queue's files.
    pub(super) file: u32,
    pub(super) range: Range<u64>,
    pub(super) data: Data,
}

/// A queue with its memory.
pub(super) struct Writer<'board> {
    /// With the change that the board was told of, if it was.
    pub(super) queue: Queue<Option<ChangeId>>,
    pub(super) free: Vec<Buffer>,
    pub(super) block_bytes: usize,
    /// Names of the queue's files.
    pub(super) paths: Vec<PathBuf>,
    pub(super) board: &'board Board,
    pub(super) deadline: Option<Instant>,
    pub(super) writes: u64,
}

impl Writer<'_> {
    /// Whether nothing more is to be begun.
    pub(super) fn is_stopped(&self) -> bool {
        self.board.is_over() || self.is_late()
    }

    /// Whether the time is used up.
    pub(super) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Writes a stretch and waits for its last write. The board is told of writes to the first file, which the readers read.
    pub(super) fn write(&mut self, stretch: &Stretch) -> Result<()> {
        let result = self.blocks(stretch);
        // What is unknown may have happened.
        for change in self.queue.user_data().flatten() {
            self.board.end(*change, Ending::Failed);
        }
        result
    }

    fn blocks(&mut self, stretch: &Stretch) -> Result<()> {
        let mut next = stretch.range.start;
        let mut done = Vec::with_capacity(self.free.len());
        let mut first_error = None;
        loop {
            while next < stretch.range.end
                && first_error.is_none()
                && !self.is_stopped()
                && let Some(mut buffer) = self.free.pop()
            {
                stretch.data.fill(next, &mut buffer);
                let user_data = (stretch.file == 0).then(|| {
                    let end = next + self.block_bytes as u64;
                    self.board.begin(Change { range: next..end, content: stretch.data.content(), size: SizeChange::Extend(end) })
                });
                let Stretch { file, data, .. } = *stretch;
                let (bytes, generation) = (self.block_bytes, data.generation());
                self.queue.push(Operation { op: Op::Write, file, offset: next, bytes, buffer, generation, user_data });
                // At once: a write that was told to the board and waits here would count as in flight.
                self.queue.submit().map_err(|error| self.name_file(error, file))?;
                self.writes += 1;
                next += self.block_bytes as u64;
            }
            if self.queue.in_flight() == 0 {
                return first_error.map_or(Ok(()), Err);
            }
            self.queue.wait(1, &mut done).map_err(|error| self.name_file(error, stretch.file))?;
            for completion in done.drain(..) {
                if let Err(error) = self.complete(completion) {
                    first_error.get_or_insert(error);
                }
            }
        }
    }

    fn complete(&mut self, completion: Completion<Option<ChangeId>>) -> Result<()> {
        let Completion { file, offset, bytes, buffer, user_data: change, result, .. } = completion;
        self.free.push(buffer);
        if let Some(change) = change {
            self.board.end(change, Ending::of(result, bytes));
        }
        let path = &self.paths[file as usize];
        match result {
            Ok(got) if got == bytes => Ok(()),
            Ok(got) => Err(short(path, offset, bytes, got)),
            Err(errno) => Err(failure(path, offset, bytes, errno)),
        }
    }

    fn name_file(&self, error: Error, file: u32) -> Error {
        error.path(&self.paths[file as usize])
    }
}

pub(super) fn short(path: &std::path::Path, offset: u64, bytes: usize, got: usize) -> Error {
    let message = format!("Only {got} of {bytes} bytes could be written at offset {offset}");
    Error::new(Step::ShortWrite, message).path(path).offset(offset).transferred(bytes as u64, got as u64)
}

pub(super) fn failure(path: &std::path::Path, offset: u64, bytes: usize, errno: Errno) -> Error {
    let why = match errno.0 {
        libc::ENOSPC => ": the filesystem is full",
        libc::EDQUOT => ": the disk quota is used up",
        _ => "",
    };
    let message = format!("Writing {bytes} bytes at offset {offset} failed{why}");
    Error::new(Step::Write, message).errno(errno).path(path).offset(offset)
}
