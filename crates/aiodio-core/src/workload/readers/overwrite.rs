//! Several writers fill a hole through the page cache, where other data used to be.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Instant;

use super::board::Board;
use super::writer::{Data, failure, short};
use super::{Options, ROUNDS_MAX, STACK_BYTES, beside_readers, data, truncated};
use crate::buffer::{Align, Buffer, Pool};
use crate::error::{Errno, Error, Result, Step};
use crate::oracle::{Change, Ending, SizeChange};
use crate::sys::{self, Flags};

/// What was done.
pub(super) struct Done {
    pub(super) rounds: u32,
    pub(super) writes: u64,
    pub(super) late: bool,
}

/// What all writers have in common.
struct Work<'caller> {
    options: &'caller Options,
    bytes: u64,
    board: &'caller Board,
    data: Data,
    /// What the whole file will hold, when that takes less memory than a block for each writer. `pwrite(2)` only borrows it.
    image: Option<&'caller [u8]>,
    deadline: Option<Instant>,
    writes: &'caller AtomicU64,
}

/// Lays the old data down, makes a hole of them, and has the writers fill it while the readers read; and again, with other data,
/// until enough reads were beside them.
pub(super) fn overwrite(options: &Options, bytes: u64, writers: usize, board: &Board) -> Result<Done> {
    lay_out(options, bytes, board)?;
    let whole = usize::try_from(bytes).unwrap_or(usize::MAX);
    let shared = whole <= options.block_bytes.get().saturating_mul(writers);
    let mut image = if shared { Some(buffer(whole)?) } else { None };
    let deadline = options.time_max.map(|time| Instant::now() + time);
    let is_late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    let done = AtomicU64::new(0);
    let mut rounds = 0;
    beside_readers(options, board, || {
        loop {
            let data = data(options, rounds + 1);
            if let Some(image) = &mut image {
                data.fill(0, image);
            }
            let work = Work { options, bytes, board, data, image: image.as_deref(), deadline, writes: &done };
            board.start_readers();
            work.by_all(writers)?;
            rounds += 1;
            let enough = board.overlapping() >= options.readers as u64;
            if enough || rounds == ROUNDS_MAX || board.is_over() || is_late() {
                return Ok(());
            }
        }
    })?;
    Ok(Done { rounds, writes: done.into_inner(), late: is_late() })
}

fn buffer(bytes: usize) -> Result<Buffer> {
    Ok(Pool::new(1, NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN), Align::Offset(0))?.buffers.remove(0))
}

/// Leaves a hole of `bytes` bytes where data of the generation before were on the disk.
fn lay_out(options: &Options, bytes: u64, board: &Board) -> Result<()> {
    let path = &options.path;
    let file = sys::File::open_to_write(path, false, Flags::default())?;
    truncated(path, 0, file.truncate(0))?;
    let old = if options.ltp_pattern { Data::Byte(1) } else { data(options, 0) };
    let block = options.block_bytes.get();
    let mut buffer = buffer(block)?;
    let mut offset = 0;
    while offset < bytes {
        let length = usize::try_from(bytes - offset).unwrap_or(usize::MAX).min(block);
        old.fill(offset, &mut buffer[..length]);
        write(options, &file, offset, &buffer[..length])?;
        offset += length as u64;
    }
    // Once, where LTP does it after each block: the data are on the disk all the same.
    file.fsync()?;
    truncated(path, 0, file.truncate(0))?;
    file.fsync()?;
    let change = board.begin(Change::truncate(bytes));
    let result = truncated(path, bytes, file.truncate(bytes));
    board.end(change, if result.is_ok() { Ending::Done } else { Ending::Failed });
    result
}

fn write(options: &Options, file: &sys::File, offset: u64, memory: &[u8]) -> Result<()> {
    match file.write(memory, offset, 0) {
        Ok(got) if got == memory.len() => Ok(()),
        Ok(got) => Err(short(&options.path, offset, memory.len(), got)),
        Err(errno) => Err(failure(&options.path, offset, memory.len(), errno)),
    }
}

impl Work<'_> {
    /// Has each of so many writers write the whole file.
    fn by_all(&self, writers: usize) -> Result<()> {
        std::thread::scope(|scope| {
            let spawn = |_| std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || self.write());
            let threads: Vec<_> = (0..writers).map(spawn).collect();
            let mut result = Ok(());
            for thread in threads {
                let written = match thread.map(ScopedJoinHandle::join) {
                    Ok(Ok(written)) => written,
                    Ok(Err(panic)) => std::panic::resume_unwind(panic),
                    Err(error) => {
                        let message = "A writer cannot be started: the limit on processes and threads is reached";
                        Err(Error::new(Step::Setup, message).errno(Errno::from(&error)))
                    }
                };
                result = result.and(written);
            }
            result
        })
    }

    /// Writes the whole file once. An error ends everybody's work.
    fn write(&self) -> Result<()> {
        let result = self.blocks();
        if result.is_err() {
            self.board.finish();
        }
        result
    }

    fn blocks(&self) -> Result<()> {
        let path = &self.options.path;
        let file = sys::File::open_to_write(path, false, Flags::default())?;
        let block = self.options.block_bytes.get();
        let mut own = if self.image.is_none() { Some(buffer(block)?) } else { None };
        let mut offset = 0;
        while offset < self.bytes && !self.board.is_over() && self.deadline.is_none_or(|deadline| Instant::now() < deadline) {
            let length = usize::try_from(self.bytes - offset).unwrap_or(usize::MAX).min(block);
            let memory: &[u8] = match (&mut own, self.image) {
                (Some(own), _) => {
                    self.data.fill(offset, &mut own[..length]);
                    &own[..length]
                }
                (None, image) => &image.unwrap_or_default()[offset as usize..offset as usize + length],
            };
            let end = offset + length as u64;
            let change = Change { range: offset..end, content: self.data.content(), size: SizeChange::Extend(end) };
            let change = self.board.begin(change);
            let result = write(self.options, &file, offset, memory);
            self.board.end(change, if result.is_ok() { Ending::Done } else { Ending::Failed });
            result?;
            self.writes.fetch_add(1, Ordering::Relaxed);
            self.board.while_syncing(|| file.fsync())?;
            offset = end;
        }
        Ok(())
    }
}
