//! The workload of `aiocp`: a file is copied block by block, with many blocks in flight.

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::buffer::{Align, Buffer, Pool};
use crate::engine::{Completion, DEPTH_MAX, Engine, Kind, Op, Operation, Queue, Stats};
use crate::error::{Errno, Error, Result, Step};
use crate::json;
use crate::sys::{File, Flags};

/// When the destination is `fsync`ed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum Fsync {
    /// Once for each completed write, as LTP does.
    Each,
    /// Once for all writes that were reaped together.
    Batch,
    /// Once, after the last write.
    End,
    /// Never.
    None,
}

/// What to copy and how.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Opened read-only.
    pub source: PathBuf,
    /// Created if need be, never truncated.
    pub destination: PathBuf,
    /// How much, a multiple of `block_bytes`.
    pub bytes: u64,
    /// The length of each read and write.
    pub block_bytes: NonZeroUsize,
    /// Blocks in flight at most.
    pub depth: NonZeroUsize,
    /// The kernel's interface.
    pub engine: Kind,
    /// `O_DIRECT` for both files.
    pub direct: bool,
    /// `O_SYNC` for the destination.
    pub sync_writes: bool,
    /// When to `fsync` the destination.
    pub fsync: Fsync,
    /// Where the buffers lie in their pages.
    pub align: Align,
}

/// How it went.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// None: every block was read and written in full. A copy stops at its first failure.
    pub error: Option<Error>,
    /// The queue's counts.
    pub stats: Stats,
    /// Duration of the copying itself, the last `fsync` included, setting up excluded.
    #[serde(rename = "elapsedSeconds", serialize_with = "json::seconds")]
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub elapsed: Duration,
}

/// Progress is reported no more often than this.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

const SOURCE: u32 = 0;
const DESTINATION: u32 = 1;

/// Copies. `progress` is told the bytes written so far.
pub fn copy(options: &Options, progress: impl FnMut(u64)) -> Outcome {
    match options.engine.open(options.depth) {
        Ok(engine) => copy_with(engine, options, progress),
        Err(error) => Outcome { error: Some(error), stats: Stats::default(), elapsed: Duration::ZERO },
    }
}

/// Copies through the given engine.
pub fn copy_with(engine: Box<dyn Engine>, options: &Options, progress: impl FnMut(u64)) -> Outcome {
    let (mut copy, queue) = match Copy::prepare(engine, options) {
        Ok(prepared) => prepared,
        Err(error) => return Outcome { error: Some(error), stats: Stats::default(), elapsed: Duration::ZERO },
    };
    copy.run(queue, progress)
}

struct Copy<'options> {
    options: &'options Options,
    free: Vec<Buffer>,
    /// Offset of the next block to read.
    next: u64,
    /// Bytes written in full.
    written: u64,
    /// Completed writes that no `fsync` covers yet.
    unsynced: u64,
}

impl<'options> Copy<'options> {
    fn prepare(engine: Box<dyn Engine>, options: &'options Options) -> Result<(Self, Queue)> {
        let block = options.block_bytes.get() as u64;
        if !options.bytes.is_multiple_of(block) {
            let message = format!("The size of {} bytes is not a multiple of the block size of {block} bytes", options.bytes);
            return Err(Error::new(Step::Options, message));
        }
        let source = File::open_to_read(&options.source, Flags { direct: options.direct, sync: false })?;
        let flags = Flags { direct: options.direct, sync: options.sync_writes };
        let destination = File::open_to_write(&options.destination, false, flags)?;
        // A file of fewer blocks than control blocks never has more of them in flight.
        let blocks = usize::try_from(options.bytes / block).unwrap_or(usize::MAX);
        let depth = options.depth.min(NonZeroUsize::new(blocks).unwrap_or(NonZeroUsize::MIN));
        if depth.get() > DEPTH_MAX {
            let message = format!("{depth} control blocks are more than the {DEPTH_MAX} that make sense: use fewer");
            return Err(Error::new(Step::Options, message));
        }
        let pool = Pool::new(depth.get(), options.block_bytes, options.align)?;
        let files: Vec<OwnedFd> = vec![source.into(), destination.into()];
        let queue = Queue::new(engine, depth, files, &pool.registrations)?;
        let mut free = pool.buffers;
        // `pop` hands them out in the order of their addresses.
        free.reverse();
        Ok((Self { options, free, next: 0, written: 0, unsynced: 0 }, queue))
    }

    fn run(&mut self, mut queue: Queue, progress: impl FnMut(u64)) -> Outcome {
        let start = Instant::now();
        let error = self.blocks(&mut queue, progress).err();
        let elapsed = start.elapsed();
        Outcome { error, stats: queue.finish(), elapsed }
    }

    fn blocks(&mut self, queue: &mut Queue, mut progress: impl FnMut(u64)) -> Result<()> {
        let mut done = Vec::with_capacity(self.free.len());
        let mut reported = Instant::now();
        loop {
            self.read_ahead(queue);
            if queue.in_flight() == 0 {
                break;
            }
            queue.wait(1, &mut done).map_err(|error| self.name_file(error))?;
            for completion in done.drain(..) {
                self.complete(queue, completion)?;
            }
            if self.unsynced > 0 && matches!(self.options.fsync, Fsync::Each | Fsync::Batch) {
                // The next operations are under way while the writes so far are made durable.
                self.read_ahead(queue);
                queue.submit().map_err(|error| self.name_file(error))?;
                let calls = if self.options.fsync == Fsync::Each { self.unsynced } else { 1 };
                for _ in 0..calls {
                    self.sync(queue)?;
                }
            }
            if reported.elapsed() >= PROGRESS_INTERVAL {
                reported = Instant::now();
                progress(self.written);
            }
        }
        if self.options.fsync == Fsync::End {
            self.sync(queue)?;
        }
        progress(self.written);
        Ok(())
    }

    /// Stages reads for all buffers at hand.
    fn read_ahead(&mut self, queue: &mut Queue) {
        let bytes = self.options.block_bytes.get();
        while self.next < self.options.bytes
            && let Some(buffer) = self.free.pop()
        {
            queue.push(Operation { op: Op::Read, file: SOURCE, offset: self.next, bytes, buffer, generation: 0, user_data: () });
            self.next += bytes as u64;
        }
    }

    fn complete(&mut self, queue: &mut Queue, completion: Completion) -> Result<()> {
        let Completion { op, offset, bytes, buffer, result, .. } = completion;
        let write = op == Op::Write;
        match result {
            Err(errno) => return Err(self.failure(write, offset, errno)),
            Ok(got) if got < bytes => return Err(self.short(write, offset, bytes, got)),
            Ok(_) => {}
        }
        if write {
            self.written += bytes as u64;
            self.unsynced += 1;
            self.free.push(buffer);
        } else {
            queue.push(Operation { op: Op::Write, file: DESTINATION, offset, bytes, buffer, generation: 0, user_data: () });
        }
        Ok(())
    }

    fn sync(&mut self, queue: &mut Queue) -> Result<()> {
        self.unsynced = 0;
        queue.fsync(DESTINATION as usize, &self.options.destination)
    }

    fn path(&self, write: bool) -> &Path {
        if write { &self.options.destination } else { &self.options.source }
    }

    fn name_file(&self, error: Error) -> Error {
        match error.write {
            Some(write) => error.path(self.path(write)),
            None => error,
        }
    }

    fn failure(&self, write: bool, offset: u64, errno: Errno) -> Error {
        let bytes = self.options.block_bytes;
        let (step, message) = if write {
            let why = match errno.0 {
                libc::ENOSPC => ": the filesystem is full",
                libc::EDQUOT => ": the disk quota is used up",
                _ => "",
            };
            (Step::Write, format!("Writing {bytes} bytes at offset {offset} failed{why}"))
        } else {
            (Step::Read, format!("Reading {bytes} bytes at offset {offset} failed"))
        };
        Error::new(step, message).errno(errno).path(self.path(write)).offset(offset)
    }

    fn short(&self, write: bool, offset: u64, bytes: usize, got: usize) -> Error {
        let (step, message) = if write {
            (Step::ShortWrite, format!("Only {got} of {bytes} bytes could be written at offset {offset}"))
        } else {
            (Step::ShortRead, format!("Only {got} of {bytes} bytes could be read at offset {offset}: the file ends there"))
        };
        Error::new(step, message).path(self.path(write)).offset(offset).transferred(bytes as u64, got as u64)
    }
}
